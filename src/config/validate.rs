//! Range checks of settings.

use super::rules;
use super::settings::{AUTO, Settings, Source};
use crate::error::{Error, Result};
use crate::{privacy, risk};

/// Source name for standard input.
const STANDARD_INPUT: &str = "-";

/// Validates constraints that the types do not enforce.
///
/// # Errors
/// `Config`, naming the first invalid setting.
pub(super) fn validate(settings: &Settings) -> Result<()> {
    source("claims", &settings.claims)?;
    source("providers", &settings.providers)?;
    let sources = settings.claims.sources.iter().chain(&settings.providers.sources);
    if sources.filter(|source| *source == STANDARD_INPUT).count() > 1 {
        return Err(Error::config("standard input (-) can be only one of all sources")
            .hint("write one of the two to a file first"));
    }
    if !settings.providers.filter.is_empty() {
        return Err(Error::config("providers.where: only claims can be chosen by their values"));
    }
    if !settings.interval().is_ordered() {
        return Err(Error::config("run.interval_start must lie before run.interval_end").hint(
            "the end itself is not part of the interval: a day ends with the next day's date",
        ));
    }
    if settings.claims.date_formats.is_empty() {
        return Err(Error::config("claims.date_formats: at least one format is needed"));
    }
    share("quality.max_reject_ratio", settings.quality.max_reject_ratio)?;
    share("quality.max_conflict_ratio", settings.quality.max_conflict_ratio)?;
    let quality = &settings.quality;
    for (name, limit) in [
        ("max_row_change", quality.max_row_change),
        ("max_amount_change", quality.max_amount_change),
    ] {
        if limit.is_some_and(|limit| !(0.0..=1_000_000.0).contains(&limit)) {
            return Err(Error::config(format!("quality.{name} must be a share: 0.5 is 50 %")));
        }
    }
    share("quality.max_orphan_change", quality.max_orphan_change.unwrap_or(0.0))?;
    share("quality.max_null_change", quality.max_null_change.unwrap_or(0.0))?;
    rules::validate(&settings.rules)?;
    settings.refresh.validate()?;
    settings.schedule.validate()?;
    settings.mail.validate()?;
    settings.metrics.validate()?;
    settings.lineage.validate()?;
    privacy::settings::validate(&settings.privacy)?;
    risk::settings::validate(&settings.risk)?;
    if settings.warehouse.connections.is_some_and(|count| !(1..=64).contains(&count)) {
        return Err(Error::config("warehouse.connections must be from 1 to 64"));
    }
    if settings.warehouse.batch_rows.is_some_and(|rows| !(1..=1_000_000).contains(&rows)) {
        return Err(Error::config("warehouse.batch_rows must be from 1 to 1,000,000"));
    }
    Ok(())
}

fn source(name: &str, source: &Source) -> Result<()> {
    if source.query.is_some() && source.table.is_some() {
        return Err(Error::config(format!("{name}.query and {name}.table exclude one another")));
    }
    if source.partitions.is_some_and(|count| !(1..=64).contains(&count)) {
        return Err(Error::config(format!("{name}.partitions must be from 1 to 64")));
    }
    if source.partitions.is_some() && source.partition_on.is_none() {
        return Err(Error::config(format!("{name}.partitions needs {name}.partition_on"))
            .hint("name a numeric column by whose ranges the table is to be read"));
    }
    if let Some((name, _)) = source.filter.iter().find(|(_, values)| values.0.is_empty()) {
        return Err(Error::config(format!("claims.where: {name} has no value that would do")));
    }
    let delimiter = source.delimiter.as_str();
    let usable = match delimiter.as_bytes() {
        [byte] => byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | b'\0'),
        text => text == br"\t" || text == AUTO.as_bytes(),
    };
    if usable {
        Ok(())
    } else {
        Err(Error::config(format!("{name}.delimiter must be one ASCII character, or auto"))
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
    use crate::config::Values;

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
        assert_eq!(refusal(|s| s.claims.delimiter = "auto".into()), None);
        assert_eq!(refusal(|s| s.claims.sources = vec!["-".into(), "a.csv".into()]), None);
        let refused: [(&str, Change); 24] = [
            ("claims.query and claims.table", |s| {
                s.claims.query = Some("q".into());
                s.claims.table = Some("t".into());
            }),
            ("providers.partitions must be", |s| s.providers.partitions = Some(65)),
            ("claims.partitions needs", |s| s.claims.partitions = Some(2)),
            ("standard input", |s| s.claims.sources = vec!["-".into(), "-".into()]),
            ("standard input", |s| {
                s.claims.sources = vec!["-".into()];
                s.providers.sources = vec!["-".into()];
            }),
            ("providers.where", |s| {
                s.providers.filter.insert("A".into(), Values(vec!["x".into()]));
            }),
            ("claims.where", |s| drop(s.claims.filter.insert("A".into(), Values(Vec::new())))),
            ("run.interval_start", |s| {
                s.run.interval_start = "2024-01-31".parse().ok();
                s.run.interval_end = "2024-01-31".parse().ok();
            }),
            ("quality.max_reject_ratio", |s| s.quality.max_reject_ratio = 1.01),
            ("quality.max_reject_ratio", |s| s.quality.max_reject_ratio = f64::NAN),
            ("quality.max_conflict_ratio", |s| s.quality.max_conflict_ratio = -0.01),
            ("quality.max_row_change", |s| s.quality.max_row_change = Some(-0.1)),
            ("quality.max_amount_change", |s| s.quality.max_amount_change = Some(f64::NAN)),
            ("quality.max_null_change", |s| s.quality.max_null_change = Some(1.1)),
            ("rules.amount_limit", |s| s.rules.amount_limit = "much".into()),
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
