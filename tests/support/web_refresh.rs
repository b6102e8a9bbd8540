//! Refreshes without a warehouse, for the targets that only talk to a web server.

use std::time::Instant;

use claims_etl::adbc_postgres::PostgresConnection;
use claims_etl::config::Settings;
use claims_etl::error::{Error, Result};
use claims_etl::event::Cancellation;
use claims_etl::refresh::{
    Failure, Job, PublishedRun, Statements, TargetResult, refresh_all, targets,
};
use claims_etl::secret::source::SecretSource;

/// The targets that need no provider.
const OWN: [&str; 2] = ["provider_month", "dashboard"];

/// Settings without the static page.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.refresh.dashboard.enabled = false;
    settings.refresh.provider_month.enabled = false;
    // Whatever goes wrong, no test waits longer.
    settings.refresh.deadline_secs = 20;
    settings
}

/// A secret that is the same everywhere, so that it can be looked for.
pub(crate) fn secret() -> SecretSource {
    SecretSource::from_variable("SECRET", "hunter2")
}

fn no_warehouse() -> Result<PostgresConnection> {
    Err(Error::warehouse("no warehouse here"))
}

/// Refreshes everything that the settings name; the static page is left out.
pub(crate) fn refresh_on(
    settings: &Settings,
    published: &PublishedRun,
    cancel: &Cancellation,
) -> Vec<TargetResult> {
    let results = refresh_all(&targets(settings), published, &no_warehouse, cancel);
    let results: Vec<TargetResult> =
        results.into_iter().filter(|result| !OWN.contains(&result.target.as_str())).collect();
    for result in &results {
        assert!(!result.detail.contains("hunter2"), "{}", result.detail);
    }
    results
}

/// The one target's end.
pub(crate) fn refresh(settings: &Settings) -> TargetResult {
    let mut results = refresh_on(settings, &PublishedRun::default(), &Cancellation::default());
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// What the one target's check says.
pub(crate) fn check(settings: &Settings) -> Result<String, Failure> {
    struct Nothing;
    impl Statements for Nothing {
        fn query(&mut self, _: &str, _: &str) -> Result<arrow::record_batch::RecordBatch> {
            Err(Error::warehouse("no warehouse here"))
        }
        fn execute(&mut self, _: &str, _: &str, _: Instant) -> Result<u64> {
            Err(Error::warehouse("no warehouse here"))
        }
    }
    let all = targets(settings);
    let target = all.iter().find(|target| !OWN.contains(&target.name())).expect("a target");
    let (published, cancel, mut nothing) =
        (PublishedRun::default(), Cancellation::default(), Nothing);
    let until = Instant::now() + target.info().deadline;
    target.check(&mut Job::new(&published, &[], &mut nothing, until, &cancel))
}
