//! The ranges that settings must keep.
//!
//! A file of its own because a value may come from the file, the environment or the command line,
//! and is checked once, after they are merged.

use crate::error::{Error, Result};

use super::settings::{Settings, Source};

/// Checks every range that the types do not hold by themselves.
///
/// # Errors
/// `Config`, naming the first setting that is out of range.
pub(super) fn validate(settings: &Settings) -> Result<()> {
    source("claims", &settings.claims)?;
    source("providers", &settings.providers)?;
    if settings.claims.date_formats.is_empty() {
        return Err(Error::config("claims.date_formats: at least one format is needed"));
    }
    share("quality.max_reject_ratio", settings.quality.max_reject_ratio)?;
    share("risk.weight_amount", settings.risk.weight_amount)?;
    share("risk.weight_weekend", settings.risk.weight_weekend)?;
    if settings.warehouse.connections.is_some_and(|count| !(1..=64).contains(&count)) {
        return Err(Error::config("warehouse.connections must be from 1 to 64"));
    }
    if settings.warehouse.batch_rows.is_some_and(|rows| !(1..=1_000_000).contains(&rows)) {
        return Err(Error::config("warehouse.batch_rows must be from 1 to 1,000,000"));
    }
    Ok(())
}

fn source(name: &str, source: &Source) -> Result<()> {
    let delimiter = source.delimiter.as_str();
    let usable = match delimiter.as_bytes() {
        [byte] => byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | b'\0'),
        text => text == br"\t",
    };
    if usable {
        Ok(())
    } else {
        Err(Error::config(format!("{name}.delimiter must be one ASCII character"))
            .hint("a tab is written \"\\t\"; quotes and line ends cannot separate fields"))
    }
}

fn share(name: &str, value: f64) -> Result<()> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(Error::config(format!("{name} must be from 0 to 1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Settings)) -> Option<String> {
        let mut settings = Settings::default();
        change(&mut settings);
        validate(&settings).err().map(|error| error.message().to_owned())
    }

    #[test]
    fn defaults_are_valid() {
        assert_eq!(refusal(|_| ()), None);
    }

    type Change = fn(&mut Settings);

    #[test]
    fn ranges_hold_at_their_ends() {
        assert_eq!(refusal(|s| s.quality.max_reject_ratio = 1.0), None);
        assert_eq!(refusal(|s| s.warehouse.connections = Some(64)), None);
        assert_eq!(refusal(|s| s.warehouse.batch_rows = Some(1_000_000)), None);
        assert_eq!(refusal(|s| s.claims.delimiter = "\\t".into()), None);
        assert_eq!(refusal(|s| s.claims.delimiter = "\t".into()), None);
        let refused: [(&str, Change); 11] = [
            ("quality.max_reject_ratio", |s| s.quality.max_reject_ratio = 1.01),
            ("quality.max_reject_ratio", |s| s.quality.max_reject_ratio = f64::NAN),
            ("risk.weight_amount", |s| s.risk.weight_amount = -0.1),
            ("risk.weight_weekend", |s| s.risk.weight_weekend = 2.0),
            ("warehouse.connections", |s| s.warehouse.connections = Some(0)),
            ("warehouse.connections", |s| s.warehouse.connections = Some(65)),
            ("warehouse.batch_rows", |s| s.warehouse.batch_rows = Some(0)),
            ("claims.delimiter", |s| s.claims.delimiter = "||".into()),
            ("claims.delimiter", |s| s.claims.delimiter = "\"".into()),
            ("providers.delimiter", |s| s.providers.delimiter = "§".into()),
            ("claims.date_formats", |s| s.claims.date_formats.clear()),
        ];
        for (name, change) in refused {
            let message = refusal(change).expect(name);
            assert!(message.starts_with(name), "{message}");
        }
    }
}
