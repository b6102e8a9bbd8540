//! Figures for Prometheus: of the last run in a file, and of a scheduler over HTTP.
//!
//! A module of its own because names of metrics are a contract with everybody's alert rules, and
//! because telling must never slow or fail what it tells about.

mod endpoint;
mod figures;
mod textfile;

pub use endpoint::{Endpoint, Health};
pub use figures::{Figures, LastRun, TargetFigures, TaskFigures, Totals};
pub use textfile::write_textfile;
