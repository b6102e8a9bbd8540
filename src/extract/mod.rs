//! Extract: locates the sources, checks their headers against the contract, fingerprints them and
//! scans them lazily.
//!
//! Here only headers are parsed and bytes hashed; rows are parsed once, when the blocks of a scan
//! execute. Sources that cannot be read twice are buffered: database rows in memory, standard input
//! and remote files in the spool.

mod address;
#[cfg(feature = "cloud")]
mod cloud;
mod column_resolver;
#[cfg(feature = "database")]
mod database;
mod delimited;
mod detection;
mod extracted;
#[cfg(feature = "database")]
mod fetched;
mod fingerprint;
mod folder;
mod foreign;
mod format;
mod header;
mod left_out;
mod line_column;
mod line_name;
mod mapping;
mod mapping_suggestion;
mod name;
mod parquet_file;
mod parquet_records;
mod parquet_text;
#[cfg(feature = "database")]
mod partition;
mod preview;
mod projection;
mod recognition;
mod records;
mod scan;
mod source_file;
mod source_resolver;
mod spool;
mod stage;
mod synonyms;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod text_start;

pub(crate) use column_resolver::suggest;
pub use extracted::Extracted;
pub(crate) use fingerprint::unchanged;
pub(crate) use format::{Compression, Format};
pub(crate) use line_column::likely_line_columns;
pub(crate) use name::not_loaded;
pub(crate) use parquet_file::panic_is_expected;
pub(crate) use parquet_records::parquet_records;
pub(crate) use preview::{Preview, preview};
pub(crate) use records::records;
pub use scan::{Block, Blocks, Census, scan};
pub(crate) use source_file::{STANDARD_INPUT, SourceFile};
pub use stage::extract;
