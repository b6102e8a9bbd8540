//! Progress of a run: bars on a terminal, log lines elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::format;
use crate::error::Error;
use crate::event::{Observer, RunEvent};

/// Interval between log lines on a task's row count.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Spinner interval.
const TICK: Duration = Duration::from_millis(120);

/// One line per running task, on a terminal.
pub(super) struct Bars {
    screen: MultiProgress,
    tasks: Mutex<HashMap<String, (ProgressBar, Instant)>>,
}

impl Bars {
    pub(super) fn new(screen: MultiProgress) -> Self {
        Self { screen, tasks: Mutex::default() }
    }

    fn start(&self, task: &str, attempt: u32) {
        let mut tasks = lock(&self.tasks);
        let (bar, since) = tasks.entry(task.to_owned()).or_insert_with(|| {
            let bar = self.screen.add(ProgressBar::new_spinner());
            bar.set_style(style("{spinner:.cyan} {prefix:<26} {elapsed:>5}  {msg}"));
            bar.set_prefix(task.to_owned());
            bar.enable_steady_tick(TICK);
            (bar, Instant::now())
        });
        *since = Instant::now();
        bar.set_message(if attempt > 1 { format!("try {attempt}") } else { String::new() });
    }

    fn progress(&self, task: &str, rows: u64, total: Option<u64>) {
        let mut tasks = lock(&self.tasks);
        let Some((bar, since)) = tasks.get_mut(task) else { return };
        if let Some(total) = total.filter(|total| bar.length() != Some(*total)) {
            bar.set_length(total);
            bar.set_style(style(
                "{spinner:.cyan} {prefix:<26} {elapsed:>5}  {bar:20.cyan/dim} {percent:>3} %  {msg}",
            ));
        }
        bar.set_position(rows);
        bar.set_message(rows_and_rate(rows, since.elapsed()));
    }

    fn finish(&self, task: &str, state: &'static str) {
        let mut tasks = lock(&self.tasks);
        if let Some((bar, _)) = tasks.remove(task) {
            let mark = if state == "success" { "✓" } else { "✗" };
            bar.set_style(style(&format!("{mark} {{prefix:<26}} {{elapsed:>5}}  {{msg}}")));
            bar.finish();
        }
    }

    fn line(&self, text: &str) {
        // Printing fails only if the terminal is gone.
        let _ = self.screen.println(text);
    }
}

impl Observer for Bars {
    fn observe(&self, event: &RunEvent) {
        match event {
            RunEvent::TaskStarted { task, attempt } => self.start(task, *attempt),
            RunEvent::Progress { task, rows, total } => self.progress(task, *rows, *total),
            RunEvent::TaskRetry { task, attempt, error, delay } => self.line(&format!(
                "warning: {task}, try {attempt}: {error}; next try in {} s",
                delay.as_secs()
            )),
            RunEvent::TaskFinished { task, state, .. } => self.finish(task, state),
            RunEvent::RunStarted { .. } | RunEvent::RunFinished { .. } => {}
            RunEvent::Note(text) => self.line(text),
            RunEvent::Warning(text) => self.line(&format!("warning: {text}")),
        }
    }
}

/// One log line per event, with its run.
#[derive(Default)]
pub(super) struct Lines {
    last_lines: Mutex<HashMap<String, (Instant, Instant)>>,
    run: Arc<CurrentRun>,
    /// Whether every line names its run; in text mode it is printed once.
    structured: bool,
}

/// The current or last run, and whether it is active.
#[derive(Default)]
pub(super) struct CurrentRun(Mutex<(Option<String>, bool)>);

impl CurrentRun {
    /// Id of the current or last run: an error that ends the program belongs to it.
    pub(super) fn id(&self) -> Option<String> {
        lock(&self.0).0.clone()
    }

    /// Id of the active run: messages of a scheduler between runs belong to none.
    fn id_at_work(&self) -> Option<String> {
        let held = lock(&self.0);
        held.0.clone().filter(|_| held.1)
    }
}

impl Lines {
    /// Shares the current run with other components.
    pub(super) fn new(run: Arc<CurrentRun>, structured: bool) -> Self {
        Self { last_lines: Mutex::default(), run, structured }
    }

    /// Elapsed time of the task if another line on its rows is due.
    fn due(&self, task: &str) -> Option<Duration> {
        let mut last_lines = lock(&self.last_lines);
        let now = Instant::now();
        let (began, last) = last_lines.entry(task.to_owned()).or_insert((now, now));
        let due = now.duration_since(*last) >= LINE_INTERVAL;
        due.then(|| {
            *last = now;
            now.duration_since(*began)
        })
    }
}

impl Observer for Lines {
    fn observe(&self, event: &RunEvent) {
        if let RunEvent::RunStarted { run } = event {
            *lock(&self.run.0) = (Some(run.to_string()), true);
        }
        let run_id = self.run.id_at_work().filter(|_| self.structured);
        match event {
            RunEvent::RunStarted { run } => {
                tracing::info!(target: "claims_etl", run_id = %run, "run started");
            }
            RunEvent::RunFinished { status, elapsed, .. } => {
                let seconds = rounded(*elapsed);
                tracing::info!(target: "claims_etl", run_id, status, seconds, "run finished");
                lock(&self.run.0).1 = false;
            }
            RunEvent::TaskStarted { task, attempt } => {
                let now = Instant::now();
                lock(&self.last_lines).insert(task.clone(), (now, now));
                tracing::info!(target: "claims_etl", run_id, task, attempt, "task started");
            }
            RunEvent::Progress { task, rows, total } => {
                if let Some(elapsed) = self.due(task) {
                    let seconds = elapsed.as_secs();
                    tracing::info!(
                        target: "claims_etl", run_id, task, rows, total, seconds, "task at work"
                    );
                }
            }
            RunEvent::TaskRetry { task, attempt, error, delay } => {
                let wait = delay.as_secs();
                tracing::warn!(
                    target: "claims_etl", run_id, task, attempt, error, wait_secs = wait,
                    "task up for retry"
                );
            }
            RunEvent::TaskFinished { task, state, elapsed, error, .. } => {
                let (seconds, error) = (rounded(*elapsed), error.as_ref().map(Error::message));
                tracing::info!(
                    target: "claims_etl", run_id, task, state, seconds, error, "task finished"
                );
            }
            RunEvent::Note(text) => tracing::info!(target: "claims_etl", run_id, "{text}"),
            RunEvent::Warning(text) => tracing::warn!(target: "claims_etl", run_id, "{text}"),
        }
    }
}

/// Seconds, rounded to milliseconds.
fn rounded(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1000.0).round() / 1000.0
}

fn rows_and_rate(rows: u64, elapsed: Duration) -> String {
    let rate = format::rate(rows, elapsed.as_secs_f64());
    let rate = rate.map_or_else(String::new, |rate| format!(", {rate}"));
    format!("{} rows{rate}", format::count(rows))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a template written above")
}

/// Ignores poisoning, so that an observer survives a panic in another thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;

    use super::*;

    #[test]
    fn a_bar_follows_its_task() {
        let bars = Bars::new(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()));
        let task = "load.load_warehouse".to_owned();
        let bar = || lock(&bars.tasks).get(&task).map(|(bar, _)| bar.clone());
        bars.observe(&RunEvent::TaskStarted { task: task.clone(), attempt: 2 });
        assert_eq!(bar().expect("a bar").message(), "try 2");
        let total = Some(10_000);
        bars.observe(&RunEvent::Progress { task: task.clone(), rows: 5_000, total });
        let shown = bar().expect("a bar");
        assert!(shown.message().starts_with("5,000 rows, "), "{}", shown.message());
        assert_eq!((shown.position(), shown.length()), (5_000, total));
        let elapsed = Duration::from_secs(1);
        let (task, state) = (task.clone(), "success");
        let (result, error) = (None, None);
        bars.observe(&RunEvent::TaskFinished { task, state, elapsed, result, error });
        assert!(shown.is_finished() && bar().is_none());
    }

    #[test]
    fn lines_about_rows_are_rare() {
        let lines = Lines::default();
        assert_eq!(lines.due("load"), None);
        assert_eq!(lines.due("load"), None);
    }
}
