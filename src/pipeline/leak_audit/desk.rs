//! Where runs of the audit happen: a folder, a database, settings; and what is looked at after each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::Audit;
use super::canary::Kind;
use super::child::{Ended, Running};
use super::inputs::{Inputs, failed, write};
use crate::adbc_postgres::PostgresConnection;
use crate::error::Result;
use crate::failpoint;

/// The day of all runs.
const RUN_DATE: &str = "2024-12-31";

/// How much a run says, and in which form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) name: &'static str,
    variables: &'static [(&'static str, &'static str)],
}

const JSON: (&str, &str) = ("CLAIMS_ETL_FORMAT", "json");
const JSON_LOG: (&str, &str) = ("CLAIMS_ETL_LOG_FORMAT", "json");
const TRACE: (&str, &str) = ("RUST_LOG", "trace");
const MORE: (&str, &str) = ("CLAIMS_ETL_VERBOSE", "1");
const MOST: (&str, &str) = ("CLAIMS_ETL_VERBOSE", "2");
const QUIET: (&str, &str) = ("CLAIMS_ETL_QUIET", "1");

/// All levels, the loudest first.
pub(super) const LEVELS: [Level; 10] = [
    Level { name: "-vv, trace", variables: &[MOST, TRACE] },
    Level { name: "-vv, trace, JSON", variables: &[MOST, TRACE, JSON, JSON_LOG] },
    Level { name: "-vv", variables: &[MOST] },
    Level { name: "-vv, JSON", variables: &[MOST, JSON, JSON_LOG] },
    Level { name: "-v", variables: &[MORE] },
    Level { name: "-v, JSON", variables: &[MORE, JSON, JSON_LOG] },
    Level { name: "default", variables: &[] },
    Level { name: "default, JSON", variables: &[JSON, JSON_LOG] },
    Level { name: "--quiet", variables: &[QUIET] },
    Level { name: "--quiet, JSON", variables: &[QUIET, JSON, JSON_LOG] },
];

/// A trial's surroundings.
pub(super) struct Desk<'a> {
    pub(super) audit: &'a Audit<'a>,
    /// The trial and the level, as findings name it.
    pub(super) name: String,
    pub(super) database: String,
    pub(super) folder: PathBuf,
    level: Level,
    pub(super) inputs: Inputs<'a>,
    connection: Mutex<PostgresConnection>,
}

impl<'a> Desk<'a> {
    /// A folder, an empty database, a key and settings.
    ///
    /// # Errors
    /// `Config` when a file cannot be written, `Warehouse` when the server refuses.
    pub(super) fn new(
        audit: &'a Audit<'a>,
        (number, trial): (usize, &str),
        level: Level,
        (privacy, inputs): (&str, Inputs<'a>),
    ) -> Result<Self> {
        let database = format!("audit_{number}");
        audit.server.make(&database)?;
        let folder = audit.folder.join(&database);
        for part in ["work", "tmp", "data", "inputs", "shown"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(|error| failed(&path, &error))?;
        }
        let connection = Mutex::new(audit.server.connect(Some(&database))?);
        let name = format!("{trial} ({})", level.name);
        let desk = Self { audit, name, database, folder, level, inputs, connection };
        desk.key("claims-etl.key", &audit.canaries.key())?;
        let settings = SETTINGS.replace("{folder}", &desk.folder.display().to_string());
        write(&desk.path("claims-etl.toml"), format!("{settings}{privacy}\n").as_bytes())?;
        Ok(desk)
    }

    /// Adds lines to a table of the settings; the name of the new settings.
    pub(super) fn configured(&self, table: &str, lines: &str) -> Result<PathBuf> {
        let path = self.path("claims-etl.toml");
        let before = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
        let changed = self.path("changed.toml");
        let after = before.replacen(table, &format!("{table}\n{lines}"), 1);
        write(&changed, after.as_bytes()).map(|()| changed)
    }

    /// Writes a key's file.
    pub(super) fn key(&self, name: &str, digits: &str) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path("inputs").join(name);
        write(&path, digits.as_bytes())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(|error| failed(&path, &error))?;
        Ok(path)
    }

    /// A path in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of the inputs.
    pub(super) fn inputs(&self) -> PathBuf {
        self.path("inputs")
    }

    /// Runs SQL of the audit in the desk's database.
    pub(super) fn sql(&self, text: &str) -> Result<()> {
        let mut connection =
            self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        crate::warehouse::sql::execute(&mut *connection, super::server::CONTEXT, text).map(drop)
    }

    /// The text that a query of the audit gives; empty where there is no row.
    pub(super) fn ask(&self, query: &str) -> Result<String> {
        let mut connection =
            self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let rows = crate::warehouse::sql::query(&mut *connection, super::server::CONTEXT, query)?;
        Ok(crate::warehouse::sql::text(&rows, "answer", 0).unwrap_or_default())
    }

    /// Waits until the sessions of a program that is gone have ended.
    pub(super) fn alone(&self) -> Result<()> {
        let mut connection =
            self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        super::server::alone(&mut connection, self.audit.cancel)
    }

    /// Starts the program.
    pub(super) fn start(&self, step: &str, arguments: &[&str]) -> Result<Running<'a>> {
        self.audit.cancel.check()?;
        let mut command = Command::new(&self.audit.program);
        command
            .env_clear()
            .current_dir(self.path("work"))
            .args(arguments)
            .env("CLAIMS_ETL_CONFIG", self.path("claims-etl.toml"))
            .env("CLAIMS_ETL_WAREHOUSE", self.audit.server.url(Some(&self.database)))
            .env("CLAIMS_ETL_RUN_DATE", RUN_DATE)
            .env("TMPDIR", self.path("tmp"))
            .env("HOME", self.path("work"))
            .env("PATH", "/usr/bin:/bin")
            .env("RUST_BACKTRACE", "full")
            .envs(self.level.variables.iter().copied())
            .envs(failpoint::inherited(&self.audit.canaries.id(Kind::Claim, 1)));
        let folders = vec![self.path("tmp"), self.path("data/spill"), self.path("data/quarantine")];
        Running::start(command, self.at(step), folders, &self.audit.eyes)
    }

    /// Runs the program to its end and looks at everything that it left. It is to end with one of
    /// these exit codes; with none, any does.
    ///
    /// # Errors
    /// When the audit itself cannot go on.
    pub(super) fn step(&self, step: &str, arguments: &[&str], codes: &[i32]) -> Result<Ended> {
        let ended = self.start(step, arguments)?.end(self.audit.cancel)?;
        self.after(step, &ended, codes);
        self.look()?;
        Ok(ended)
    }

    /// The same, where standard output is for him who asks to see identifiers.
    pub(super) fn shown(&self, step: &str, arguments: &[&str]) -> Result<()> {
        let mut ended = self.start(step, arguments)?.end(self.audit.cancel)?;
        let shown = std::mem::take(&mut ended.stdout);
        self.audit.eyes.bytes("quarantine --source", &self.at(step), &shown);
        self.after(step, &ended, &[0]);
        Ok(())
    }

    /// Looks at what a run that has ended has said.
    pub(super) fn after(&self, step: &str, ended: &Ended, codes: &[i32]) {
        let at = self.at(step);
        let eyes = &self.audit.eyes;
        eyes.bytes("standard output", &at, &ended.stdout);
        eyes.bytes("standard error", &at, &ended.stderr);
        if String::from_utf8_lossy(&ended.stderr).contains("not built") {
            eyes.tally.not_tried(format!("{step}: this version of the program cannot do it yet"));
        } else if !codes.is_empty() && !ended.code.is_some_and(|code| codes.contains(&code)) {
            let code = ended.code.map_or_else(|| "by a signal".to_owned(), |c| format!("with {c}"));
            eyes.tally.unexpected(format!("{at}: ended {code}, not with {codes:?}"));
        }
    }

    /// Looks at everything that is there now.
    pub(super) fn look(&self) -> Result<()> {
        let eyes = &self.audit.eyes;
        for part in ["data", "work"] {
            eyes.folder("data directory", &self.path(part));
        }
        eyes.folder("temporary files", &self.path("tmp"));
        eyes.quarantine(&self.path("data"));
        let mut connection =
            self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        eyes.tables(&self.name, &mut connection)
    }

    /// Looks at what is there in the end: inputs, as a control, and a dump.
    ///
    /// # Errors
    /// `Warehouse` when the tables cannot be read.
    pub(super) fn leave(&self) -> Result<()> {
        self.look()?;
        self.audit.eyes.folder("inputs", &self.inputs());
        self.audit.eyes.dump(&self.audit.server, &self.database);
        Ok(())
    }

    fn at(&self, step: &str) -> String {
        format!("{}: {step}", self.name)
    }
}

/// The settings of every trial. Nothing waits, nothing is held in memory that could lie in a file.
const SETTINGS: &str = "
[claims]
sources = ['{folder}/inputs/odd.csv', '{folder}/inputs/many.csv.gz', '{folder}/inputs/wide.csv', '{folder}/inputs/columns.parquet']
[providers]
sources = ['{folder}/inputs/providers.csv']
[quality]
max_reject_ratio = 1.0
max_conflict_ratio = 1.0
[run]
data_dir = '{folder}/data'
spill_after_mb = 0
retries = 1
retry_delay_secs = 0
[lineage]
file = '{folder}/data/events.ndjson'
[metrics]
textfile = '{folder}/data/claims.prom'
[privacy]
key_file = '{folder}/inputs/claims-etl.key'
";

/// A path as an argument.
pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
