//! The command `rules`: the validation rules and their severities.

use std::fmt::Write as _;

use clap::ValueEnum;
use serde::Serialize;

use super::options::SettingsOptions;
use super::output::{Reply, json};
use super::table::Table;
use crate::config::Settings;
use crate::error::Result;
use crate::rule::{OnDuplicate, Rule, Severity};

/// A form of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum ListFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For documentation
    Markdown,
}

/// One rule with its configuration.
#[derive(Debug, Serialize)]
struct Line {
    id: &'static str,
    name: &'static str,
    column: &'static str,
    severity: Severity,
    default_severity: Severity,
    allowed: &'static [Severity],
    bit: Option<i32>,
    setting: Option<&'static str>,
    value: Option<String>,
    description: &'static str,
}

/// Runs `rules`; prints one line per rule.
///
/// # Errors `Config` when the settings are invalid.
pub(super) fn rules(options: SettingsOptions, format: ListFormat) -> Result<Reply> {
    let settings = options.load()?;
    let severities = settings.severities()?;
    let lines = Rule::ALL.into_iter().map(|rule| Line {
        id: rule.id(),
        name: rule.name(),
        column: rule.column(),
        severity: severities.of(rule),
        default_severity: rule.default_severity(),
        allowed: rule.allowed(),
        bit: rule.bit(),
        setting: rule.option(),
        value: rule.option().and_then(|option| value(option, &settings)),
        description: rule.description(),
    });
    let lines: Vec<Line> = lines.collect();
    Ok(Reply::done(match format {
        ListFormat::Text => text(&lines),
        ListFormat::Json => json(&lines)?,
        ListFormat::Markdown => markdown(&lines, &settings),
    }))
}

/// A setting's value, abbreviated.
fn value(setting: &str, settings: &Settings) -> Option<String> {
    let rules = &settings.rules;
    let policy = |policy: OnDuplicate| match policy {
        OnDuplicate::Last => "last",
        OnDuplicate::First => "first",
        OnDuplicate::Reject => "reject",
    };
    Some(match setting {
        "rules.placeholders" => format!("{} texts", rules.placeholders.len()),
        "rules.earliest_date" => rules.earliest_date.clone(),
        "rules.patient_placeholders" => format!("{} texts", rules.patient_placeholders.len()),
        "rules.code_system" => serde_json::to_value(rules.code_system).ok()?.as_str()?.to_owned(),
        "rules.amount_limit" => rules.amount_limit.clone(),
        "rules.future_days" => rules.future_days.to_string(),
        "rules.max_age_years" => rules.max_age_years.to_string(),
        "rules.filing_days" => rules.filing_days.to_string(),
        "claims.decimal" => {
            serde_json::to_value(settings.claims.decimal).ok()?.as_str()?.to_owned()
        }
        "claims.date_formats" => settings.claims.date_formats.join(", "),
        "warehouse.on_duplicate" => policy(settings.warehouse.duplicate_policy()).to_owned(),
        "warehouse.on_provider_conflict" => {
            policy(settings.warehouse.on_provider_conflict).to_owned()
        }
        _ => return None,
    })
}

impl Line {
    /// The severity, and the default if different.
    fn severity(&self) -> String {
        if self.severity == self.default_severity {
            self.severity.to_string()
        } else {
            format!("{} (default: {})", self.severity, self.default_severity)
        }
    }

    fn setting(&self) -> String {
        match (self.setting, &self.value) {
            (Some(setting), Some(value)) => format!("{setting} = {value}"),
            (Some(setting), None) => setting.to_owned(),
            (None, _) => String::new(),
        }
    }
}

fn text(lines: &[Line]) -> String {
    let mut table = Table::new("llllll");
    table.head(["id", "rule", "column", "severity", "meaning", "setting"]);
    for line in lines {
        table.row([
            line.id.to_owned(),
            line.name.to_owned(),
            line.column.to_owned(),
            line.severity(),
            line.description.replace('`', ""),
            line.setting(),
        ]);
    }
    table.render("")
}

/// Text before the table in the documentation.
const INTRODUCTION: &str = "\
# Validation rules

Every record is validated in this order. `claims-etl rules` lists the rules as configured.

A rule's severity:

- `stop`: the run ends and publishes nothing.
- `reject`: the record goes to the quarantine; the first broken rule of this severity is its reason.
- `flag`: the row is loaded with the rule's bit in `dq_flags`, and counted.
- `count`: the row is loaded and counted in the run log only; in `v_claims` the rule's column is null.
- `off`: not evaluated.

Severities and thresholds are configurable:

```toml
[rules]
code_system = \"hcpcs\"          # any, hcpcs, icd9, icd10pcs or snomed
run_date = \"2024-12-31\"        # the reference for dates; by default the day of the run, in UTC
amount_limit = \"50000.00\"

[rules.severity]
npi_invalid = \"off\"
amount_zero = \"flag\"
```

In the warehouse `healthcare_analytics.dq_rules` lists the bits, `dq_flag_names(dq_flags)` gives the
names of those that are set, and `v_claim_flags` has one row per flag. In `v_claims` each rule has a column: true or
false if the run that wrote the row stored the flag, null if it did not, because the rule only counts or is off.

Claim, patient and provider ids, in both files, and procedure codes are put into canonical form before they are
compared, joined or hashed ([keys.md](keys.md#how-tokens-are-made)): additions by spreadsheets, data frames and
floating-point columns are removed (rules I2 to I4), and numbers in scientific notation are rejected, because digits
are lost (I1). Those are values with a point, a decimal comma or a sign next to digits and `E` (`9.87E+11`, `1E+05`), or
with a single digit before the `E` and an exponent that does not begin with 0 (`1e5`); `100571169204E347` and `3E03317`
are identifiers. From a procedure code `.0` is removed only after four digits or more: `38.00` is a code.

A placeholder (`NULL`, `nan`, `#N/A` …) means a missing value: such a claim or patient id rejects the record, such a
provider or procedure is missing, such a directory record is rejected.

";

fn markdown(lines: &[Line], settings: &Settings) -> String {
    let mut text = INTRODUCTION.to_owned();
    text += "| id | rule | column | severity | configurable to | bit | setting | meaning |\n";
    text += "|---|---|---|---|---|---|---|---|\n";
    for line in lines {
        let names: Vec<&str> = line.allowed.iter().map(|severity| severity.name()).collect();
        let bit = line.bit.map_or_else(String::new, |bit| bit.to_string());
        let setting = line.setting();
        let setting = if setting.is_empty() { setting } else { format!("`{setting}`") };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {} | {} | {bit} | {setting} | {} |",
            line.id,
            line.name,
            line.column,
            line.severity(),
            names.join(", "),
            line.description,
        );
    }
    let rules = &settings.rules;
    for (what, texts) in [
        ("Placeholders, in any case (`rules.placeholders`)", &rules.placeholders),
        (
            "Further placeholders for patient ids (`rules.patient_placeholders`)",
            &rules.patient_placeholders,
        ),
    ] {
        let texts: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
        let _ = writeln!(text, "\n{what}: {}.", texts.join(", "));
    }
    text
}
