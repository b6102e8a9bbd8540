//! How staged claims become published ones: by attaching the staged tables, by a merge, by an append.

use adbc_core::sync::Connection;

use crate::config::Mode;
use crate::error::Result;
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED, UNKNOWN_PROVIDER_KEY};
use crate::warehouse::sql;

const CONTEXT: &str = "asking what is published";

/// How the staged claims become published ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadStrategy {
    /// The staged table becomes the fact's partition.
    Attach,
    /// New rows are inserted, changed ones updated, equal ones left alone.
    Merge,
    /// All rows are inserted; none may be there.
    Append,
}

impl LoadStrategy {
    /// The name in the task's result.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Merge => "merge",
            Self::Append => "append",
        }
    }
}

/// The strategy for a mode: attach where nothing that is published stays.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn strategy(connection: &mut impl Connection, mode: Mode) -> Result<LoadStrategy> {
    Ok(match mode {
        Mode::Replace => LoadStrategy::Attach,
        _ if !is_filled(connection)? => LoadStrategy::Attach,
        Mode::Merge => LoadStrategy::Merge,
        Mode::Append => LoadStrategy::Append,
    })
}

/// Whether any claim is published.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn has_claims(connection: &mut impl Connection) -> Result<bool> {
    let filled = sql::query(
        connection,
        CONTEXT,
        &format!("SELECT EXISTS (SELECT FROM {PUBLISHED}.{CLAIMS_FACT}) AS filled"),
    )?;
    Ok(sql::boolean(&filled, "filled", 0) == Some(true))
}

/// Whether any claim or provider is published.
///
/// # Errors
/// `Warehouse` when the query fails.
fn is_filled(connection: &mut impl Connection) -> Result<bool> {
    let filled = sql::query(
        connection,
        CONTEXT,
        &format!(
            "SELECT EXISTS (SELECT FROM {PUBLISHED}.{CLAIMS_FACT})
                 OR EXISTS (SELECT FROM {PUBLISHED}.{PROVIDERS_DIM}
                            WHERE provider_key <> {UNKNOWN_PROVIDER_KEY}) AS filled"
        ),
    )?;
    Ok(sql::boolean(&filled, "filled", 0) == Some(true))
}
