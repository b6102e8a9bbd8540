//! Which key the warehouse's tokens are of.
//!
//! So it is refused here, before a row is read.

use adbc_core::sync::Connection;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::key::{CheckValue, MasterKey};
use crate::warehouse::sql;

const CONTEXT: &str = "checking the key";

/// The key of the last published run.
const LAST_PUBLISHED: &str = "(SELECT key_id FROM claims_etl.runs WHERE published_at IS NOT NULL
     ORDER BY publish_no DESC LIMIT 1)";

/// What is public of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyName {
    pub(crate) id: String,
    /// What identifies it.
    pub(crate) check: CheckValue,
}

impl KeyName {
    #[must_use]
    pub(crate) fn of(key: &MasterKey) -> Self {
        Self { id: key.id(), check: key.check_value() }
    }

    fn check_text(&self) -> String {
        Uuid::from_bytes(self.check.bytes()).to_string()
    }
}

/// What a warehouse records about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// The published tokens are of this key.
    Yes,
    NothingPublished,
    /// The published tokens are of the key with this id.
    No(String),
    /// A rotation has ended the use of this key; the id is that of its successor.
    Retired(String),
    /// A rotation to this key is at work; until its end the key with this id is the warehouse's.
    Next(String),
    /// The id is that of the warehouse's key, but the key is another one.
    Impostor,
}

/// Whether the published tokens are of a key. A warehouse of an earlier version, or an empty one, is
/// asked what it has.
///
/// # Errors
/// `Warehouse` when a query fails.
pub(crate) fn belongs(connection: &mut impl Connection, key: &KeyName) -> Result<Belongs> {
    let there = sql::query(
        connection,
        CONTEXT,
        "SELECT to_regclass('claims_etl.runs') IS NOT NULL AS runs,
             to_regclass('claims_etl.keys') IS NOT NULL AS keys",
    )?;
    if sql::boolean(&there, "runs", 0) != Some(true) {
        return Ok(Belongs::NothingPublished);
    }
    let has_keys = sql::boolean(&there, "keys", 0) == Some(true);
    let Some(current) = current(connection, has_keys)? else {
        return Ok(Belongs::NothingPublished);
    };
    if !has_keys {
        return Ok(if current == key.id { Belongs::Yes } else { Belongs::No(current) });
    }
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "SELECT check_value::text AS value, retired_at IS NOT NULL AS retired,
             EXISTS (SELECT FROM claims_etl.key_rotation r WHERE r.new_key = k.key_id
                 AND r.phase <> 'attached') AS next
         FROM claims_etl.keys k WHERE key_id = $1",
        sql::texts(&[Some(&key.id)]),
    )?;
    let stored = sql::text(&rows, "value", 0).and_then(|text| Uuid::parse_str(&text).ok());
    let same = stored.is_none_or(|stored| CheckValue::new(stored.into_bytes()) == key.check);
    let is = |name| sql::boolean(&rows, name, 0) == Some(true);
    Ok(match (current == key.id, same) {
        (true, true) => Belongs::Yes,
        (true, false) => Belongs::Impostor,
        (false, _) if is("retired") => Belongs::Retired(current),
        (false, _) if is("next") => Belongs::Next(current),
        (false, _) => Belongs::No(current),
    })
}

/// The id of the key that the published tokens are of: the one that a rotation has installed, else
/// that of the last published run.
fn current(connection: &mut impl Connection, has_keys: bool) -> Result<Option<String>> {
    if !has_keys {
        return published_with(connection);
    }
    let query = format!(
        "SELECT coalesce(
             -- A reload under the new key has replaced everything.
             (SELECT new_key FROM claims_etl.key_rotation WHERE method = 'reload'
              AND new_key = {LAST_PUBLISHED}),
             (SELECT key_id FROM claims_etl.keys
              WHERE installed_at IS NOT NULL AND retired_at IS NULL),
             {LAST_PUBLISHED}) AS key_id"
    );
    Ok(sql::text(&sql::query(connection, CONTEXT, &query)?, "key_id", 0))
}

/// Refuses a key that is not that of the published tokens, and notes one that is. A run that is to
/// `replace` everything may have the key that a rotation by reload has named.
///
/// # Errors
/// `Config` when the published rows carry tokens of another key.
pub(crate) fn check(connection: &mut impl Connection, key: &KeyName, replace: bool) -> Result<()> {
    match belongs(connection, key)? {
        Belongs::Yes | Belongs::NothingPublished => note(connection, key),
        Belongs::Next(_) if replace && is_reload(connection)? => Ok(()),
        other => Err(refusal(&key.id, &other)),
    }
}

/// Enters a key that is not known yet; a warehouse of an earlier version learns its key this way.
///
/// # Errors
/// `Warehouse` when the statement fails.
pub(crate) fn note(connection: &mut impl Connection, key: &KeyName) -> Result<()> {
    sql::execute_with(
        connection,
        CONTEXT,
        "INSERT INTO claims_etl.keys (key_id, check_value, first_used)
         SELECT $1, $2::text::uuid, coalesce(min(started_at), now())
         FROM claims_etl.runs WHERE key_id = $1
         ON CONFLICT (key_id) DO NOTHING",
        sql::texts(&[Some(&key.id), Some(&key.check_text())]),
    )
    .map(drop)
}

fn is_reload(connection: &mut impl Connection) -> Result<bool> {
    let query = "SELECT EXISTS (SELECT FROM claims_etl.key_rotation WHERE method = 'reload') AS is";
    Ok(sql::boolean(&sql::query(connection, CONTEXT, query)?, "is", 0) == Some(true))
}

/// Why a key is refused.
#[must_use]
pub(crate) fn refusal(id: &str, why: &Belongs) -> Error {
    let (message, hint) = match why {
        Belongs::Yes | Belongs::NothingPublished => {
            return Error::internal("the warehouse's own key was refused");
        }
        Belongs::No(stored) => (
            format!("the warehouse was loaded with key {stored}, this run has key {id}"),
            "its tokens would not match those already there: use the key that made them",
        ),
        Belongs::Retired(stored) => (
            format!("key {id} is retired: the warehouse's tokens are of key {stored} now"),
            "use the key that replaced it, and destroy this one: docs/keys.md",
        ),
        Belongs::Next(stored) => (
            format!(
                "the rotation to key {id} has not ended: until then the warehouse has key {stored}"
            ),
            "`claims-etl key rotate status` lists what is missing; `key rotate finish` ends it",
        ),
        Belongs::Impostor => (
            format!("this key has the id of the warehouse's key, {id}, but it is another one"),
            "use the key that made the tokens",
        ),
    };
    Error::config(message).hint(hint)
}

/// Whether the last published run had the key with this id.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn is_published_with(connection: &mut impl Connection, id: &str) -> Result<bool> {
    Ok(published_with(connection)?.as_deref() == Some(id))
}

/// The id of the key of the last published run.
///
/// # Errors
/// `Warehouse` when the query fails.
fn published_with(connection: &mut impl Connection) -> Result<Option<String>> {
    let query = format!("SELECT {LAST_PUBLISHED} AS key_id");
    Ok(sql::text(&sql::query(connection, CONTEXT, &query)?, "key_id", 0))
}

/// Whether the tokens that a key has made are today those of another: it is the same, or rotations
/// lead from the one to the other.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn leads_to(connection: &mut impl Connection, from: &str, to: &str) -> Result<bool> {
    let there = "SELECT to_regclass('claims_etl.keys') IS NOT NULL AS there";
    if sql::boolean(&sql::query(connection, CONTEXT, there)?, "there", 0) != Some(true) {
        return Ok(from == to);
    }
    let rows = sql::query_with(
        connection,
        CONTEXT,
        "WITH RECURSIVE ways(key_id) AS (
             SELECT $1::text
             UNION
             SELECT k.replaced_by FROM claims_etl.keys k JOIN ways USING (key_id)
             WHERE k.replaced_by IS NOT NULL)
         SELECT EXISTS (SELECT FROM ways WHERE key_id = $2) AS leads",
        sql::texts(&[Some(from), Some(to)]),
    )?;
    Ok(sql::boolean(&rows, "leads", 0) == Some(true))
}
