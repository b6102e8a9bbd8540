//! The master key and its tokens.
//!
//! A token is a pseudonym, not an anonymisation: anyone with the key can recompute it, and equal
//! identifiers have equal tokens.
//!
//! `subkey(domain) = BLAKE3 derive_key("claims-etl 2026-11-22 <domain> token v2", master key)`.
//!
//! A key can be a chain: then the tokens of its first key are hashed again with the subkeys of each
//! further one, `derive_key("claims-etl 2026-11-23 <domain> chain v1", key)`. That is how a warehouse
//! changes its key without the identifiers. `docs/keys.md` has all of this with known answers.

mod check_value;
mod domain;
mod master_key;
mod material;
mod source;
mod tokenizer;

pub(crate) use check_value::CheckValue;
pub use domain::Domain;
pub use master_key::MasterKey;
pub(crate) use source::{KeyPlace, KeySource, take_descriptor};
pub use tokenizer::{TOKEN_BYTES, Token, Tokenizer};
