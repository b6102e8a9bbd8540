//! A PostgreSQL server for the integration tests, and a database of its own for each test.
//!
//! The server is the one that `CLAIMS_ETL_TEST_DSN` names, or a private one below the target
//! directory. nextest runs every test in a process of its own, so nobody knows which test is the
//! last: the first starts the private server, all others find it running, and `just test` stops
//! it at the end (the ignored test below, for whoever calls cargo directly).

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use claims_etl::event::NullObserver;
use claims_etl::warehouse::private_server::LocalPostgres;
use postgres::{Client, NoTls};

/// The private server of the tests: one for each folder of programs that `CLAIMS_ETL_PG_BIN` names, because
/// a cluster is of one version.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
fn private() -> LocalPostgres {
    let programs = std::env::var("CLAIMS_ETL_PG_BIN").unwrap_or_default();
    let name = format!("warehouse{}", programs.replace('/', "-"));
    LocalPostgres::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
}

/// The server's address; its user may create databases.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
pub(crate) fn url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        std::env::var("CLAIMS_ETL_TEST_DSN").unwrap_or_else(|_| {
            private().start(&NullObserver).expect("a private server for the tests").url().to_owned()
        })
    })
}

/// An empty database, dropped when the test ends, whether it passes or not.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
    url: String,
    /// Any database of the same server.
    server: String,
}

impl Database {
    /// The database's address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A connection to the database.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.url, NoTls).expect("a connection to the test's database")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Connections may be open still where the test failed.
        let dropped = Client::connect(&self.server, NoTls).and_then(|mut client| {
            client.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name))
        });
        assert!(dropped.is_ok() || std::thread::panicking(), "{} stays behind", self.name);
    }
}

/// Makes an empty database for the calling test.
pub(crate) fn database() -> Database {
    database_of(url(), "template1")
}

/// Makes a database that is like another one, to which nobody may be connected.
#[cfg(feature = "failpoints")]
pub(crate) fn copy_of(original: &Database) -> Database {
    database_of(&original.server, &original.name)
}

/// Makes a database with options of `CREATE DATABASE`.
pub(crate) fn database_with(options: &str) -> Database {
    made(url(), options)
}

/// Makes a database on a server, after a template.
pub(crate) fn database_of(server: &str, template: &str) -> Database {
    made(server, &format!("TEMPLATE {template}"))
}

fn made(server: &str, options: &str) -> Database {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("test_{}_{count}", std::process::id());
    let mut client = Client::connect(server, NoTls).expect("a connection to the test server");
    // A process id comes round again, and a killed test leaves its database.
    client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).expect("drop");
    let create = format!("CREATE DATABASE {name} {options}");
    client.batch_execute(&create).expect("a database");
    Database { url: with_database(server, &name), server: server.to_owned(), name }
}

/// The address of another database on the same server.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) =
        url.split_once('?').map_or((url, ""), |(left, right)| (left, right));
    let start = address.find("://").map_or(0, |position| position + "://".len());
    let end = address[start..].find('/').map_or(address.len(), |position| start + position);
    let mark = if parameters.is_empty() { "" } else { "?" };
    format!("{}/{name}{mark}{parameters}", &address[..end])
}

#[test]
fn the_database_of_an_address_is_replaced() {
    for (url, wanted) in [
        ("postgresql:///claims?host=/a/b&user=u", "postgresql:///t?host=/a/b&user=u"),
        ("postgres://u:p@h:5432/claims", "postgres://u:p@h:5432/t"),
        ("postgres://h", "postgres://h/t"),
        ("postgres://h?sslmode=disable", "postgres://h/t?sslmode=disable"),
    ] {
        assert_eq!(with_database(url, "t"), wanted);
    }
}

#[test]
fn each_test_has_a_database_of_its_own() {
    let (one, other) = (database(), database());
    assert_ne!(one.url(), other.url());
    one.connect().batch_execute("CREATE TABLE mine (n int)").expect("a table");
    let query = "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'";
    let count: i64 = other.connect().query_one(query, &[]).expect("an answer").get(0);
    assert_eq!(count, 0);

    let name = one.name.clone();
    drop(one);
    let query = "SELECT count(*) FROM pg_database WHERE datname = $1";
    let count: i64 = other.connect().query_one(query, &[&name]).expect("an answer").get(0);
    assert_eq!(count, 0, "dropped, though a connection was open");
}

#[test]
#[ignore = "not a test: stops the private server of the tests"]
fn stop() {
    private().stop().expect("the server stops");
}
