//! Servers, databases and roles that are not as a fresh installation leaves them: what the program can set
//! for itself, it sets; what it cannot live with has a name and a hint, at once.

use std::time::{Duration, Instant};

use adbc_core::options::OptionDatabase;
use adbc_core::{Driver as _, Optionable as _};
use claims_etl::adbc_postgres::{PostgresConnection, PostgresDriver};
use claims_etl::config::Mode;
use claims_etl::warehouse::{connection, sql};

use crate::support::program::{Call, Program};
use crate::support::secure_server::{DATABASE, SecureServer};
use crate::support::server::{self, Database};
use crate::support::test_env::{TestEnv, succeeded};
use crate::warehouse::roles::{self, with_roles};

/// Longer than this would be a second try.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A call that fails, and would wait a minute before a second try.
fn refused(program: &Program, url: &str, arguments: &str) -> String {
    let began = Instant::now();
    let call = Call::of(program.command(arguments).env("DATABASE_URL", url));
    assert!(began.elapsed() < AT_ONCE, "{arguments}: {:?}", began.elapsed());
    assert_eq!(call.code, Some(5), "{arguments}: {}{}", call.stdout, call.stderr);
    format!("{}{}", call.stdout, call.stderr)
}

const RUN: &str = "run --retries 2 --retry-delay-secs 60";

/// Nothing of ours is there.
fn is_untouched(database: &Database) {
    let made =
        "SELECT count(*) FROM pg_namespace WHERE nspname IN ('claims_etl', 'healthcare_analytics')";
    assert_eq!(database.connect().query_one(made, &[]).expect("a count").get::<_, i64>(0), 0);
}

#[test]
fn a_database_that_cannot_hold_every_name_is_refused() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let options =
            format!("TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
        let database = server::database_with(&options);
        let program = Program::with_claims();
        for arguments in ["check", RUN, "warehouse migrate"] {
            let printed = refused(&program, database.url(), arguments);
            assert!(
                printed.contains(&format!("has the encoding {encoding}")),
                "{arguments}: {printed}"
            );
            assert!(printed.contains("ENCODING 'UTF8'"), "{arguments}: {printed}");
        }
        is_untouched(&database);
    }
}

#[test]
fn a_read_only_database_is_refused() {
    let database = server::database();
    let set = format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name());
    database.connect().batch_execute(&set).expect("set");
    let program = Program::with_claims();
    for arguments in ["check", RUN, "warehouse migrate", "refresh"] {
        let printed = refused(&program, database.url(), arguments);
        assert!(
            printed.contains("is read-only: default_transaction_read_only"),
            "{arguments}: {printed}"
        );
        assert!(
            printed.contains("SET default_transaction_read_only = off"),
            "{arguments}: {printed}"
        );
    }
    is_untouched(&database);
}

#[test]
fn a_replica_is_refused_and_can_be_looked_at() {
    let mut server = with_roles();
    let program = Program::with_claims();
    roles::call(&program, &server, "claims_loader", "run").done();
    server.become_replica();
    for arguments in ["check", RUN, "warehouse migrate", "refresh"] {
        let began = Instant::now();
        let call = roles::call(&program, &server, "claims_loader", arguments);
        assert!(began.elapsed() < AT_ONCE, "{arguments}");
        let all = format!("{}{}", call.stdout, call.stderr);
        assert_eq!(call.code, Some(5), "{arguments}: {all}");
        assert!(all.contains("the server is a replica"), "{arguments}: {all}");
        assert!(all.contains("connect to the primary"), "{arguments}: {all}");
    }
    assert!(roles::call(&program, &server, "claims_loader", "runs").done().contains("success"));
    roles::call(&program, &server, "claims_loader", "verify last").done();
}

/// What a role or a database may have set, and what holds in our sessions.
const SETTINGS: [(&str, &str, &str); 22] = [
    ("search_path", "public", "pg_catalog, pg_temp"),
    ("statement_timeout", "2s", "0"),
    ("idle_in_transaction_session_timeout", "2s", "0"),
    ("idle_session_timeout", "2s", "0"),
    ("lock_timeout", "1ms", "1min"),
    ("transaction_timeout", "2s", "0"),
    ("row_security", "on", "off"),
    ("client_encoding", "LATIN1", "UTF8"),
    ("standard_conforming_strings", "off", "on"),
    ("transform_null_equals", "on", "off"),
    ("array_nulls", "off", "on"),
    ("quote_all_identifiers", "on", "off"),
    ("datestyle", "SQL, DMY", "ISO, YMD"),
    ("intervalstyle", "sql_standard", "postgres"),
    ("timezone", "Asia/Kathmandu", "UTC"),
    ("bytea_output", "escape", "hex"),
    ("extra_float_digits", "-15", "1"),
    ("default_transaction_isolation", "serializable", "read committed"),
    ("default_transaction_deferrable", "on", "off"),
    ("exit_on_error", "on", "off"),
    ("synchronous_commit", "off", "on"),
    ("lc_monetary", "C", "C"),
];

fn with_habits() -> Database {
    let database = server::database();
    let mut client = database.connect();
    for (name, odd, _) in SETTINGS {
        let known = "SELECT count(*) FROM pg_settings WHERE name = lower($1)";
        if client.query_one(known, &[&name]).expect("a count").get::<_, i64>(0) == 0 {
            // A setting of later versions.
            continue;
        }
        let value = if name == "search_path" { odd.to_owned() } else { format!("'{odd}'") };
        let set = format!("ALTER DATABASE {} SET {name} = {value}", database.name());
        client.batch_execute(&set).expect(name);
    }
    database
}

fn connection(database: &Database) -> PostgresConnection {
    let mut driver = PostgresDriver;
    let mut address = driver.new_database().expect("a database");
    address.set_option(OptionDatabase::Uri, database.url().into()).expect("an address");
    connection::connect(&address).expect("a connection")
}

#[test]
fn settings_of_a_role_or_a_database_do_not_reach_our_sessions() {
    let database = with_habits();
    let mut connection = connection(&database);
    for (name, _, ours) in SETTINGS {
        let query = format!("SELECT coalesce(current_setting('{name}', true), '{ours}') AS value");
        let rows = sql::query(&mut connection, "asking", &query).expect("a setting");
        assert_eq!(sql::text(&rows, "value", 0).as_deref(), Some(ours), "{name}");
    }
}

#[test]
fn habits_change_nothing_about_what_is_loaded() {
    let facts = "SELECT to_jsonb(f) - 'run_no' FROM healthcare_analytics.claims_fact f ORDER BY claim_token";
    let members = "SELECT concat_ws('|', provider_id, provider_name, specialty, location, row_hash)
        FROM healthcare_analytics.providers_dim ORDER BY provider_id";
    let lay = |env: TestEnv| {
        let mut env = env
            .claims(&[
                "C1,P1,V1,99213,10.00,2024-01-02",
                "C2,P2,V2,99214,-20.50,2024-03-04",
                r"C3,P3,V\3,O'Hara\n,0.05,2024-12-31",
            ])
            .providers(&["V1,Ann – „Łuz“ 医院,Cardiology,Boston", r"V2,Ben \'x,Oncology,Salem"]);
        env.settings.privacy.key =
            Some(claims_etl::secret::value::Secret::new(crate::support::process::KEY));
        env
    };
    let plain = lay(TestEnv::new());
    succeeded(&plain.run());
    let mut odd = lay(TestEnv::at(with_habits()));
    // Three copies of everything that a session can do: first load, merge, replace.
    succeeded(&odd.run());
    odd.settings.warehouse.mode = Mode::Merge;
    let forced = claims_etl::pipeline::RunOptions { force: true, ..Default::default() };
    succeeded(&odd.run_with(&forced));
    odd.settings.warehouse.mode = Mode::Replace;
    succeeded(&odd.run_with(&forced));
    let read = |env: &TestEnv, sql: &str| {
        let mut client = env.database.connect();
        client.batch_execute("SET bytea_output = hex; SET datestyle = ISO; SET extra_float_digits = 1; SET timezone = 'UTC'; SET client_encoding = UTF8").expect("settings");
        let rows =
            client.query(&format!("SELECT q::text FROM ({sql}) AS sub(q)"), &[]).expect("rows");
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    };
    assert_eq!(read(&plain, facts), read(&odd, facts));
    let names = read(&odd, members);
    assert_eq!(read(&plain, members), names);
    assert!(names.iter().any(|name| name.contains("Ann – „Łuz“ 医院")), "{names:?}");
}

#[test]
fn a_role_with_few_connections_is_refused_before_it_runs_out() {
    let server = with_roles();
    let program = Program::with_claims();
    let call = |arguments: &str| roles::call(&program, &server, "claims_loader", arguments);
    server.admin(DATABASE, "ALTER ROLE claims_loader CONNECTION LIMIT 5");
    let began = Instant::now();
    for arguments in
        ["check --connections 4", "run --connections 4 --retries 2 --retry-delay-secs 60"]
    {
        let call = call(arguments);
        let all = format!("{}{}", call.stdout, call.stderr);
        assert_eq!(call.code, Some(5), "{all}");
        assert!(all.contains("too many connections for the role claims_loader"), "{all}");
        assert!(all.contains("lower --connections to 3"), "{all}");
    }
    assert!(began.elapsed() < AT_ONCE);
    call("run --connections 3 --retries 0").done();
    server.admin(DATABASE, &format!("ALTER ROLE claims_loader CONNECTION LIMIT -1; ALTER DATABASE {DATABASE} CONNECTION LIMIT 2"));
    let all = call("check").stdout;
    assert!(all.contains("too many connections for the database claims"), "{all}");
    assert!(all.contains(r#"`ALTER DATABASE "claims" CONNECTION LIMIT"#), "{all}");
    // A limit that others use up is reported in the server's own words.
    server.admin(DATABASE, &format!("ALTER DATABASE {DATABASE} CONNECTION LIMIT -1; ALTER ROLE claims_loader CONNECTION LIMIT 0"));
    let all = call("check").stdout;
    assert!(all.contains(r#"too many connections for role "claims_loader""#), "{all}");
}

/// A server in FIPS mode has no `md5()`.
#[test]
fn nothing_needs_md5() {
    let server = with_roles();
    server.admin(DATABASE, "REVOKE EXECUTE ON FUNCTION md5(text), md5(bytea) FROM PUBLIC");
    let program = Program::with_claims();
    let call = |arguments: &str| roles::call(&program, &server, "claims_loader", arguments);
    call("run").done();
    call("run --force --mode replace").done();
    call("refresh").done();
    call("verify last").done();
}

#[test]
fn a_password_with_signs_of_an_address_is_written_encoded_or_apart() {
    let server = SecureServer::start_without_tls();
    server.admin(DATABASE, &format!("CREATE ROLE anyhow LOGIN PASSWORD 'p@ss/w:rd#%41?'; GRANT ALL ON DATABASE {DATABASE} TO anyhow"));
    let program = Program::with_claims();
    let at = |login: &str, arguments: &str| {
        let url = server.url(login, "sslmode=disable").replace("localhost", "127.0.0.1");
        Call::of(program.command(arguments).env("DATABASE_URL", url))
    };
    at("anyhow:p%40ss%2Fw%3Ard%23%2541%3F", "check").done();
    program.write("password", "p@ss/w:rd#%41?\n").private("password");
    at("anyhow", "run --password-file password").done();
    let call = at("anyhow:p@ss/w:rd#%41?", "run");
    assert_eq!(call.code, Some(2), "{}", call.stderr);
    assert!(call.stderr.contains("write @ as %40"), "{}", call.stderr);
    for part in ["ss/w", "rd#", "41?"] {
        assert!(!call.stderr.contains(part), "{}", call.stderr);
    }
    // A sign that the address can hold, but means something else by.
    server.admin(DATABASE, "ALTER ROLE anyhow PASSWORD 'p%41'");
    let call = at("anyhow:p%41", "run");
    assert_eq!(call.code, Some(5), "{}", call.stderr);
    assert!(call.stderr.contains("written %25"), "{}", call.stderr);
}
