//! What all steps on the statistics have to know, and what their tables are called.

use adbc_core::sync::Connection;

use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::privacy::settings::Privacy;
use crate::risk::settings::Risk;
use crate::risk::{Exactness, Kept};
use crate::schema::{INTERNAL, Shape};
use crate::warehouse::sql;

/// Who works on the statistics, under which settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The run whose tables are made; 0 where no run is at work.
    pub(crate) run_no: i64,
    /// Weights and thresholds.
    pub(crate) settings: &'a Risk,
    /// What the privacy profile leaves to compare.
    pub(crate) exact: Exactness,
    /// The columns that the tables have.
    pub(crate) shape: Shape,
    /// Stops the work.
    pub(crate) cancel: &'a Cancellation,
}

impl<'a> Scope<'a> {
    /// The scope of a run.
    #[must_use]
    pub(crate) fn new(
        run_no: i64,
        settings: &'a Risk,
        privacy: &Privacy,
        cancel: &'a Cancellation,
    ) -> Self {
        Self { run_no, settings, exact: Exactness::of(privacy), shape: privacy.shape(), cancel }
    }

    /// Weights and thresholds as JSON, for the ledger.
    ///
    /// # Errors
    /// `Internal` when they cannot be written so.
    pub(in crate::load) fn parameters(&self) -> Result<String> {
        serde_json::to_string(self.settings)
            .map_err(|_| Error::internal("the settings of the score are no JSON"))
    }

    /// The statistics that are needed.
    pub(super) fn kept(&self) -> Kept {
        Kept::of(self.settings, self.exact)
    }

    /// The qualified name of a table of the run.
    pub(super) fn table(&self, what: &str) -> String {
        format!("{INTERNAL}.{}", self.name(what))
    }

    /// The same without the schema.
    pub(super) fn name(&self, what: &str) -> String {
        format!("claims_stage_{}_{what}", self.run_no)
    }

    /// The procedure code of the table `alias`; null where the tables do not have it, or where its values
    /// cannot be compared.
    pub(super) fn procedure(&self, alias: &str) -> String {
        if self.shape.has("procedure_code") && self.exact.procedure {
            format!("{alias}procedure_code")
        } else {
            "NULL::text AS procedure_code".to_owned()
        }
    }

    /// Makes an empty table of the run, and drops what an earlier try has left of it.
    pub(super) fn create(
        &self,
        connection: &mut impl Connection,
        what: &str,
        columns: &str,
    ) -> Result<()> {
        let table = self.table(what);
        sql::execute(
            connection,
            "creating a table for the statistics",
            &format!("DROP TABLE IF EXISTS {table}; CREATE TABLE {table} ({columns})"),
        )
        .map(drop)
    }
}
