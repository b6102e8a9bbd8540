//! The lease of a schedule: of all schedulers on all machines, one runs its intervals.
//!
//! It stands until a moment by the server's clock and is renewed in the background long before;
//! whoever cannot renew it stops his run before that moment, so the next holder never meets him.
//! Who comes after a holder that has died waits for the moment: a silent process is not a dead one.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::state::{Ticket, lost};
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Schedule, Wait};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, Cancellation, Observer, RunEvent};
use crate::warehouse::location::Warehouse;
use crate::warehouse::sql;

const CONTEXT: &str = "schedule lease";

/// How often signals, and the time that is left, are looked at.
const STEP: Duration = Duration::from_millis(20);

/// How often somebody who waits for the lease asks for it.
const ASK: Duration = Duration::from_secs(1);

/// How long the end of a process waits for the server to take the lease back.
const FAREWELL: Duration = Duration::from_secs(3);

/// The signal that a run is stopped with when the lease is lost.
const TERMINATE: i32 = 15;

/// The lease, held: given back when it is dropped.
pub struct Lease {
    shared: Arc<Shared>,
    watch: Option<JoinHandle<()>>,
}

/// What the holder and those who keep the lease for it share.
struct Shared {
    warehouse: Arc<Warehouse>,
    ticket: Ticket,
    length: Duration,
    /// Until when the holder may work: a sixth of the length before the server would give the lease
    /// to somebody else, by this machine's steady clock.
    good_until: Mutex<Instant>,
    lost: AtomicBool,
    ended: AtomicBool,
    /// Stops the holder's work: at a signal, and when the lease is lost.
    cancel: Cancellation,
}

/// Who asks for a lease, and how.
pub struct Request<'a> {
    /// Whose lease.
    pub schedule: &'a Schedule,
    /// How long to wait while another process has it.
    pub wait: Wait,
    /// Whether to go on asking while the warehouse cannot be reached.
    pub is_patient: bool,
    /// Who is told for whom this process waits.
    pub observer: &'a dyn Observer,
    /// Stops the wait.
    pub cancel: &'a Cancellation,
}

impl Lease {
    /// Takes the lease, which may mean to wait for it, and keeps it.
    ///
    /// # Errors
    /// `Locked` when another process holds it for longer than `wait`, `Warehouse` when the server
    /// cannot be asked, `Interrupted` when somebody asked to stop.
    pub fn take(warehouse: &Arc<Warehouse>, request: &Request<'_>) -> Result<Self> {
        let Request { schedule, observer, cancel, .. } = request;
        let length = Duration::from_secs(schedule.lease_secs.into());
        let holder = Uuid::now_v7().to_string();
        let began = Instant::now();
        let limit = request.wait.limit(Duration::ZERO);
        let (mut told, mut warned) = (false, false);
        loop {
            cancel.check()?;
            let asked = Instant::now();
            let answer = warehouse
                .connect()
                .and_then(|mut connection| ask(&mut connection, schedule, &holder));
            match answer {
                Ok(Answer::Yours(fencing_token)) => {
                    let schedule = schedule.name.clone();
                    let ticket = Ticket { schedule, holder, fencing_token };
                    return Self::keep(warehouse, ticket, length, asked, cancel);
                }
                Ok(Answer::Of(other)) => {
                    if limit.is_some_and(|limit| began.elapsed() >= limit) {
                        let text = format!("{other} runs the schedule {}", schedule.name);
                        return Err(Error::new(ErrorKind::Locked, text).hint(
                            "let it do the work, or wait for its end with --wait; a process that \
                             was killed is waited for, too, until its lease has run out",
                        ));
                    }
                    if !told {
                        let text = format!("standing by: {other} runs the schedule");
                        observer.observe(&RunEvent::Note(text));
                        told = true;
                    }
                }
                Err(error) if request.is_patient && error.kind().is_transient() => {
                    if !warned {
                        let text =
                            format!("the schedule waits for the warehouse: {}", error.message());
                        observer.observe(&RunEvent::Warning(text));
                        warned = true;
                    }
                }
                Err(error) => return Err(error),
            }
            rest(ASK, || cancel.is_cancelled());
        }
    }

    /// Keeps the lease from now on: one thread renews it, another one watches, because the first
    /// may wait for an answer of the server that never comes.
    fn keep(
        warehouse: &Arc<Warehouse>,
        ticket: Ticket,
        length: Duration,
        asked: Instant,
        parent: &Cancellation,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            warehouse: Arc::clone(warehouse),
            ticket,
            length,
            good_until: Mutex::new(asked + length * 5 / 6),
            lost: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            cancel: Cancellation::default(),
        });
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.into()).spawn(work);
            thread.map_err(|error| Error::internal(format!("a thread: {}", error.kind())))
        };
        let (renewing, watching, parent) =
            (Arc::clone(&shared), Arc::clone(&shared), parent.clone());
        // Not waited for at the end: it may wait for the server.
        start("lease-renew", Box::new(move || renewing.renew()))?;
        let watch = start("lease-watch", Box::new(move || watching.watch(&parent)))?;
        Ok(Self { shared, watch: Some(watch) })
    }

    /// What proves that this process holds the lease.
    #[must_use]
    pub fn ticket(&self) -> &Ticket {
        &self.shared.ticket
    }

    /// Stops the holder's work: at a signal, and when the lease is lost.
    #[must_use]
    pub fn cancel(&self) -> &Cancellation {
        &self.shared.cancel
    }

    /// Whether the lease was lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Fails when the holder has to stop.
    ///
    /// # Errors
    /// `Locked` when the lease was lost, `Interrupted` when somebody asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_lost() {
            return Err(lost(&self.shared.ticket.schedule));
        }
        self.shared.cancel.check()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(watch) = self.watch.take() {
            // It ends at its next look.
            let _ = watch.join();
        }
        if self.is_lost() {
            return;
        }
        // Best effort, and not for long: otherwise it runs out by itself.
        let shared = Arc::clone(&self.shared);
        let (done, ended) = mpsc::channel::<()>();
        let give_back = move || {
            let _done = done;
            let _ = shared.warehouse.connect().and_then(|mut c| shared.give_back(&mut c));
        };
        if thread::Builder::new().name("lease-end".into()).spawn(give_back).is_ok() {
            let _ = ended.recv_timeout(FAREWELL);
        }
    }
}

impl Shared {
    fn renew(&self) {
        let mut connection: Option<PostgresConnection> = None;
        let mut pause = self.length / 3;
        loop {
            rest(pause, || self.ended.load(Ordering::SeqCst) || self.lost.load(Ordering::SeqCst));
            if self.ended.load(Ordering::SeqCst) || self.lost.load(Ordering::SeqCst) {
                return;
            }
            let asked = Instant::now();
            let renewed = match connection.as_mut() {
                Some(connection) => self.extend(connection),
                None => self.warehouse.connect().and_then(|mut fresh| {
                    let renewed = self.extend(&mut fresh);
                    connection = Some(fresh);
                    renewed
                }),
            };
            match renewed {
                Ok(true) => {
                    let good_until = asked + self.length * 5 / 6;
                    *self.good_until.lock().unwrap_or_else(PoisonError::into_inner) = good_until;
                    pause = self.length / 3;
                }
                Ok(false) => self.lost.store(true, Ordering::SeqCst),
                Err(_) => {
                    connection = None;
                    pause = (self.length / 12).min(ASK);
                }
            }
        }
    }

    fn watch(&self, parent: &Cancellation) {
        while !self.ended.load(Ordering::SeqCst) {
            if let Some(signal) = parent.signal() {
                self.cancel.cancel(signal);
            }
            if Instant::now() > *self.good_until.lock().unwrap_or_else(PoisonError::into_inner) {
                self.lost.store(true, Ordering::SeqCst);
            }
            if self.lost.load(Ordering::SeqCst) && !self.cancel.is_cancelled() {
                self.cancel.cancel(TERMINATE);
            }
            thread::sleep(STEP);
        }
    }

    /// Renews the lease; false when it is another's.
    fn extend(&self, connection: &mut PostgresConnection) -> Result<bool> {
        let Ticket { schedule, holder, fencing_token } = &self.ticket;
        let touched = sql::execute_with(
            connection,
            CONTEXT,
            "UPDATE claims_etl.schedule_lease
             SET renewed_at = clock_timestamp(),
                 expires_at = clock_timestamp() + make_interval(secs => $4::text::double precision)
             WHERE schedule = $1 AND holder = $2::text::uuid AND fencing_token = $3::text::bigint",
            sql::texts(&[
                Some(schedule),
                Some(holder),
                Some(&fencing_token.to_string()),
                Some(&self.length.as_secs().to_string()),
            ]),
        )?;
        Ok(touched == 1)
    }

    /// Ends the lease at once. Its number grows, so that a renewal under way comes too late.
    fn give_back(&self, connection: &mut PostgresConnection) -> Result<()> {
        let Ticket { schedule, holder, fencing_token } = &self.ticket;
        sql::execute_with(
            connection,
            CONTEXT,
            "UPDATE claims_etl.schedule_lease
             SET expires_at = clock_timestamp(), fencing_token = fencing_token + 1
             WHERE schedule = $1 AND holder = $2::text::uuid AND fencing_token = $3::text::bigint",
            sql::texts(&[Some(schedule), Some(holder), Some(&fencing_token.to_string())]),
        )
        .map(drop)
    }
}

/// What the server says to somebody who wants the lease.
enum Answer {
    /// It is his, with this number.
    Yours(i64),
    /// It is another's.
    Of(String),
}

fn ask(connection: &mut PostgresConnection, schedule: &Schedule, holder: &str) -> Result<Answer> {
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "INSERT INTO claims_etl.schedule_lease AS l
             (schedule, holder, host, pid, fencing_token, acquired_at, renewed_at, expires_at)
         VALUES ($1, $2::text::uuid, $3, $4::text::integer, 1, clock_timestamp(), clock_timestamp(),
                 clock_timestamp() + make_interval(secs => $5::text::double precision))
         ON CONFLICT (schedule) DO UPDATE
         SET holder = excluded.holder, host = excluded.host, pid = excluded.pid,
             fencing_token = l.fencing_token + 1, acquired_at = excluded.acquired_at,
             renewed_at = excluded.renewed_at, expires_at = excluded.expires_at
         WHERE l.expires_at <= clock_timestamp()
         RETURNING fencing_token",
        sql::texts(&[
            Some(&schedule.name),
            Some(holder),
            Some(&host()),
            Some(&std::process::id().to_string()),
            Some(&schedule.lease_secs.to_string()),
        ]),
    )?;
    if let Some(fencing_token) = sql::int(&rows, "fencing_token", 0) {
        return Ok(Answer::Yours(fencing_token));
    }
    Ok(Answer::Of(look(connection, &schedule.name)?.map_or_else(
        || "another process".to_owned(),
        |held| format!("process {} on {} (until {})", held.pid, held.host, held.until),
    )))
}

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// The name of the machine.
    pub(super) host: String,
    /// The process there.
    pub(super) pid: i64,
    /// When it runs out, unless it is renewed.
    pub(super) until: String,
}

/// Who holds the lease of a schedule; none where it is free, or has run out.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(super) fn look(connection: &mut PostgresConnection, schedule: &str) -> Result<Option<Held>> {
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT host, pid::bigint AS pid,
                to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS until
         FROM claims_etl.schedule_lease
         WHERE schedule = $1 AND expires_at > clock_timestamp()",
        sql::texts(&[Some(schedule)]),
    )?;
    Ok(sql::text(&rows, "host", 0)
        .zip(sql::int(&rows, "pid", 0))
        .zip(sql::text(&rows, "until", 0))
        .map(|((host, pid), until)| Held { host, pid, until }))
}

/// The name of this machine, for people.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "a machine without a name".into() } else { name.to_owned() }
}

/// Sleeps, but not when somebody has asked to stop.
pub(super) fn rest(pause: Duration, is_stopped: impl Fn() -> bool) {
    // Who has asked to stop is found out by the caller.
    let _ = event::rest(pause, || if is_stopped() { Err(()) } else { Ok(()) });
}
