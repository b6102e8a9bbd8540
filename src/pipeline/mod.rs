//! The program: five tasks, wired.
//!
//! It reads like the way of the data:
//!
//! ```text
//! extract.extract_claims ∥ extract.extract_providers → transform_join → load.load_warehouse
//!     → load.refresh_bi
//! ```

pub(crate) mod all_blocks;
pub(crate) mod damaged_ids;
pub(crate) mod first_pass;
pub(crate) mod line_lookup;
mod listeners;
pub(crate) mod load_stage;
pub(crate) mod named_run;
pub(crate) mod outbox_target;
pub(crate) mod quality_gates;
pub(crate) mod refresh_stage;
pub(crate) mod reject_advice;
pub(crate) mod report;
mod resume;
pub(crate) mod retries;
pub(crate) mod rotation_pairs;
mod run;
pub(crate) mod run_context;
mod run_name;
pub(crate) mod run_request;
pub(crate) mod run_selector;
pub(crate) mod scoring;
pub(crate) mod single_task;
pub(crate) mod source_check;
pub(crate) mod task_command;
pub(crate) mod task_id;
pub(crate) mod task_log;
pub(crate) mod tasks;
pub(crate) mod transform_stage;

pub use damaged_ids::DamagedIds;
pub use named_run::run_named;
pub use refresh_stage::{Which, refresh, refresh_due};
pub use report::{ErrorReport, Places, RefreshReport, RunReport, Status, TaskReport};
pub use resume::resume;
pub(crate) use retries::{OPENING, Retries};
pub use run::{RunOptions, run, run_as};
pub use run_name::RunName;
pub use run_selector::Chosen;
pub use source_check::VerifyOptions;
pub use task_command::{TaskEnd, run_only};
pub use task_id::Task;
