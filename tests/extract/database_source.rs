//! A real Postgres as the source: exact amounts, text that stays text, ranges that lose nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use claims_etl::pipeline::RunReport;
use claims_etl::secret::value::Secret;

use crate::support::secure_server::{DATABASE, SecureServer};
use crate::support::server::{self, Database};
use crate::support::test_env::{TestEnv, succeeded};
use crate::warehouse::tls::{PASSWORD, with_loader};

/// Claims with every sort of amount, ids with leading zeros, and rows without a number.
const TABLE: &str = r#"
CREATE SCHEMA "Raw";
CREATE DOMAIN dollars AS numeric(38, 10);
CREATE TABLE "Raw"."Claims.2024" (
    no bigint, claim_id text, patient_id varchar(20), provider_id char(6), procedure_code text,
    amount dollars, date_of_service date, mood money, note xml);
INSERT INTO "Raw"."Claims.2024" VALUES
    (-5, '001', '007', '000001', '00100', 0.10, '1999-12-31', 12.34, NULL),
    (0, '002', '007', '000001', NULL, 1000000000, '2024-02-29', -0.1, '<a/>'),
    (0, '003', '007', '000001', '00100', 9000000000.00, '2024-02-29', 1, NULL),
    (1, '004', '100571169204E347', '000001', '00100', -9999999999.9900000000, '2024-02-29', 1, NULL),
    (9223372036854775807, '005', '1', NULL, '00100', 10000.1, '2024-02-29', 1, NULL),
    (NULL, '006', '007', '000001', '00100', 0, '2024-02-29', 1, NULL),
    (NULL, '006', '007', '000001', '00100', 7.00, '2024-02-29', 1, NULL),
    (12, '007', NULL, '000001', '00100', 7, '2024-02-29', NULL, NULL);
INSERT INTO "Raw"."Claims.2024"
    SELECT i, 'X' || i, 'P', 'V', 'c', i / 100.0, '2024-01-01', i, NULL FROM generate_series(20, 999) i;
"#;

fn source() -> Database {
    let database = server::database();
    database.connect().batch_execute(TABLE).expect("a source");
    database
}

fn env(source: &Database) -> TestEnv {
    let mut env = TestEnv::new();
    env.settings.claims.sources = vec![source.url().into()];
    env.settings.claims.table = Some(r#""Raw"."Claims.2024""#.into());
    env
}

fn dry(env: &TestEnv) -> RunReport {
    let options = claims_etl::pipeline::RunOptions { dry_run: true, ..Default::default() };
    env.run_with(&options)
}

#[test]
fn a_table_is_loaded_to_the_cent() {
    let source = source();
    let env = env(&source);
    let report = env.run();
    succeeded(&report);
    assert_eq!((report.claims.read, report.claims.rejected), (988, 1));
    let fact = "SELECT string_agg(concat_ws('|', provider_id, procedure_code, amount), ' '
            ORDER BY amount, date_of_service)
        FROM healthcare_analytics.v_claims WHERE provider_id <> 'V'";
    assert_eq!(
        env.rows(fact),
        [
            "000001|00100|-9999999999.99 000001|00100|0.10 000001|00100|7.00 (unknown)|00100|10000.10 \
          000001|1000000000.00 000001|00100|9000000000.00"
        ]
    );
}

#[test]
fn money_comes_as_the_servers_text() {
    let source = source();
    let mut env = env(&source);
    env.settings.claims.columns.insert("amount".into(), "mood".into());
    let report = dry(&env);
    succeeded(&report);
    // 12.34 - 0.10 + 5 × 1, the hundreds of 20 to 999, and one amount that is missing.
    assert_eq!(report.amount.loaded.to_string(), (499_310 + 16).to_string() + ".24");
}

#[test]
fn ranges_hold_all_rows_in_one_order() {
    let source = source();
    let mut env = env(&source);
    let mut prints = Vec::new();
    for partitions in [Some(1), Some(2), None, Some(7), Some(64)] {
        for column in ["NO", "amount"] {
            env.settings.claims.partition_on = Some(column.into());
            env.settings.claims.partitions = partitions;
            let report = dry(&env);
            succeeded(&report);
            assert_eq!(report.claims.read, 988, "{column} {partitions:?}");
            assert_eq!(report.claims.conflicts, 1, "the null rows are there");
            prints.push((column, report.fingerprint));
        }
    }
    prints.sort();
    prints.dedup();
    assert_eq!(prints.len(), 2, "one order for each column, however many ranges: {prints:?}");
    // Where rows lie in the table does not matter.
    source
        .connect()
        .batch_execute(
            r#"CREATE TABLE t AS SELECT * FROM "Raw"."Claims.2024" ORDER BY claim_id DESC, amount"#,
        )
        .expect("a copy");
    env.settings.claims.table = Some("public.T".into());
    let moved = dry(&env);
    assert!(prints.contains(&("amount", moved.fingerprint)), "{prints:?}");
}

#[test]
fn ranges_of_nothing_and_of_nulls_are_complete() {
    let source = source();
    let mut client = source.connect();
    client
        .batch_execute(
            r#"CREATE TABLE n AS SELECT * FROM "Raw"."Claims.2024" WHERE no IS NULL;
               CREATE TABLE e AS SELECT * FROM n LIMIT 0;
               CREATE TABLE odd AS SELECT *, no::numeric AS x, 1.5::real AS f FROM "Raw"."Claims.2024";
               UPDATE odd SET x = 'NaN' WHERE no = 0; UPDATE odd SET x = 'Infinity' WHERE no = 1"#,
        )
        .expect("tables");
    let mut env = env(&source);
    env.settings.claims.partitions = Some(5);
    for (table, column, rows) in
        [("n", "no", 2), ("e", "no", 0), ("odd", "x", 988), ("odd", "f", 988)]
    {
        env.settings.claims.table = Some(table.into());
        env.settings.claims.partition_on = Some(column.into());
        let report = dry(&env);
        succeeded(&report);
        assert_eq!(report.claims.read, rows, "{table} {column}");
    }
}

#[test]
fn what_cannot_be_read_exactly_is_refused() {
    let source = source();
    let refused = |change: &dyn Fn(&mut claims_etl::config::Source)| {
        let mut env = env(&source);
        change(&mut env.settings.claims);
        let report = dry(&env);
        let error = report.error.expect("refused");
        assert_eq!(error.kind, "config", "{error:?}");
        error.message
    };
    let floating = "SELECT claim_id, patient_id, provider_id, procedure_code, date_of_service,
        amount::double precision::test_float AS amount FROM \"Raw\".\"Claims.2024\"";
    source
        .connect()
        .batch_execute("CREATE DOMAIN test_float AS double precision")
        .expect("a domain");
    let message = refused(&|claims| {
        (claims.table, claims.query) = (None, Some(floating.into()));
    });
    assert!(
        message.ends_with("column \"amount\" (amount) is a floating-point number"),
        "{message}"
    );
    let message = refused(&|claims| claims.table = Some("a; DROP TABLE x".into()));
    assert!(message.ends_with("table is not the name of one"), "{message}");
    let message = refused(&|claims| claims.table = None);
    assert!(message.ends_with("needs a query or a table"), "{message}");
    let message = refused(&|claims| claims.partition_on = Some("claim_id".into()));
    assert!(message.ends_with("column \"claim_id\" is no number to partition on"), "{message}");
    let message = refused(&|claims| claims.partition_on = Some("nothing".into()));
    assert!(message.ends_with("there is no column \"nothing\" to partition on"), "{message}");
}

#[test]
fn a_line_column_of_a_table_is_read_where_it_numbers_lines() {
    let database = server::database();
    let lines = "CREATE TABLE lines AS
        SELECT 'C' || c AS claim_id, 'P' || c AS patient_id, 'V1' AS provider_id, '99213' AS procedure_code,
               (c * 10 + l)::numeric(12, 2) AS amount, DATE '2024-06-01' AS date_of_service,
               l AS svc_ln, 'x' AS zone
        FROM generate_series(1, 20) c, generate_series(1, 3) l";
    database.connect().batch_execute(lines).expect("a source");
    let mut env = env(&database);
    env.settings.claims.table = None;
    env.settings.quality.max_conflict_ratio = 0.01;
    for (query, used) in [
        ("SELECT * FROM lines", true),
        // Numbers of rows, and numbers that are not exact.
        ("SELECT *, row_number() OVER (ORDER BY amount)::int + 7 AS line_no FROM (SELECT claim_id, patient_id,
          provider_id, procedure_code, amount, date_of_service FROM lines) q", false),
        ("SELECT claim_id, patient_id, provider_id, procedure_code, amount, date_of_service,
          svc_ln::float8 AS line_no FROM lines", false),
    ] {
        env.settings.claims.query = Some(query.into());
        let report = dry(&env);
        assert_eq!(report.line_column.is_some(), used, "{query}");
        let counts = (report.exit_code, report.claims.read, report.claims.conflicts);
        assert_eq!(counts, if used { (0, 60, 0) } else { (4, 60, 40) }, "{query}: {:?}", report.error);
        assert_eq!(report.amount.read.to_string(), "6420.00");
    }
}

#[test]
fn a_source_is_protected_as_the_warehouse_is() {
    let server = SecureServer::start();
    with_loader(&server);
    server.admin(
        DATABASE,
        "CREATE TABLE bills AS SELECT 'C' || i AS claim_id, 'P' AS patient_id, 'V' AS provider_id,
             '99213' AS procedure_code, 1.25::numeric AS amount, DATE '2024-01-01' AS date_of_service
         FROM generate_series(1, 1000) i;
         GRANT SELECT ON bills TO loader, certified",
    );
    let mut env = TestEnv::new();
    env.settings.claims.table = Some("bills".into());
    let mut read = |address: String| {
        env.settings.claims.sources = vec![address];
        dry(&env)
    };
    let login = format!("loader:{PASSWORD}");
    let certificate = format!(
        "sslcert={}&sslkey={}",
        server.file("client.crt").display(),
        server.file("client.key").display()
    );
    for address in [
        server.url(&login, "sslmode=require"),
        server.url(&login, &server.verified()),
        server.url("certified", &format!("{}&{certificate}", server.verified())),
    ] {
        let report = read(address);
        succeeded(&report);
        assert_eq!((report.claims.read, report.amount.read.to_string()), (1000, "1250.00".into()));
    }
    let other = server.file("other.crt");
    for (address, meant) in [
        (
            server.url(&login, &format!("sslmode=verify-full&sslrootcert={}", other.display())),
            "not trusted",
        ),
        (server.verified_by_address(&login), "another host name"),
        (server.url(&login, "sslmode=disable"), "SQLSTATE 28000"),
        (server.url("loader:wrong", &server.verified()), "SQLSTATE 28P01"),
        (server.url("loader", &server.verified()), "password"),
    ] {
        let started = std::time::Instant::now();
        let error = read(address).error.expect("refused");
        assert!(error.message.contains(meant), "{meant}: {error:?}");
        assert_eq!(error.kind, "source", "{error:?}");
        assert!(!format!("{error:?}").contains(PASSWORD));
        assert!(started.elapsed().as_secs() < 20, "{meant}: it was tried again and again");
    }
    // Each connection of the readings was encrypted.
    let log = server.log();
    let authorized = log.lines().filter(|line| line.contains("connection authorized: user=loader"));
    assert!(authorized.clone().count() > 0);
    assert!(authorized.clone().all(|line| line.contains("SSL enabled")), "{log}");
}

#[test]
fn a_password_file_signs_in_to_a_source_and_the_warehouses_password_does_not() {
    let server = SecureServer::start();
    with_loader(&server);
    server.admin(DATABASE, "CREATE TABLE bills (claim_id text, patient_id text, provider_id text,
        procedure_code text, amount numeric, date_of_service date); GRANT SELECT ON bills TO loader");
    let mut env = TestEnv::new();
    env.settings.claims.table = Some("bills".into());
    env.settings.claims.sources = vec![server.url("loader", &server.verified())];
    env.settings.warehouse.environment.password = Some(Secret::new(PASSWORD));
    assert_eq!(dry(&env).error.expect("no password").kind, "source");
    let passfile =
        env.write("passfile", "# passwords", &[&format!("localhost:*:*:loader:{PASSWORD}")]);
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).expect("private");
    env.settings.warehouse.environment.parameters = vec![("passfile", passfile.clone())];
    succeeded(&dry(&env));
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o644)).expect("open");
    let error = dry(&env).error.expect("open to others");
    assert_eq!(error.kind, "config", "{error:?}");
}
