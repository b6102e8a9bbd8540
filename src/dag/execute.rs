//! Running a plan: whatever is ready runs at once, errors that can pass are tried again.
//!
//! The trigger rule is Airflow's `all_success`. A task's panic ends that task, not the program, and its
//! text is dropped, because it could hold a value. Every thread hands in an end, whatever becomes of it,
//! and a panic of the log or of a listener costs an entry, not the task.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::graph::{Node, Plan};
use super::task::{LogEntry, Outcome, RetryPolicy, State, TaskContext, TaskLog, TaskRun};
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer, RunEvent, rest};
use crate::worker::{panicked, refused};

/// A finished task, and whether what comes after it is skipped.
struct End {
    run: TaskRun,
    short_circuit: bool,
}

/// What all tasks of one execution share.
#[derive(Clone, Copy)]
struct Surroundings<'s> {
    policy: RetryPolicy,
    observer: &'s dyn Observer,
    log: &'s dyn TaskLog,
    cancel: &'s Cancellation,
}

impl Plan<'_> {
    /// Runs all tasks and tells how each of them ended, in the plan's order. Tasks that a stop
    /// kept from running are failed with the error `Interrupted` and no try.
    ///
    /// # Panics
    /// Never: every task that was begun hands in its end.
    #[must_use]
    pub fn run(
        &self,
        policy: RetryPolicy,
        observer: &dyn Observer,
        log: &dyn TaskLog,
        cancel: &Cancellation,
    ) -> Vec<TaskRun> {
        let surroundings = Surroundings { policy, observer, log, cancel };
        let mut ends: Vec<Option<End>> = self.nodes.iter().map(|_| None).collect();
        let mut begun = vec![false; self.nodes.len()];
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            let mut running = 0_usize;
            loop {
                for (place, node) in self.nodes.iter().enumerate() {
                    if begun[place] || node.upstream.iter().any(|&before| ends[before].is_none()) {
                        continue;
                    }
                    begun[place] = true;
                    if let Some(end) = settle(node, &ends, surroundings) {
                        ends[place] = Some(end);
                        continue;
                    }
                    let results = results_before(node, &ends);
                    let sender = sender.clone();
                    let work = move || {
                        let work = AssertUnwindSafe(|| execute(node, &results, surroundings));
                        let end = catch_unwind(work).unwrap_or_else(|_| {
                            let error = Some(panicked(&node.id));
                            ended(TaskRun { error, tries: 1, ..failed(node) }, surroundings)
                        });
                        // The receiver outlives every task.
                        let _ = sender.send((place, end));
                    };
                    match thread::Builder::new().name(node.id.clone()).spawn_scoped(scope, work) {
                        Ok(_) => running += 1,
                        Err(error) => {
                            let error = Some(refused(&error));
                            let run = TaskRun { error, ..failed(node) };
                            ends[place] = Some(ended(run, surroundings));
                        }
                    }
                }
                if running == 0 {
                    break;
                }
                let (place, end) = receiver.recv().expect("a running task tells its end");
                ends[place] = Some(end);
                running -= 1;
            }
        });
        ends.into_iter().flatten().map(|end| end.run).collect()
    }
}

/// The end of a task that will not run, decided by the tasks before it and by a stop.
fn settle(node: &Node<'_>, ends: &[Option<End>], around: Surroundings<'_>) -> Option<End> {
    let before = || node.upstream.iter().filter_map(|&place| ends[place].as_ref());
    let (state, error) =
        if before().any(|end| matches!(end.run.state, State::Failed | State::UpstreamFailed)) {
            (State::UpstreamFailed, None)
        } else if before().any(|end| end.short_circuit || end.run.state == State::Skipped) {
            (State::Skipped, None)
        } else if let Err(stopped) = around.cancel.check() {
            (State::Failed, Some(stopped))
        } else {
            return None;
        };
    Some(ended(TaskRun { state, error, ..failed(node) }, around))
}

/// The end of a task outside of its work.
fn ended(run: TaskRun, around: Surroundings<'_>) -> End {
    around.record(&run, SystemTime::now(), Duration::ZERO);
    around.tell_end(&run);
    End { run, short_circuit: false }
}

/// A task that has failed before its first try.
fn failed(node: &Node<'_>) -> TaskRun {
    TaskRun {
        id: node.id.clone(),
        group: node.group(),
        state: State::Failed,
        tries: 0,
        elapsed: Duration::ZERO,
        result: None,
        error: None,
    }
}

/// What the tasks before this one handed on.
fn results_before(node: &Node<'_>, ends: &[Option<End>]) -> BTreeMap<String, Value> {
    let ended = node.ancestors.iter().filter_map(|&place| ends[place].as_ref());
    ended.filter_map(|end| Some((end.run.id.clone(), end.run.result.clone()?))).collect()
}

/// Tries a task until it succeeds, fails for good or runs out of tries.
fn execute(node: &Node<'_>, results: &BTreeMap<String, Value>, around: Surroundings<'_>) -> End {
    let mut run = failed(node);
    loop {
        run.tries += 1;
        run.state = State::Running;
        run.error = None;
        let started_at = SystemTime::now();
        let clock = Instant::now();
        around.record(&run, started_at, Duration::ZERO);
        around.tell(&RunEvent::TaskStarted { task: run.id.clone(), attempt: run.tries });
        let outcome = attempt(node, results, run.tries, around);
        let elapsed = clock.elapsed();
        run.elapsed += elapsed;
        let mut short_circuit = false;
        match outcome {
            Ok(outcome) => {
                run.state = State::Success;
                short_circuit = matches!(outcome, Outcome::ShortCircuit(_));
                let (Outcome::Done(result) | Outcome::ShortCircuit(result)) = outcome;
                run.result = Some(result);
            }
            Err(error) => {
                let again = error.kind().is_transient() && run.tries <= around.policy.retries;
                run.state = if again { State::UpForRetry } else { State::Failed };
                run.error = Some(error);
            }
        }
        around.record(&run, started_at, elapsed);
        if run.state == State::UpForRetry {
            let Err(stopped) = around.wait(&run) else { continue };
            run.state = State::Failed;
            run.error = Some(stopped);
            around.record(&run, started_at, elapsed);
        }
        around.tell_end(&run);
        return End { run, short_circuit };
    }
}

/// One try. A panic is an error like any other, without its text.
fn attempt(
    node: &Node<'_>,
    results: &BTreeMap<String, Value>,
    attempt: u32,
    around: Surroundings<'_>,
) -> Result<Outcome> {
    let Surroundings { observer, cancel, .. } = around;
    let context = TaskContext { task: &node.id, attempt, observer, cancel, results };
    catch_unwind(AssertUnwindSafe(|| (node.work)(&context)))
        .unwrap_or_else(|_| Err(panicked(&node.id)))
}

impl Surroundings<'_> {
    /// Waits before the next try, or fails at once when somebody asks to stop.
    fn wait(self, run: &TaskRun) -> Result<()> {
        let delay = self.policy.delay;
        self.tell(&RunEvent::TaskRetry {
            task: run.id.clone(),
            attempt: run.tries,
            error: run.error.as_ref().map_or_else(String::new, |error| error.message().to_owned()),
            delay,
        });
        rest(delay, || self.cancel.check())
    }

    fn record(self, run: &TaskRun, started_at: SystemTime, elapsed: Duration) {
        let entry = LogEntry {
            task: &run.id,
            try_number: run.tries,
            state: run.state,
            started_at,
            elapsed,
            result: run.result.as_ref(),
            error: run.error.as_ref().map(Error::message),
        };
        // The hook reports a panic.
        let _ = catch_unwind(AssertUnwindSafe(|| self.log.record(&entry)));
    }

    fn tell(self, event: &RunEvent) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.observer.observe(event)));
    }

    fn tell_end(self, run: &TaskRun) {
        self.tell(&RunEvent::TaskFinished {
            task: run.id.clone(),
            state: run.state.name(),
            elapsed: run.elapsed,
            result: run.result.clone(),
            error: run.error.clone(),
        });
    }
}

#[cfg(test)]
mod tests;
