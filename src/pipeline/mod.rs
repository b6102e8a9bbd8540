//! One run: five tasks, the values that they hand on, and what a run can be resumed from. `run.rs` has
//! the graph.

pub(crate) mod all_blocks;
pub(crate) mod damaged_ids;
pub(crate) mod extract_stage;
pub(crate) mod first_pass;
mod line_lookup;
mod listeners;
pub(crate) mod load_stage;
mod outbox_target;
mod published_run;
pub(crate) mod quality_gates;
pub(crate) mod query_plan;
pub(crate) mod refresh_stage;
pub(crate) mod reject_advice;
pub(crate) mod report;
mod resume;
mod retries;
pub(crate) mod rotation_pairs;
mod run;
mod run_context;
mod run_name;
mod run_request;
pub(crate) mod run_rules;
pub(crate) mod run_selector;
pub(crate) mod run_totals;
mod scoring;
mod single_task;
pub(crate) mod source_check;
mod task_command;
mod task_id;
mod task_log;
mod task_runner;
pub(crate) mod transform_stage;

pub use refresh_stage::{Which, refresh, refresh_due};
pub use report::{ErrorReport, Places, RefreshReport, RunReport, Status, TaskReport};
pub use resume::{resume, run_named};
pub(crate) use retries::{OPENING, Retries};
pub use run::{run, run_as};
pub use run_context::RunOptions;
pub use run_name::RunName;
pub use run_selector::RunSelector;
pub use source_check::VerifyOptions;
pub use task_command::{TaskEnd, run_task};
pub use task_id::Task;
