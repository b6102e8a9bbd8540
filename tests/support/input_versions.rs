//! Two versions of one small input for the tests of faults, and what a warehouse holds of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use postgres::Client;

use crate::support::aggregates::DIFFERENCES;
use crate::support::test_env::TestEnv;

/// Claims of the first version.
const CLAIMS: u32 = 3_000;

/// The input as it was first sent, or with its corrections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    First,
    /// Every third amount is another one, a fifth of the claims are new, and so is the directory.
    Second,
}

impl Version {
    /// Lets an environment read this version.
    pub(crate) fn lay_on(self, env: &mut TestEnv) {
        self.lay_many(env, CLAIMS);
    }

    /// The same with a number of claims.
    pub(crate) fn lay_many(self, env: &mut TestEnv, claims: u32) {
        // Several batches on each connection, however few claims there are.
        fs::write(env.path("claims-etl.toml"), "[warehouse]\nbatch_rows = 500\n").expect("written");
        env.settings.warehouse.batch_rows = Some(500);
        let name = format!("{self:?}");
        let path = env.path(&format!("{name}-claims.csv"));
        fs::write(&path, self.claims(claims)).expect("written");
        env.settings.claims.sources = vec![path.display().to_string()];
        let path = env.path(&format!("{name}-providers.csv"));
        fs::write(&path, self.providers()).expect("written");
        env.settings.providers.sources = vec![path.display().to_string()];
    }

    /// Besides good claims: repeats, rejects, claims of providers that is not in the directory.
    fn claims(self, claims: u32) -> String {
        let mut text =
            String::from("claim_id,patient_id,provider_id,procedure_code,amount,date_of_service\n");
        let rows = if self == Self::First { claims } else { claims + claims / 5 };
        for n in 0..rows {
            let cents = u32::from(self == Self::Second && n % 3 == 0);
            let day =
                if n % 97 == 5 { "someday".into() } else { format!("2024-01-{:02}", 1 + n % 28) };
            let record = format!(
                "C{n:07},P{:05},V{:02},9921{},{}.{:02},{day}\n",
                n % 900,
                n % 50,
                n % 4,
                n % 300 + 10,
                n % 90 + cents,
            );
            text += &record;
            if n % 101 == 7 {
                text += &record;
            }
        }
        text
    }

    fn providers(self) -> String {
        let mut text = String::from("provider_id,provider_name,specialty,location\n");
        let (known, year) = if self == Self::First { (40, "2023") } else { (45, "2024") };
        for n in 0..known {
            writeln!(text, "V{n:02},Name {n} {year},Specialty {},Town {}", n % 3, n % 7)
                .expect("text");
        }
        text
    }
}

/// What is published: counts, money and a checksum that knows no order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) claims: String,
    providers: String,
}

impl Published {
    /// Reads it, in one snapshot.
    pub(crate) fn read(client: &mut Client) -> Self {
        Self::try_read(client).expect("an answer")
    }

    /// The same from a server that may be about to end.
    pub(crate) fn try_read(client: &mut Client) -> Result<Self, postgres::Error> {
        let there = "SELECT to_regclass('healthcare_analytics.claims_fact') IS NOT NULL";
        if !client.query_one(there, &[])?.get::<_, bool>(0) {
            return Ok(Self { claims: "0|0|0".into(), providers: "0|0".into() });
        }
        let row = client.query_one(
            "SELECT
                    (SELECT concat_ws('|', count(*), coalesce(sum(amount), 0), coalesce(sum(
                         hashtextextended((to_jsonb(f) - 'run_no')::text, 0)::numeric), 0))
                     FROM healthcare_analytics.claims_fact f),
                    (SELECT concat_ws('|', count(*), coalesce(sum(hashtextextended(
                         (to_jsonb(d) - '{run_no,valid_from,valid_to}'::text[])::text, 0)
                             ::numeric), 0))
                     FROM healthcare_analytics.providers_dim d WHERE provider_id <> '(unknown)')",
            &[],
        )?;
        Ok(Self { claims: row.get(0), providers: row.get(1) })
    }
}

/// What a warehouse holds besides rows: its tables and partitions.
pub(crate) fn tables(client: &mut Client) -> BTreeSet<String> {
    let query = "SELECT relnamespace::regnamespace || '.' ||
            regexp_replace(relname, '[0-9]+', '#', 'g')
        FROM pg_class WHERE relkind IN ('r', 'p')
            AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
        UNION ALL
        SELECT 'partition ' || row_number() OVER () FROM pg_inherits
        WHERE inhparent = to_regclass('healthcare_analytics.claims_fact')";
    client.query(query, &[]).expect("an answer").iter().map(|row| row.get(0)).collect()
}

/// What must hold at any time: rows come from runs that have published, and a published run's
/// books balance with what it has left.
pub(crate) fn broken_promises(client: &mut Client) -> Vec<String> {
    let there = "SELECT to_regclass('healthcare_analytics.claims_fact') IS NOT NULL";
    if !client.query_one(there, &[]).expect("an answer").get::<_, bool>(0) {
        return Vec::new();
    }
    // What is tried out must not fail this check.
    client
        .batch_execute("SET temp_file_limit = -1; SET statement_timeout = 0")
        .expect("a superuser");
    let unpublished = |table: &str| {
        format!(
            "EXISTS (SELECT FROM {table} t WHERE run_no <> 0 AND NOT EXISTS (SELECT FROM
                 claims_etl.runs r WHERE r.run_no = t.run_no AND r.published_at IS NOT NULL))"
        )
    };
    let promises = [
        ("a claim of an unpublished run", unpublished("healthcare_analytics.claims_fact")),
        ("a provider of an unpublished run", unpublished("healthcare_analytics.providers_dim")),
        (
            "statistics of an unpublished run",
            "EXISTS (SELECT FROM claims_etl.risk_state t WHERE NOT EXISTS (SELECT FROM
                 claims_etl.runs r WHERE r.run_no = t.version AND r.published_at IS NOT NULL))"
                .to_owned(),
        ),
        (
            "a claim without its provider",
            "EXISTS (SELECT FROM healthcare_analytics.claims_fact f WHERE NOT EXISTS (
                 SELECT FROM healthcare_analytics.providers_dim d
                 WHERE d.provider_key = f.provider_key))"
                .to_owned(),
        ),
        (
            "the last published run has loaded other sums",
            "(SELECT (claims_loaded, amount_loaded) FROM claims_etl.runs
                 WHERE published_at IS NOT NULL ORDER BY run_no DESC LIMIT 1)
             <> (SELECT (count(*), coalesce(sum(amount), 0))
                 FROM healthcare_analytics.claims_fact)"
                .to_owned(),
        ),
        ("aggregates that are not those of the claims", format!("EXISTS ({DIFFERENCES})")),
    ];
    let broken = promises.iter().filter(|(_, condition)| {
        let row = client.query_one(&format!("SELECT coalesce({condition}, false)"), &[]);
        row.expect("an answer").get::<_, bool>(0)
    });
    broken.map(|(promise, _)| (*promise).to_owned()).collect()
}
