//! Generates a DAG file for Apache Airflow 3 whose tasks call this program.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::config::Settings;
use crate::error::{Error, Result};

/// Template of the file.
const TEMPLATE: &str = include_str!("dag.py.txt");

/// Owner shown by Airflow.
const OWNER: &str = "healthcare_analytics";

/// How the DAG calls the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub dag_id: String,
    /// The program, a path or a name.
    pub program: String,
    /// The configuration file, absolute.
    pub config: Option<PathBuf>,
    /// The data directory, absolute.
    pub data_dir: Option<PathBuf>,
    /// The working directory.
    pub cwd: PathBuf,
}

/// The DAG file.
///
/// # Errors
/// `Config` when the DAG id or a path cannot be represented in it.
pub fn dag(settings: &Settings, caller: &Caller) -> Result<String> {
    let schedule = &settings.schedule;
    let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if caller.dag_id.is_empty() || caller.dag_id.len() > 250 || !caller.dag_id.chars().all(is_id) {
        return Err(Error::config(
            "a DAG id may contain only letters, digits, dots, dashes and underscores",
        ));
    }
    let path = |path: &Option<PathBuf>| path.as_deref().map_or(Ok("None".into()), path_literal);
    let values = [
        ("DAG_ID", literal(&caller.dag_id)?),
        ("PROGRAM", literal(&caller.program)?),
        ("CONFIG", path(&caller.config)?),
        ("DATA_DIR", path(&caller.data_dir)?),
        ("CWD", path_literal(&caller.cwd)?),
        ("CRON", literal(&schedule.cron)?),
        ("TIMEZONE", literal(&schedule.timezone)?),
        ("START_DATE", literal(&schedule.start_date)?),
        ("CATCHUP", boolean(schedule.catchup)),
        ("OWNER", literal(OWNER)?),
        ("DEPENDS_ON_PAST", boolean(schedule.depends_on_past)),
        ("RETRIES", settings.run.retries.to_string()),
        ("RETRY_DELAY", settings.run.retry_delay_secs.to_string()),
        ("VERSION", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    fill_in(&values)
}

/// Fills in the template; placeholders inside values are not expanded.
fn fill_in(values: &[(&str, String)]) -> Result<String> {
    let mut pieces = TEMPLATE.split("<<");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let value = piece.split_once(">>").and_then(|(name, rest)| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (value, rest))
        });
        let (value, rest) =
            value.ok_or_else(|| Error::internal("a placeholder without a value"))?;
        text.push_str(value);
        text.push_str(rest);
    }
    Ok(text)
}

fn path_literal(path: &Path) -> Result<String> {
    path.to_str().ok_or_else(|| Error::config("a path in a DAG must be UTF-8")).and_then(literal)
}

/// A Python string literal; the escapes of JSON are valid in Python.
fn literal(text: &str) -> Result<String> {
    if text.contains("{{") || text.contains("{%") || text.contains("{#") {
        return Err(Error::config("{{, {% and {# are template syntax in a DAG")
            .hint("rename the program or its files"));
    }
    Ok(json!(text).to_string())
}

fn boolean(value: bool) -> String {
    if value { "True" } else { "False" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(dag_id: &str) -> Caller {
        Caller {
            dag_id: dag_id.into(),
            program: "claims-etl".into(),
            config: None,
            data_dir: None,
            cwd: "/srv/claims".into(),
        }
    }

    #[test]
    fn every_placeholder_has_a_value() {
        let text = dag(&Settings::default(), &caller("a")).expect("a DAG");
        assert!(!text.contains("<<"), "{text}");
        let mut twice = caller("a");
        twice.cwd = "/srv/<<CRON>>@home".into();
        let text = dag(&Settings::default(), &twice).expect("a DAG");
        assert!(text.contains("CWD = \"/srv/<<CRON>>@home\""), "placeholders in values stay");
    }

    #[test]
    fn invalid_ids_and_template_syntax_are_refused() {
        for id in ["", "a b", "a\"b", "{{ a }}"] {
            assert!(dag(&Settings::default(), &caller(id)).is_err(), "{id}");
        }
        let mut strange = caller("a");
        strange.cwd = "/srv/{{ x }}".into();
        assert!(dag(&Settings::default(), &strange).is_err());
    }

    #[test]
    fn texts_are_quoted() {
        assert_eq!(literal("a\"b\\c\nd"), Ok(r#""a\"b\\c\nd""#.into()));
    }
}
