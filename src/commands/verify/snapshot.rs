//! One unchanging view of the warehouse, and which runs have written what is in it.

use std::collections::BTreeMap;

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED};
use crate::warehouse::sql;

const CONTEXT: &str = "verify";

/// Does `work` in one read-only snapshot of the warehouse.
///
/// The tables are named before the snapshot is taken, by the lock that every query takes and that
/// only a change of their definition waits for: a partition that were attached in between would
/// show its rows, but not its run.
///
/// # Errors
/// That of `work`; `Warehouse` when the tables cannot be read.
pub(crate) fn in_snapshot<C: Connection, T>(
    connection: &mut C,
    work: impl FnOnce(&mut C) -> Result<T>,
) -> Result<T> {
    sql::in_transaction(connection, CONTEXT, |connection| {
        sql::execute(
            connection,
            CONTEXT,
            &format!(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
                 LOCK TABLE {PUBLISHED}.{CLAIMS_FACT}, {PUBLISHED}.{PROVIDERS_DIM} IN ACCESS SHARE MODE;
                 SET LOCAL jit = off"
            ),
        )?;
        work(connection)
    })
}

/// The runs that have published, seen from the one that is verified.
#[derive(Debug, Clone)]
pub(crate) struct Runs {
    run_no: i64,
    /// The runs that have published: number of the run, number of the publication.
    published: BTreeMap<i64, i64>,
    /// Whether the run left rows of earlier runs alone.
    keeps_earlier: bool,
}

/// Who has written a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The run itself.
    Own,
    /// A run that published before it, whose row it found equal.
    Earlier,
    /// A run that has published since.
    Later,
    /// No run that could have.
    Nobody,
}

impl Runs {
    /// The runs as the ledger has them; `keeps_earlier`: the run may have left rows of earlier ones
    /// alone.
    ///
    /// # Errors
    /// `Warehouse` when the query fails.
    pub(crate) fn read(
        connection: &mut impl Connection,
        run_no: i64,
        keeps_earlier: bool,
    ) -> Result<Self> {
        let rows = sql::query(
            connection,
            CONTEXT,
            "SELECT run_no, publish_no FROM claims_etl.runs WHERE published_at IS NOT NULL",
        )?;
        let number = |name, row| sql::int(&rows, name, row);
        let published = (0..rows.num_rows())
            .filter_map(|row| number("run_no", row).zip(number("publish_no", row)))
            .collect();
        Ok(Self { run_no, published, keeps_earlier })
    }

    /// The number of the run that is verified.
    pub(crate) fn run_no(&self) -> i64 {
        self.run_no
    }

    /// Who has written a row with this number.
    pub(crate) fn writer(&self, run_no: Option<i64>) -> Writer {
        if run_no == Some(self.run_no) {
            return Writer::Own;
        }
        let publication = run_no.and_then(|run_no| self.published.get(&run_no));
        match (publication, self.published.get(&self.run_no)) {
            (Some(other), Some(own)) if other > own => Writer::Later,
            (Some(_), Some(_)) if self.keeps_earlier => Writer::Earlier,
            _ => Writer::Nobody,
        }
    }

    /// The same, where rows of earlier runs may always stay.
    pub(crate) fn keeping(&self) -> Self {
        Self { keeps_earlier: true, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_written_by_a_run_that_has_published() {
        // Run 1 was begun first and published last.
        let published = [(2, 1), (4, 2), (6, 3), (1, 4)].into();
        let runs = Runs { run_no: 4, published, keeps_earlier: true };
        let writer = |run_no| runs.writer(Some(run_no));
        assert_eq!([2, 4, 6].map(writer), [Writer::Earlier, Writer::Own, Writer::Later]);
        assert_eq!(writer(1), Writer::Later);
        assert_eq!([3, 5, 7].map(writer), [Writer::Nobody; 3]);
        let first = Runs { keeps_earlier: false, ..runs };
        assert_eq!(first.writer(Some(2)), Writer::Nobody);
        assert_eq!(first.writer(None), Writer::Nobody);
    }
}
