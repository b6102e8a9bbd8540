//! The three roles of docs/roles.sql: the loader loads without being more than it must, the analyst
//! reads what is published and nothing else, the reader reads what everybody may see.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use postgres::error::SqlState;
use postgres::{Client, NoTls};

use crate::support::program::{Call, Program};
use crate::support::secure_server::{DATABASE, SecureServer};

const PASSWORD: &str = "CANARY-role-7d2c";

/// A server with the roles, as the documentation makes them.
pub(crate) fn with_roles() -> SecureServer {
    let server = SecureServer::start();
    for _ in 0..2 {
        // The script can be run again.
        run_script(&server);
    }
    server.admin(
        DATABASE,
        &format!(
            "ALTER ROLE claims_loader PASSWORD '{PASSWORD}';
             ALTER ROLE claims_analyst PASSWORD '{PASSWORD}';
             ALTER ROLE claims_reader PASSWORD '{PASSWORD}'"
        ),
    );
    server
}

fn run_script(server: &SecureServer) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/roles.sql");
    let output = Command::new("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", script, &server.admin_url(DATABASE)])
        .output()
        .expect("psql starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A call as a role: TCP, TLS, SCRAM with channel binding, the password from `~/.pgpass`.
pub(crate) fn call(program: &Program, server: &SecureServer, role: &str, arguments: &str) -> Call {
    let line = format!("localhost:*:{DATABASE}:*:{PASSWORD}\n");
    program.write(".pgpass", &line).private(".pgpass");
    let parameters = format!("{}&channel_binding=require", server.verified());
    let mut command = program.command(arguments);
    command.env("HOME", program.path()).env("DATABASE_URL", server.url(role, &parameters));
    Call::of(&mut command)
}

/// Keeps the months of providers.
fn enable_months(program: &Program) {
    let config = fs::read_to_string(program.path().join("claims-etl.toml")).expect("read");
    program
        .write("claims-etl.toml", &format!("{config}[refresh.provider_month]\nenabled = true\n"));
}

/// A connection with the rights of a role.
fn acting_as(server: &SecureServer, role: &str) -> Client {
    let mut client = server.administrator(DATABASE);
    client.batch_execute(&format!("SET SESSION AUTHORIZATION {role}")).expect("the role");
    client
}

#[test]
fn the_loader_loads_and_the_analyst_reads() {
    let server = with_roles();
    let program = Program::with_claims();
    enable_months(&program);
    let loader = |arguments: &str| call(&program, &server, "claims_loader", arguments);
    assert!(loader("check").done().contains("as claims_loader (TLSv1.3)"));
    loader("run").done();
    let mut analyst = acting_as(&server, "claims_analyst");
    let mut count = |from: &str| -> i64 {
        let query = format!("SELECT count(*) FROM healthcare_analytics.{from}");
        analyst.query_one(&query, &[]).expect(from).get(0)
    };
    for (from, rows) in [
        ("v_claims", 2),
        ("claims_fact", 2),
        ("v_provider_month", 1),
        ("mv_provider_month", 1),
        ("providers_dim", 2),
    ] {
        assert_eq!(count(from), rows, "{from}");
    }
    // A merge with repeats and changes, then a new partition: the grants stay.
    let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
    let rows = "C2,P2,V1,99214,25.00,2024-01-02\nC2,P2,V1,99214,26.00,2024-01-02\n\
                C3,P3,V9,1,3.00,2024-01-03\n";
    program.write("claims.csv", &format!("{header}\n{rows}"));
    loader("run --connections 2 --on-duplicate last").done();
    assert_eq!((count("v_claims"), count("providers_dim")), (3, 3));
    loader("run --force --mode replace").done();
    assert_eq!((count("v_claims"), count("v_provider_month")), (2, 2));
    loader("refresh").done();
    loader("runs").done();

    let mut analyst = acting_as(&server, "claims_analyst");
    let mut refused = |statement: &str| {
        let error = analyst.batch_execute(statement).expect_err(statement);
        assert_eq!(error.code().map(SqlState::code), Some("42501"), "{statement}: {error}");
    };
    for table in ["runs", "task_runs", "migrations", "risk_statistics", "provider_totals"] {
        refused(&format!("SELECT FROM claims_etl.{table}"));
    }
    for statement in [
        "CREATE TABLE claims_etl.x (n int)",
        "CREATE TABLE healthcare_analytics.x (n int)",
        "DELETE FROM healthcare_analytics.claims_fact",
        "UPDATE healthcare_analytics.providers_dim SET provider_name = 'x'",
        "TRUNCATE healthcare_analytics.claims_fact",
    ] {
        refused(statement);
    }
    let superuser = "SELECT bool_or(rolsuper OR rolcreatedb OR rolcreaterole) FROM pg_roles
        WHERE rolname LIKE 'claims\\_%'";
    let more: bool =
        server.administrator(DATABASE).query_one(superuser, &[]).expect("roles").get(0);
    assert!(!more, "neither is more than it must be");
    let log = server.log();
    let (all, encrypted) = ("connection authorized: user=claims_loader", "SSL enabled");
    let signed_in: Vec<&str> = log.lines().filter(|line| line.contains(all)).collect();
    assert!(signed_in.len() > 10 && signed_in.iter().all(|line| line.contains(encrypted)), "{log}");
}

#[test]
fn the_reader_sees_what_everybody_may_see_and_nothing_else() {
    let server = with_roles();
    let program = Program::with_claims();
    enable_months(&program);
    // Twelve patients of one provider in January, one in February.
    let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
    let january = (1..=12).map(|n| format!("\nJ{n},P{n},V1,99213,10.00,2024-01-05"));
    let claims = january.chain(["\nF,P1,V1,99213,77.00,2024-02-05".to_owned()]);
    program.write("claims.csv", &format!("{header}{}\n", claims.collect::<String>()));
    let loader = |arguments: &str| call(&program, &server, "claims_loader", arguments);
    loader("warehouse migrate").done();
    let mut reader = acting_as(&server, "claims_reader");
    let public = "SELECT concat_ws('|', service_month, claims, amount, patients, is_suppressed)
        FROM healthcare_analytics.v_provider_month_public ORDER BY service_month";
    let error = reader.query(public, &[]).expect_err("not granted yet");
    assert_eq!(error.code().map(SqlState::code), Some("42501"));
    run_script(&server);
    let seen = |reader: &mut Client| -> Vec<String> {
        let rows = reader.query(public, &[]).expect("the public view");
        rows.iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(seen(&mut reader), [] as [&str; 0]);
    loader("run").done();
    assert_eq!(seen(&mut reader), ["2024-01-01|12|120.00|12|f", "2024-02-01|t"]);
    // Views that are made again keep who may read them.
    loader("run --force --mode replace").done();
    assert_eq!(seen(&mut reader).len(), 2);

    let relations = "SELECT relname::text FROM pg_class
        WHERE relnamespace = 'healthcare_analytics'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')";
    let all = server.administrator(DATABASE).query(relations, &[]).expect("relations");
    let all: Vec<String> = all.iter().map(|row| row.get(0)).collect();
    assert!(all.len() > 5, "{all:?}");
    for name in all.iter().filter(|name| *name != "v_provider_month_public") {
        let read = format!("SELECT FROM healthcare_analytics.{name}");
        let error = reader.batch_execute(&read).expect_err(name);
        assert_eq!(error.code().map(SqlState::code), Some("42501"), "{name}: {error}");
    }
    for schema in ["claims_etl.runs", "claims_etl.provider_totals"] {
        assert!(reader.batch_execute(&format!("SELECT FROM {schema}")).is_err(), "{schema}");
    }
    // A new table is the analyst's, not the reader's.
    server.admin(
        DATABASE,
        "SET ROLE claims_loader; CREATE TABLE healthcare_analytics.later (n integer)",
    );
    assert!(reader.batch_execute("SELECT FROM healthcare_analytics.later").is_err());
    acting_as(&server, "claims_analyst")
        .batch_execute("SELECT FROM healthcare_analytics.later")
        .expect("the analyst's");
}

#[test]
fn a_reader_of_before_loses_what_it_could_see() {
    let server = with_roles();
    let program = Program::with_claims();
    call(&program, &server, "claims_loader", "warehouse migrate").done();
    server.admin(
        DATABASE,
        "GRANT SELECT ON ALL TABLES IN SCHEMA healthcare_analytics TO claims_reader;
         ALTER DEFAULT PRIVILEGES FOR ROLE claims_loader IN SCHEMA healthcare_analytics
             GRANT SELECT ON TABLES TO claims_reader",
    );
    run_script(&server);
    let mut reader = acting_as(&server, "claims_reader");
    assert!(reader.batch_execute("SELECT FROM healthcare_analytics.claims_fact").is_err());
    reader
        .batch_execute("SELECT FROM healthcare_analytics.v_provider_month_public")
        .expect("its own");
    let defaults =
        "SELECT count(*) FROM pg_default_acl WHERE defaclacl::text LIKE '%claims_reader%'";
    let left: i64 = server.administrator(DATABASE).query_one(defaults, &[]).expect("rights").get(0);
    assert_eq!(left, 0);
}

#[test]
fn a_missing_right_is_named_with_who_can_grant_it() {
    let server = with_roles();
    let program = Program::with_claims();
    let refused = |role: &str, arguments: &str| {
        let began = Instant::now();
        let call = call(&program, &server, role, arguments);
        assert!(began.elapsed() < Duration::from_secs(20), "it was tried again");
        assert_eq!(call.code, Some(5), "{}{}", call.stdout, call.stderr);
        assert!(!call.stderr.contains("CANARY"));
        let reported: Vec<&str> =
            call.stderr.lines().filter(|line| !line.contains(" INFO ")).collect();
        reported.join("\n")
    };
    let run = "run --retries 2 --retry-delay-secs 60";
    let printed = refused("claims_reader", run);
    insta::assert_snapshot!(printed, @r#"
error: the role claims_reader may not create tables in the schema claims_etl of claims_loader
  hint: is this the role that loads? claims_loader or a superuser can `GRANT USAGE, CREATE ON SCHEMA claims_etl TO "claims_reader"`; see docs/roles.sql
"#);
    call(&program, &server, "claims_loader", run).done();
    let printed = refused("claims_reader", "runs");
    insta::assert_snapshot!(printed, @r#"
error: run ledger: running a query: insufficient privilege (SQLSTATE 42501, permission denied for schema claims_etl)
  hint: ask the owner of the database or of that object for the right: docs/roles.sql
"#);

    // Who may write into the schemas still does not own what another role has made there.
    server.admin(
        DATABASE,
        &format!(
            "CREATE ROLE second LOGIN PASSWORD '{PASSWORD}';
             GRANT USAGE, CREATE ON SCHEMA claims_etl, healthcare_analytics TO second"
        ),
    );
    let printed = refused("second", run);
    insta::assert_snapshot!(printed, @r#"
error: the role second does not own the table claims_etl.daily_totals, which is of claims_loader
  hint: is this the role that loads? claims_loader or a superuser can `GRANT "claims_loader" TO "second"`; see docs/roles.sql
"#);

    // Nor is a database of one's own schemas free to everybody.
    server.admin(
        DATABASE,
        "DROP SCHEMA claims_etl, healthcare_analytics CASCADE;
         REVOKE TEMPORARY ON DATABASE claims FROM PUBLIC",
    );
    let printed = refused("second", "warehouse migrate");
    insta::assert_snapshot!(printed, @r#"
error: the role second may not create the schema claims_etl in the database claims
  hint: is this the role that loads? admin or a superuser can `CREATE SCHEMA claims_etl AUTHORIZATION "second"`; see docs/roles.sql
"#);
    server.admin(DATABASE, "GRANT CREATE ON DATABASE claims TO second");
    let printed = refused("second", "warehouse migrate");
    insta::assert_snapshot!(printed, @r#"
error: the role second may not create temporary tables in the database claims
  hint: is this the role that loads? admin or a superuser can `GRANT TEMPORARY ON DATABASE "claims" TO "second"`; see docs/roles.sql
"#);
    server.admin(DATABASE, "GRANT TEMPORARY ON DATABASE claims TO second");
    assert_eq!(call(&program, &server, "second", "warehouse migrate").code, Some(0));
}

#[test]
fn names_of_every_kind_are_quoted() {
    let server = SecureServer::start();
    let role = format!(r#"CREATE ROLE "o'dd ""role""; --" LOGIN PASSWORD '{PASSWORD}'"#);
    server.admin("postgres", &role);
    let database = r#"CREATE DATABASE "cl""aims: \ x" OWNER "o'dd ""role""; --""#;
    server.admin("postgres", database);
    let program = Program::with_claims();
    let line = format!(r#"localhost:*:cl"aims\: \\ x:o'dd "role"; --:{PASSWORD}"#);
    program.write(".pgpass", &line).private(".pgpass");
    let call = |arguments: &str| {
        let mut command = program.command(arguments);
        let (login, name) = ("o%27dd%20%22role%22%3b%20--", "cl%22aims:%20%5C%20x");
        let place = format!("postgresql://{login}@localhost:{}/{name}", server.port);
        let url = format!("{place}?{}", server.verified());
        Call::of(command.env("HOME", program.path()).env("DATABASE_URL", url))
    };
    call("run").done();
    call("run --force --mode replace").done();
    // What is shown leads there as well.
    let shown = call("warehouse url").done();
    let mut command = program.command("runs");
    let runs = Call::of(command.env("HOME", program.path()).env("DATABASE_URL", shown.trim()));
    assert_eq!(runs.done().matches("success").count(), 2);
    // Also where a server could confuse its own names with ours: operators and functions that
    // somebody else has left in a schema that everybody searches are not used.
    let mut client = server.administrator(r#"'cl"aims: \\ x'"#);
    let trap =
        "CREATE FUNCTION public.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1/0::bigint';
        CREATE FUNCTION public.trap(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS
            'BEGIN RAISE EXCEPTION ''trapped''; END';
        CREATE OPERATOR public.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = public.trap);
        ALTER DATABASE \"cl\"\"aims: \\ x\" SET search_path = public, pg_catalog";
    client.batch_execute(trap).expect("a trap");
    call("run --force").done();
    call("refresh").done();
}

/// The administrator's socket is for the tests only: nobody else gets in without a password.
#[test]
fn nobody_is_let_in_without_a_password_over_the_network() {
    let server = with_roles();
    let url = format!("host=localhost port={} user=admin dbname={DATABASE}", server.port);
    assert!(Client::connect(&url, NoTls).is_err());
}
