//! Where the warehouse's password may come from, and that it goes nowhere else.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use assert_cmd::Command;

use crate::support::process::until;
use crate::support::program::{Call, Program};
use crate::support::secure_server::{DATABASE, SecureServer};
use crate::warehouse::tls::{PASSWORD, with_loader};

/// A call with the address of a role that has a password, and nothing but `HOME` beside it.
fn at(program: &Program, server: &SecureServer, arguments: &str) -> Command {
    let mut command = program.command(arguments);
    command.env("DATABASE_URL", server.url("loader", &server.verified()));
    command.env("HOME", program.path());
    command
}

#[test]
fn each_source_of_a_password_is_heard_in_its_turn() {
    let server = SecureServer::start();
    with_loader(&server);
    let program = Program::with_claims();
    let none = Call::of(&mut at(&program, &server, "check"));
    assert_eq!(none.code, Some(5), "{}", none.stdout);
    assert!(
        none.stdout.contains("the server wants a password, and none is given"),
        "{}",
        none.stdout
    );
    assert!(none.stdout.contains("hint:") && none.stdout.contains("~/.pgpass"), "{}", none.stdout);

    let line = format!("# ours\nlocalhost:{}:claims:*:{PASSWORD}\n", server.port);
    program.write(".pgpass", &line).private(".pgpass");
    Call::of(&mut at(&program, &server, "check")).done();
    // The variable counts before that file, ours before the variable, the address before all.
    let wrong = |command: &mut Command| {
        let call = Call::of(command);
        assert_eq!(call.code, Some(5), "{}", call.stdout);
        assert!(call.stdout.contains("wrong password (SQLSTATE 28P01)"), "{}", call.stdout);
    };
    wrong(at(&program, &server, "check").env("PGPASSWORD", "no"));
    program.write("wrong", "no\n").private("wrong");
    program.write("right", &format!("{PASSWORD}\n")).private("right");
    let right = |extra| format!("check --password-file right{extra}");
    Call::of(at(&program, &server, &right("")).env("PGPASSWORD", "no")).done();
    wrong(at(&program, &server, "check --password-file wrong").env("PGPASSWORD", PASSWORD));
    wrong(at(&program, &server, "check").env("CLAIMS_ETL_PASSWORD_FILE", "wrong"));
    let login = format!("loader:{PASSWORD}");
    let whole = server.url(&login, &server.verified());
    Call::of(
        at(&program, &server, "check --password-file wrong")
            .env("PGPASSWORD", "no")
            .env("DATABASE_URL", whole),
    )
    .done();

    // A file that others can read is refused before anything is sent.
    for (name, arguments) in [(".pgpass", "check"), ("right", "check --password-file right")] {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(program.path().join(name), open).expect("chmod");
        let refused = Call::of(&mut at(&program, &server, arguments));
        assert_eq!(refused.code, Some(2), "{}", refused.stdout);
        assert!(refused.stdout.contains("mode 0644"), "{}", refused.stdout);
    }
}

#[test]
fn a_wrong_password_ends_the_run_at_once_and_is_not_shown() {
    let server = SecureServer::start();
    server.admin(DATABASE, "CREATE ROLE loader LOGIN PASSWORD 'another'");
    let program = Program::with_claims();
    let began = Instant::now();
    let arguments = "run -vv --format json --retries 3 --retry-delay-secs 60";
    let mut command = at(&program, &server, arguments);
    let call = Call::of(command.env("PGPASSWORD", PASSWORD).env("RUST_LOG", "trace"));
    assert_eq!(call.code, Some(5), "{}", call.stderr);
    assert!(began.elapsed() < Duration::from_secs(30), "it was tried again");
    let error = &call.json()["error"];
    assert_eq!(error["kind"], "warehouse");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("28P01")), "{error}");
    assert!(!call.stderr.contains("CANARY") && !call.stdout.contains("CANARY"));
    let tries = server.log().matches("connection received").count();
    assert!(tries < 20, "{tries}");
    assert_eq!(server.log().matches("password authentication failed").count(), 1);
}

#[test]
fn a_password_on_the_command_line_is_refused() {
    let program = Program::new();
    let address = format!("postgres://me:{PASSWORD}@localhost:1/x");
    for (arguments, hint) in [
        (format!("run --warehouse {address}"), "--password-file"),
        (format!("warehouse migrate --warehouse {address}"), "--password-file"),
        (format!("check --warehouse postgres://localhost:1/x?password={PASSWORD}"), "~/.pgpass"),
        (format!("run --claims {address}"), "CLAIMS_ETL_CLAIMS"),
        (format!("run --providers p.csv {address}"), "CLAIMS_ETL_PROVIDERS"),
    ] {
        let (code, message) = program.call(&arguments).refused();
        assert_eq!(code, 2, "{message}");
        assert!(message.contains("a password on the command line"), "{message}");
        assert!(message.contains(hint) && !message.contains("CANARY"), "{message}");
    }
    // The same address is welcome where nobody sees it.
    let mut command = program.command("warehouse url");
    let url = Call::of(command.env("CLAIMS_ETL_WAREHOUSE", &address)).done();
    assert_eq!(url, "postgresql://me@localhost:1/x\n");
}

#[test]
fn a_password_goes_nowhere() {
    let server = SecureServer::start();
    with_loader(&server);
    let program = Program::with_claims();
    let settings = fs::read_to_string(program.path().join("claims-etl.toml")).expect("settings");
    let login = format!("loader:{PASSWORD}");
    let url = server.url(&login, &server.verified());
    program.write("secret.toml", &format!("{settings}[warehouse]\nurl = \"{url}\"\n"));
    let mut printed = String::new();
    for arguments in [
        "run -vv --format json",
        "run -vv --log-format json --force --mode replace",
        "check -vv",
        "runs -vv --format json",
        "config show",
        "config show --format json",
        "warehouse url",
        "warehouse migrate -vv",
        "refresh -vv",
        "explain",
    ] {
        let mut command = program.command(arguments);
        program.private("secret.toml");
        command.args(["--config", "secret.toml"]).env("RUST_LOG", "trace");
        let call = Call::of(command.env("RUST_BACKTRACE", "full"));
        assert_eq!(call.code, Some(0), "{arguments}: {}", call.stderr);
        printed += &call.stdout;
        printed += &call.stderr;
    }
    assert!(printed.contains("loader@localhost"), "the search has something to search");
    assert!(!printed.contains("CANARY"), "{printed}");
    let mut files = 0;
    search(&program.path().join("data"), &mut files);
    assert!(files > 0, "there are files");
    let mut client = server.administrator(DATABASE);
    let tables = client
        .query(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
             WHERE schemaname IN ('claims_etl', 'healthcare_analytics')",
            &[],
        )
        .expect("tables");
    assert!(tables.len() > 5);
    for table in tables {
        let table: String = table.get(0);
        let query = format!("SELECT count(*) FROM {table} t WHERE t::text LIKE '%CANARY%'");
        let found: i64 = client.query_one(&query, &[]).expect("a count").get(0);
        assert_eq!(found, 0, "{table}");
    }
    assert!(!server.log().contains("CANARY"));
}

/// No file below a folder holds the password.
fn search(folder: &Path, files: &mut usize) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            search(&path, files);
        } else {
            let bytes = fs::read(&path).expect("a file");
            assert!(!bytes.windows(6).any(|part| part == b"CANARY"), "{}", path.display());
            *files += 1;
        }
    }
}

#[test]
fn psql_gets_the_password_where_nobody_sees_it() {
    let server = SecureServer::start();
    with_loader(&server);
    let program = Program::new();
    let mut command = program.process("warehouse psql -- -Atc");
    command
        .arg("SELECT current_user || ' ' || ssl FROM pg_stat_ssl, pg_sleep(2) WHERE pid = pg_backend_pid()")
        .env("DATABASE_URL", server.url(&format!("loader:{PASSWORD}"), &server.verified()))
        .env("CLAIMS_ETL_KEY", "CANARY-key")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let arguments = || fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    if Path::new("/proc/self/cmdline").exists() {
        let shown = || String::from_utf8_lossy(&arguments()).into_owned();
        // psql takes the program's place, so the process is the same.
        until("psql", || {
            let shown = shown();
            assert!(!shown.contains("CANARY"), "{shown}");
            shown.contains("postgresql://loader@localhost")
        });
        let environment = fs::read(format!("/proc/{}/environ", child.id())).expect("our own child");
        assert!(!String::from_utf8_lossy(&environment).contains("CANARY-key"));
    }
    let output = child.wait_with_output().expect("it ends");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "loader true\n", "{printed}");
}
