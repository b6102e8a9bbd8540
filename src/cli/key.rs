//! The commands `key` and `token`.
//!
//! A file of its own because identifiers pass through here: they come from standard input and only
//! their tokens go out.

use std::io::BufRead;

use clap::{Subcommand, ValueEnum};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::key::{Domain, MasterKey};

use super::options::KeyPlaceOptions;
use super::output::Reply;

/// Work on the key.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Write a new random key to the key file (mode 0600) and print its id
    Generate {
        #[command(flatten)]
        place: KeyPlaceOptions,
    },
    /// Print the key's id, which is stored with every run
    Id {
        #[command(flatten)]
        place: KeyPlaceOptions,
    },
}

/// What an identifier names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TokenDomain {
    /// Claim ids
    Claim,
    /// Patient ids
    Patient,
    /// Provider ids
    Provider,
}

/// `key generate` and `key id`: the key's id.
///
/// # Errors
/// `Config` when the key cannot be written or read.
pub(super) fn key(command: KeyCommand) -> Result<Reply> {
    let key = match command {
        KeyCommand::Generate { place } => {
            let path = place.load()?.key_path();
            let key = MasterKey::generate(&path)?;
            tracing::info!(
                target: "claims_etl",
                "{} is written; keep a copy: without it new data cannot join the old",
                path.display()
            );
            key
        }
        KeyCommand::Id { place } => MasterKey::resolve(&place.load()?)?,
    };
    Ok(Reply::line(key.id()))
}

/// `token`: a line for each line of `input`; blank for a blank one.
///
/// # Errors
/// `Config` when there is no key, `Source` when the input cannot be read.
pub(super) fn token(
    domain: TokenDomain,
    place: KeyPlaceOptions,
    input: &mut dyn BufRead,
) -> Result<Reply> {
    let tokenizer = MasterKey::resolve(&place.load()?)?.tokenizer(match domain {
        TokenDomain::Claim => Domain::Claim,
        TokenDomain::Patient => Domain::Patient,
        TokenDomain::Provider => Domain::Provider,
    });
    let mut text = String::new();
    for line in input.lines() {
        let line = line.map_err(|error| {
            Error::source(format!("standard input: {}", error.kind()))
                .hint("identifiers are UTF-8 text, one a line")
        })?;
        if let Some(token) = tokenizer.token(&line) {
            text.push_str(&Uuid::from_bytes(token).to_string());
        }
        text.push('\n');
    }
    Ok(Reply::done(text))
}
