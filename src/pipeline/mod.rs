//! The five tasks, wired.

mod report;

pub use report::{ErrorReport, Places, RefreshReport, RunReport, Status, TaskReport};
