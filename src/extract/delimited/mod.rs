//! Delimited text: cut into blocks of whole records, blocks into columns of text.
//!
//! A module of its own because structure has to be known exactly: every record is counted, none is
//! shortened, filled up or shifted, and a block's records are cut and read by the same rules.
//! Those of RFC 4180 and of the `csv` crate: a field that begins with a quote ends at the next
//! single one, two quotes inside stand for one, and a quote anywhere else is a character like any
//! other. Records end with a line feed; a carriage return before it belongs to the line's end.
//! Fields are not copied: a column's texts point into the block.

mod columns;
mod reader;
mod record;

pub(super) use columns::{Layout, columns};
pub(super) use reader::{Cut, Reader};

/// What makes text unreadable as records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// A record has more fields than the header.
    TooManyFields,
    /// A quote is not closed.
    UnclosedQuote,
    /// A record is longer than any record may be.
    EndlessRecord,
    /// Bytes that are not UTF-8.
    NotUtf8,
}

impl Malformed {
    /// What is wrong with a record, to follow its number.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::TooManyFields => "has more fields than the header",
            Self::UnclosedQuote => "has a quote that is not closed",
            Self::EndlessRecord => {
                "does not end within 64 MiB: look for a quote that is not closed"
            }
            Self::NotUtf8 => "has bytes that are not UTF-8",
        }
    }
}
