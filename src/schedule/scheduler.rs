//! The scheduler: checks the clock and the ledger, runs what is due, waits for the next tick.
//!
//! All persistent state is in the ledger.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::clock::Clock;
use super::health::Monitor;
use super::lease::{Lease, Request, rest};
use super::plan::{self, Policy, Step};
use super::state::{self, Settled, State};
use super::timetable::{DataInterval, Timetable};
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Settings, Wait};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::failpoint;
use crate::pipeline::{self, OPENING, Retries, RunOptions, RunReport, Status};
use crate::warehouse::connection;
use crate::warehouse::location::Warehouse;

/// Name of the ledger in retry messages.
pub(super) const LEDGER: &str = "the ledger of the schedule";

/// The pause before the next attempt to reach the warehouse.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Attempts to record the end of a run; otherwise the next check settles it.
const RECORD_ATTEMPTS: u32 = 3;

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Run what is due now, then end.
    pub(crate) once: bool,
    /// Run failed intervals again.
    pub(crate) retry_failed: bool,
}

/// A finished interval.
#[derive(Debug, Clone, Serialize)]
pub struct Ended {
    /// In the time zone of the timetable.
    pub(crate) interval_start: String,
    /// Exclusive.
    pub(crate) interval_end: String,
    pub(crate) state: State,
    pub(crate) run: RunReport,
}

impl Ended {
    /// Whether the run failed with a transient error.
    pub(super) fn is_to_be_retried(&self) -> bool {
        let transient = self.run.error.as_ref().is_some_and(|error| error.is_transient);
        self.state == State::UpForRetry && transient
    }
}

/// Runs the intervals of a schedule.
pub struct Scheduler<'a> {
    pub(super) settings: &'a Settings,
    pub(super) timetable: Timetable,
    pub(super) policy: Policy,
    pub(super) warehouse: Arc<Warehouse>,
    pub(super) clock: &'a dyn Clock,
    pub(super) observer: &'a dyn Observer,
    pub(super) cancel: &'a Cancellation,
    monitor: Monitor,
}

impl<'a> Scheduler<'a> {
    /// A scheduler of the configured warehouse, whose schema is migrated to this version.
    ///
    /// # Errors
    /// `Config` when the timetable is invalid or the settings have an interval, `Warehouse`
    /// when the warehouse cannot be reached or migrated.
    pub fn new(
        settings: &'a Settings,
        clock: &'a dyn Clock,
        observer: &'a dyn Observer,
        cancel: &'a Cancellation,
        monitor: Monitor,
    ) -> Result<Self> {
        if !settings.interval().is_everything() {
            return Err(Error::config(
                "run.interval_start and run.interval_end are set by the schedule",
            )
            .hint("remove them, also CLAIMS_ETL_INTERVAL_START and CLAIMS_ETL_INTERVAL_END"));
        }
        let timetable = Timetable::new(&settings.schedule)?;
        let policy = Policy {
            catchup: settings.schedule.catchup,
            depends_on_past: settings.schedule.depends_on_past,
        };
        let warehouse = Retries::new(settings, observer, cancel).run(OPENING, || {
            let warehouse = Warehouse::open(settings, observer)?;
            let mut connection = warehouse.connect()?;
            connection::migrate_if_needed(&mut connection, settings.run.wait, observer, cancel)?;
            clock.synchronize(state::server_time(&mut connection)?);
            Ok(Arc::new(warehouse))
        })?;
        Ok(Self { settings, timetable, policy, warehouse, clock, observer, cancel, monitor })
    }

    /// Runs the schedule until cancelled, or once through what is due; `report` receives each
    /// finished interval. Returns the exit code of the first failed run. A failure does not stop
    /// the schedule.
    ///
    /// # Errors
    /// `Interrupted` on cancellation. With `once`: `Locked` when another process holds the lease
    /// for longer than the configured wait, `Warehouse` when it cannot be reached.
    pub fn run(
        &self,
        options: Options,
        report: &mut dyn FnMut(&Ended) -> Result<()>,
    ) -> Result<u8> {
        let mut options = options;
        loop {
            let lease = self.lease(options.once)?;
            self.monitor.lease_held(true);
            let ended = self.run_with_lease(&lease, &mut options, report);
            self.monitor.lease_held(false);
            match ended {
                // The lease was lost: wait for it again.
                Err(error) if error.kind() == ErrorKind::Locked && !options.once => {
                    self.warn(format!("{}; on standby", error.message()));
                }
                Err(error) if lease.is_lost() && self.cancel.signal().is_none() => {
                    let lost = state::lost(&self.settings.schedule.name);
                    if options.once {
                        return Err(lost);
                    }
                    self.warn(format!("{}; on standby ({})", lost.message(), error.message()));
                }
                ended => return ended,
            }
        }
    }

    /// Acquires the lease. A schedule waits without limit, other commands as configured.
    pub(super) fn lease(&self, is_once: bool) -> Result<Lease> {
        let wait = if is_once { self.settings.run.wait } else { Wait::Forever };
        let request = Request {
            schedule: &self.settings.schedule,
            wait,
            retries_connection: !is_once,
            observer: self.observer,
            cancel: self.cancel,
        };
        self.retries().run("the lease of the schedule", || Lease::take(&self.warehouse, &request))
    }

    /// Retries of transient errors of the warehouse.
    pub(super) fn retries(&self) -> Retries<'_> {
        Retries::new(self.settings, self.observer, self.cancel)
    }

    /// The pause after a run that failed with a transient error.
    fn delay(&self) -> Duration {
        Duration::from_secs(self.settings.run.retry_delay_secs).max(RETRY_INTERVAL)
    }

    fn run_with_lease(
        &self,
        lease: &Lease,
        options: &mut Options,
        report: &mut dyn FnMut(&Ended) -> Result<()>,
    ) -> Result<u8> {
        failpoint::hit("schedule.leased")?;
        let mut code = 0;
        let mut blocked = None;
        // Next time for pending refreshes: now, then once per tick, unless a run of that tick has
        // refreshed everything.
        let mut refresh_at = None;
        loop {
            lease.check()?;
            let now_blocked = match self.step(lease, options) {
                Err(error) if error.kind().is_transient() && !options.once => {
                    self.monitor.in_trouble(true);
                    self.warn(format!("{LEDGER}: {}", error.message()));
                    rest(RETRY_INTERVAL, || lease.cancel().is_cancelled());
                    continue;
                }
                Err(error) => return Err(error),
                Ok((Step::Run(_), None)) => continue,
                Ok((Step::Run(_), Some(ended))) => {
                    if code == 0 && ended.run.status == Status::Failed {
                        code = ended.run.exit_code;
                    }
                    if ended.state == State::Success {
                        refresh_at = self.timetable.tick_after(self.clock.now());
                    }
                    report(&ended)?;
                    // After a transient error the interval stays due and later ones wait.
                    if ended.is_to_be_retried() {
                        if options.once {
                            return Ok(code);
                        }
                        rest(self.delay(), || lease.cancel().is_cancelled());
                    }
                    continue;
                }
                Ok((Step::Blocked { interval, by }, _)) => Some((interval.start, by)),
                Ok((Step::Nothing, _)) => None,
            };
            if let Some((interval, by)) = now_blocked.filter(|_| now_blocked != blocked) {
                self.report_blocked(interval, by, options.once)?;
            }
            blocked = now_blocked;
            let now = self.clock.now();
            if refresh_at.is_none_or(|at| at <= now) {
                self.refresh_due(lease);
                refresh_at = self.timetable.tick_after(now);
            }
            if options.once {
                return Ok(code);
            }
            let tick = self.timetable.tick_after(self.clock.now());
            self.clock.wait(tick, lease.cancel())?;
        }
    }

    /// Warns about a blocked interval, or returns an error if that ends the schedule.
    fn report_blocked(
        &self,
        interval: DateTime<Utc>,
        by: DateTime<Utc>,
        is_once: bool,
    ) -> Result<()> {
        let (interval, by) = (self.timetable.show(interval), self.timetable.show(by));
        let text = format!("interval {interval} waits for {by}, which has not succeeded");
        if is_once {
            return Err(Error::new(ErrorKind::Locked, text)
                .hint("run it again with `claims-etl schedule --retry-failed` or `backfill`"));
        }
        self.warn(text);
        Ok(())
    }

    /// One check and the resulting run.
    fn step(&self, lease: &Lease, options: &mut Options) -> Result<(Step, Option<Ended>)> {
        let step = if options.once {
            self.retries().run(LEDGER, || self.check(lease, options))?
        } else {
            self.check(lease, options)?
        };
        let ended = match step {
            Step::Run(interval) => {
                self.run_interval(lease, interval, &[State::Queued, State::UpForRetry])?
            }
            Step::Blocked { .. } | Step::Nothing => None,
        };
        Ok((step, ended))
    }

    /// Settles what dead processes left behind and finds the next step.
    fn check(&self, lease: &Lease, options: &mut Options) -> Result<Step> {
        let mut connection = self.warehouse.connect()?;
        self.settle(&mut connection, lease)?;
        self.monitor.in_trouble(false);
        if options.retry_failed {
            let queued = state::retry_failed(&mut connection, lease.token())?;
            options.retry_failed = false;
            self.note(format!("failed intervals to run again: {queued}"));
        }
        let entries = state::entries(&mut connection, &self.settings.schedule.name)?;
        self.clock.synchronize(state::server_time(&mut connection)?);
        let now = self.clock.now();
        self.monitor.checked(now, self.timetable.tick_after(now));
        Ok(plan::next(&self.timetable, self.policy, now, &entries))
    }

    /// Settles runs whose process died before recording the outcome.
    pub(super) fn settle(&self, connection: &mut PostgresConnection, lease: &Lease) -> Result<()> {
        for Settled { start, state, run } in state::settle(connection, lease.token())? {
            let (start, state) = (self.timetable.show(start), state.name());
            self.note(format!("run {run} of interval {start} ended without a record: {state}"));
        }
        Ok(())
    }

    /// Runs pending refreshes. Outcomes are reported by the refresh; a failure does not stop the
    /// schedule.
    pub fn refresh_due(&self, lease: &Lease) {
        let refreshed = pipeline::refresh_due(self.settings, self.observer, lease.cancel());
        if let Err(error) = refreshed {
            self.warn(format!("pending refreshes: {}", error.message()));
        }
    }

    /// Claims an interval, runs it and records the outcome; `None` if it is neither new nor in a
    /// state of `from`.
    pub(super) fn run_interval(
        &self,
        lease: &Lease,
        interval: DataInterval,
        from: &[State],
    ) -> Result<Option<Ended>> {
        let run = RunId::now();
        let is_claimed = self.retries().run(LEDGER, || {
            state::claim(&mut self.warehouse.connect()?, lease.token(), interval, run, from)
        })?;
        if !is_claimed {
            return Ok(None);
        }
        failpoint::hit("schedule.claimed")?;
        let (start, end) = (self.timetable.show(interval.start), self.timetable.show(interval.end));
        self.note(format!("interval [{start}, {end}) starts as run {run}"));
        self.monitor.started(interval);
        let mut settings = self.settings.clone();
        // Waits for a manually started run.
        settings.run.wait = Wait::Forever;
        settings.run.interval_start = Some(self.timetable.setting(interval.start)?);
        settings.run.interval_end = Some(self.timetable.setting(interval.end)?);
        let options = RunOptions::default();
        let run_report = pipeline::run_as(run, &settings, &options, self.observer, lease.cancel());
        failpoint::hit("schedule.ran")?;
        let state = self.record(lease, run, &run_report);
        failpoint::hit("schedule.recorded")?;
        self.monitor.ended(interval, state, &run_report, self.clock.now());
        Ok(Some(Ended { interval_start: start, interval_end: end, state, run: run_report }))
    }

    /// Records the outcome of a run. If that fails, the next check settles it.
    fn record(&self, lease: &Lease, run: RunId, report: &RunReport) -> State {
        let error = report.error.as_ref().map(|error| (error.kind, error.message.as_str()));
        let transient = report.error.as_ref().is_some_and(|error| error.is_transient);
        let state = match error {
            None => State::Success,
            Some(("interrupted", _)) => State::UpForRetry,
            Some(_) if transient => State::UpForRetry,
            Some(_) => State::Failed,
        };
        let name = &self.settings.schedule.name;
        for attempt in 1..=RECORD_ATTEMPTS {
            let written = self
                .warehouse
                .connect()
                .and_then(|mut connection| state::record(&mut connection, name, run, state, error));
            match written {
                Ok((state, 0)) => return state,
                Ok((state, later)) => {
                    self.note(format!(
                        "run {run} changed rows of {later} later intervals, which are loaded again so that the newer rows win"
                    ));
                    return state;
                }
                Err(lost) if attempt == RECORD_ATTEMPTS => {
                    self.warn(format!("could not record the end of run {run}: {}", lost.message()));
                }
                Err(_) => rest(RETRY_INTERVAL, || lease.is_lost()),
            }
        }
        state
    }

    pub(super) fn note(&self, text: String) {
        self.observer.observe(&RunEvent::Note(text));
    }

    pub(super) fn warn(&self, text: String) {
        self.observer.observe(&RunEvent::Warning(text));
    }
}
