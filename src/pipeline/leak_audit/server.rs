//! The audit's own server, which says everything it knows, and the gate at which it stops a run.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::adbc_postgres::PostgresConnection;
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer};
use crate::warehouse::private_server::LocalPostgres;
use crate::warehouse::{connection, location, sql};

/// What a database of the audit writes into the server's log: all statements, with their parameters,
/// and errors with the rows that they quote.
const LOUD: [(&str, &str); 8] = [
    ("log_statement", "all"),
    ("log_min_messages", "debug1"),
    ("log_min_error_statement", "debug1"),
    ("log_error_verbosity", "verbose"),
    ("log_min_duration_statement", "0"),
    ("log_duration", "on"),
    ("log_parameter_max_length", "-1"),
    ("log_parameter_max_length_on_error", "-1"),
];

/// The number of the lock that is the gate.
const GATE: i64 = 20_261_122;

/// How long a run may take to come to the gate, or its sessions to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// A private server that is removed with all its data in the end.
pub(super) struct Server {
    local: LocalPostgres,
    /// The address of its first database.
    url: String,
    /// Its data directory.
    pub(super) data: PathBuf,
    /// Whether it is to be left, stopped.
    pub(super) keep: bool,
}

impl Server {
    /// Makes and starts one in a folder.
    ///
    /// # Errors
    /// `Config` when no server is installed, `Warehouse` when it does not start.
    pub(super) fn start(folder: &Path, observer: &dyn Observer) -> Result<Self> {
        let local = LocalPostgres::new(folder);
        let started = local.start(observer);
        // From here on it is removed whatever happens.
        let mut server = Self { local, url: String::new(), data: PathBuf::new(), keep: false };
        started?.url().clone_into(&mut server.url);
        let rows = sql::query(
            &mut server.connect(None)?,
            CONTEXT,
            "SELECT current_setting('data_directory') AS data",
        )?;
        server.data = sql::text(&rows, "data", 0).map(PathBuf::from).unwrap_or_default();
        Ok(server)
    }

    /// The address of one of its databases.
    pub(super) fn url(&self, database: Option<&str>) -> String {
        match database {
            Some(name) => self.url.replacen("///claims?", &format!("///{name}?"), 1),
            None => self.url.clone(),
        }
    }

    /// A session that leaves nothing in the log.
    pub(super) fn connect(&self, database: Option<&str>) -> Result<PostgresConnection> {
        let mut connection =
            connection::connect(&location::database(&self.url(database), Vec::new())?)?;
        sql::execute(
            &mut connection,
            CONTEXT,
            "SET log_statement = none; SET log_min_duration_statement = -1; SET log_duration = off;
             SET log_min_messages = fatal; SET log_min_error_statement = panic;
             SET statement_timeout = 0",
        )?;
        Ok(connection)
    }

    /// Makes an empty database that tells everything.
    pub(super) fn make(&self, database: &str) -> Result<()> {
        let mut connection = self.connect(None)?;
        let mut run = |text: &str| sql::execute(&mut connection, CONTEXT, text).map(drop);
        run(&format!("CREATE DATABASE {database} TEMPLATE template0"))?;
        for (setting, value) in LOUD {
            run(&format!("ALTER DATABASE {database} SET {setting} = '{value}'"))?;
        }
        Ok(())
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.data.with_file_name("server.log")
    }

    /// A program of its version.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        self.local.program(name)
    }

    /// Stops it, so that all its files are written.
    pub(super) fn stop(&self) -> Result<()> {
        self.local.stop().map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = if self.keep { self.local.stop().map(drop) } else { self.local.remove() };
        if let Err(error) = ended {
            tracing::warn!(target: "claims_etl", "the audit's server: {}", error.message());
        }
    }
}

/// How the audit's own statements are named in an error.
pub(super) const CONTEXT: &str = "the audit's own server";

/// A closed gate: whoever is to run a certain statement waits before it.
pub(super) struct Gate<'a> {
    holder: PostgresConnection,
    cancel: &'a Cancellation,
}

impl<'a> Gate<'a> {
    /// Closes it for the statements of a kind (`CREATE TABLE`) in whose text a pattern is.
    pub(super) fn close(
        mut holder: PostgresConnection,
        (tag, pattern): (&str, &str),
        cancel: &'a Cancellation,
    ) -> Result<Self> {
        sql::execute(
            &mut holder,
            CONTEXT,
            &format!(
                "CREATE OR REPLACE FUNCTION public.audit_gate() RETURNS event_trigger
                     LANGUAGE plpgsql AS $$ BEGIN
                         IF pg_catalog.current_query() LIKE '{pattern}' THEN
                             PERFORM pg_catalog.pg_advisory_lock_shared({GATE});
                         END IF;
                     END $$;
                 CREATE EVENT TRIGGER audit_gate ON ddl_command_start WHEN TAG IN ('{tag}')
                     EXECUTE FUNCTION public.audit_gate()",
            ),
        )?;
        sql::query(
            &mut holder,
            CONTEXT,
            &format!("SELECT pg_advisory_lock({GATE}) IS NULL AS held"),
        )?;
        Ok(Self { holder, cancel })
    }

    /// Waits until somebody stands before it; whether somebody came while `goes_on`.
    pub(super) fn reached(&mut self, mut goes_on: impl FnMut() -> bool) -> Result<bool> {
        let waiting = format!(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                 AND objid = {GATE} AND database =
                     (SELECT oid FROM pg_database WHERE datname = current_database())) AS so"
        );
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE && goes_on() {
            self.cancel.check()?;
            let rows = sql::query(&mut self.holder, CONTEXT, &waiting)?;
            if sql::boolean(&rows, "so", 0) == Some(true) {
                return Ok(true);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }

    /// Opens it for ever.
    pub(super) fn open(mut self) -> Result<()> {
        // First the lock: the trigger cannot be dropped under one who waits in it.
        let unlock = format!("SELECT pg_advisory_unlock({GATE}) AS so");
        sql::query(&mut self.holder, CONTEXT, &unlock)?;
        sql::execute(&mut self.holder, CONTEXT, "DROP EVENT TRIGGER audit_gate").map(drop)
    }
}

/// Waits until the sessions of a program that is gone are gone, too.
pub(super) fn alone(connection: &mut PostgresConnection, cancel: &Cancellation) -> Result<()> {
    let begin = Instant::now();
    loop {
        cancel.check()?;
        let rows = sql::query(
            connection,
            CONTEXT,
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND backend_type = 'client backend') AS so",
        )?;
        if sql::boolean(&rows, "so", 0) == Some(true) {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return Err(Error::warehouse("the audit's own server does not end its sessions"));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
