//! Where the runs of a trial happen: a folder, a database, settings; and what is searched after each.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgres::Client;

use super::Audit;
use super::canary::Kind;
use super::inputs::Inputs;
use super::running::{Ended, Running};
use super::trials::Trial;
use crate::support::process::until;
use crate::support::program::Program;
use crate::support::test_env::RUN_DATE;

/// How much a run logs, and in which form.
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

/// All levels, the most verbose first.
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

/// Where a trial happens.
pub(super) struct TrialEnv<'a> {
    pub(super) audit: &'a Audit,
    /// The trial and the level, as findings name it.
    pub(super) name: String,
    database: String,
    folder: PathBuf,
    level: Level,
    pub(super) inputs: Inputs<'a>,
}

impl<'a> TrialEnv<'a> {
    /// A folder, an empty database, a key and settings.
    pub(super) fn new(
        audit: &'a Audit,
        trial: &Trial,
        (number, level): (usize, Level),
        inputs: Inputs<'a>,
    ) -> Self {
        let database = format!("audit_{number}");
        audit.server.make(&database);
        let folder = audit.folder.path().join(&database);
        for part in ["work", "tmp", "data", "inputs", "shown"] {
            fs::create_dir_all(folder.join(part)).expect("a folder");
        }
        let name = format!("{} ({})", trial.name, level.name);
        let env = Self { audit, name, database, folder, level, inputs };
        env.key("claims-etl.key", &audit.canaries.key());
        let settings = SETTINGS.replace("{folder}", text(&env.folder)) + trial.privacy + "\n";
        fs::write(env.path("claims-etl.toml"), settings).expect("written");
        env
    }

    /// Adds lines to a table of the settings; the path of the new settings.
    pub(super) fn configured(&self, table: &str, lines: &str) -> PathBuf {
        let before = fs::read_to_string(self.path("claims-etl.toml")).expect("settings");
        let changed = self.path("changed.toml");
        let after = before.replacen(table, &format!("{table}\n{lines}"), 1);
        fs::write(&changed, after).expect("written");
        changed
    }

    /// Writes a key's file.
    pub(super) fn key(&self, name: &str, digits: &str) -> PathBuf {
        let path = self.inputs().join(name);
        fs::write(&path, digits).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        path
    }

    /// A path in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of the inputs.
    pub(super) fn inputs(&self) -> PathBuf {
        self.path("inputs")
    }

    /// A session in the trial's database that leaves nothing in the log.
    pub(super) fn connect(&self) -> Client {
        self.audit.server.connect(Some(&self.database))
    }

    /// The text that a query gives.
    pub(super) fn query(&self, query: &str) -> String {
        self.connect().query_one(query, &[]).expect("an answer").get(0)
    }

    /// Waits until the sessions of a program that is gone have ended.
    pub(super) fn wait_for_its_sessions(&self) {
        let alone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()
                 AND backend_type = 'client backend')";
        let mut client = self.connect();
        until("the sessions to end", || client.query_one(alone, &[]).expect("an answer").get(0));
    }

    /// Starts the program.
    pub(super) fn start(&self, step: &str, arguments: &[&str]) -> Running<'a> {
        let mut command = Command::new(Program::BINARY);
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
            .envs(self.level.variables.iter().copied());
        (self.audit.plant)(&mut command, &self.audit.canaries.id(Kind::Claim, 1));
        let folders = ["tmp", "data/spill", "data/quarantine"].map(|name| self.path(name));
        Running::start(command, self.at(step), folders, &self.audit.places)
    }

    /// Runs the program to its end and searches everything that it left. It is to end with one of these exit codes; with
    /// none, any does.
    pub(super) fn step(&self, step: &str, arguments: &[&str], codes: &[i32]) {
        let ended = self.start(step, arguments).end();
        self.after(step, &ended, codes);
        self.search();
    }

    /// The same, where standard output is for people who are authorised to see identifiers.
    pub(super) fn shown(&self, step: &str, arguments: &[&str]) {
        let mut ended = self.start(step, arguments).end();
        let shown = std::mem::take(&mut ended.stdout);
        self.audit.places.bytes("quarantine --source", &self.at(step), &shown);
        self.after(step, &ended, &[0]);
    }

    /// Searches the output of a run that has ended.
    pub(super) fn after(&self, step: &str, ended: &Ended, codes: &[i32]) {
        let at = self.at(step);
        self.audit.places.bytes("standard output", &at, &ended.stdout);
        self.audit.places.bytes("standard error", &at, &ended.stderr);
        if !codes.is_empty() && !ended.code.is_some_and(|code| codes.contains(&code)) {
            self.unexpected(step, &format!("ended with {:?}, not with {codes:?}", ended.code));
        }
    }

    /// Notes that a step did not do what it is there for.
    pub(super) fn unexpected(&self, step: &str, what: &str) {
        self.audit.places.report().unexpected.push(format!("{}: {what}", self.at(step)));
    }

    /// Searches everything that is there now.
    pub(super) fn search(&self) {
        let places = &self.audit.places;
        for part in ["data", "work"] {
            places.folder("data directory", &self.path(part));
        }
        places.folder("temporary files", &self.path("tmp"));
        places.quarantine(&self.path("data"));
        places.tables(&self.name, &mut self.connect());
    }

    /// Searches what is there in the end: inputs, as a control, and a dump.
    pub(super) fn search_the_rest(&self) {
        self.search();
        self.audit.places.folder("inputs", &self.inputs());
        self.audit.places.dump(&self.audit.server, &self.database);
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
    path.to_str().expect("UTF-8")
}
