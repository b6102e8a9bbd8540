//! What is refreshed after the load has committed: every target on a thread of its own, each with
//! its own outcome.
//!
//! A module of its own because a refresh reads what the load has published and never takes part
//! in it: a target that fails, or panics, stops neither the others nor the run.

mod dashboard;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use adbc_core::Connection;
use arrow::record_batch::RecordBatch;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::{failpoint, sql};

pub use dashboard::Dashboard;

/// Something that shows the warehouse and has to be told that it has changed.
pub trait Target: Send + Sync {
    /// The name in the report and in the configuration.
    fn name(&self) -> &str;

    /// Whether a failure ends the run with exit code 6.
    fn required(&self) -> bool;

    /// Why this target is left out, where it is.
    fn skipped(&self) -> Option<String> {
        None
    }

    /// Refreshes the target and tells where the result is.
    ///
    /// # Errors
    /// Whatever keeps the target from showing the new data; the message holds no cell's value.
    fn refresh(&self, warehouse: &mut Warehouse<'_>) -> Result<String>;
}

/// The published tables, as a target sees them: one connection, opened by the first query.
///
/// It hides the connection's type, so that targets are objects and tests need no server.
pub struct Warehouse<'a> {
    ask: &'a mut dyn FnMut(&str, &str) -> Result<RecordBatch>,
}

impl<'a> Warehouse<'a> {
    /// A warehouse whose queries `ask(context, sql)` answers.
    pub fn new(ask: &'a mut dyn FnMut(&str, &str) -> Result<RecordBatch>) -> Self {
        Self { ask }
    }

    /// The whole result of `sql`; `context` names it in errors.
    ///
    /// # Errors
    /// `Warehouse` when there is no connection to be had or the query is refused.
    pub fn query(&mut self, context: &str, sql: &str) -> Result<RecordBatch> {
        (self.ask)(context, sql)
    }
}

/// How a target's refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The target shows the published data.
    Succeeded,
    /// The target may show older data.
    Failed,
    /// The target is switched off.
    Skipped,
}

impl Outcome {
    /// The name in the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One target's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetResult {
    /// The target's name.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Where the result is, or why there is none; free of cell values.
    pub detail: String,
    /// The time it took.
    pub elapsed: Duration,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
}

/// The targets that the settings name, switched off ones included.
#[must_use]
pub fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    vec![Box::new(Dashboard::new(settings))]
}

/// Refreshes all targets at the same time; the results come in the order of `targets`.
#[must_use]
pub fn refresh_all<C: Connection>(
    targets: &[Box<dyn Target>],
    connect: &(dyn Fn() -> Result<C> + Sync),
) -> Vec<TargetResult> {
    std::thread::scope(|scope| {
        let running: Vec<_> = targets
            .iter()
            .map(|target| {
                std::thread::Builder::new()
                    .name(format!("refresh-{}", target.name()))
                    .spawn_scoped(scope, move || refresh_one(target.as_ref(), connect))
            })
            .collect();
        targets
            .iter()
            .zip(running)
            .map(|(target, thread)| match thread.map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(result)) => result,
                // Both are out of reach of a target: `refresh_one` catches its panics.
                Ok(Err(_)) | Err(_) => result_of(
                    target.as_ref(),
                    Outcome::Failed,
                    "no thread could be started for it".into(),
                    Duration::ZERO,
                ),
            })
            .collect()
    })
}

fn refresh_one<C: Connection>(
    target: &dyn Target,
    connect: &(dyn Fn() -> Result<C> + Sync),
) -> TargetResult {
    if let Some(reason) = target.skipped() {
        return result_of(target, Outcome::Skipped, reason, Duration::ZERO);
    }
    let started = Instant::now();
    let mut connection: Option<C> = None;
    let mut ask = |context: &str, sql: &str| {
        let open = match &mut connection {
            Some(open) => open,
            none => none.insert(one_snapshot(connect()?)?),
        };
        failpoint::hit("refresh.query")?;
        sql::query(open, context, sql)
    };
    // The panic's message is dropped on purpose: it could quote a row.
    let refreshed =
        catch_unwind(AssertUnwindSafe(|| target.refresh(&mut Warehouse::new(&mut ask))))
            .unwrap_or_else(|_| Err(Error::internal("the refresh panicked")));
    let (outcome, detail) = match refreshed {
        Ok(detail) => (Outcome::Succeeded, detail),
        Err(error) => (Outcome::Failed, error.to_string()),
    };
    result_of(target, outcome, detail, started.elapsed())
}

/// All queries of a target see the tables as the same run left them.
fn one_snapshot<C: Connection>(mut connection: C) -> Result<C> {
    sql::begin(&mut connection)?;
    let isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    sql::execute(&mut connection, "refresh", isolation)?;
    Ok(connection)
}

fn result_of(
    target: &dyn Target,
    outcome: Outcome,
    detail: String,
    elapsed: Duration,
) -> TargetResult {
    let (target, required) = (target.name().to_owned(), target.required());
    TargetResult { target, outcome, detail, elapsed, required }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::adbc_postgres::PostgresConnection;

    struct Fake<F>(&'static str, F);

    impl<F: Fn(&mut Warehouse<'_>) -> Result<String> + Send + Sync> Target for Fake<F> {
        fn name(&self) -> &str {
            self.0
        }

        fn required(&self) -> bool {
            self.0 == "required"
        }

        fn skipped(&self) -> Option<String> {
            (self.0 == "off").then(|| "switched off".to_owned())
        }

        fn refresh(&self, warehouse: &mut Warehouse<'_>) -> Result<String> {
            (self.1)(warehouse)
        }
    }

    fn no_server() -> Result<PostgresConnection> {
        Err(Error::warehouse("no server here"))
    }

    fn outcomes(results: &[TargetResult]) -> Vec<(&str, &str)> {
        results.iter().map(|r| (r.target.as_str(), r.outcome.as_str())).collect()
    }

    #[test]
    fn neither_an_error_nor_a_panic_stops_the_others() {
        let targets: Vec<Box<dyn Target>> = vec![
            Box::new(Fake("panics", |_: &mut Warehouse<'_>| panic!("patient 123-45-6789"))),
            Box::new(Fake("required", |w: &mut Warehouse<'_>| {
                w.query("numbers", "SELECT 1").map(|_| String::new())
            })),
            Box::new(Fake("off", |_: &mut Warehouse<'_>| Ok("must not run".into()))),
            Box::new(Fake("fine", |_: &mut Warehouse<'_>| Ok("page.html".into()))),
        ];
        let results = refresh_all(&targets, &no_server);
        assert_eq!(
            outcomes(&results),
            [
                ("panics", "failed"),
                ("required", "failed"),
                ("off", "skipped"),
                ("fine", "succeeded")
            ]
        );
        assert_eq!(results[0].detail, "the refresh panicked");
        assert_eq!(results[1].detail, "no server here");
        assert!(results[1].required && !results[0].required);
        assert_eq!(results[3].detail, "page.html");
    }

    #[test]
    fn targets_run_at_the_same_time() {
        // Each waits for the other: one after the other they would never end.
        static BOTH: Barrier = Barrier::new(2);
        let wait = |_: &mut Warehouse<'_>| {
            BOTH.wait();
            Ok(String::new())
        };
        let targets: Vec<Box<dyn Target>> =
            vec![Box::new(Fake("one", wait)), Box::new(Fake("two", wait))];
        let results = refresh_all(&targets, &no_server);
        assert_eq!(outcomes(&results), [("one", "succeeded"), ("two", "succeeded")]);
    }

    #[test]
    fn a_switched_off_dashboard_is_reported_as_skipped() {
        let mut settings = Settings::default();
        settings.refresh.dashboard.enabled = false;
        let results = refresh_all(&targets(&settings), &no_server);
        assert_eq!(outcomes(&results), [("dashboard", "skipped")]);
    }
}
