//! Scheduled runs: a timetable of data intervals, which of them are due, and the one process that
//! runs them.
//!
//! All state is in the warehouse, so a scheduler can be killed and restarted on any machine.
//!
//! ```text
//! clock ─ timetable ─ plan ◄─ state (ledger)
//!                      └► scheduler ─ lease ─► pipeline::run_as ─► state
//! ```

mod backfill;
mod clock;
mod health;
mod lease;
mod plan;
mod preview;
mod scheduler;
pub mod state;
mod timetable;

pub(crate) use backfill::{BackfillReport, BackfillRequest, backfill, list};
pub use clock::{Clock, SystemClock, TestClock, clock};
pub use health::{Monitor, health};
pub use lease::{Lease, Request};
pub(crate) use preview::{MODEL, Preview, preview};
pub use scheduler::{Ended, Options, Scheduler};
pub(crate) use state::State;
pub use timetable::{DataInterval, Timetable};
