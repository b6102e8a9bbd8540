//! Selects an earlier run: the last one, or one by its id.

use super::task_id::Task;
use crate::adbc_postgres::PostgresConnection;
use crate::error::{Error, Result};
use crate::event::RunId;
use crate::load::ledger_read;
use crate::load::ledger_read::Record;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunSelector {
    /// The most recently started run.
    Last,
    Run(RunId),
}

impl RunSelector {
    /// Parses `last` or a run id.
    ///
    /// # Errors
    /// `Config` when the text is neither.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "last" { Ok(Self::Last) } else { RunId::parse(text).map(Self::Run) }
    }

    pub(crate) fn id(self, connection: &mut PostgresConnection) -> Result<RunId> {
        match self {
            Self::Run(run) => Ok(run),
            Self::Last => ledger_read::latest(connection)?.ok_or_else(|| {
                Error::config("the ledger knows no run yet")
                    .hint("there is nothing to go back to before the first `claims-etl run`")
            }),
        }
    }
}

/// The record of the selected run, or of the run that had already loaded its input.
pub(crate) fn read(connection: &mut PostgresConnection, run: RunId) -> Result<Record> {
    let unknown = || {
        Error::config(format!("the ledger knows no run {run}"))
            .hint("`claims-etl runs` lists the ids of all runs")
    };
    let record = ledger_read::record(connection, run, Task::RefreshBi.id())?.ok_or_else(unknown)?;
    let Some(loaded_by) = record.loaded_by.as_deref().filter(|_| record.account.is_none()) else {
        return Ok(record);
    };
    Ok(ledger_read::record(connection, RunId::parse(loaded_by)?, Task::RefreshBi.id())?
        .unwrap_or(record))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_run_is_named_by_its_id_or_as_the_last() {
        let run = RunId::now();
        assert_eq!(RunSelector::parse("last"), Ok(RunSelector::Last));
        assert_eq!(RunSelector::parse(&run.to_string()), Ok(RunSelector::Run(run)));
        assert_eq!(RunSelector::parse("first").expect_err("no id").kind(), ErrorKind::Config);
    }
}
