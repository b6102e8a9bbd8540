//! How far a rotation of the key is, as the warehouse records it.

use adbc_core::sync::Connection;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::warehouse::keys::KeyName;
use crate::warehouse::sql;

/// How the new tokens come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// From the identifiers, which are read again.
    Files,
    /// From the old tokens.
    Chain,
    /// By a load of everything under the new key.
    Reload,
}

impl Method {
    /// The name in the warehouse.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Chain => "chain",
            Self::Reload => "reload",
        }
    }
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Tokens are mapped.
    Open,
    /// New partitions are being made.
    Built,
    /// The tables have the new tokens; the map is there still.
    Attached,
}

/// A rotation at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotation {
    /// The id of the key whose tokens are replaced.
    pub(crate) old_key: String,
    /// The id of the key that replaces it.
    pub(crate) new_key: String,
    /// How the new tokens come about.
    pub(crate) method: Method,
    /// Whether provider ids are tokens too.
    pub(crate) has_providers: bool,
    /// How far it is.
    pub phase: Phase,
    /// When it began, RFC 3339 in UTC.
    pub(crate) begun_at: String,
}

impl Rotation {
    /// The domains whose tokens are mapped.
    #[must_use]
    pub(crate) fn domains(&self) -> &'static [&'static str] {
        if self.has_providers { &["claim", "patient", "provider"] } else { &["claim", "patient"] }
    }

    /// Refuses a key that is not the one this rotation leads to.
    ///
    /// # Errors
    /// `Config` when it is another one.
    pub(crate) fn leads_to(&self, key: &KeyName) -> Result<()> {
        if key.id == self.new_key {
            return Ok(());
        }
        Err(Error::config(format!(
            "the rotation at work leads to key {}, this is key {}",
            self.new_key, key.id
        ))
        .hint("name the file of that key with --next-key-file, or `claims-etl key rotate abort`"))
    }
}

/// The rotation at work; none where there is none.
///
/// # Errors
/// `Warehouse` when the query fails.
pub fn read(connection: &mut impl Connection) -> Result<Option<Rotation>> {
    let there = "SELECT to_regclass('claims_etl.key_rotation') IS NOT NULL AS there";
    if sql::boolean(&sql::query(connection, CONTEXT, there)?, "there", 0) != Some(true) {
        return Ok(None);
    }
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT old_key, new_key, method, has_providers, phase,
             to_char(begun_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS begun_at
         FROM claims_etl.key_rotation",
    )?;
    let text = |name| sql::text(&rows, name, 0).unwrap_or_default();
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    Ok(Some(Rotation {
        old_key: text("old_key"),
        new_key: text("new_key"),
        method: match text("method").as_str() {
            "files" => Method::Files,
            "chain" => Method::Chain,
            _ => Method::Reload,
        },
        has_providers: sql::boolean(&rows, "has_providers", 0) == Some(true),
        phase: match text("phase").as_str() {
            "open" => Phase::Open,
            "built" => Phase::Built,
            _ => Phase::Attached,
        },
        begun_at: text("begun_at"),
    }))
}

/// The rotation at work, whose window is open.
///
/// # Errors
/// `Config` when there is none, or it has only to be cleared away.
pub fn open(connection: &mut impl Connection) -> Result<Rotation> {
    match read(connection)? {
        Some(rotation) if rotation.phase != Phase::Attached => Ok(rotation),
        Some(_) => Err(Error::config("the rotation is done, only its map is left")
            .hint("`claims-etl key rotate finish` removes it")),
        None => Err(Error::config("no rotation is at work")
            .hint("`claims-etl key rotate begin --next-key-file FILE` begins one")),
    }
}

pub(super) const CONTEXT: &str = "key rotation";
