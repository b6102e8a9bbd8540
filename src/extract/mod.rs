//! Extract: finds the sources, checks their headers against the contract, fingerprints them, and
//! scans them lazily.
//!
//! Never reads more of the data than headers and bytes to hash: parsing happens once, when the
//! blocks of a scan are executed. What has no second reading is kept: the rows of a database in
//! memory, standard input and what lies elsewhere in the spool.

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

pub use column_resolver::suggest;
pub use extracted::Extracted;
pub use fingerprint::unchanged;
pub use format::{Compression, Format};
pub use left_out::LeftOut;
pub use line_column::likely_line_columns;
pub use mapping::Take;
pub use mapping_suggestion::{Proposal, fitting_preset, propose};
pub use name::not_loaded;
pub use parquet_file::panic_is_expected;
pub use parquet_records::parquet_records;
pub use preview::{Look, look};
pub use records::{Original, records};
pub use scan::{Block, Blocks, Census, scan};
pub use source_file::{Delimited, STANDARD_INPUT, SourceFile};
pub use stage::extract;
pub use text::TextFormat;
