//! Observers of a run besides the caller: lineage, metrics and mail.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::report::{ErrorReport, RunReport, Status};
use super::task_id::Task;
use crate::adbc_postgres::Address;
use crate::config::Settings;
use crate::event::{Observer, RunEvent, RunId};
use crate::load::task_progress::Progress;
use crate::schema::Dataset;
use crate::telemetry::lineage::{End, Lineage, Scope, WarehouseAddress};
use crate::telemetry::mail::Mailer;
use crate::telemetry::metrics::{LastRun, TargetFigures, TaskFigures, write_textfile};
use crate::totals::ControlTotals;
use crate::warehouse::location;

/// Maximum wait for the last mail at the end of a run, and after cancellation.
const MAIL_TIMEOUT: Duration = Duration::from_secs(15);
const LAST_MAIL_STOPPED: Duration = Duration::from_secs(3);

/// Error kind of a cancelled run.
const STOPPED: &str = "interrupted";

pub(super) struct Listeners<'a> {
    settings: &'a Settings,
    observer: &'a dyn Observer,
    run: RunId,
    scope: Scope,
    /// Dry runs are not reported.
    dry: bool,
    /// Started with the run, or with the first task when resuming.
    lineage: OnceLock<Option<Lineage<'a>>>,
    bytes: Mutex<BTreeMap<&'static str, u64>>,
    mailer: Option<Mailer>,
}

impl<'a> Listeners<'a> {
    /// Listeners of a new, complete run.
    pub(super) fn of_run(
        settings: &'a Settings,
        observer: &'a dyn Observer,
        run: RunId,
        dry: bool,
    ) -> Self {
        let listeners = Self::new(settings, observer, run, Scope::Run, dry);
        observer.observe(&RunEvent::RunStarted { run });
        listeners.lineage();
        listeners
    }

    /// Listeners of the remaining tasks of an earlier run, if any.
    pub(super) fn of_rest(
        settings: &'a Settings,
        observer: &'a dyn Observer,
        run: RunId,
        dry: bool,
    ) -> Self {
        Self::new(settings, observer, run, Scope::Resumed, dry)
    }

    /// Listeners of one task called by an orchestrator, with the results of the previous tasks.
    pub(super) fn of_task(
        settings: &'a Settings,
        observer: &'a dyn Observer,
        run: RunId,
        before: Option<&Progress>,
    ) -> Self {
        observer.observe(&RunEvent::RunStarted { run });
        let listeners = Self::new(settings, observer, run, Scope::Task, false);
        if let (Some(before), Some(lineage)) = (before, listeners.lineage()) {
            for task in before.tasks.keys() {
                if let Some(result) = before.result(task) {
                    lineage.restore(task, result);
                }
            }
        }
        listeners
    }

    fn new(
        settings: &'a Settings,
        observer: &'a dyn Observer,
        run: RunId,
        scope: Scope,
        dry: bool,
    ) -> Self {
        let (lineage, bytes) = (OnceLock::new(), Mutex::default());
        let mailer = Mailer::new(settings).filter(|_| !dry);
        Self { settings, observer, run, scope, dry, lineage, bytes, mailer }
    }

    fn lineage(&self) -> Option<&Lineage<'a>> {
        let begin = || {
            if self.dry {
                return None;
            }
            let (lineage, warnings) = Lineage::start(self.settings, self.run, self.scope);
            self.warn_all(warnings);
            lineage
        };
        self.lineage.get_or_init(begin).as_ref()
    }

    pub(super) fn finish(mut self, report: &mut RunReport) {
        report.bytes =
            std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        let account = report.account();
        let error = report.error.as_ref();
        let error = error.map(|error| (error.message.as_str(), error.kind == STOPPED));
        self.end_lineage(&End { error, account });
        self.end_mail(report.error.as_ref());
        if let Some(path) = self.settings.metrics.textfile.as_ref().filter(|_| !self.dry)
            && let Err(error) = write_textfile(path, report.last_run(Utc::now()))
        {
            self.warn(format!("no metrics were written: {}", error.message()));
        }
        self.observer.observe(&RunEvent::RunFinished {
            run: self.run,
            status: report.status.name(),
            elapsed: Duration::from_secs_f64(report.seconds.max(0.0)),
        });
    }

    /// Reports the end of a single task.
    pub(super) fn finish_task(mut self, error: Option<&ErrorReport>) {
        let ended = error.map(|error| (error.message.as_str(), error.kind == STOPPED));
        self.end_lineage(&End { error: ended, account: ControlTotals::default() });
        self.end_mail(error);
    }

    /// Sends the failure mail if the run failed, and waits for pending mail.
    fn end_mail(&mut self, error: Option<&ErrorReport>) {
        let Some(mailer) = self.mailer.take() else { return };
        if let Some(ErrorReport { kind, message, hint, .. }) = error {
            mailer.failure(&self.run.to_string(), kind, message, hint.as_deref());
        }
        let stopped = error.is_some_and(|error| error.kind == STOPPED);
        self.warn_all(mailer.finish(if stopped { LAST_MAIL_STOPPED } else { MAIL_TIMEOUT }));
    }

    fn end_lineage(&mut self, end: &End<'_>) {
        let lineage = self.lineage.take().flatten();
        let warnings = lineage.map(|lineage| lineage.finish(end)).unwrap_or_default();
        self.warn_all(warnings);
    }

    fn warn_all(&self, warnings: Vec<String>) {
        for warning in warnings {
            self.warn(warning);
        }
    }

    fn warn(&self, warning: String) {
        self.observer.observe(&RunEvent::Warning(warning));
    }

    /// Records the input size found by an extract task.
    fn weigh(&self, event: &RunEvent) {
        let RunEvent::TaskFinished { task, result: Some(result), .. } = event else { return };
        let dataset = match task.as_str() {
            id if id == Task::ExtractClaims.id() => Dataset::Claims,
            id if id == Task::ExtractProviders.id() => Dataset::Providers,
            _ => return,
        };
        let files = result["files"].as_array();
        let bytes = files.into_iter().flatten().filter_map(|file| file["bytes"].as_u64()).sum();
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(dataset.name(), bytes);
    }
}

impl Observer for Listeners<'_> {
    fn observe(&self, event: &RunEvent) {
        self.observer.observe(event);
        self.weigh(event);
        if let (Some(mailer), RunEvent::TaskRetry { task, attempt, error, delay }) =
            (&self.mailer, event)
        {
            mailer.retry(&self.run.to_string(), task, *attempt, error, *delay);
        }
        let begins = matches!(event, RunEvent::TaskStarted { .. });
        if (begins || self.lineage.get().is_some())
            && let Some(lineage) = self.lineage()
        {
            lineage.observe(event, &|| place(self.settings));
        }
    }
}

/// The warehouse address without credentials.
fn place(settings: &Settings) -> Option<WarehouseAddress> {
    let address = Address::parse(&location::url(settings).ok()?).ok()?;
    let (host, port, database) = address.location()?;
    Some(WarehouseAddress { host, port, database })
}

impl Status {
    /// Name in reports.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::AlreadyLoaded => "already_loaded",
            Self::Failed => "failed",
        }
    }
}

impl RunReport {
    /// The run for metrics; `ended`: end time.
    #[must_use]
    pub(crate) fn last_run(&self, ended: DateTime<Utc>) -> LastRun {
        let took = Duration::from_secs_f64(self.seconds.max(0.0));
        let tasks = self.tasks.iter().map(|task| TaskFigures {
            task: task.id.clone(),
            success: matches!(task.state, "success" | "skipped"),
            attempts: task.tries,
            seconds: task.seconds,
        });
        let targets = self.refresh.iter().map(|target| TargetFigures {
            target: target.target.clone(),
            outcome: target.outcome.to_owned(),
            seconds: target.seconds,
        });
        LastRun {
            started: ended - TimeDelta::from_std(took).unwrap_or_default(),
            ended,
            status: self.status.name(),
            exit_code: self.exit_code,
            account: self.account(),
            bytes: self.bytes.clone(),
            tasks: tasks.collect(),
            targets: targets.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::Error;
    use crate::event::NullObserver;
    use crate::load::task_progress::Tried;

    fn lines(settings: &Settings) -> Vec<Value> {
        let path = settings.lineage.file.as_ref().expect("a file");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn settings(folder: &std::path::Path) -> Settings {
        let mut settings = Settings::default();
        settings.lineage.file = Some(folder.join("events.ndjson"));
        settings.metrics.textfile = Some(folder.join("claims.prom"));
        settings
    }

    #[test]
    fn a_dry_run_is_not_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let listeners = Listeners::of_run(&settings, &NullObserver, RunId::now(), true);
        listeners.observe(&RunEvent::TaskStarted { task: "t".into(), attempt: 1 });
        listeners.finish(&mut RunReport::new(RunId::now()));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_rest_of_which_nothing_is_left_has_no_lineage() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let listeners = Listeners::of_rest(&settings, &NullObserver, RunId::now(), false);
        listeners.observe(&RunEvent::Note("nothing to do".into()));
        listeners.finish(&mut RunReport::new(RunId::now()));
        assert!(lines(&settings).is_empty() && folder.path().join("claims.prom").exists());
    }

    #[test]
    fn a_task_alone_knows_what_was_read_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let result = json!({ "files": [
            { "path": "/in/c.csv", "bytes": 7, "format": "csv", "header": [], "columns": {} },
        ] });
        let tried = Tried { try_number: 1, state: "success".into(), result: Some(result) };
        let before = Progress {
            status: "open".into(),
            published: false,
            key_id: String::new(),
            config_digest: String::new(),
            fingerprint: None,
            run_date: None,
            last_task: None,
            tasks: [("extract.extract_claims".to_owned(), tried)].into(),
        };
        let listeners = Listeners::of_task(&settings, &NullObserver, RunId::now(), Some(&before));
        let task = "transform_join".to_owned();
        listeners.observe(&RunEvent::TaskStarted { task: task.clone(), attempt: 1 });
        listeners.finish_task(Some(&ErrorReport::from(&Error::source("gone"))));
        let events = lines(&settings);
        let sent: Vec<_> =
            events.iter().map(|e| (&e["eventType"], &e["inputs"][0]["name"])).collect();
        assert_eq!(sent[0], (&json!("START"), &json!("/in/c.csv")));
        assert_eq!((events.len(), &events[1]["eventType"]), (2, &json!("FAIL")));
    }

    #[test]
    fn what_cannot_be_written_is_a_warning() {
        #[derive(Default)]
        struct Warnings(Mutex<Vec<String>>);
        impl Observer for Warnings {
            fn observe(&self, event: &RunEvent) {
                if let RunEvent::Warning(text) = event {
                    self.0.lock().expect("no panic").push(text.clone());
                }
            }
        }
        let settings = settings(std::path::Path::new("/nowhere/at/all"));
        let warnings = Warnings::default();
        let mut report = RunReport::new(RunId::now());
        Listeners::of_run(&settings, &warnings, RunId::now(), false).finish(&mut report);
        assert_eq!((report.status, report.exit_code), (Status::Success, 0));
        let texts = warnings.0.into_inner().expect("no panic");
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].starts_with("2 of 2 lineage events did not get to /nowhere"), "{texts:?}");
        assert!(texts[1].starts_with("no metrics were written: /nowhere"), "{texts:?}");
    }
}
