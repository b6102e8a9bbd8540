//! A server that logs everything, and a gate at which a run can be stopped.

use std::path::{Path, PathBuf};

use claims_etl::event::NullObserver;
use claims_etl::warehouse::private_server::LocalPostgres;
use postgres::{Client, NoTls};

use crate::support::process::until;

/// Settings of each database: the log holds all statements, with their parameters, and errors with the rows that they
/// quote.
const VERBOSE: [(&str, &str); 8] = [
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

/// A private server; it is removed with all its files in the end.
pub(super) struct Server {
    local: LocalPostgres,
    /// The address of its first database.
    url: String,
    pub(super) data: PathBuf,
}

impl Server {
    /// Makes and starts one in a folder.
    pub(super) fn start(folder: &Path) -> Self {
        let local = LocalPostgres::new(folder);
        let url = local.start(&NullObserver).expect("a server").url().to_owned();
        let mut server = Self { local, url, data: PathBuf::new() };
        let data = server.connect(None).query_one("SHOW data_directory", &[]).expect("an answer");
        server.data = data.get::<_, String>(0).into();
        server
    }

    /// The address of one of its databases.
    pub(super) fn url(&self, database: Option<&str>) -> String {
        let name = format!("///{}?", database.unwrap_or("claims"));
        self.url.replacen("///claims?", &name, 1)
    }

    /// A session that leaves nothing in the log.
    pub(super) fn connect(&self, database: Option<&str>) -> Client {
        let mut client = Client::connect(&self.url(database), NoTls).expect("a connection");
        let silent =
            "SET log_statement = none; SET log_min_duration_statement = -1; SET log_duration = off;
             SET log_min_messages = fatal; SET log_min_error_statement = panic";
        client.batch_execute(silent).expect("set");
        client
    }

    /// Makes an empty database.
    pub(super) fn make(&self, database: &str) {
        let mut client = self.connect(None);
        let make = format!("CREATE DATABASE {database} TEMPLATE template0");
        client.batch_execute(&make).expect("a database");
        for (setting, value) in VERBOSE {
            let set = format!("ALTER DATABASE {database} SET {setting} = '{value}'");
            client.batch_execute(&set).expect("set");
        }
    }

    pub(super) fn log(&self) -> PathBuf {
        self.data.with_file_name("server.log")
    }

    /// A program of its version.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        self.local.program(name)
    }

    /// Stops it, so that all its files are written.
    pub(super) fn stop(&self) {
        self.local.stop().expect("the server stops");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let removed = self.local.remove();
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

/// A closed gate: whoever is to run a certain statement waits before it.
pub(super) struct Gate(Client);

impl Gate {
    /// Closes it for statements of a kind (`CREATE TABLE`) whose text is like a pattern.
    pub(super) fn close(mut holder: Client, tag: &str, pattern: &str) -> Self {
        let close = format!(
            "CREATE OR REPLACE FUNCTION public.audit_gate() RETURNS event_trigger
                 LANGUAGE plpgsql AS $$ BEGIN
                     IF pg_catalog.current_query() LIKE '{pattern}' THEN
                         PERFORM pg_catalog.pg_advisory_lock_shared({GATE});
                     END IF;
                 END $$;
             CREATE EVENT TRIGGER audit_gate ON ddl_command_start WHEN TAG IN ('{tag}')
                 EXECUTE FUNCTION public.audit_gate();
             SELECT pg_advisory_lock({GATE})"
        );
        holder.batch_execute(&close).expect("a gate");
        Self(holder)
    }

    /// Waits until somebody is at the gate; false where the run ends without.
    pub(super) fn is_reached(&mut self, mut goes_on: impl FnMut() -> bool) -> bool {
        let waiting = format!(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                 AND objid = {GATE} AND database =
                     (SELECT oid FROM pg_database WHERE datname = current_database()))"
        );
        let mut is_reached = false;
        until("a run at the gate", || {
            is_reached = self.0.query_one(&waiting, &[]).expect("an answer").get(0);
            is_reached || !goes_on()
        });
        is_reached
    }

    /// Opens it for good.
    pub(super) fn open(mut self) {
        // First the lock: the trigger cannot be dropped while somebody waits in it.
        let open =
            [format!("SELECT pg_advisory_unlock({GATE})"), "DROP EVENT TRIGGER audit_gate".into()];
        for sql in open {
            self.0.batch_execute(&sql).expect("opened");
        }
    }
}
