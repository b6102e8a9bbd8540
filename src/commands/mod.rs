//! Commands other than `run`, which inspect a source, the warehouse or both.

pub mod airflow;
pub mod check;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod key_check;
pub mod privacy;
pub mod quarantine;
pub(crate) mod refresh_list;
pub mod risk;
pub mod rotate;
pub(crate) mod runs;
pub mod verify;
