//! Runs a task with retries and state changes like Airflow: ids, states and the trigger rule
//! `all_success`. A task's return value is the input of the next.
//!
//! A panic fails its task, not the program; the panic message is dropped, because it could contain
//! a cell value. A panic in the log or an observer loses an entry, not the task.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::retries::Retries;
use super::task_id::Task;
use crate::error::{Error, Result};
use crate::event::RunEvent;
use crate::worker::panicked;

/// Task state, with Airflow's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Success,
    /// Failed, or not started because the run was cancelled.
    Failed,
    /// The try failed with a transient error and will be retried.
    UpForRetry,
    /// Not started because an upstream task failed.
    UpstreamFailed,
    /// Not started because an upstream task found nothing to do.
    Skipped,
}

impl State {
    /// Name in the ledger and in JSON.
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

/// Success of a task. `result` is a small JSON value stored in the ledger (Airflow's XCom).
pub(crate) enum Outcome<T> {
    Done {
        value: T,
        result: Value,
    },
    /// Nothing to do: all downstream tasks are skipped.
    ShortCircuit(Value),
}

/// The value of the upstream tasks, or why the task does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upstream<T> {
    Ready(T),
    Skipped,
    Failed,
}

impl<T> Upstream<T> {
    /// Both values; a failure takes precedence over a skip.
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

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskRun {
    pub(crate) task: Task,
    /// Final state.
    pub(crate) state: State,
    /// Number of tries; 0 if the task never ran.
    pub(crate) tries: u32,
    /// Total time of all tries, without the delays between them.
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
    /// 1-based; 0 for a task that never ran.
    pub(crate) try_number: u32,
    pub(crate) state: State,
    /// Start of this try, or the time it was decided not to run.
    pub(crate) started_at: SystemTime,
    /// Duration of this try.
    pub(crate) elapsed: Duration,
    pub(crate) result: Option<&'a Value>,
    /// Error message without cell values.
    pub(crate) error: Option<&'a str>,
}

/// Runs the tasks of one run and collects their results.
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

    /// Runs `work` with the upstream value and the try number (from 1) until it succeeds, fails
    /// permanently or has no retries left. A task that was cancelled before it started fails with
    /// `Interrupted` and zero tries.
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

    /// The task results in execution order.
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

    /// Waits before the next try; cancellation ends the wait.
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
