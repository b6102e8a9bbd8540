//! From sources to records: files as they really arrive, headers, columns, object stores, databases.

mod adversarial_files;
mod adversarial_inputs;
mod cases;
#[cfg(feature = "failpoints")]
mod changed_source;
#[cfg(feature = "cloud")]
mod cloud;
#[cfg(feature = "database")]
mod database_source;
mod headers;
mod identifiers;
mod line_columns;
mod presets;
pub(crate) mod real_data;
mod record_structure;
mod sources;
