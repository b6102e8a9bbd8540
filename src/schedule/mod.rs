//! Runs that happen by themselves: a timetable of data intervals, what is due of it, and the one
//! process that does it.
//!
//! What it has to remember is in the ledger, so it can be killed and begun again anywhere.
//!
//! ```text
//! clock ─ timetable ─ plan ◄─ state (ledger)
//!                      └► run ─ lease ─► pipeline::run_as ─► state
//! ```

mod backfill;
mod clock;
mod lease;
mod plan;
mod preview;
mod run;
pub mod state;
mod status;
mod timetable;

pub use backfill::{BackfillReport, Line, Stretch, backfill, list};
pub use clock::{Clock, Jumping, System, clock};
pub use lease::{Lease, Request};
pub use preview::{MODEL, Preview, Upcoming, health, preview};
pub use run::{Ended, Options, Scheduler};
pub use state::{State, Ticket};
pub use status::{Last, Pulse, Shown, Snapshot};
pub use timetable::{DataInterval, Timetable};
