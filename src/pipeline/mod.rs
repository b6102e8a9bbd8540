//! The program: five tasks, wired.
//!
//! A module of its own because it is the only place that knows all stages. It reads like the way
//! of the data:
//!
//! ```text
//! extract.extract_claims ∥ extract.extract_providers → transform_join → load.load_warehouse
//!     → load.refresh_bi
//! ```

mod first_pass;
mod inspect;
mod loading;
mod log;
mod refreshing;
mod report;
mod resume;
mod run;
mod tasks;
pub mod warehouse;
mod work;

pub use inspect::{CheckReport, Finding, check, explain, quarantine, refresh, run_details, runs};
pub use report::{ErrorReport, Places, RefreshReport, RunReport, Status, TaskReport};
pub use resume::{Resumed, resume};
pub use run::{RunOptions, run};

pub use crate::load::ledger::RunRow;
pub use crate::load::quarantine::Reject as QuarantineRow;
