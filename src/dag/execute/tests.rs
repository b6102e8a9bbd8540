//! Order, parallelism, retries, the trigger rule, stopping and panics.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex};

use serde_json::json;

use super::*;
use crate::dag::Graph;
use crate::error::ErrorKind;
use crate::event::NullObserver;

const ONCE: RetryPolicy = RetryPolicy { retries: 0, delay: Duration::ZERO };
const THRICE: RetryPolicy = RetryPolicy { retries: 2, delay: Duration::ZERO };

#[derive(Default)]
struct Journal(Mutex<Vec<(String, u32, &'static str)>>);

impl TaskLog for Journal {
    fn record(&self, entry: &LogEntry<'_>) {
        self.0.lock().expect("no panic").push((
            entry.task.to_owned(),
            entry.try_number,
            entry.state.name(),
        ));
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a task's signature")]
fn done(_: &TaskContext<'_>) -> Result<Outcome> {
    Ok(Outcome::Done(Value::Null))
}

fn lost_connection() -> Error {
    Error::new(ErrorKind::Warehouse { transient: true }, "connection lost")
}

fn run(graph: Graph<'_>, policy: RetryPolicy) -> Vec<TaskRun> {
    let plan = graph.build().expect("a plan");
    plan.run(policy, &NullObserver, &Journal::default(), &Cancellation::default())
}

fn states(runs: &[TaskRun]) -> Vec<(&str, &'static str)> {
    runs.iter().map(|run| (run.id.as_str(), run.state.name())).collect()
}

#[test]
fn results_reach_all_tasks_after_and_no_others() {
    let runs = run(
        Graph::new()
            .task("a", &[], |_| Ok(Outcome::Done(json!({"rows": 7}))))
            .task("b", &["a"], done)
            .task("c", &["b"], |context| {
                assert_eq!(context.result("d"), None, "d does not come before c");
                Ok(Outcome::Done(context.result("a").expect("a comes before c")["rows"].clone()))
            })
            .task("d", &[], done),
        ONCE,
    );
    assert_eq!(runs[2].result, Some(json!(7)));
    assert_eq!(runs.iter().map(|run| run.tries).collect::<Vec<_>>(), [1, 1, 1, 1]);
}

#[test]
fn a_task_begins_after_all_before_it_have_ended() {
    let finished = AtomicU32::new(0);
    let slow = |_: &TaskContext<'_>| {
        thread::sleep(Duration::from_millis(30));
        finished.fetch_add(1, Ordering::SeqCst);
        Ok(Outcome::Done(Value::Null))
    };
    let runs = run(
        Graph::new()
            .task("a", &[], slow)
            .task("b", &[], slow)
            .task("c", &["a", "b"], |_| Ok(Outcome::Done(json!(finished.load(Ordering::SeqCst))))),
        ONCE,
    );
    assert_eq!(runs[2].result, Some(json!(2)));
}

#[test]
fn what_is_ready_runs_at_the_same_time() {
    let meeting = Barrier::new(3);
    let meet = |_: &TaskContext<'_>| {
        meeting.wait();
        Ok(Outcome::Done(Value::Null))
    };
    let runs =
        run(Graph::new().task("a", &[], meet).task("b", &[], meet).task("c", &[], meet), ONCE);
    assert!(runs.iter().all(|run| run.state == State::Success));
}

#[test]
fn a_passing_error_is_tried_again_and_every_try_is_written_down() {
    let plan =
        Graph::new()
            .task("load", &[], |context| {
                if context.attempt < 3 { Err(lost_connection()) } else { done(context) }
            })
            .build()
            .expect("a plan");
    let journal = Journal::default();
    let runs = plan.run(THRICE, &NullObserver, &journal, &Cancellation::default());
    assert_eq!((runs[0].state, runs[0].tries, &runs[0].error), (State::Success, 3, &None));
    let entries = journal.0.into_inner().expect("no panic");
    let entries: Vec<_> = entries.iter().map(|(_, number, state)| (*number, *state)).collect();
    let expected = [
        (1, "running"),
        (1, "up_for_retry"),
        (2, "running"),
        (2, "up_for_retry"),
        (3, "running"),
        (3, "success"),
    ];
    assert_eq!(entries, expected);
}

#[test]
fn tries_end_with_the_policy() {
    let runs = run(Graph::new().task("load", &[], |_| Err(lost_connection())), THRICE);
    assert_eq!((runs[0].state, runs[0].tries), (State::Failed, 3));
    assert_eq!(runs[0].error, Some(lost_connection()));
}

#[test]
fn a_permanent_error_is_tried_once() {
    let runs = run(Graph::new().task("load", &[], |_| Err(Error::source("gone"))), THRICE);
    assert_eq!((runs[0].state, runs[0].tries), (State::Failed, 1));
}

#[test]
fn a_failure_stops_what_comes_after_it_and_nothing_else() {
    let runs = run(
        Graph::new()
            .task("a", &[], |_| Err(Error::source("gone")))
            .task("b", &[], done)
            .task("c", &["a", "b"], done)
            .task("d", &["c"], done)
            .task("e", &["b"], done),
        ONCE,
    );
    let expected = [
        ("a", "failed"),
        ("b", "success"),
        ("c", "upstream_failed"),
        ("d", "upstream_failed"),
        ("e", "success"),
    ];
    assert_eq!(states(&runs), expected);
    assert_eq!(runs[2].tries, 0);
}

#[test]
fn a_short_circuit_skips_all_that_comes_after_it() {
    let runs = run(
        Graph::new()
            .task("a", &[], |_| Ok(Outcome::ShortCircuit(json!("loaded already"))))
            .task("b", &["a"], done)
            .task("c", &["b"], done)
            .task("d", &[], done),
        ONCE,
    );
    let expected = [("a", "success"), ("b", "skipped"), ("c", "skipped"), ("d", "success")];
    assert_eq!(states(&runs), expected);
    assert_eq!(runs[0].result, Some(json!("loaded already")));
}

#[test]
fn a_stop_ends_the_wait_for_the_next_try_at_once() {
    let cancel = Cancellation::default();
    let plan = Graph::new().task("load", &[], |_| Err(lost_connection())).build().expect("a plan");
    let policy = RetryPolicy { retries: 1, delay: Duration::from_mins(5) };
    let clock = Instant::now();
    let runs = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            cancel.cancel(15);
        });
        plan.run(policy, &NullObserver, &Journal::default(), &cancel)
    });
    assert!(clock.elapsed() < Duration::from_secs(10));
    assert_eq!((runs[0].state, runs[0].tries), (State::Failed, 1));
    assert_eq!(runs[0].error.as_ref().map(Error::kind), Some(ErrorKind::Interrupted(15)));
}

#[test]
fn after_a_stop_nothing_new_begins() {
    let cancel = Cancellation::default();
    let plan = Graph::new()
        .task("a", &[], |context| {
            context.cancel.cancel(2);
            done(context)
        })
        .task("b", &["a"], done)
        .task("c", &["b"], done)
        .build()
        .expect("a plan");
    let runs = plan.run(ONCE, &NullObserver, &Journal::default(), &cancel);
    assert_eq!(states(&runs), [("a", "success"), ("b", "failed"), ("c", "upstream_failed")]);
    assert_eq!(runs[1].tries, 0);
    assert_eq!(runs[1].error.as_ref().map(Error::kind), Some(ErrorKind::Interrupted(2)));
}

/// Who panics whenever something is written down or told.
struct Broken;

impl TaskLog for Broken {
    fn record(&self, _: &LogEntry<'_>) {
        panic!("no file descriptors left");
    }
}

impl Observer for Broken {
    fn observe(&self, _: &RunEvent) {
        panic!("stderr is closed");
    }
}

#[test]
fn a_log_and_a_listener_that_panic_keep_no_task_from_its_end() {
    let plan =
        Graph::new()
            .task("a", &[], |context| {
                if context.attempt < 2 { Err(lost_connection()) } else { done(context) }
            })
            .task("b", &["a"], |_| Err(Error::source("gone")))
            .task("c", &["b"], done)
            .build()
            .expect("a plan");
    let runs = plan.run(THRICE, &Broken, &Broken, &Cancellation::default());
    assert_eq!(states(&runs), [("a", "success"), ("b", "failed"), ("c", "upstream_failed")]);
    assert_eq!(runs[0].tries, 2);
}

#[test]
fn a_panic_fails_its_task_and_keeps_its_text_back() {
    let runs = run(
        Graph::new().task("a", &[], |_| panic!("patient 4711")).task("b", &["a"], done),
        THRICE,
    );
    assert_eq!(states(&runs), [("a", "failed"), ("b", "upstream_failed")]);
    let error = runs[0].error.as_ref().expect("failed");
    assert_eq!((error.kind(), runs[0].tries), (ErrorKind::Internal, 1));
    assert!(!error.to_string().contains("4711"), "{error}");
}
