//! The program: five tasks, wired.
//!
//! A module of its own because it is the only place that knows all stages. It reads like the way
//! of the data:
//!
//! ```text
//! extract.extract_claims ∥ extract.extract_providers → transform_join → load.load_warehouse
//!     → load.refresh_bi
//! ```

mod chosen;
mod first_pass;
mod inspect;
mod loading;
mod log;
mod original;
mod preparing;
mod refreshing;
mod report;
mod resume;
mod run;
mod tasks;
mod verification;
mod verifying;
pub mod warehouse;
mod work;

pub use chosen::Chosen;
pub use inspect::{CheckReport, Finding, check, explain, quarantine, refresh, run_details, runs};
pub use original::VerifyOptions;
pub use report::{ErrorReport, Places, RefreshReport, RunReport, Status, TaskReport};
pub use resume::resume;
pub use run::{RunOptions, run};
pub use verification::{Checksums, Compared, Verdict, Verification};
pub use verifying::verify;

pub use crate::load::ledger::RunRow;
pub use crate::load::quarantine::Reject as QuarantineRow;
