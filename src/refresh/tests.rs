//! Targets of the tests' own, without a server.

use std::sync::Barrier;

use arrow::record_batch::RecordBatch;

use super::*;
use crate::adbc_postgres::PostgresConnection;

struct Fake<F>(About, F);

fn fake<F>(name: &str, work: F) -> Box<dyn Target>
where
    F: Fn(&mut Job<'_>) -> Result<Done, Failure> + Send + Sync + 'static,
{
    let about = About {
        name: name.to_owned(),
        provider: "fake",
        parallel: if name.starts_with("alone") { 1 } else { 4 },
        required: name == "required",
        deadline: Duration::from_mins(1),
        skipped: (name == "off").then(|| "switched off".to_owned()),
    };
    Box::new(Fake(about, work))
}

impl<F: Fn(&mut Job<'_>) -> Result<Done, Failure> + Send + Sync> Target for Fake<F> {
    fn about(&self) -> &About {
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
    // Each waits for the other: one after the other they would never end.
    static BOTH: Barrier = Barrier::new(2);
    let wait = |_: &mut Job<'_>| {
        BOTH.wait();
        Ok(Done::succeeded(""))
    };
    let targets: Vec<Box<dyn Target>> = vec![fake("one", wait), fake("two", wait)];
    assert_eq!(outcomes(&all(&targets)), [("one", "succeeded"), ("two", "succeeded")]);
}

#[test]
fn a_deadline_and_a_signal_end_every_wait() {
    struct Nothing;
    impl Ask for Nothing {
        fn query(&mut self, _: &str, _: &str) -> Result<RecordBatch> {
            Err(Error::internal("no query here"))
        }
        fn execute(&mut self, _: &str, _: &str, _: Instant) -> Result<u64> {
            Err(Error::internal("no statement here"))
        }
    }
    let (occasion, cancel, mut nothing) =
        (PublishedRun::default(), Cancellation::default(), Nothing);
    let until = Instant::now() + Duration::from_millis(30);
    let job = Job::new(&occasion, &[], &mut nothing, until, &cancel);
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
