//! The risk score against independent computations.

mod explain;
mod history;
mod oracle;
mod sql;
