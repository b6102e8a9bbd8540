//! The program: five tasks, wired.
//!
//! A module of its own because it is the only place that knows all stages. It reads like the way
//! of the data:
//!
//! ```text
//! extract.extract_claims ∥ extract.extract_providers → transform_join → load.load_warehouse
//!     → load.refresh_bi
//! ```

mod all_blocks;
mod breakers;
mod chosen;
mod code_systems;
mod column_profile;
mod examination;
mod examine;
mod first_pass;
mod inspect;
mod lines;
mod loading;
mod log;
mod original;
mod preparing;
mod quarantine;
mod refreshing;
mod rejected;
mod report;
mod resume;
mod run;
mod survey;
mod tasks;
mod verification;
mod verifying;
pub mod warehouse;
mod work;

pub use chosen::Chosen;
pub use code_systems::SystemCount;
pub use column_profile::KindCount;
pub use examination::{ColumnReport, Examination, ProfileReport, RuleCount, Shape};
pub use examine::examine;
pub use inspect::{CheckReport, Finding, check, explain, refresh, run_details, runs};
pub use original::VerifyOptions;
pub use quarantine::{
    ReasonCount, by_reason, kept_quarantines, latest_quarantine, prune, quarantine,
};
pub use rejected::{Found, Originals};
pub use report::{ErrorReport, Places, RefreshReport, RunReport, Status, TaskReport};
pub use resume::resume;
pub use run::{RunOptions, run};
pub use verification::{Checksums, Compared, Verdict, Verification};
pub use verifying::verify;

pub use crate::load::ledger::RunRow;
pub use crate::load::quarantine::{Kept as KeptQuarantine, NamedSource, Reject, Rejects};
