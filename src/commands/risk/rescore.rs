//! The rescore: all stored scores recomputed, outside of any run.

use std::time::Instant;

use adbc_core::sync::Connection;
use serde::Serialize;

use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::Result;
use crate::event::{Cancellation, Observer, RunEvent};
use crate::load::risk::{Scope, rescore as rescore_all};
use crate::load::{self, drop_stage};
use crate::pipeline::load_stage::cancelling;
use crate::pipeline::refresh_stage::enabled;
use crate::warehouse::location::Warehouse;
use crate::warehouse::{connection, server};

/// The number of no run: its tables are swept like those of a dead one.
const NO_RUN: i64 = 0;

/// Rows by the band of their score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bands {
    /// Below `risk.medium_from`.
    pub(crate) low: u64,
    pub(crate) medium: u64,
    /// From `risk.high_from`.
    pub(crate) high: u64,
}

impl Bands {
    fn of([low, medium, high]: [u64; 3]) -> Self {
        Self { low, medium, high }
    }
}

/// What a rescore has done, or would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RescoreReport {
    /// Whether nothing was stored.
    pub(crate) dry_run: bool,
    /// The run that changed the statistics last; the scores are of these now.
    pub stats_version: i64,
    /// Whether the statistics were recounted, because one was not stored.
    pub recounted: bool,
    /// Rows that were looked at.
    pub rows: u64,
    /// Rows whose score or components differ from the stored ones.
    pub changed: u64,
    /// Rows by band before.
    pub before: Bands,
    /// Rows by band by today's statistics.
    pub after: Bands,
    /// Targets that are due for a refresh now.
    pub due: Vec<String>,
    /// Wall time.
    pub(crate) seconds: f64,
}

/// Recomputes all stored scores with today's statistics and the weights of the settings, and
/// stores those that differ, in one transaction; a dry run only counts them. It holds the warehouse
/// as a run does.
///
/// # Errors
/// `Locked` when a run holds the warehouse, `Warehouse` when it cannot be read or written,
/// `Interrupted` on cancellation; then no score is changed.
pub fn rescore(
    settings: &Settings,
    dry_run: bool,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<RescoreReport> {
    let started = Instant::now();
    let warehouse = Warehouse::open(settings, observer)?;
    let mut control = load::hold(&warehouse.database, settings.run.wait, observer, cancel)?;
    server::check_connections(&mut control, settings.connections())?;
    let mut connections = (0..settings.connections())
        .map(|_| warehouse.connect())
        .collect::<Result<Vec<PostgresConnection>>>()?;
    let handles: Vec<_> =
        std::iter::once(&control).chain(&connections).map(Connection::get_cancel_handle).collect();
    let scope = Scope::new(NO_RUN, &settings.risk, &settings.privacy, cancel);
    let targets = enabled(settings);
    let done = cancelling(cancel, &handles, || {
        rescore_all(&mut control, &mut connections, &scope, &targets, dry_run)
    });
    // Best effort: the next run removes what a lost connection leaves behind. Twice, because a late
    // cancel can hit the first.
    let dropped = drop_stage(&mut control, NO_RUN).or_else(|_| drop_stage(&mut control, NO_RUN));
    if done.is_err() {
        // A cancelled statement fails as a warehouse error; the reason is the signal.
        cancel.check()?;
    }
    let done = done?;
    if let Err(error) = dropped.and_then(|()| connection::unlock(control)) {
        observer.observe(&RunEvent::Warning(error.message().to_owned()));
    }
    let stored = !dry_run && done.changed > 0;
    Ok(RescoreReport {
        dry_run,
        stats_version: done.stats_version,
        recounted: done.recounted,
        rows: done.rows,
        changed: done.changed,
        before: Bands::of(done.before),
        after: Bands::of(done.after),
        due: if stored { targets } else { Vec::new() },
        seconds: started.elapsed().as_secs_f64(),
    })
}
