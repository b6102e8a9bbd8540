//! Tests of the runner with fake targets.

use std::sync::Barrier;

use arrow::record_batch::RecordBatch;

use super::*;
use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::refresh::job::Statements;
use crate::refresh::targets;

struct Fake<F>(TargetInfo, F);

fn fake<F>(name: &str, work: F) -> Box<dyn Target>
where
    F: Fn(&mut Job<'_>) -> Result<Done, Failure> + Send + Sync + 'static,
{
    let info = TargetInfo {
        name: name.to_owned(),
        provider: "fake",
        parallel: if name.starts_with("alone") { 1 } else { 4 },
        required: name == "required",
        deadline: Duration::from_mins(1),
        skipped: (name == "off").then(|| "switched off".to_owned()),
    };
    Box::new(Fake(info, work))
}

impl<F: Fn(&mut Job<'_>) -> Result<Done, Failure> + Send + Sync> Target for Fake<F> {
    fn info(&self) -> &TargetInfo {
        &self.0
    }

    fn wave(&self) -> Wave {
        match self.0.name.as_str() {
            "first" => Wave::First,
            "last" => Wave::Last,
            _ => Wave::Middle,
        }
    }

    fn check(&self, _job: &mut Job<'_>) -> Result<String, Failure> {
        Ok(String::new())
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        (self.1)(job)
    }
}

fn no_server() -> Result<PostgresConnection> {
    Err(Error::warehouse("no server here"))
}

fn all(targets: &[Box<dyn Target>]) -> Vec<TargetResult> {
    refresh_all(targets, &PublishedRun::default(), &no_server, &Cancellation::default())
}

fn outcomes(results: &[TargetResult]) -> Vec<(&str, &str)> {
    results.iter().map(|r| (r.target.as_str(), r.outcome.as_str())).collect()
}

#[test]
fn neither_an_error_nor_a_panic_stops_the_others() {
    let targets: Vec<Box<dyn Target>> = vec![
        fake("last", |job: &mut Job<'_>| {
            let earlier = job.earlier.iter().map(|one| one.target.as_str());
            Ok(Done::succeeded(earlier.collect::<Vec<_>>().join(" ")))
        }),
        fake("panics", |_: &mut Job<'_>| panic!("patient 123-45-6789")),
        fake("required", |job: &mut Job<'_>| {
            job.query("numbers", "SELECT 1")?;
            Ok(Done::succeeded(""))
        }),
        fake("off", |_: &mut Job<'_>| Ok(Done::succeeded("must not run"))),
        fake("fine", |job: &mut Job<'_>| {
            job.count_attempt();
            job.note_remote_id("7");
            Ok(Done::succeeded("page.html"))
        }),
    ];
    let results = all(&targets);
    assert_eq!(
        outcomes(&results),
        [
            ("last", "succeeded"),
            ("panics", "failed"),
            ("required", "failed"),
            ("off", "skipped"),
            ("fine", "succeeded")
        ]
    );
    assert_eq!(results[0].detail, "panics required off fine");
    assert_eq!(results[1].detail, "the refresh panicked");
    assert_eq!(results[2].detail, "no server here");
    assert!(results[2].required && !results[1].required);
    assert_eq!((results[4].remote_id.as_deref(), results[4].attempts), (Some("7"), 1));
}

#[test]
fn what_others_read_is_made_before_they_begin() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static MADE: AtomicBool = AtomicBool::new(false);
    let targets: Vec<Box<dyn Target>> = vec![
        fake("reads", |_: &mut Job<'_>| {
            Ok(Done::succeeded(MADE.load(Ordering::SeqCst).to_string()))
        }),
        fake("first", |_: &mut Job<'_>| {
            std::thread::sleep(Duration::from_millis(20));
            MADE.store(true, Ordering::SeqCst);
            Err(Failure::failed("also where it fails"))
        }),
    ];
    assert_eq!(all(&targets)[0].detail, "true");
}

#[test]
fn targets_run_at_the_same_time() {
    // Each waits for the other, so sequential execution would never end.
    static BOTH: Barrier = Barrier::new(2);
    let wait = |_: &mut Job<'_>| {
        BOTH.wait();
        Ok(Done::succeeded(""))
    };
    let targets: Vec<Box<dyn Target>> = vec![fake("one", wait), fake("two", wait)];
    assert_eq!(outcomes(&all(&targets)), [("one", "succeeded"), ("two", "succeeded")]);
}

#[test]
fn no_more_than_the_limit_at_once() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let work = |_: &mut Job<'_>| {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        NOW.fetch_sub(1, Ordering::SeqCst);
        Ok(Done::succeeded(""))
    };
    let targets: Vec<Box<dyn Target>> = (0..6).map(|n| fake(&format!("alone {n}"), work)).collect();
    assert!(all(&targets).iter().all(|result| result.outcome == Outcome::Succeeded));
    assert_eq!(MOST.load(Ordering::SeqCst), 1);
}

#[test]
fn a_signal_ends_the_wait_for_a_turn() {
    let cancel = Cancellation::default();
    let work = {
        let cancel = cancel.clone();
        move |_: &mut Job<'_>| {
            cancel.cancel(15);
            // Keeps the permit until the other target has seen the signal.
            std::thread::sleep(Duration::from_millis(50));
            Ok(Done::succeeded(""))
        }
    };
    let targets: Vec<Box<dyn Target>> = vec![fake("alone 1", work.clone()), fake("alone 2", work)];
    let results = refresh_all(&targets, &PublishedRun::default(), &no_server, &cancel);
    let mut ends: Vec<&str> = results.iter().map(|result| result.outcome.as_str()).collect();
    ends.sort_unstable();
    assert_eq!(ends, ["cancelled", "succeeded"]);
}

#[test]
fn a_deadline_and_a_signal_end_every_wait() {
    struct Nothing;
    impl Statements for Nothing {
        fn query(&mut self, _: &str, _: &str) -> Result<RecordBatch> {
            Err(Error::internal("no query here"))
        }
        fn execute(&mut self, _: &str, _: &str, _: Instant) -> Result<u64> {
            Err(Error::internal("no statement here"))
        }
    }
    let (published, cancel, mut nothing) =
        (PublishedRun::default(), Cancellation::default(), Nothing);
    let until = Instant::now() + Duration::from_millis(30);
    let job = Job::new(&published, &[], &mut nothing, until, &cancel);
    let ended = job.pause(Duration::from_mins(1)).expect_err("too long");
    assert_eq!(ended.outcome, Outcome::TimedOut);
    cancel.cancel(15);
    assert_eq!(job.pause(Duration::ZERO).expect_err("a signal").outcome, Outcome::Cancelled);
}

#[test]
fn a_switched_off_dashboard_is_reported_as_skipped() {
    let mut settings = Settings::default();
    settings.refresh.dashboard.enabled = false;
    settings.refresh.provider_month.enabled = false;
    let skipped = [("provider_month", "skipped"), ("dashboard", "skipped")];
    assert_eq!(outcomes(&all(&targets(&settings))), skipped);
}
