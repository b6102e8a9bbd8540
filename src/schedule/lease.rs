//! The lease of a schedule: among all schedulers on all machines, only one runs its intervals.
//!
//! It expires by the server's clock and is renewed in the background well before that. A holder
//! that cannot renew stops its run before the expiry, so two holders never overlap. The successor
//! of a dead holder waits for the expiry, because a silent process may still be alive.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::state::{LeaseToken, lost};
use crate::adbc_postgres::PostgresConnection;
use crate::config::{Schedule, Wait};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, Cancellation, Observer, RunEvent};
use crate::warehouse::location::Warehouse;
use crate::warehouse::sql;

const CONTEXT: &str = "schedule lease";

/// Interval between checks of signals and remaining time.
const STEP: Duration = Duration::from_millis(20);

/// The pause between two attempts to get the lease.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum wait for releasing the lease at exit.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// SIGTERM: stops a run whose lease is lost.
const TERMINATE: i32 = 15;

/// A held lease; released when it is dropped.
pub struct Lease {
    shared: Arc<Shared>,
    watch: Option<JoinHandle<()>>,
}

/// Shared by the holder and the threads that keep the lease.
struct Shared {
    warehouse: Arc<Warehouse>,
    token: LeaseToken,
    length: Duration,
    /// Deadline for the holder's work, by the monotonic clock: a sixth of the lease's length before
    /// it expires on the server.
    good_until: Mutex<Instant>,
    lost: AtomicBool,
    ended: AtomicBool,
    /// Cancels the holder's work on a signal or when the lease is lost.
    cancel: Cancellation,
}

pub struct Request<'a> {
    pub schedule: &'a Schedule,
    /// How long to wait while another process holds it.
    pub wait: Wait,
    /// Whether to keep trying while the warehouse is unreachable.
    pub retries_connection: bool,
    pub observer: &'a dyn Observer,
    pub cancel: &'a Cancellation,
}

impl Lease {
    /// Acquires the lease, waiting if necessary, and keeps it renewed.
    ///
    /// # Errors
    /// `Locked` when another process holds it for longer than `wait`, `Warehouse` when the server
    /// is unreachable, `Interrupted` on cancellation.
    pub fn take(warehouse: &Arc<Warehouse>, request: &Request<'_>) -> Result<Self> {
        let Request { schedule, observer, cancel, .. } = request;
        let length = Duration::from_secs(schedule.lease_secs.into());
        let holder = Uuid::now_v7().to_string();
        let began = Instant::now();
        let limit = request.wait.limit(Duration::ZERO);
        let (mut noted, mut warned) = (false, false);
        loop {
            cancel.check()?;
            let requested = Instant::now();
            let answer = warehouse
                .connect()
                .and_then(|mut connection| acquire(&mut connection, schedule, &holder));
            match answer {
                Ok(Answer::Granted(fencing_token)) => {
                    let schedule = schedule.name.clone();
                    let token = LeaseToken { schedule, holder, fencing_token };
                    return Self::keep(warehouse, token, length, requested, cancel);
                }
                Ok(Answer::HeldBy(other)) => {
                    if limit.is_some_and(|limit| began.elapsed() >= limit) {
                        let text = format!("{other} runs the schedule {}", schedule.name);
                        return Err(Error::new(ErrorKind::Locked, text).hint(
                            "wait for it with --wait; the lease of a process that was killed \
                             expires by itself",
                        ));
                    }
                    if !noted {
                        let text = format!("on standby: {other} runs the schedule");
                        observer.observe(&RunEvent::Note(text));
                        noted = true;
                    }
                }
                Err(error) if request.retries_connection && error.kind().is_transient() => {
                    if !warned {
                        let text =
                            format!("the schedule waits for the warehouse: {}", error.message());
                        observer.observe(&RunEvent::Warning(text));
                        warned = true;
                    }
                }
                Err(error) => return Err(error),
            }
            rest(RETRY_INTERVAL, || cancel.is_cancelled());
        }
    }

    /// Keeps the lease: one thread renews it; another watches the time, because the first may block
    /// on the server.
    fn keep(
        warehouse: &Arc<Warehouse>,
        token: LeaseToken,
        length: Duration,
        requested: Instant,
        parent: &Cancellation,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            warehouse: Arc::clone(warehouse),
            token,
            length,
            good_until: Mutex::new(requested + length * 5 / 6),
            lost: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            cancel: Cancellation::default(),
        });
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.into()).spawn(work);
            thread.map_err(|error| {
                Error::internal(format!("cannot start a thread: {}", error.kind()))
            })
        };
        let (renewing, watching, parent) =
            (Arc::clone(&shared), Arc::clone(&shared), parent.clone());
        // Not joined: it may block on the server.
        start("lease-renew", Box::new(move || renewing.renew()))?;
        let watch = start("lease-watch", Box::new(move || watching.watch(&parent)))?;
        Ok(Self { shared, watch: Some(watch) })
    }

    /// Proof that this process holds the lease.
    #[must_use]
    pub fn token(&self) -> &LeaseToken {
        &self.shared.token
    }

    /// Cancelled on a signal or when the lease is lost.
    #[must_use]
    pub fn cancel(&self) -> &Cancellation {
        &self.shared.cancel
    }

    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Fails when the holder must stop.
    ///
    /// # Errors
    /// `Locked` when the lease was lost, `Interrupted` on cancellation.
    pub fn check(&self) -> Result<()> {
        if self.is_lost() {
            return Err(lost(&self.shared.token.schedule));
        }
        self.shared.cancel.check()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
        if self.is_lost() {
            return;
        }
        // Best effort; otherwise the lease expires.
        let shared = Arc::clone(&self.shared);
        let (done, ended) = mpsc::channel::<()>();
        let release = move || {
            let _done = done;
            let _ = shared.warehouse.connect().and_then(|mut c| shared.release(&mut c));
        };
        if thread::Builder::new().name("lease-end".into()).spawn(release).is_ok() {
            let _ = ended.recv_timeout(RELEASE_TIMEOUT);
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
            let requested = Instant::now();
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
                    let good_until = requested + self.length * 5 / 6;
                    *self.good_until.lock().unwrap_or_else(PoisonError::into_inner) = good_until;
                    pause = self.length / 3;
                }
                Ok(false) => self.lost.store(true, Ordering::SeqCst),
                Err(_) => {
                    connection = None;
                    pause = (self.length / 12).min(RETRY_INTERVAL);
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

    /// Renews the lease; `false` when another process has it.
    fn extend(&self, connection: &mut PostgresConnection) -> Result<bool> {
        let LeaseToken { schedule, holder, fencing_token } = &self.token;
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

    /// Ends the lease. The fencing token is incremented, so that a concurrent renewal fails.
    fn release(&self, connection: &mut PostgresConnection) -> Result<()> {
        let LeaseToken { schedule, holder, fencing_token } = &self.token;
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

enum Answer {
    /// The fencing token.
    Granted(i64),
    HeldBy(String),
}

fn acquire(
    connection: &mut PostgresConnection,
    schedule: &Schedule,
    holder: &str,
) -> Result<Answer> {
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
        return Ok(Answer::Granted(fencing_token));
    }
    let other = self::holder(connection, &schedule.name)?;
    Ok(Answer::HeldBy(other.unwrap_or_else(|| "another process".to_owned())))
}

/// The process that holds the lease of a schedule, as `process 7 on host (until …)`; `None` if it
/// is free or has expired.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(super) fn holder(
    connection: &mut PostgresConnection,
    schedule: &str,
) -> Result<Option<String>> {
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
        .map(|((host, pid), until)| format!("process {pid} on {host} (until {until})")))
}

/// The name of this machine.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "an unnamed machine".into() } else { name.to_owned() }
}

/// Sleeps until `is_stopped`.
pub(super) fn rest(pause: Duration, is_stopped: impl Fn() -> bool) {
    // The caller determines why it was stopped.
    let _ = event::rest(pause, || if is_stopped() { Err(()) } else { Ok(()) });
}
