//! Tests of retries, the trigger rule, cancellation and panics.

use std::thread;

use Task::{ExtractClaims, LoadWarehouse, TransformJoin};
use serde_json::json;

use super::*;
use crate::error::ErrorKind;
use crate::event::{Cancellation, NullObserver, Observer};

const START: Upstream<()> = Upstream::Ready(());

fn retries(retries: u32, cancel: &Cancellation) -> Retries<'_> {
    Retries { limit: retries, delay: Duration::ZERO, observer: &NullObserver, cancel }
}

/// Results of `tasks` with two retries.
fn runs(tasks: impl FnOnce(&TaskRunner<'_>)) -> Vec<TaskRun> {
    let cancel = Cancellation::default();
    let runner = TaskRunner::new(retries(2, &cancel), &|_| {});
    tasks(&runner);
    runner.into_runs()
}

#[expect(clippy::unnecessary_wraps, reason = "a task's signature")]
fn done<T>(value: T) -> Result<Outcome<T>> {
    Ok(Outcome::Done { value, result: Value::Null })
}

fn lost_connection() -> Error {
    Error::new(ErrorKind::Warehouse { transient: true }, "connection lost")
}

fn states(runs: &[TaskRun]) -> Vec<&'static str> {
    runs.iter().map(|run| run.state.name()).collect()
}

#[test]
fn a_value_reaches_the_next_task() {
    let runs = runs(|runner| {
        let read = runner.run(ExtractClaims, START, |(), _| done(7));
        let summed = runner.run(TransformJoin, read.as_ref(), |read, attempt| {
            Ok(Outcome::Done { value: read + attempt, result: json!({ "rows": read }) })
        });
        assert_eq!((read, summed), (Upstream::Ready(7), Upstream::Ready(8)));
    });
    assert_eq!(runs[1].result, Some(json!({ "rows": 7 })));
    assert_eq!(runs.iter().map(|run| run.tries).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn runs_are_listed_in_the_order_of_the_data() {
    let runs = runs(|runner| {
        runner.run(LoadWarehouse, START, |(), _| done(()));
        runner.run(ExtractClaims, START, |(), _| done(()));
    });
    assert_eq!([runs[0].task, runs[1].task], [ExtractClaims, LoadWarehouse]);
}

#[test]
fn a_transient_error_is_retried_and_every_try_is_logged() {
    let cancel = Cancellation::default();
    let journal = Mutex::new(Vec::new());
    let log = |entry: &LogEntry<'_>| {
        journal.lock().expect("no panic").push((entry.try_number, entry.state.name()));
    };
    let runner = TaskRunner::new(retries(2, &cancel), &log);
    runner.run(
        LoadWarehouse,
        START,
        |(), attempt| {
            if attempt < 3 { Err(lost_connection()) } else { done(()) }
        },
    );
    let runs = runner.into_runs();
    assert_eq!((runs[0].state, runs[0].tries, &runs[0].error), (State::Success, 3, &None));
    let expected = [
        (1, "running"),
        (1, "up_for_retry"),
        (2, "running"),
        (2, "up_for_retry"),
        (3, "running"),
        (3, "success"),
    ];
    assert_eq!(journal.into_inner().expect("no panic"), expected);
}

#[test]
fn tries_end_with_the_limit() {
    let runs = runs(|runner| {
        runner.run::<_, ()>(LoadWarehouse, START, |(), _| Err(lost_connection()));
    });
    assert_eq!((runs[0].state, runs[0].tries), (State::Failed, 3));
    assert_eq!(runs[0].error, Some(lost_connection()));
}

#[test]
fn a_permanent_error_is_tried_once() {
    let runs = runs(|runner| {
        runner.run::<_, ()>(LoadWarehouse, START, |(), _| Err(Error::source("gone")));
    });
    assert_eq!((runs[0].state, runs[0].tries), (State::Failed, 1));
}

#[test]
fn a_failure_fails_what_comes_after_it() {
    let runs = runs(|runner| {
        let failed = runner.run::<_, ()>(ExtractClaims, START, |(), _| Err(Error::source("gone")));
        let read = runner.run(Task::ExtractProviders, START, |(), _| done(()));
        let joined = runner.run(TransformJoin, failed.and(read), |_, _| done(()));
        runner.run(LoadWarehouse, joined, |(), _| done(()));
    });
    assert_eq!(states(&runs), ["failed", "success", "upstream_failed", "upstream_failed"]);
    assert_eq!(runs[2].tries, 0);
}

#[test]
fn a_short_circuit_skips_what_comes_after_it() {
    let runs = runs(|runner| {
        let loaded = || Ok(Outcome::<()>::ShortCircuit(json!("loaded already")));
        let found = runner.run(ExtractClaims, START, |(), _| loaded());
        let joined = runner.run(TransformJoin, found, |(), _| done(()));
        runner.run(LoadWarehouse, joined, |(), _| done(()));
    });
    assert_eq!(states(&runs), ["success", "skipped", "skipped"]);
    assert_eq!(runs[0].result, Some(json!("loaded already")));
}

#[test]
fn a_failure_outweighs_a_skip() {
    let (failed, skipped) = (Upstream::<()>::Failed, Upstream::<()>::Skipped);
    assert_eq!(failed.and(skipped), Upstream::Failed);
    assert_eq!(skipped.and(failed), Upstream::Failed);
    assert_eq!(skipped.and(START), Upstream::Skipped);
}

#[test]
fn a_stop_ends_the_wait_for_the_next_try_at_once() {
    let cancel = Cancellation::default();
    let retries = Retries { delay: Duration::from_mins(5), ..retries(1, &cancel) };
    let runner = TaskRunner::new(retries, &|_| {});
    let clock = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            cancel.cancel(15);
        });
        runner.run::<_, ()>(LoadWarehouse, START, |(), _| Err(lost_connection()));
    });
    assert!(clock.elapsed() < Duration::from_secs(10));
    let runs = runner.into_runs();
    assert_eq!((runs[0].state, runs[0].tries), (State::Failed, 1));
    assert_eq!(runs[0].error.as_ref().map(Error::kind), Some(ErrorKind::Interrupted(15)));
}

#[test]
fn after_a_stop_nothing_new_begins() {
    let cancel = Cancellation::default();
    let runner = TaskRunner::new(retries(0, &cancel), &|_| {});
    let read = runner.run(ExtractClaims, START, |(), _| {
        cancel.cancel(2);
        done(())
    });
    let joined = runner.run(TransformJoin, read, |(), _| done(()));
    runner.run(LoadWarehouse, joined, |(), _| done(()));
    let runs = runner.into_runs();
    assert_eq!(states(&runs), ["success", "failed", "upstream_failed"]);
    assert_eq!(runs[1].tries, 0);
    assert_eq!(runs[1].error.as_ref().map(Error::kind), Some(ErrorKind::Interrupted(2)));
}

#[test]
fn a_panic_of_the_log_or_of_an_observer_keeps_no_task_from_its_end() {
    struct Broken;
    impl Observer for Broken {
        fn observe(&self, _: &RunEvent) {
            panic!("stderr is closed");
        }
    }
    let cancel = Cancellation::default();
    let retries = Retries { observer: &Broken, ..retries(2, &cancel) };
    let runner = TaskRunner::new(retries, &|_| panic!("no file descriptors left"));
    let read = runner.run(ExtractClaims, START, |(), attempt| {
        if attempt < 2 { Err(lost_connection()) } else { done(()) }
    });
    let joined = runner.run::<_, ()>(TransformJoin, read, |(), _| Err(Error::source("gone")));
    runner.run(LoadWarehouse, joined, |(), _| done(()));
    let runs = runner.into_runs();
    assert_eq!(states(&runs), ["success", "failed", "upstream_failed"]);
    assert_eq!(runs[0].tries, 2);
}

#[test]
fn a_panic_fails_its_task_without_its_text() {
    let runs = runs(|runner| {
        let read = runner.run::<_, ()>(ExtractClaims, START, |(), _| panic!("patient 4711"));
        runner.run(TransformJoin, read, |(), _| done(()));
    });
    assert_eq!(states(&runs), ["failed", "upstream_failed"]);
    let error = runs[0].error.as_ref().expect("failed");
    assert_eq!((error.kind(), runs[0].tries), (ErrorKind::Internal, 1));
    assert!(!error.to_string().contains("4711"), "{error}");
}
