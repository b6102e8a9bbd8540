//! The command `airflow`: generates a DAG whose tasks call this program.

use std::env;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::options::ConfigOptions;
use super::output::Reply;
use crate::atomic_file::{READABLE, replace};
use crate::commands::airflow::{Caller, dag};
use crate::error::{Error, ErrorKind, Result};

/// Work for Apache Airflow.
#[derive(Debug, Subcommand)]
pub(super) enum AirflowCommand {
    /// Write a DAG file for Airflow 3 in which every task calls this program
    ///
    /// Schedule, time zone, start date, catchup and retries are those of the settings.
    Dag(DagOptions),
}

/// How the DAG calls this program.
#[derive(Debug, clap::Args)]
pub(super) struct DagOptions {
    /// Write to this file [default: stdout]
    #[arg(long, value_name = "FILE", env = "CLAIMS_ETL_AIRFLOW_OUTPUT", help_heading = "DAG")]
    output: Option<PathBuf>,
    /// The program on the workers: a path, or a name that is found there [default: claims-etl]
    #[arg(
        long,
        value_name = "PATH",
        env = "CLAIMS_ETL_AIRFLOW_PROGRAM",
        default_value = "claims-etl",
        hide_default_value = true,
        help_heading = "DAG"
    )]
    program: String,
    /// The folder on the workers in which the program is called, from where relative paths of the
    /// configuration start [default: the configuration file's]
    #[arg(long, value_name = "DIR", env = "CLAIMS_ETL_AIRFLOW_CWD", help_heading = "DAG")]
    cwd: Option<PathBuf>,
    /// The DAG's id
    #[arg(
        long,
        value_name = "ID",
        env = "CLAIMS_ETL_AIRFLOW_DAG_ID",
        default_value = "healthcare_claims_etl",
        help_heading = "DAG"
    )]
    dag_id: String,
    #[command(flatten)]
    config: ConfigOptions,
}

/// Runs `airflow dag`.
///
/// # Errors `Config` when the settings are invalid or the file cannot be written.
pub(super) fn airflow(command: AirflowCommand) -> Result<Reply> {
    let AirflowCommand::Dag(options) = command;
    let (config, data_dir) = (options.config.file(), options.config.text("run", "data_dir"));
    let (config, data_dir) =
        (config.map(absolute).transpose()?, data_dir.map(absolute).transpose()?);
    let beside = config.as_deref().and_then(Path::parent).map(Path::to_owned);
    let cwd = match options.cwd {
        Some(cwd) => Some(absolute(&cwd)?),
        None => beside,
    };
    let settings = options.config.load()?;
    let text = dag(
        &settings,
        &Caller {
            dag_id: options.dag_id,
            program: options.program,
            config,
            data_dir,
            cwd: match cwd {
                Some(cwd) => cwd,
                None => absolute(Path::new("."))?,
            },
        },
    )?;
    let Some(path) = options.output else { return Ok(Reply::done(text)) };
    replace(&path, text.as_bytes(), READABLE)
        .map_err(|error| Error::io(ErrorKind::Config, &path, &error))?;
    Ok(Reply::line(format!("wrote {}", path.display())))
}

/// Absolute form of a path, for workers with another current directory.
fn absolute(path: impl AsRef<Path>) -> Result<PathBuf> {
    let path = path.as_ref();
    let here =
        env::current_dir().map_err(|error| Error::io(ErrorKind::Config, Path::new("."), &error))?;
    Ok(if path == Path::new(".") { here } else { here.join(path) })
}
