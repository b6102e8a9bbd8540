//! The commands `key` and `token`.

mod rotate;

use std::io::BufRead;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use uuid::Uuid;

use self::rotate::RotateCommand;
use super::options::{KeyOptions, KeyWarehouseOptions};
use super::output::{Reply, json};
use super::output_format::{Format, ResultOptions};
use crate::cli::console::Console;
use crate::commands::key_check;
use crate::commands::key_check::KeyReport;
use crate::error::{Error, Result};
use crate::key::{Domain, MasterKey};
use crate::transform::RuleSet;

/// Work on the key.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Write a new random key to the key file (mode 0600) and print its id
    Generate {
        /// Make a chain: the keys in FILE, and a new one. Whoever has lost the source files changes
        /// the key of a warehouse this way
        #[arg(long, value_name = "FILE", help_heading = "Privacy")]
        over: Option<PathBuf>,
        #[command(flatten)]
        settings_options: KeyOptions,
    },
    /// Print the key's id, which is stored with every run
    Id {
        #[command(flatten)]
        settings_options: KeyOptions,
    },
    /// Say which key this is, where it was found, and whether it is the warehouse's: exits with 2 if
    /// it is not
    Check {
        #[command(flatten)]
        settings_options: Box<KeyWarehouseOptions>,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Change the key of what is published
    #[command(subcommand)]
    Rotate(RotateCommand),
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

/// Runs `key`.
///
/// # Errors
/// `Config` when the key cannot be written or read, and as [`rotate::rotate`].
pub(super) fn key(command: KeyCommand, console: &Console) -> Result<Reply> {
    match command {
        KeyCommand::Generate { over, settings_options } => {
            let path = settings_options.load()?.key_path();
            let key = match over {
                Some(inner) => MasterKey::extend(&inner, &path)?,
                None => MasterKey::generate(&path)?,
            };
            tracing::info!(
                target: "claims_etl",
                "{} is written; keep a copy: without it new data cannot join the old",
                path.display()
            );
            Ok(Reply::line(key.id()))
        }
        KeyCommand::Id { settings_options } => {
            MasterKey::resolve(&settings_options.load()?.key_source()).map(|k| Reply::line(k.id()))
        }
        KeyCommand::Check { settings_options, result } => {
            let report = key_check::check_key(&settings_options.load()?)?;
            let text = match result.format {
                Format::Json => json(&report)?,
                Format::Text => render(&report),
            };
            Ok(Reply::new(text, report.exit_code))
        }
        KeyCommand::Rotate(command) => rotate::rotate(command, console),
    }
}

fn render(report: &KeyReport) -> String {
    let chain = match report.links {
        1 => String::new(),
        links => format!(" (a chain of {links} keys)"),
    };
    let verdict = match (report.belongs, &report.why) {
        (_, Some(why)) => why.clone(),
        (Some("empty"), _) => "nothing is published there yet".into(),
        (Some(_), _) => "its tokens are of this key".into(),
        (None, _) => "none is configured, and the private server does not run".into(),
    };
    let asked =
        report.warehouse.as_ref().map_or_else(String::new, |address| format!("{address}: "));
    format!(
        "key        {}{chain}\nfrom       {}\nwarehouse  {asked}{verdict}\n",
        report.key_id, report.from
    )
}

/// Runs `token`; prints one line per line of `input`, blank for blank lines and for identifiers
/// without a token.
///
/// # Errors
/// `Config` without a key or for an invalid rule, `Source` when the input cannot be read.
pub(super) fn token(
    domain: TokenDomain,
    settings_options: KeyOptions,
    input: &mut dyn BufRead,
) -> Result<Reply> {
    let settings = settings_options.load()?;
    let (domain, column) = match domain {
        TokenDomain::Claim => (Domain::Claim, "claim_id"),
        TokenDomain::Patient => (Domain::Patient, "patient_id"),
        TokenDomain::Provider => (Domain::Provider, "provider_id"),
    };
    let tokenizer = MasterKey::resolve(&settings.key_source())?.tokenizer(domain);
    // Identifier rules do not depend on the reference date.
    let checks = RuleSet::new(&settings.rules, 0)?;
    let (mut text, mut refused) = (String::new(), 0_u64);
    for line in input.lines() {
        let line = line.map_err(|error| {
            Error::source(format!("standard input: {}", error.kind()))
                .hint("identifiers are UTF-8 text, one a line")
        })?;
        let identifier = checks.named(column, &line);
        if let Some(token) = identifier.and_then(|identifier| tokenizer.token(&identifier)) {
            text.push_str(&Uuid::from_bytes(token).to_string());
        } else if !line.trim().is_empty() {
            refused += 1;
        }
        text.push('\n');
    }
    if refused > 0 {
        tracing::warn!(
            "{refused} identifiers have no token: they are placeholders, or numbers in scientific form, which a run \
             rejects or takes for missing"
        );
    }
    Ok(Reply::done(text))
}
