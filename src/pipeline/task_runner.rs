//! Runs a task with its retries and state changes, as Airflow does: ids, states and the trigger rule
//! `all_success`. The value that a task returns is what the next one takes.
//!
//! A panic ends its task, not the program; its text is dropped, because it could hold a value. A panic
//! of the log or of an observer costs an entry, not the task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::retries::Retries;
use super::task_id::Task;
use crate::error::{Error, Result};
use crate::event::RunEvent;
use crate::worker::panicked;

/// A task's state, as Airflow names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Success,
    /// Ended by an error, or not begun because the run was stopped.
    Failed,
    /// A try ended by a transient error; another one follows.
    UpForRetry,
    /// Not begun because a task before it failed.
    UpstreamFailed,
    /// Not begun because a task before it found nothing to do.
    Skipped,
}

impl State {
    /// The name in the ledger and in JSON results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::UpForRetry => "up_for_retry",
            Self::UpstreamFailed => "upstream_failed",
            Self::Skipped => "skipped",
        }
    }
}

/// How a task succeeded. `result` is the small JSON value that the ledger keeps (Airflow's XCom).
pub(crate) enum Outcome<T> {
    Done {
        value: T,
        result: Value,
    },
    /// There is nothing to do: all tasks after it are skipped.
    ShortCircuit(Value),
}

/// What the tasks before hand to the next one, or why it does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upstream<T> {
    Ready(T),
    Skipped,
    Failed,
}

impl<T> Upstream<T> {
    /// Both values; a failure outweighs a skip.
    pub(super) fn and<U>(self, other: Upstream<U>) -> Upstream<(T, U)> {
        match (self, other) {
            (Self::Ready(one), Upstream::Ready(other)) => Upstream::Ready((one, other)),
            (Self::Failed, _) | (_, Upstream::Failed) => Upstream::Failed,
            (Self::Skipped, _) | (_, Upstream::Skipped) => Upstream::Skipped,
        }
    }

    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> Upstream<U> {
        match self {
            Self::Ready(value) => Upstream::Ready(map(value)),
            Self::Skipped => Upstream::Skipped,
            Self::Failed => Upstream::Failed,
        }
    }

    pub(super) fn as_ref(&self) -> Upstream<&T> {
        match self {
            Self::Ready(value) => Upstream::Ready(value),
            Self::Skipped => Upstream::Skipped,
            Self::Failed => Upstream::Failed,
        }
    }
}

/// How one task ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskRun {
    pub(crate) task: Task,
    /// A final state.
    pub(crate) state: State,
    /// Tries begun; 0 for a task that never ran.
    pub(crate) tries: u32,
    /// Time over all tries, without the waits between them.
    pub(crate) elapsed: Duration,
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<Error>,
}

impl TaskRun {
    fn new(task: Task, state: State) -> Self {
        Self { task, state, tries: 0, elapsed: Duration::ZERO, result: None, error: None }
    }
}

/// One state change of one try.
#[derive(Debug, Clone)]
pub(crate) struct LogEntry<'a> {
    pub(crate) task: Task,
    /// 1 for the first try; 0 for a task that never ran.
    pub(crate) try_number: u32,
    pub(crate) state: State,
    /// When this try began, or when it was decided that there will be none.
    pub(crate) started_at: SystemTime,
    /// Time in this try.
    pub(crate) elapsed: Duration,
    pub(crate) result: Option<&'a Value>,
    /// The error's message, free of cell values.
    pub(crate) error: Option<&'a str>,
}

/// Runs the tasks of one run and keeps how each of them ended.
pub(super) struct TaskRunner<'a> {
    retries: Retries<'a>,
    /// Records a state change; a later entry of the same try replaces an earlier one.
    log: &'a (dyn Fn(&LogEntry<'_>) + Sync),
    runs: Mutex<Vec<TaskRun>>,
}

impl<'a> TaskRunner<'a> {
    pub(super) fn new(retries: Retries<'a>, log: &'a (dyn Fn(&LogEntry<'_>) + Sync)) -> Self {
        Self { retries, log, runs: Mutex::default() }
    }

    /// Runs `work` with the upstream value and the number of the try (from 1) until it succeeds, fails
    /// for good or has no tries left. A task that a stop kept from running is failed with the error
    /// `Interrupted` and no try.
    pub(super) fn run<U: Copy, T>(
        &self,
        task: Task,
        upstream: Upstream<U>,
        mut work: impl FnMut(U, u32) -> Result<Outcome<T>>,
    ) -> Upstream<T> {
        match upstream {
            Upstream::Failed => self.not_run(TaskRun::new(task, State::UpstreamFailed)),
            Upstream::Skipped => self.not_run(TaskRun::new(task, State::Skipped)),
            Upstream::Ready(input) => match self.retries.cancel.check() {
                Err(stopped) => self.fail(task, stopped),
                Ok(()) => self.execute(task, |attempt| work(input, attempt)),
            },
        }
    }

    /// Fails a task that could not be started.
    pub(super) fn fail<T>(&self, task: Task, error: Error) -> Upstream<T> {
        self.not_run(TaskRun { error: Some(error), ..TaskRun::new(task, State::Failed) })
    }

    /// How the tasks ended, in the order of the data.
    pub(super) fn into_runs(self) -> Vec<TaskRun> {
        let mut runs = self.runs.into_inner().unwrap_or_else(PoisonError::into_inner);
        runs.sort_by_key(|run| run.task);
        runs
    }

    fn not_run<T>(&self, run: TaskRun) -> Upstream<T> {
        self.record(&run, SystemTime::now(), Duration::ZERO);
        let skipped = run.state == State::Skipped;
        self.end(run);
        if skipped { Upstream::Skipped } else { Upstream::Failed }
    }

    fn execute<T>(
        &self,
        task: Task,
        mut work: impl FnMut(u32) -> Result<Outcome<T>>,
    ) -> Upstream<T> {
        let mut run = TaskRun::new(task, State::Running);
        loop {
            run.tries += 1;
            (run.state, run.error) = (State::Running, None);
            let (started_at, clock) = (SystemTime::now(), Instant::now());
            self.record(&run, started_at, Duration::ZERO);
            self.notify(&RunEvent::TaskStarted { task: task.id().into(), attempt: run.tries });
            let outcome = catch_unwind(AssertUnwindSafe(|| work(run.tries)))
                .unwrap_or_else(|_| Err(panicked(task.id())));
            let elapsed = clock.elapsed();
            run.elapsed += elapsed;
            let error = match outcome {
                Ok(outcome) => {
                    run.state = State::Success;
                    let (handed_on, result) = match outcome {
                        Outcome::Done { value, result } => (Upstream::Ready(value), result),
                        Outcome::ShortCircuit(result) => (Upstream::Skipped, result),
                    };
                    run.result = Some(result);
                    self.record(&run, started_at, elapsed);
                    self.end(run);
                    return handed_on;
                }
                Err(error) => error,
            };
            let again = error.kind().is_transient() && run.tries <= self.retries.limit;
            run.state = if again { State::UpForRetry } else { State::Failed };
            run.error = Some(error);
            self.record(&run, started_at, elapsed);
            if again {
                let Err(stopped) = self.wait(&run) else { continue };
                (run.state, run.error) = (State::Failed, Some(stopped));
                self.record(&run, started_at, elapsed);
            }
            self.end(run);
            return Upstream::Failed;
        }
    }

    /// Waits before the next try; a stop ends the wait at once.
    fn wait(&self, run: &TaskRun) -> Result<()> {
        self.notify(&RunEvent::TaskRetry {
            task: run.task.id().into(),
            attempt: run.tries,
            error: run.error.as_ref().map_or_else(String::new, |error| error.message().to_owned()),
            delay: self.retries.delay,
        });
        self.retries.wait()
    }

    fn record(&self, run: &TaskRun, started_at: SystemTime, elapsed: Duration) {
        let entry = LogEntry {
            task: run.task,
            try_number: run.tries,
            state: run.state,
            started_at,
            elapsed,
            result: run.result.as_ref(),
            error: run.error.as_ref().map(Error::message),
        };
        // The panic hook reports a panic.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.log)(&entry)));
    }

    fn notify(&self, event: &RunEvent) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.retries.observer.observe(event)));
    }

    fn end(&self, run: TaskRun) {
        self.notify(&RunEvent::TaskFinished {
            task: run.task.id().into(),
            state: run.state.name(),
            elapsed: run.elapsed,
            result: run.result.clone(),
            error: run.error.clone(),
        });
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).push(run);
    }
}

#[cfg(test)]
mod tests;
