//! Prometheus metrics: a file for the last run, HTTP for a scheduler.

mod endpoint;
mod figures;
mod textfile;

pub use endpoint::{Endpoint, Health};
pub use figures::{Figures, LastRun, TargetFigures, TaskFigures, Totals};
pub(crate) use textfile::write_textfile;
