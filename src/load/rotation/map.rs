//! The map from old tokens to new ones.

use adbc_core::sync::Connection;
use serde::Serialize;
use uuid::Uuid;

use super::state::{CONTEXT, Rotation};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::key::Token;
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM, PUBLISHED, UNKNOWN_PROVIDER};
use crate::warehouse::sql;

/// Pairs that are sent at once: some 1.5 MB of text.
const BATCH: usize = 20_000;

/// Which pairs are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Those whose old token is in the map, because it is published.
    Published,
    /// All: they are about to be published.
    All,
}

/// How many tokens of a domain have their new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// `claim`, `patient` or `provider`.
    pub(crate) domain: String,
    /// Tokens in the map: those that are published, and those that loads of the window have brought.
    pub(crate) tokens: u64,
    /// Those whose new token is known.
    pub(crate) mapped: u64,
}

impl Coverage {
    /// Tokens whose new one is not known.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.tokens.saturating_sub(self.mapped)
    }
}

/// Enters all published tokens that are not in the map, and forgets those without a new token that
/// are published no longer. The warehouse is held.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub fn take_stock(connection: &mut impl Connection, rotation: &Rotation) -> Result<()> {
    let context = "taking stock of the tokens";
    for domain in rotation.domains() {
        let published = match *domain {
            "claim" => format!("SELECT claim_token AS old_token FROM {PUBLISHED}.{CLAIMS_FACT}"),
            "patient" => {
                format!("SELECT patient_token AS old_token FROM {PUBLISHED}.{CLAIMS_FACT}")
            }
            _ => format!(
                "SELECT provider_id::uuid AS old_token FROM {PUBLISHED}.{PROVIDERS_DIM}
                 WHERE provider_id <> '{UNKNOWN_PROVIDER}'"
            ),
        };
        sql::execute(
            connection,
            context,
            &format!(
                "INSERT INTO claims_etl.token_map (domain, old_token)
                 SELECT DISTINCT '{domain}', p.old_token FROM ({published}) p
                 WHERE NOT EXISTS (SELECT FROM claims_etl.token_map m
                     WHERE m.domain = '{domain}' AND m.old_token = p.old_token)"
            ),
        )?;
        sql::execute(
            connection,
            context,
            &format!(
                "DELETE FROM claims_etl.token_map m
                 WHERE m.domain = '{domain}' AND m.new_token IS NULL
                   AND NOT EXISTS (SELECT FROM ({published}) p WHERE p.old_token = m.old_token)"
            ),
        )?;
        failpoint::hit("rotate.stock")?;
    }
    sql::execute(connection, context, "ANALYZE claims_etl.token_map").map(drop)
}

/// How far the map is, domain by domain.
///
/// # Errors
/// `Warehouse` when the query fails.
pub fn coverage(connection: &mut impl Connection, rotation: &Rotation) -> Result<Vec<Coverage>> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT domain, count(*) AS tokens, count(new_token) AS mapped
         FROM claims_etl.token_map GROUP BY domain",
    )?;
    let row_of = |domain: &str| {
        (0..rows.num_rows()).find(|&row| sql::text(&rows, "domain", row).as_deref() == Some(domain))
    };
    let count = |name: &str, row: Option<usize>| {
        let count = row.and_then(|row| sql::int(&rows, name, row)).unwrap_or(0);
        u64::try_from(count).unwrap_or(0)
    };
    let domains = rotation.domains().iter().map(|&domain| {
        let row = row_of(domain);
        let (tokens, mapped) = (count("tokens", row), count("mapped", row));
        Coverage { domain: domain.to_owned(), tokens, mapped }
    });
    Ok(domains.collect())
}

/// Puts pairs into the map, batch by batch; returns how many were wanted and not known.
///
/// # Errors
/// `Warehouse` when a statement fails; batches before it stay.
pub fn put(
    connection: &mut impl Connection,
    domain: &str,
    pairs: &[(Token, Token)],
    offer: Offer,
) -> Result<u64> {
    let offered = "(SELECT DISTINCT ON (old_token) old_token, new_token
         FROM unnest($2::text::uuid[], $3::text::uuid[]) AS o(old_token, new_token) ORDER BY old_token, new_token) o";
    let statement = match offer {
        Offer::Published => format!(
            "UPDATE claims_etl.token_map m SET new_token = o.new_token FROM {offered}
             WHERE m.domain = $1 AND m.old_token = o.old_token AND m.new_token IS NULL"
        ),
        Offer::All => format!(
            "INSERT INTO claims_etl.token_map AS m (domain, old_token, new_token) SELECT $1, o.old_token, o.new_token FROM {offered}
             ON CONFLICT (domain, old_token) DO UPDATE SET new_token = excluded.new_token WHERE m.new_token IS NULL"
        ),
    };
    let mut taken = 0;
    for batch in pairs.chunks(BATCH) {
        let old = array(batch.iter().map(|(old, _)| *old));
        let new = array(batch.iter().map(|(_, new)| *new));
        let parameters = sql::texts(&[Some(domain), Some(&old), Some(&new)]);
        taken += sql::execute_with(connection, "mapping tokens", &statement, parameters)?;
        failpoint::hit("rotate.mapped")?;
    }
    Ok(taken)
}

/// Tokens as the text of an array.
fn array(tokens: impl Iterator<Item = Token>) -> String {
    let mut text = String::from("{");
    for token in tokens {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(
            Uuid::from_bytes(token).hyphenated().encode_lower(&mut Uuid::encode_buffer()),
        );
    }
    text.push('}');
    text
}

/// The next tokens without a new one, in their order, behind `after`.
///
/// # Errors
/// `Warehouse` when the query fails.
pub fn missing(
    connection: &mut impl Connection,
    domain: &str,
    after: Option<Token>,
) -> Result<Vec<Token>> {
    let after = after.map(|token| Uuid::from_bytes(token).to_string());
    let rows = sql::query_with(
        connection,
        CONTEXT,
        &format!(
            "SELECT old_token::text AS old_token FROM claims_etl.token_map
             WHERE domain = $1 AND new_token IS NULL AND ($2::text IS NULL OR old_token > $2::text::uuid)
             ORDER BY old_token LIMIT {BATCH}"
        ),
        sql::texts(&[Some(domain), after.as_deref()]),
    )?;
    let token = |row| {
        let text = sql::text(&rows, "old_token", row)?;
        Uuid::parse_str(&text).ok().map(Uuid::into_bytes)
    };
    let tokens = (0..rows.num_rows()).map(token).collect::<Option<Vec<_>>>();
    tokens.ok_or_else(|| Error::internal("a token that is none"))
}
