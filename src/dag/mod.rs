//! A task graph: ids, groups, retries, the trigger rule and states, as in Airflow.
//!
//! Data never travels this way.

mod execute;
mod graph;
mod task;

pub use graph::{Graph, Plan};
pub use task::{LogEntry, Outcome, RetryPolicy, State, TaskContext, TaskLog, TaskRun};
