//! The way to the warehouse: encrypted and verified as `sslmode` says, on every connection, and
//! never less than that.

use std::time::{Duration, Instant};
use std::{fs, thread};

use adbc_core::error::{Error, Status};
use adbc_core::options::OptionDatabase;
use adbc_core::{Connection as _, Database as _, Driver as _};
use claims_etl::adbc_postgres::{PostgresConnection, PostgresDriver};
use claims_etl::warehouse::sql;

use crate::support::program::{Call, Program};
use crate::support::secure_server::{DATABASE, SecureServer};
use crate::support::wiretap::{Beginning, Wiretap};

/// A password that is found wherever it is.
pub(crate) const PASSWORD: &str = "CANARY-pass-4e1b";

pub(crate) fn with_loader(server: &SecureServer) {
    server.admin(
        DATABASE,
        &format!(
            "CREATE ROLE loader LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE anyhow LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE certified LOGIN;
             GRANT CREATE ON DATABASE {DATABASE} TO loader, anyhow"
        ),
    );
}

fn connect(url: &str) -> Result<PostgresConnection, Error> {
    let options = [(OptionDatabase::Uri, url.into())];
    PostgresDriver.new_database_with_opts(options)?.new_connection()
}

/// The TLS version of a connection, or that it has none.
fn protection(url: &str) -> String {
    let mut connection = connect(url).unwrap_or_else(|error| panic!("{error}"));
    let query = "SELECT coalesce(version, 'none') AS version
        FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let rows = sql::query(&mut connection, "asking", query).expect("an answer");
    sql::text(&rows, "version", 0).expect("a row")
}

#[test]
fn each_mode_verifies_what_it_says() {
    let server = SecureServer::start();
    with_loader(&server);
    let (ca, other) = (server.file("ca.crt"), server.file("other.crt"));
    let (ca, other) = (ca.display(), other.display());
    let login = format!("loader:{PASSWORD}");
    let url = |host: &str, parameters: &str| {
        format!("postgresql://{login}@{host}:{}/{DATABASE}?{parameters}", server.port)
    };
    for (host, parameters) in [
        ("localhost", String::new()),
        ("127.0.0.1", "sslmode=prefer".into()),
        ("127.0.0.1", "sslmode=require".into()),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ca}")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}")),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}")),
        // SCRAM-SHA-256-PLUS: the password's proof is bound to this very certificate.
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}&channel_binding=require")),
    ] {
        assert_eq!(protection(&url(host, &parameters)), "TLSv1.3", "{host} {parameters}");
    }
    for (host, parameters, wanted) in [
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"), "another host name"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={other}"), "not trusted"),
        ("localhost", format!("sslmode=verify-ca&sslrootcert={other}"), "not trusted"),
        ("localhost", format!("sslmode=require&sslrootcert={other}"), "not trusted"),
        // Nor is there a second try in plaintext.
        ("localhost", format!("sslmode=prefer&sslrootcert={other}"), "not trusted"),
        ("localhost", "sslmode=disable".into(), "SQLSTATE 28000"),
        ("localhost", "sslmode=disable&channel_binding=require".into(), "SQLSTATE 28000"),
    ] {
        let error = connect(&url(host, &parameters)).err().expect("must be refused");
        assert!(error.message.contains(wanted), "{host} {parameters}: {error}");
        assert!(!error.message.contains(PASSWORD));
        assert_ne!(error.status, Status::IO, "nothing that passes by itself");
    }
    let log = server.log();
    assert!(log.contains("method=scram-sha-256"), "{log}");
    // Each time a second connection has shown that the first one is a session.
    assert_eq!(log.matches("connection authorized: user=loader").count(), 14);
    assert_eq!(log.matches("SSL enabled (protocol=TLSv1.3").count(), 14);
}

#[test]
fn a_client_certificate_signs_in_without_a_password() {
    let server = SecureServer::start();
    with_loader(&server);
    let (crt, key) = (server.file("client.crt"), server.file("client.key"));
    let own = format!("sslcert={}&sslkey={}", crt.display(), key.display());
    assert_eq!(
        protection(&server.url("certified", &format!("{}&{own}", server.verified()))),
        "TLSv1.3"
    );
    let none = connect(&server.url("certified", &server.verified())).err().expect("no certificate");
    assert!(none.message.contains("SQLSTATE 28000"), "{none}");
}

#[test]
fn a_server_without_tls_is_used_only_where_that_is_allowed() {
    let server = SecureServer::start_without_tls();
    with_loader(&server);
    let login = format!("anyhow:{PASSWORD}");
    assert_eq!(protection(&server.url(&login, "sslmode=prefer")), "none");
    assert_eq!(protection(&server.url(&login, "sslmode=disable")), "none");
    let program = Program::with_claims();
    // Allowed is not unsaid.
    let mut command = program.command("run");
    let call = Call::of(command.env("DATABASE_URL", server.url(&login, "")));
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert!(call.stderr.contains("is not encrypted"), "{}", call.stderr);
    for parameters in ["sslmode=require".to_owned(), server.verified()] {
        let mut command = program.command("run --format json --retries 3 --retry-delay-secs 60");
        let started = Instant::now();
        let call = Call::of(command.env("DATABASE_URL", server.url(&login, &parameters)));
        assert_eq!(call.code, Some(5), "{}", call.stderr);
        assert!(started.elapsed() < Duration::from_secs(30), "it was tried again");
        assert!(call.stderr.contains("the server does not offer TLS"), "{}", call.stderr);
        assert!(call.stderr.contains("hint: turn ssl on in the server"), "{}", call.stderr);
    }
    // Without channel binding no password is sent in vain.
    let bound = connect(&server.url(&login, "channel_binding=require")).err().expect("no TLS");
    assert_eq!(bound.status, Status::Unauthenticated, "{bound}");
}

#[test]
fn every_connection_of_a_run_is_encrypted() {
    let server = SecureServer::start();
    with_loader(&server);
    let wire = Wiretap::to(server.port);
    let program = Program::with_claims();
    let mut command = program.command("run --format json --connections 3");
    let url = format!(
        "postgresql://anyhow:{PASSWORD}@localhost:{}/{DATABASE}?{}",
        wire.port,
        server.verified()
    );
    let call = Call::of(command.env("DATABASE_URL", &url));
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert!(!call.stderr.contains("not encrypted"), "{}", call.stderr);
    // Control, ledger log, three for COPY, and the dashboard's.
    let heard = wire.heard();
    assert!(heard.len() >= 6, "{heard:?}");
    assert!(heard.iter().all(|beginning| *beginning == Beginning::Encrypted), "{heard:?}");
}

#[test]
fn a_request_to_cancel_is_encrypted_too() {
    let server = SecureServer::start();
    with_loader(&server);
    let wire = Wiretap::to(server.port);
    let url = format!(
        "postgresql://anyhow:{PASSWORD}@localhost:{}/{DATABASE}?{}",
        wire.port,
        server.verified()
    );
    let mut connection = connect(&url).unwrap_or_else(|error| panic!("{error}"));
    let handle = connection.get_cancel_handle();
    let began = Instant::now();
    let stopped = thread::scope(|scope| {
        let sleeper =
            scope.spawn(|| sql::query(&mut connection, "sleeping", "SELECT pg_sleep(25)"));
        thread::sleep(Duration::from_millis(500));
        handle.try_cancel().expect("the server takes the request");
        sleeper.join().expect("no panic")
    });
    assert!(stopped.expect_err("stopped").message().contains("cancelled"));
    assert!(began.elapsed() < Duration::from_secs(20));
    // The session, the one that shows that it is one, and the request.
    assert_eq!(wire.heard(), [Beginning::Encrypted; 3]);
}

#[test]
fn the_environment_is_heard_where_the_address_is_silent() {
    let server = SecureServer::start();
    with_loader(&server);
    let program = Program::with_claims();
    let check = |url: &str, variables: &[(&str, &str)]| {
        let mut command = program.command("check");
        command.env("DATABASE_URL", url).env("PGPASSWORD", PASSWORD);
        for (name, value) in variables {
            command.env(name, value);
        }
        Call::of(&mut command)
    };
    let url = server.url("loader", "");
    assert!(check(&url, &[]).done().contains("(TLSv1.3)"));
    let (ca, other) = (server.file("ca.crt"), server.file("other.crt"));
    let (ca, other) = (ca.to_str().expect("text"), other.to_str().expect("text"));
    let full = ("PGSSLMODE", "verify-full");
    assert!(check(&url, &[full, ("PGSSLROOTCERT", ca)]).done().contains("(TLSv1.3)"));
    let refused = check(&url, &[full, ("PGSSLROOTCERT", other)]);
    assert_eq!(refused.code, Some(5), "{}", refused.stderr);
    assert!(format!("{}{}", refused.stdout, refused.stderr).contains("not trusted"));
    // The address overrides the environment, and its mistakes are reported before anything connects.
    let own = server.url("loader", &server.verified());
    assert!(check(&own, &[("PGSSLMODE", "disable")]).done().contains("(TLSv1.3)"));
    let none = check(&url, &[full]);
    assert_eq!(none.code, Some(2), "{}", none.stderr);
    // libpq's default file is used in every mode.
    fs::create_dir(program.path().join(".postgresql")).expect("a folder");
    fs::copy(other, program.path().join(".postgresql/root.crt")).expect("copied");
    let home = program.path().to_str().expect("text").to_owned();
    assert_eq!(check(&url, &[("HOME", &home)]).code, Some(5));
    fs::copy(ca, program.path().join(".postgresql/root.crt")).expect("copied");
    assert!(check(&url, &[("HOME", &home), full]).done().contains("(TLSv1.3)"));
}
