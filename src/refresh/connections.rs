//! A target's connections to the warehouse.

use std::time::{Duration, Instant};

use adbc_core::Connection;
use arrow::record_batch::RecordBatch;

use super::job::Statements;
use crate::error::Result;
use crate::event::{Cancellation, with_ticker};
use crate::failpoint;
use crate::warehouse::sql;

/// Interval between deadline and cancellation checks while a statement runs.
const STEP: Duration = Duration::from_millis(50);

/// Extra time before the server itself ends a statement, in case this program is gone.
const GRACE: Duration = Duration::from_secs(5);

/// One connection for snapshot queries and one for modifying statements, each opened on first use.
pub(super) struct Connections<'a, C> {
    connect: &'a (dyn Fn() -> Result<C> + Sync),
    cancel: &'a Cancellation,
    until: Instant,
    snapshot: Option<C>,
    plain: Option<C>,
}

impl<'a, C: Connection> Connections<'a, C> {
    /// Statements end at `until` at the latest.
    pub(super) fn new(
        connect: &'a (dyn Fn() -> Result<C> + Sync),
        cancel: &'a Cancellation,
        until: Instant,
    ) -> Self {
        Self { connect, cancel, until, snapshot: None, plain: None }
    }
}

impl<C: Connection> Statements for Connections<'_, C> {
    fn query(&mut self, context: &str, sql: &str) -> Result<RecordBatch> {
        let open = match &mut self.snapshot {
            Some(open) => open,
            none => none.insert(one_snapshot((self.connect)()?)?),
        };
        failpoint::hit("refresh.query")?;
        stoppable(open, self.cancel, self.until, |open| sql::query(open, context, sql))
    }

    fn execute(&mut self, context: &str, sql: &str, until: Instant) -> Result<u64> {
        let open = match &mut self.plain {
            Some(open) => open,
            none => none.insert(cancel_with_client((self.connect)()?)),
        };
        let until = until.min(self.until);
        let left = (until.saturating_duration_since(Instant::now()) + GRACE).as_millis();
        sql::execute(
            open,
            context,
            &format!("SET statement_timeout = {left}; SET lock_timeout = {left}"),
        )?;
        stoppable(open, self.cancel, until, |open| sql::execute(open, context, sql))
    }
}

/// Runs a statement, cancelling it on the server at `until` or on cancellation; repeatedly, because
/// an early cancel request has no effect.
fn stoppable<C: Connection, T>(
    open: &mut C,
    cancel: &Cancellation,
    until: Instant,
    statement: impl FnOnce(&mut C) -> Result<T>,
) -> Result<T> {
    cancel.check()?;
    let handle = open.get_cancel_handle();
    let stop = || {
        if cancel.is_cancelled() || Instant::now() >= until {
            // The statement may have finished.
            let _ = handle.try_cancel();
        }
    };
    let done = with_ticker(STEP, stop, || statement(open)).flatten();
    // Report the cancellation, not the resulting warehouse error.
    done.or_else(|error| cancel.check().and(Err(error)))
}

/// All queries of a target see one consistent snapshot.
fn one_snapshot<C: Connection>(mut connection: C) -> Result<C> {
    sql::begin(&mut connection)?;
    let isolation = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    sql::execute(&mut connection, "refresh", isolation)?;
    Ok(connection)
}

/// Lets the server end a statement whose client was killed. Best effort: not supported before
/// version 14 and on some systems.
fn cancel_with_client<C: Connection>(mut connection: C) -> C {
    let _ = sql::query(
        &mut connection,
        "refresh",
        "SELECT set_config(name, '1s', false) AS set FROM pg_settings
         WHERE name = 'client_connection_check_interval'",
    );
    connection
}
