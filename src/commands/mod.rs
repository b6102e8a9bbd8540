//! The commands that are not a run: each looks at a source, at the warehouse or at both.

pub mod airflow;
pub mod check;
pub mod explain;
pub mod inspect;
pub mod key_check;
pub mod privacy;
pub mod quarantine;
pub mod refresh_list;
pub mod risk;
pub mod rotate;
pub mod runs;
pub mod verify;
