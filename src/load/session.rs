//! One run's hold on the warehouse: connected, migrated, locked, swept.
//!
//! These steps come before anything else, in this order: the lock makes this run the only one, and only
//! then may tables be altered and the leftovers of dead runs be removed.

use adbc_core::sync::{Connection, Database};

use super::ledger;
use crate::config::{Mode, Wait};
use crate::error::Result;
use crate::event::{Cancellation, Observer, RunEvent};
use crate::failpoint;
use crate::load::staging_tables::StagingOwner;
use crate::load::{identity, staging_tables};
use crate::schema::INTERNAL;
use crate::warehouse::connection::{connect, migrate, warn_if_unencrypted};
use crate::warehouse::{keys, lock, server, sql, table_checks, table_layout};

/// The control connection of a run. The lock is held as long as it lives.
pub(crate) struct Session<C> {
    /// The connection that holds the lock and publishes.
    pub(crate) control: C,
    /// The run's number in the ledger; stored with every row.
    pub(crate) run_no: i64,
    /// Whether an earlier try of this very run has published already.
    pub(crate) published: bool,
    /// What identifies the run's work.
    pub(crate) identity: identity::Identity,
}

impl<C: Connection> Session<C> {
    /// Holds the warehouse (see [`hold`]), checks the key and what is done to the columns, and enters
    /// the run into the ledger.
    ///
    /// # Errors
    /// As [`hold`]; `Config` when the warehouse holds tokens of another key, or rows to which other
    /// things were done, beside which these cannot be loaded.
    pub(crate) fn open<D>(
        database: &D,
        identity: identity::Identity,
        wait: Wait,
        observer: &dyn Observer,
        cancel: &Cancellation,
    ) -> Result<Self>
    where
        D: Database<ConnectionType = C>,
    {
        let mut control = hold(database, wait, observer, cancel)?;
        keys::check(&mut control, &identity.key(), identity.mode == Mode::Replace)?;
        table_layout::check(&mut control, &identity.layout, identity.mode)?;
        table_checks::check_ties(&mut control, &identity.layout, identity.mode)?;
        let (run_no, published) = ledger::begin(&mut control, &identity)?;
        failpoint::hit("session.begun")?;
        Ok(Self { control, run_no, published, identity })
    }
}

/// Connects, takes the lock, which may mean to wait for it, migrates, and removes what dead runs left
/// behind. The warehouse is held as long as the connection lives, or until `connection::unlock`.
///
/// # Errors
/// `Warehouse` when the server cannot be reached, `Locked` when another run is at work for longer
/// than `wait`, `Interrupted` when cancelled.
pub(crate) fn hold<D: Database>(
    database: &D,
    wait: Wait,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<D::ConnectionType> {
    let mut control = connect(database)?;
    warn_if_unencrypted(&mut control, observer)?;
    server::check(&mut control)?;
    lock::lock(&mut control, wait, observer, cancel)?;
    failpoint::hit("session.locked")?;
    migrate(&mut control, observer, cancel)?;
    failpoint::hit("session.migrated")?;
    table_checks::check(&mut control)?;
    sweep(&mut control, observer)?;
    Ok(control)
}

/// Removes staging tables and closes ledger rows of runs that ended without saying so. The lock is
/// held, so none of them is alive; but the server may still have been at a statement of one when the lock
/// became free, so whoever has succeeded does it once more.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn sweep(connection: &mut impl Connection, observer: &dyn Observer) -> Result<()> {
    let context = "removing leftovers";
    for name in staging_tables::drop_tables(connection, context, StagingOwner::AllRuns)? {
        observer.observe(&RunEvent::Note(format!("removed {INTERNAL}.{name} of an earlier run")));
    }
    sql::execute(
        connection,
        context,
        "UPDATE claims_etl.runs SET status = 'failed', finished_at = clock_timestamp(),
             error_kind = 'interrupted', error = 'the run ended without saying so'
         WHERE status = 'running';
         UPDATE claims_etl.runs SET status = 'failed', finished_at = clock_timestamp(),
             error_kind = 'interrupted', error = 'nobody went on with the run for 7 days'
         WHERE status = 'open'
           AND coalesce(last_task_at, started_at) < clock_timestamp() - interval '7 days';
         -- A task that only looks at a source may be at work without the lock; and a try that failed
         -- stays what it was where another one followed.
         UPDATE claims_etl.task_runs t SET state = 'failed', error = 'the run ended without saying so'
         WHERE state IN ('running', 'up_for_retry')
           AND NOT (task_id LIKE 'extract.%' AND EXISTS (
               SELECT FROM claims_etl.runs r WHERE r.run_id = t.run_id AND r.status = 'open'))
           AND NOT (state = 'up_for_retry' AND EXISTS (
               SELECT FROM claims_etl.task_runs next WHERE next.run_id = t.run_id
                   AND next.task_id = t.task_id AND next.try_number > t.try_number))",
    )
    .map(drop)
}
