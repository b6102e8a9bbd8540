//! A refresh target that records its start and end in the outbox, while holding the target's lock.

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

/// Polling interval for a target's lock, which grows with time.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(50);
const RARELY: Duration = Duration::from_secs(1);

/// The outbox, over one connection shared by all targets. Closing it releases the targets' locks.
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

    /// Runs `work` on the connection, and once more on a new one if the connection was lost.
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

    /// Takes a target's lock, waiting up to the target's timeout.
    fn lock(&self, target: &str, job: &Job<'_>) -> Result<(), Failure> {
        let mut pause = MIN_POLL_INTERVAL;
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

    /// Records the end of a refresh. If that fails the target stays due: refreshing twice is better
    /// than not at all.
    fn note_end(&self, target: &str, end: End<'_>) {
        let noted = self.with(|connection| outbox::note_end(connection, target, end));
        if let Err(error) = noted {
            let text = format!("{target}: could not write to the outbox: {}", error.message());
            self.observer.observe(&RunEvent::Warning(text));
        }
    }
}

/// A target that is refreshed under its lock.
pub(crate) struct OutboxTarget<'a> {
    target: Box<dyn Target>,
    outbox: &'a Outbox<'a>,
    only_due: bool,
}

impl<'a> OutboxTarget<'a> {
    /// `only_due`: skip a target that is up to date.
    pub(crate) fn new(target: Box<dyn Target>, outbox: &'a Outbox<'a>, only_due: bool) -> Self {
        Self { target, outbox, only_due }
    }

    /// Refreshes while holding the lock.
    fn locked(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let (name, outbox) = (self.target.name(), self.outbox);
        let Some(wanted) = outbox.with(|connection| outbox::wanted(connection, name))? else {
            // Nothing is published yet, so the refresh cannot be stale.
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
        // Drops the panic message, which could quote a row.
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
        // Closing the connection releases the lock anyway.
        let _ = self.outbox.with(|connection| outbox::unlock(connection, name));
        done
    }

    fn finish(&self, job: &mut Job<'_>) {
        self.target.finish(job);
    }
}
