//! A task graph: ids, groups, retries, the trigger rule and states, as in Airflow.
//!
//! A module of its own because it knows nothing of claims: tasks are closures, results are small
//! JSON values. Data never travels this way.

mod execute;
mod graph;
mod task;

pub use graph::{Graph, Plan};
pub use task::{LogEntry, Outcome, RetryPolicy, State, TaskContext, TaskLog, TaskRun};
