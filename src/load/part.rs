//! A staged part of the claims: one range of tokens, its totals, and how it differs from what is published.

use crate::schema::TokenRange;
use crate::totals::Cents;

/// One connection's table: a range of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The table in the internal schema.
    pub(crate) table: String,
    /// The tokens that it holds.
    pub(crate) range: TokenRange,
    /// Rows in the table.
    pub(crate) rows: u64,
    /// Their money, as Postgres adds it.
    pub(crate) amount: Cents,
    /// How they differ from what is published, where that stays.
    pub(crate) changes: Changes,
}

/// How a part's rows differ from what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    /// Rows whose key is not published.
    pub(crate) new: u64,
    /// Rows whose key is published with other content.
    pub(crate) changed: u64,
    /// Those of them whose amount is the opposite of the published one, and what that is in sum.
    pub(crate) opposite: (u64, Cents),
}
