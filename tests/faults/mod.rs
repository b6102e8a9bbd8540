//! Whatever breaks down in the middle of a run: nothing half published, the next run finishes.

#[cfg(feature = "failpoints")]
mod foreign_writer;
#[cfg(feature = "failpoints")]
mod kill_matrix;
#[cfg(feature = "failpoints")]
mod leftovers;
#[cfg(feature = "failpoints")]
mod lock_wait;
#[cfg(feature = "failpoints")]
mod network;
pub(crate) mod released_program;
mod reliability_table;
mod resume;
mod retry;
#[cfg(feature = "failpoints")]
mod server_crash;
mod signals;
#[cfg(feature = "failpoints")]
pub(crate) mod startup;
#[cfg(feature = "failpoints")]
mod warehouse_faults;
