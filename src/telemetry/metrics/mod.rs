//! Prometheus metrics: of the last run in a file, of a scheduler over HTTP.

mod endpoint;
mod figures;
mod textfile;

pub use endpoint::{Endpoint, Health};
pub use figures::{Figures, LastRun, TargetFigures, TaskFigures, Totals};
pub(crate) use textfile::write_textfile;
