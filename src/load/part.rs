//! A staged part of the claims: one range of tokens, its totals, and how it differs from what is published.

use crate::schema::TokenRange;
use crate::totals::Cents;

/// One connection's table: a range of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The table in the internal schema.
    pub table: String,
    /// The tokens that it holds.
    pub range: TokenRange,
    /// Rows in the table.
    pub rows: u64,
    /// Their money, as Postgres adds it.
    pub amount: Cents,
    /// How they differ from what is published, where that stays.
    pub changes: Changes,
}

/// How a part's rows differ from what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Rows whose key is not published.
    pub new: u64,
    /// Rows whose key is published with other content.
    pub changed: u64,
    /// Those of them whose amount is the opposite of the published one, and what that is in sum.
    pub opposite: (u64, Cents),
}
