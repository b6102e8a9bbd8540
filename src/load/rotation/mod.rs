//! The change of the key: from the tokens of one to those of another, in place.
//!
//! Between its begin and its end loads go on under the old key; the map of tokens grows until it
//! covers all that is published; then new partitions are built beside the old ones and one
//! transaction puts them in their place. Each step can be killed anywhere and called again.

mod attach;
mod build;
mod map;
mod state;

use adbc_core::sync::Connection;
pub(crate) use attach::{attach, forget, install_reloaded, renew_views};
pub(crate) use build::build;
pub use map::{Coverage, Offer, coverage, missing, put, take_stock};
pub use state::{Method, Phase, Rotation, open, read};

use self::state::CONTEXT;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::privacy::settings::Action;
use crate::schema::INTERNAL;
use crate::warehouse::keys::KeyName;
use crate::warehouse::table_checks::Ties;
use crate::warehouse::{keys, sql, table_layout};

/// Begins a rotation, or goes on with the very same.
///
/// # Errors
/// `Config` when another one is at work, the new key was used here before, or what is published
/// depends on the key by more than tokens of claims, patients and providers.
pub(crate) fn begin(
    connection: &mut impl Connection,
    old: &KeyName,
    new: &KeyName,
    method: Method,
) -> Result<Rotation> {
    if let Some(rotation) = read(connection)? {
        if (&rotation.old_key, &rotation.new_key, rotation.method) == (&old.id, &new.id, method)
            && rotation.phase != Phase::Attached
        {
            return Ok(rotation);
        }
        return Err(Error::config(format!(
            "a rotation from key {} to key {} is at work",
            rotation.old_key, rotation.new_key
        ))
        .hint("`claims-etl key rotate finish` ends it, `key rotate abort` gives it up"));
    }
    let has_providers = has_provider_tokens(connection, method)?;
    if method != Method::Reload {
        Ties { what: "rotation", dimension: has_providers }.refuse(connection)?;
    }
    sql::in_transaction(connection, CONTEXT, |connection| {
        let known = sql::query_with(
            connection,
            CONTEXT,
            "SELECT key_id FROM claims_etl.keys WHERE key_id = $1",
            sql::texts(&[Some(&new.id)]),
        )?;
        if known.num_rows() > 0 {
            return Err(Error::config(format!("key {} was used in this warehouse before", new.id))
                .hint("`claims-etl key generate` makes a new one"));
        }
        keys::note(connection, new)?;
        sql::execute(connection, CONTEXT, "DELETE FROM claims_etl.token_map")?;
        sql::execute_with(
            connection,
            CONTEXT,
            "INSERT INTO claims_etl.key_rotation (old_key, new_key, method, has_providers)
             VALUES ($1, $2, $3, $4::text::boolean)",
            sql::texts(&[
                Some(&old.id),
                Some(&new.id),
                Some(method.name()),
                Some(if has_providers { "true" } else { "false" }),
            ]),
        )?;
        failpoint::hit("rotate.begin")
    })?;
    open(connection)
}

/// Whether provider ids are tokens. The warehouse knows what was done to its columns; how an id looks
/// proves nothing, because many systems make their ids of the same form.
fn has_provider_tokens(connection: &mut impl Connection, method: Method) -> Result<bool> {
    let published = table_layout::stored(connection)?.layout;
    if method != Method::Reload {
        if matches!(published.action("date_of_service"), Some(Action::DateShift(_))) {
            return Err(refused("dates are shifted by the key"));
        }
        let names = ["provider_name", "specialty", "location"];
        if let Some(column) =
            names.into_iter().find(|column| published.action(column) == Some(Action::Token))
        {
            return Err(refused(&format!("the values of {column} are tokens")));
        }
    }
    Ok(published.action("provider_id") == Some(Action::Token))
}

fn refused(why: &str) -> Error {
    Error::config(format!("the key cannot be changed in place: {why}")).hint(
        "`claims-etl key rotate begin --reload`: everything is loaded again under the new key",
    )
}

/// Gives a rotation up: its window is closed, its map and the new key are forgotten.
///
/// # Errors
/// `Config` when there is none, or the tables have the new tokens already; `Warehouse` when a
/// statement fails.
pub(crate) fn abort(connection: &mut impl Connection) -> Result<Rotation> {
    let rotation = open(connection)?;
    if rotation.method == Method::Reload && keys::is_published_with(connection, &rotation.new_key)?
    {
        return Err(Error::config("everything is loaded under the new key already")
            .hint("`claims-etl key rotate finish` ends the rotation"));
    }
    sql::in_transaction(connection, CONTEXT, |connection| {
        build::drop_parts(connection)?;
        sql::execute(
            connection,
            CONTEXT,
            &format!(
                "TRUNCATE {INTERNAL}.token_map;
                 DELETE FROM {INTERNAL}.key_rotation;
                 DELETE FROM {INTERNAL}.keys k WHERE installed_at IS NULL AND retired_at IS NULL
                     AND NOT EXISTS (SELECT FROM {INTERNAL}.runs r WHERE r.key_id = k.key_id)"
            ),
        )?;
        failpoint::hit("rotate.abort")
    })?;
    Ok(rotation)
}
