//! The shuffle between the two passes: rows of the first, to be read again in the order of their
//! keys.
//!
//! Rows are partitioned by the first bits of their claim token into 512 buckets; a bucket is small
//! enough to be sorted in memory, and the buckets in a row are the input in the order of its key.
//! What follows from that order is worth more than it costs: repeats of a key lie side by side, an
//! index is built without sorting and tables are written in its order, and connections share the
//! work by ranges of the key.
//!
//! Rows that lie far apart in that order can still have the same content for one patient, or come from one
//! provider on one day. For that each row leaves a few bytes in smaller stores, partitioned by what
//! they are about, which are looked through between the passes.
//!
//! Rows hold tokens, never raw patient or claim identifiers. They stay in memory up to a limit;
//! beyond it they go to an unlinked temporary file, which nobody else can open and which is gone with the
//! process, however it ends.

mod buckets;
mod content;
mod deduplicate;
mod dropped_rows;
mod duplicate_content;
mod parallel;
mod providers;
mod repeats;
mod row;
mod sort;
mod store;
#[cfg(test)]
mod tests;
mod token_collisions;

pub(crate) use buckets::{BUCKETS, Shuffle, Writer, token_range};
pub(crate) use deduplicate::Resolved;
pub(crate) use dropped_rows::Counted;
pub(crate) use providers::Total;
pub(crate) use sort::no_rows;
pub(crate) use token_collisions::Distinct;
