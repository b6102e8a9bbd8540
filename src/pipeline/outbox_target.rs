//! A target whose refresh is entered into the outbox under the target's lock: before it begins, and
//! after it has ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::adbc_postgres::PostgresConnection;
use crate::error::{Error, Result};
use crate::event::{Observer, RunEvent};
use crate::failpoint;
use crate::load::outbox::{self, End, Wanted};
use crate::refresh::{Done, Failure, Job, Outcome, PublishedRun, Target, TargetInfo, Wave};
use crate::warehouse::location::Warehouse;

/// How often a target's lock is asked for: soon at first, then rarely.
const SOON: Duration = Duration::from_millis(50);
const RARELY: Duration = Duration::from_secs(1);

/// The outbox, over one connection that all targets share. The targets' locks end with it.
pub(crate) struct Outbox<'a> {
    warehouse: &'a Warehouse,
    observer: &'a dyn Observer,
    connection: Mutex<Option<PostgresConnection>>,
}

impl<'a> Outbox<'a> {
    pub(crate) fn new(warehouse: &'a Warehouse, observer: &'a dyn Observer) -> Self {
        Self { warehouse, observer, connection: Mutex::new(None) }
    }

    pub(crate) fn connect(&self) -> Result<PostgresConnection> {
        self.warehouse.connect()
    }

    /// Does `work` over the connection; once more over a fresh one where it was lost.
    pub(crate) fn with<T>(&self, work: impl Fn(&mut PostgresConnection) -> Result<T>) -> Result<T> {
        let mut held = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = held.as_mut() {
            match work(connection) {
                Err(error) if error.kind().is_transient() => {}
                done => return done,
            }
        }
        work(held.insert(self.warehouse.connect()?))
    }

    /// Takes a target's lock; waits as long as the target's time lasts.
    fn lock(&self, target: &str, job: &Job<'_>) -> Result<(), Failure> {
        let mut pause = SOON;
        let mut warned = false;
        while !self.with(|connection| outbox::try_lock(connection, target))? {
            if !warned {
                warned = true;
                let text = format!("{target}: another process refreshes it; waiting for its end");
                self.observer.observe(&RunEvent::Note(text));
            }
            job.pause(pause).map_err(|failure| Failure {
                message: format!("{} while another process refreshed it", failure.message),
                ..failure
            })?;
            pause = (pause * 2).min(RARELY);
        }
        Ok(())
    }

    /// Notes an end. What cannot be noted leaves the target due: it is refreshed once too often, not
    /// once too seldom.
    fn note_end(&self, target: &str, end: End<'_>) {
        let noted = self.with(|connection| outbox::note_end(connection, target, end));
        if let Err(error) = noted {
            let text = format!("{target}: could not write to the outbox: {}", error.message());
            self.observer.observe(&RunEvent::Warning(text));
        }
    }
}

/// A target that refreshes under its lock.
pub(crate) struct OutboxTarget<'a> {
    target: Box<dyn Target>,
    outbox: &'a Outbox<'a>,
    only_due: bool,
}

impl<'a> OutboxTarget<'a> {
    /// `only_due`: a target that shows what is published is skipped.
    pub(crate) fn new(target: Box<dyn Target>, outbox: &'a Outbox<'a>, only_due: bool) -> Self {
        Self { target, outbox, only_due }
    }

    /// The refresh, the lock being held.
    fn locked(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let (name, outbox) = (self.target.name(), self.outbox);
        let Some(wanted) = outbox.with(|connection| outbox::wanted(connection, name))? else {
            // Nothing is published, so there is nothing that it could miss.
            return self.target.refresh(job);
        };
        if self.only_due && !wanted.is_due {
            let detail = "another process has refreshed it meanwhile".to_owned();
            return Ok(Done { outcome: Outcome::Skipped, detail });
        }
        outbox.with(|connection| outbox::note_start(connection, name))?;
        failpoint::hit("refresh.started")?;
        let seen = (wanted.run_no, wanted.schema_version);
        let published = published_run(wanted);
        // The panic's message is dropped on purpose: it could quote a row.
        let ended = job.for_run(&published, |job| {
            catch_unwind(AssertUnwindSafe(|| self.target.refresh(job)))
                .unwrap_or_else(|_| Err(Error::internal("the refresh panicked").into()))
                .map_err(|failure| job.reason(failure))
        });
        failpoint::hit("refresh.ended")?;
        let (outcome, detail) = match &ended {
            Ok(done) => (done.outcome, done.detail.clone()),
            Err(failure) => (failure.outcome, failure.to_string()),
        };
        let (remote_id, _) = job.noted();
        outbox.note_end(
            name,
            End {
                outcome: outcome.as_str(),
                detail: &detail,
                remote_id: remote_id.as_deref(),
                shown: matches!(outcome, Outcome::Succeeded | Outcome::Skipped).then_some(seen),
            },
        );
        ended
    }
}

fn published_run(wanted: Wanted) -> PublishedRun {
    PublishedRun {
        run_id: Some(wanted.run.run_id),
        account: wanted.run.account,
        schema_changed: wanted.schema_changed,
    }
}

impl Target for OutboxTarget<'_> {
    fn info(&self) -> &TargetInfo {
        self.target.info()
    }

    fn wave(&self) -> Wave {
        self.target.wave()
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        self.target.check(job)
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let name = self.target.name();
        self.outbox.lock(name, job)?;
        let done = self.locked(job);
        // At the latest the end of the connection does it.
        let _ = self.outbox.with(|connection| outbox::unlock(connection, name));
        done
    }

    fn finish(&self, job: &mut Job<'_>) {
        self.target.finish(job);
    }
}
