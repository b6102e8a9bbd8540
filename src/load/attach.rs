//! The staged tables become the partitions of the fact, and the only ones.

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::failpoint;
use crate::load::part::Part;
use crate::load::staging_tables::{older_versions, provider_versions};
use crate::schema::{CLAIMS_FACT, INTERNAL, PUBLISHED};
use crate::warehouse::partitions::partitions;
use crate::warehouse::sql;

/// Takes its partitions from the fact, and drops them.
pub(super) fn detach(connection: &mut impl Connection) -> Result<()> {
    let detach: Vec<String> = partitions(connection)?
        .into_iter()
        .map(|name| {
            format!(
                "ALTER TABLE {PUBLISHED}.{CLAIMS_FACT} DETACH PARTITION {name}; DROP TABLE {name}"
            )
        })
        .collect();
    sql::execute(connection, "detaching the published claims", &detach.join(";\n"))?;
    failpoint::hit("publish.detached")
}

/// Makes the staged tables the only partitions of the fact.
pub(super) fn attach(connection: &mut impl Connection, run_no: i64, parts: &[Part]) -> Result<()> {
    let mut script = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let (stage, partition) = (&part.table, format!("{CLAIMS_FACT}_{run_no}_{place}"));
        script.push(format!(
            "ALTER TABLE {INTERNAL}.{stage} ALTER run_no DROP DEFAULT;
             ALTER TABLE {INTERNAL}.{stage} RENAME CONSTRAINT {stage}_pkey TO {partition}_pkey;
             ALTER TABLE {INTERNAL}.{stage} SET SCHEMA {PUBLISHED};
             ALTER TABLE {PUBLISHED}.{stage} RENAME TO {partition};
             ALTER TABLE {PUBLISHED}.{CLAIMS_FACT} ATTACH PARTITION {PUBLISHED}.{partition}
                 FOR VALUES {};
             ALTER TABLE {PUBLISHED}.{partition} DROP CONSTRAINT IF EXISTS {stage}_range",
            part.range.bounds()
        ));
    }
    script.push(format!(
        "DROP TABLE {INTERNAL}.{}, {INTERNAL}.{}",
        provider_versions(run_no),
        older_versions(run_no)
    ));
    sql::execute(connection, "attaching the staged claims", &script.join(";\n")).map(drop)
}
