//! The commands `key rotate`.

use clap::Subcommand;

use crate::cli::console::Console;
use crate::cli::options::{BothKeysOptions, SettingsOptions, WarehouseOptions};
use crate::cli::output::{Reply, json};
use crate::cli::output_format::{Format, ResultOptions};
use crate::cli::signals;
use crate::commands::rotate;
use crate::commands::rotate::RotationReport;
use crate::error::Result;
use crate::load::rotation::{Coverage, Method, Phase};

/// Steps of a rotation. Each can be called again after a crash.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RotateCommand {
    /// Open the window: from now on old tokens are mapped to those of the next key
    Begin {
        /// Map nothing: reload everything under the next key, with `run --mode replace`
        #[arg(long, env = "CLAIMS_ETL_ROTATE_RELOAD")]
        reload: bool,
        #[command(flatten)]
        keys: Box<BothKeysOptions>,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Map the tokens of the identifiers in source files, which are read again
    Map {
        #[command(flatten)]
        settings: Box<SettingsOptions>,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Map all tokens without the source files: the next key is a chain over the old one
    Chain {
        #[command(flatten)]
        keys: Box<BothKeysOptions>,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Say how many tokens have their new one
    Status {
        #[command(flatten)]
        settings_options: WarehouseOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Put the new tokens in the place of the old ones; refused as long as one is missing
    Finish {
        /// Keep the map of tokens until `finish` is called again
        #[arg(long, env = "CLAIMS_ETL_ROTATE_KEEP_MAP")]
        keep_map: bool,
        #[command(flatten)]
        settings_options: WarehouseOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
    /// Give the rotation up: the map and the next key are forgotten
    Abort {
        #[command(flatten)]
        settings_options: WarehouseOptions,
        #[command(flatten)]
        result: ResultOptions,
    },
}

/// Runs `key rotate`.
///
/// # Errors
/// As the rotation step.
pub(super) fn rotate(command: RotateCommand, console: &Console) -> Result<Reply> {
    let observer = console.observer();
    let (report, format, next) = match command {
        RotateCommand::Begin { reload, keys, result } => {
            let report = rotate::begin(&keys.load()?, reload, observer, &signals::cancellation()?)?;
            let next = begun(&report);
            (report, result.format, next)
        }
        RotateCommand::Map { settings, result } => {
            let report = rotate::map(&settings.load()?, observer, &signals::cancellation()?)?;
            let next = next_step(&report);
            (report, result.format, next)
        }
        RotateCommand::Chain { keys, result } => {
            let report = rotate::chain(&keys.load()?, observer, &signals::cancellation()?)?;
            let next = next_step(&report);
            (report, result.format, next)
        }
        RotateCommand::Status { settings_options, result } => {
            let report = rotate::status(&settings_options.load()?)?;
            let next = report.rotation.as_ref().map_or_else(String::new, |rotation| {
                match (rotation.phase, rotation.method) {
                    (Phase::Attached, _) => {
                        "The tables have the new tokens; `key rotate finish` removes the map.\n"
                            .into()
                    }
                    (_, Method::Reload) => RELOAD.into(),
                    _ => next_step(&report),
                }
            });
            (report, result.format, next)
        }
        RotateCommand::Finish { keep_map, settings_options, result } => {
            let report = rotate::finish(
                &settings_options.load()?,
                keep_map,
                observer,
                &signals::cancellation()?,
            )?;
            let next = ended(&report);
            (report, result.format, next)
        }
        RotateCommand::Abort { settings_options, result } => {
            let report =
                rotate::abort(&settings_options.load()?, observer, &signals::cancellation()?)?;
            let next =
                "Given up: the map and the next key are forgotten, nothing else has changed.\n";
            (report, result.format, next.into())
        }
    };
    Ok(Reply::done(match format {
        Format::Json => json(&report)?,
        Format::Text => render(&report) + &next,
    }))
}

const RELOAD: &str = "Load everything under the next key: `claims-etl run --mode replace --force`, then \
     `key rotate finish`.\n";

fn render(report: &RotationReport) -> String {
    let Some(rotation) = &report.rotation else {
        return "No rotation is at work.\n".into();
    };
    let mut text = format!(
        "Rotation from key {} to key {} ({}), begun {}.\n",
        rotation.old_key,
        rotation.new_key,
        rotation.method.name(),
        rotation.begun_at
    );
    let line = |coverage: &Coverage| {
        let Coverage { domain, tokens, mapped } = coverage;
        format!("{domain:<9} {mapped} of {tokens} tokens have their new one\n")
    };
    text.extend(report.coverage.iter().map(line));
    text
}

fn begun(report: &RotationReport) -> String {
    match report.rotation.as_ref().map(|rotation| rotation.method) {
        Some(Method::Reload) => RELOAD.into(),
        Some(Method::Chain) => {
            "Loads continue under the old key. Next: `claims-etl key rotate chain`.\n".into()
        }
        _ => {
            "Loads continue under the old key; with --next-key-file each notes its own tokens. Next: \
              `claims-etl key rotate map` with the earlier files.\n"
                .into()
        }
    }
}

fn next_step(report: &RotationReport) -> String {
    let missing: u64 = report.coverage.iter().map(Coverage::missing).sum();
    if missing == 0 {
        "Complete. Next: `claims-etl key rotate finish`.\n".into()
    } else {
        format!("{missing} tokens are not mapped yet.\n")
    }
}

fn ended(report: &RotationReport) -> String {
    let Some(rotation) = &report.rotation else { return String::new() };
    let old = match rotation.method {
        Method::Chain => format!(
            "Key {} is refused from now on by itself. It lives on inside the chain of key {}: destroy \
             every other copy of it.",
            rotation.old_key, rotation.new_key
        ),
        Method::Files | Method::Reload => format!(
            "Key {} is refused from now on and can be destroyed: nothing here needs it.",
            rotation.old_key
        ),
    };
    format!(
        "All that is published has the tokens of key {}.\n{old}\nOld tokens are left in backups and \
         archived logs of the server, in exports, in quarantine files, and in dashboards until \
         `claims-etl refresh`.\n",
        rotation.new_key
    )
}
