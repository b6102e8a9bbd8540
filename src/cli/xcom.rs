//! The task result for an orchestrator: one short line of JSON.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;
use serde_json::{Value, json};

use super::output::Reply;
use crate::atomic_file::{READABLE, replace};
use crate::cli::console::Console;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{RunReport, TaskEnd};

/// Longer lists are replaced by their length; the ledger has the full content.
const MAX_LENGTH: usize = 20;

/// Where the small result goes.
#[derive(Debug, Clone, Args)]
pub(super) struct XcomOptions {
    /// Write the result as one line of JSON, the very last one on stdout, as Airflow's BashOperator
    /// takes it
    #[arg(
        long,
        env = "CLAIMS_ETL_XCOM",
        value_parser = BoolishValueParser::new(),
        help_heading = "Output"
    )]
    xcom: bool,
    /// Write it to a file too, for Airflow's KubernetesPodOperator: /airflow/xcom/return.json
    #[arg(long, value_name = "FILE", env = "CLAIMS_ETL_XCOM_FILE", help_heading = "Output")]
    xcom_file: Option<PathBuf>,
}

impl XcomOptions {
    /// Checks before any work whether the result can be written at the end.
    ///
    /// # Errors
    /// `Config` when the file's folder does not exist.
    pub(super) fn check(&self) -> Result<()> {
        match &self.xcom_file {
            Some(path) if !folder(path).is_dir() => Err(Error::config(format!(
                "{}: no such folder for the result",
                folder(path).display()
            ))
            .hint("in a pod it is the sidecar's volume, which do_xcom_push=True mounts")),
            _ => Ok(()),
        }
    }

    /// Whether the last line of stdout is the result.
    pub(super) fn is_on_stdout(&self) -> bool {
        self.xcom
    }

    /// Writes the result of one task; returns the line for stdout, if requested.
    ///
    /// # Errors
    /// `Config` when the file cannot be written.
    pub(super) fn of_task(&self, end: &TaskEnd) -> Result<String> {
        self.write(&json!({
            "task": end.task,
            "state": end.state,
            "run_id": end.run_id,
            "result": end.result.clone().map(small),
        }))
    }

    /// Writes the result of a whole run.
    ///
    /// # Errors
    /// As [`Self::of_task`].
    pub(super) fn of_run(&self, report: &RunReport) -> Result<String> {
        let states = report.tasks.iter().map(|task| (task.id.clone(), task.state.into()));
        let states: serde_json::Map<String, Value> = states.collect();
        self.write(&json!({
            "task": null,
            "state": report.status,
            "run_id": report.run_id,
            "result": {
                "claims": report.claims,
                "amount": report.amount,
                "loaded_by": report.loaded_by,
                "tasks": states,
            },
        }))
    }

    fn write(&self, kept: &Value) -> Result<String> {
        let line = format!("{kept}\n");
        if let Some(path) = &self.xcom_file {
            replace(path, line.as_bytes(), READABLE)
                .map_err(|error| Error::io(ErrorKind::Config, path, &error))?;
        }
        Ok(if self.xcom { line } else { String::new() })
    }
}

/// The reply with the XCom result. The work is done, so its report is printed even if the result
/// cannot be written.
pub(super) fn reply(
    text: String,
    handed_on: Result<String>,
    exit_code: u8,
    console: &Console,
) -> Reply {
    match handed_on {
        Ok(line) => Reply::new(text + &line, exit_code),
        Err(error) => {
            console.error(&error);
            let reply = Reply::new(text, exit_code);
            Reply { exit_code: reply.exit_code_after(&error), ..reply }
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The value without examples, long lists replaced by their lengths.
pub(super) fn small(value: Value) -> Value {
    match value {
        Value::Array(values) if values.len() > MAX_LENGTH => json!({ "length": values.len() }),
        Value::Array(values) => values.into_iter().map(small).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(name, _)| name != "reject_examples");
            Value::Object(fields.map(|(name, value)| (name, small(value))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn long_lists_are_told_by_their_length() {
        let value =
            json!({ "reject_examples": [], "files": vec![1; 21], "few": [[vec![0; 30]]], "n": 1 });
        let expected = json!({ "files": { "length": 21 }, "few": [[{ "length": 30 }]], "n": 1 });
        assert_eq!(small(value), expected);
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let home = tempfile::tempdir().expect("a folder");
        let options =
            |name: &str| XcomOptions { xcom: false, xcom_file: Some(home.path().join(name)) };
        let there = options("return.json");
        assert_eq!(there.check(), Ok(()));
        for n in 0..2 {
            assert_eq!(there.write(&json!({ "n": n })), Ok(String::new()));
        }
        let text = fs::read_to_string(home.path().join("return.json")).expect("written");
        assert_eq!(text, "{\"n\":1}\n");
        assert_eq!(fs::read_dir(home.path()).expect("a folder").count(), 1, "nothing else is left");
        assert!(options("nowhere/return.json").check().is_err());
    }
}
