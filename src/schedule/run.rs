//! The scheduler: looks at the clock and the ledger, runs what is due, waits for the next tick.
//!
//! Nothing that it has to remember is in its memory alone.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::clock::Clock;
use super::lease::{Lease, Request, rest};
use super::plan::{self, Policy, Step};
use super::state::{self, Settled, State};
use super::status::Pulse;
use super::timetable::{DataInterval, Timetable};
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Settings, Wait};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::failpoint;
use crate::pipeline::{self, OPENING, Retries, RunOptions, RunReport, Status};
use crate::warehouse::connection;
use crate::warehouse::location::Warehouse;

/// What is done again when the warehouse does not answer.
pub(super) const LEDGER: &str = "the schedule's ledger";

/// How long a scheduler waits before it asks a warehouse again that did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// How often the end of a run is written down before that is left to the next look.
const WRITES: u32 = 3;

/// How a schedule is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Do what is due now, then end.
    pub once: bool,
    /// Run failed intervals again.
    pub retry_failed: bool,
}

/// An interval whose run has ended.
#[derive(Debug, Clone, Serialize)]
pub struct Ended {
    /// The first moment, in the timetable's wall time.
    pub interval_start: String,
    /// The first moment beyond.
    pub interval_end: String,
    /// How it ended.
    pub state: State,
    pub run: RunReport,
}

impl Ended {
    /// Whether the run has failed for a reason that can pass by itself.
    pub(super) fn is_to_be_tried_again(&self) -> bool {
        let can_pass = self.run.error.as_ref().is_some_and(|error| error.is_transient);
        self.state == State::UpForRetry && can_pass
    }
}

/// Everything that running intervals needs.
pub struct Scheduler<'a> {
    pub(super) settings: &'a Settings,
    pub(super) timetable: Timetable,
    pub(super) policy: Policy,
    pub(super) warehouse: Arc<Warehouse>,
    pub(super) clock: &'a dyn Clock,
    pub(super) observer: &'a dyn Observer,
    pub(super) cancel: &'a Cancellation,
    pulse: Pulse,
}

impl<'a> Scheduler<'a> {
    /// A scheduler at the configured warehouse, which is brought to this version's schema.
    ///
    /// # Errors
    /// `Config` when the settings describe no timetable or an interval of their own, `Warehouse`
    /// when the warehouse cannot be reached or migrated.
    pub fn new(
        settings: &'a Settings,
        clock: &'a dyn Clock,
        observer: &'a dyn Observer,
        cancel: &'a Cancellation,
        pulse: Pulse,
    ) -> Result<Self> {
        if !settings.interval().is_everything() {
            return Err(Error::config(
                "run.interval_start and run.interval_end are set by the schedule",
            )
            .hint("leave them out, also CLAIMS_ETL_INTERVAL_START and …_END"));
        }
        let timetable = Timetable::new(&settings.schedule)?;
        let policy = Policy {
            catchup: settings.schedule.catchup,
            depends_on_past: settings.schedule.depends_on_past,
        };
        let warehouse = Retries::new(settings, observer, cancel).run(OPENING, || {
            let warehouse = Warehouse::open(settings, observer)?;
            let mut connection = warehouse.connect()?;
            connection::bring_up(&mut connection, settings.run.wait, observer, cancel)?;
            clock.follow(state::server_time(&mut connection)?);
            Ok(Arc::new(warehouse))
        })?;
        Ok(Self { settings, timetable, policy, warehouse, clock, observer, cancel, pulse })
    }

    /// Runs the schedule: until somebody asks to stop, or once through what is due. Each interval's
    /// end is told. Returns the exit code of the first run that failed; failures stop a schedule
    /// that goes on for ever no more than they stop the next interval.
    ///
    /// # Errors
    /// `Interrupted` when somebody asked to stop, `Locked` when another process has the lease and
    /// nobody wanted to wait, `Warehouse` when it cannot be reached once.
    pub fn run(&self, options: Options, tell: &mut dyn FnMut(&Ended) -> Result<()>) -> Result<u8> {
        let mut options = options;
        loop {
            let lease = self.lease(options.once)?;
            self.pulse.lease_held(true);
            let led = self.lead(&lease, &mut options, tell);
            self.pulse.lease_held(false);
            match led {
                // Only a lost lease ends what has no end with this.
                Err(error) if error.kind() == ErrorKind::Locked && !options.once => {
                    self.warn(format!("{}; standing by", error.message()));
                }
                Err(error) if lease.is_lost() && self.cancel.signal().is_none() => {
                    let lost = state::lost(&self.settings.schedule.name);
                    if options.once {
                        return Err(lost);
                    }
                    self.warn(format!("{}; standing by ({})", lost.message(), error.message()));
                }
                ended => return ended,
            }
        }
    }

    /// The lease: waited for as long as it takes by a schedule, as the settings say by all others.
    pub(super) fn lease(&self, is_once: bool) -> Result<Lease> {
        let wait = if is_once { self.settings.run.wait } else { Wait::Forever };
        let request = Request {
            schedule: &self.settings.schedule,
            wait,
            is_patient: !is_once,
            observer: self.observer,
            cancel: self.cancel,
        };
        self.retries().run("the schedule's lease", || Lease::take(&self.warehouse, &request))
    }

    /// What is done again when the warehouse does not answer.
    pub(super) fn retries(&self) -> Retries<'_> {
        Retries::new(self.settings, self.observer, self.cancel)
    }

    /// How long an interval waits whose run has failed for a reason that can pass.
    fn delay(&self) -> Duration {
        Duration::from_secs(self.settings.run.retry_delay_secs).max(PAUSE)
    }

    /// What the holder of the lease does.
    fn lead(
        &self,
        lease: &Lease,
        options: &mut Options,
        tell: &mut dyn FnMut(&Ended) -> Result<()>,
    ) -> Result<u8> {
        failpoint::hit("schedule.leased")?;
        let mut code = 0;
        let mut waiting = None;
        // When refreshes that are owed are finished next: now, then once a tick, unless a run of
        // that tick has refreshed everything.
        let mut refresh_at = None;
        loop {
            lease.check()?;
            let ended = self.step(lease, options);
            let blocked = match ended {
                Err(error) if error.kind().is_transient() && !options.once => {
                    self.pulse.in_trouble(true);
                    self.warn(format!("the schedule's ledger: {}", error.message()));
                    rest(PAUSE, || lease.cancel().is_cancelled());
                    continue;
                }
                Err(error) => return Err(error),
                Ok((Step::Run(_), ended)) => {
                    if let Some(ended) = ended {
                        if code == 0 && ended.run.status == Status::Failed {
                            code = ended.run.exit_code;
                        }
                        if ended.state == State::Success {
                            refresh_at = self.timetable.tick_after(self.clock.now());
                        }
                        tell(&ended)?;
                        // What can pass by itself stays due, and what comes after it waits.
                        if ended.is_to_be_tried_again() {
                            if options.once {
                                return Ok(code);
                            }
                            rest(self.delay(), || lease.cancel().is_cancelled());
                        }
                    }
                    continue;
                }
                Ok((Step::Blocked { interval, by }, _)) => Some((interval.start, by)),
                Ok((Step::Nothing, _)) => None,
            };
            if let Some((interval, by)) = blocked.filter(|_| blocked != waiting) {
                let (interval, by) = (self.timetable.show(interval), self.timetable.show(by));
                let text = format!("interval {interval} waits for {by}, which has not succeeded");
                if options.once {
                    return Err(Error::new(ErrorKind::Locked, text)
                        .hint("`claims-etl schedule --retry-failed` or `backfill` runs it again"));
                }
                self.warn(text);
            }
            waiting = blocked;
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

    /// A look, and the run that it leads to.
    fn step(&self, lease: &Lease, options: &mut Options) -> Result<(Step, Option<Ended>)> {
        let step = if options.once {
            self.retries().run(LEDGER, || self.look(lease, options))?
        } else {
            self.look(lease, options)?
        };
        let ended = match step {
            Step::Run(interval) => {
                self.run_interval(lease, interval, &[State::Queued, State::UpForRetry])?
            }
            Step::Blocked { .. } | Step::Nothing => None,
        };
        Ok((step, ended))
    }

    /// One look: what was left behind is settled, and the next step is found.
    fn look(&self, lease: &Lease, options: &mut Options) -> Result<Step> {
        let mut connection = self.warehouse.connect()?;
        self.settle(&mut connection, lease)?;
        self.pulse.in_trouble(false);
        if options.retry_failed {
            let again = state::retry_failed(&mut connection, lease.ticket())?;
            options.retry_failed = false;
            self.note(format!("failed intervals that are run again: {again}"));
        }
        let entries = state::entries(&mut connection, &self.settings.schedule.name)?;
        self.clock.follow(state::server_time(&mut connection)?);
        let now = self.clock.now();
        self.pulse.looked(now, self.timetable.tick_after(now));
        Ok(plan::next(&self.timetable, self.policy, now, &entries))
    }

    /// Finds out what became of runs whose process has not said so.
    pub(super) fn settle(&self, connection: &mut PostgresConnection, lease: &Lease) -> Result<()> {
        for Settled { start, state, run } in state::settle(connection, lease.ticket())? {
            let (start, state) = (self.timetable.show(start), state.name());
            self.note(format!("run {run} of interval {start} has not told its end: {state}"));
        }
        Ok(())
    }

    /// Finishes the refreshes that are owed. This is the one place where a schedule and a backfill
    /// do so. What came of them is told by the refresh itself, and stops nothing.
    pub(super) fn refresh_due(&self, lease: &Lease) {
        let refreshed = pipeline::refresh_due(self.settings, self.observer, lease.cancel());
        if let Err(error) = refreshed {
            self.warn(format!("refreshes that are owed: {}", error.message()));
        }
    }

    /// Takes an interval, runs it and notes its end; none where it is in none of the states `from`,
    /// and not new.
    pub(super) fn run_interval(
        &self,
        lease: &Lease,
        interval: DataInterval,
        from: &[State],
    ) -> Result<Option<Ended>> {
        let run = RunId::now();
        let is_taken = self.retries().run(LEDGER, || {
            state::claim(&mut self.warehouse.connect()?, lease.ticket(), interval, run, from)
        })?;
        if !is_taken {
            return Ok(None);
        }
        failpoint::hit("schedule.claimed")?;
        let (start, end) = (self.timetable.show(interval.start), self.timetable.show(interval.end));
        self.note(format!("interval [{start}, {end}) begins as run {run}"));
        self.pulse.begins(interval);
        let mut settings = waiting(self.settings.clone());
        settings.run.interval_start = Some(self.timetable.setting(interval.start)?);
        settings.run.interval_end = Some(self.timetable.setting(interval.end)?);
        let options = RunOptions::default();
        let report = pipeline::run_as(run, &settings, &options, self.observer, lease.cancel());
        failpoint::hit("schedule.ran")?;
        let state = self.record(lease, run, &report);
        failpoint::hit("schedule.recorded")?;
        self.pulse.ended(interval, state, &report, self.clock.now());
        Ok(Some(Ended { interval_start: start, interval_end: end, state, run: report }))
    }

    /// Writes down how a run ended. Where that cannot be done, the next look finds it out.
    fn record(&self, lease: &Lease, run: RunId, report: &RunReport) -> State {
        let error = report.error.as_ref().map(|error| (error.kind, error.message.as_str()));
        let can_pass = report.error.as_ref().is_some_and(|error| error.is_transient);
        let state = match error {
            None => State::Success,
            Some(("interrupted", _)) => State::UpForRetry,
            Some(_) if can_pass => State::UpForRetry,
            Some(_) => State::Failed,
        };
        let name = &self.settings.schedule.name;
        for attempt in 1..=WRITES {
            let written = self
                .warehouse
                .connect()
                .and_then(|mut connection| state::record(&mut connection, name, run, state, error));
            match written {
                Ok((state, 0)) => return state,
                Ok((state, later)) => {
                    self.note(format!(
                        "run {run} has changed what {later} later intervals had loaded: they are loaded again, so that the newer rows count"
                    ));
                    return state;
                }
                Err(lost) if attempt == WRITES => {
                    self.warn(format!("the end of run {run} is not noted: {}", lost.message()));
                }
                Err(_) => rest(PAUSE, || lease.is_lost()),
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

/// Another run at work, begun by hand, is waited for.
fn waiting(mut settings: Settings) -> Settings {
    settings.run.wait = Wait::Forever;
    settings
}
