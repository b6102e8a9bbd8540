//! Data intervals: the scheduler, backfills, the DAG for Airflow.

mod airflow_dag;
#[cfg(feature = "failpoints")]
mod backfill;
#[cfg(feature = "failpoints")]
pub(crate) mod scheduler;
