//! Inputs that real users have reported as trouble, each with its right outcome (`expect.txt`), when
//! they lie beside the checkout (see `real_data::data`). The project's own files of the same kinds
//! are in the tests of their subjects and always run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use claims_etl::key::{Domain, MasterKey};
use serde_json::Value;

use crate::extract::real_data;
use crate::support::program::{Call, KEY, Program};
use crate::support::secure_server::SecureServer;
use crate::support::server::{self, Database};

/// A case's files in a program's folder, with a key; `None`, with a note on stderr, where they are not there.
pub(crate) fn program(case: &str) -> Option<Program> {
    let folder = real_data::data(&format!("cases/{case}"))?;
    let program = Program::with_claims();
    fs::remove_file(program.path().join("claims-etl.toml")).expect("the sample's configuration");
    copy(&folder, program.path());
    Some(program)
}

/// A run of a case's files into a database; its words are split at blanks.
fn run(program: &Program, database: &Database, words: &str) -> Call {
    let mut command = program.command(&format!("run --format json {words}"));
    command.env("CLAIMS_ETL_WAREHOUSE", database.url()).env("CLAIMS_ETL_KEY", KEY);
    command.env("CLAIMS_ETL_RETRY_DELAY_SECS", "0");
    Call::of(&mut command)
}

/// Rows and dollars that are published.
fn published(database: &Database) -> String {
    let totals = "SELECT count(*) || ' ' || sum(amount) FROM healthcare_analytics.claims_fact";
    database.connect().query_one(totals, &[]).expect("an answer").get(0)
}

#[test]
fn reversals_under_one_key_are_never_a_wrong_total_without_a_word() {
    let Some(program) = program("17-reversals") else { return };
    // a) Half of the lines have the key of another one: nothing is published.
    let database = server::database();
    let files = "--claims claims.csv --providers providers.csv";
    let call = run(&program, &database, files);
    assert_eq!(call.code, Some(4), "{}", call.stderr);
    let report = call.json();
    assert_eq!(report["claims"]["conflicts"], 4);
    assert_eq!(report["amount"]["conflicts"], "50.00");
    assert_eq!(report["reversals"]["lines"], 3);
    let hint = report["error"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("claim_id = \"{claim_id}-{adjustment}\""), "{hint}");
    // A choice of the user is printed.
    let text = program
        .command(&format!("run {files} --on-duplicate last"))
        .env("CLAIMS_ETL_WAREHOUSE", database.url())
        .env("CLAIMS_ETL_KEY", KEY)
        .output()
        .expect("a run");
    let text = String::from_utf8(text.stdout).expect("UTF-8");
    assert!(text.contains("+ conflicts") && text.contains("reversals: 3 claim lines"), "{text}");
    assert!(text.contains("4 were dropped (50.00)"), "{text}");
    // c) The way out.
    let database = server::database();
    let call = run(&program, &database, &format!("--config adjusted.toml {files}"));
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    let report = call.json();
    assert_eq!(published(&database), "8 110.00");
    assert_eq!(
        (&report["claims"]["conflicts"], &report["flags"]["amount_negative"]),
        (&0.into(), &3.into())
    );
    assert!(report["flags"]["reversal_pair"].as_u64() >= Some(6), "{report}");
}

#[test]
fn a_reversal_that_overwrites_its_original_is_reported() {
    let Some(program) = program("17-reversals") else { return };
    // b)
    let database = server::database();
    for (day, overwritten, amount) in [("day1", 0, "0.00"), ("day2", 1, "100.00")] {
        let call =
            run(&program, &database, &format!("--claims {day}.csv --providers providers.csv"));
        assert_eq!(call.code, Some(0), "{}", call.stderr);
        let report = call.json();
        assert_eq!(report["reversals"]["overwritten"], overwritten);
        assert_eq!(report["reversals"]["overwritten_amount"], amount);
    }
    assert_eq!(published(&database), "2 -30.00");
    // d) Frequencies are the payer's: what is in the file is loaded.
    let database = server::database();
    let call = run(&program, &database, "--claims frequency.csv --providers providers.csv");
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert_eq!(published(&database), "5 350.00");
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a case's folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            fs::create_dir_all(&target).expect("a folder");
            copy(&entry.path(), &target);
        } else {
            fs::write(&target, fs::read(entry.path()).expect("a file")).expect("a copy");
        }
    }
}

/// Rows and dollars that a database of a server has published.
fn published_in(server: &SecureServer, database: &str) -> String {
    let query =
        "SELECT concat_ws(' ', count(*), sum(amount)) FROM healthcare_analytics.claims_fact";
    server.administrator(database).query_one(query, &[]).expect("rows").get(0)
}

#[test]
fn postgres_surroundings() {
    let Some(program) = program("29-postgres-surroundings") else { return };
    let server = SecureServer::start_without_tls();
    let setup = fs::read_to_string(program.path().join("setup.sql")).expect("the setup");
    for line in setup.lines() {
        let statement = line.split("--").next().unwrap_or_default().trim();
        if !statement.is_empty() {
            server.admin("postgres", statement);
        }
    }
    server.admin("i_no_create", "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let socket = format!("host={}&port={}", server.file("server").display(), server.port);
    let call = |login: &str, database: &str, arguments: &str| {
        let mut command = program.command(arguments);
        command
            .env("DATABASE_URL", format!("postgres://{login}@/{database}?{socket}"))
            .env("CLAIMS_ETL_DATA_DIR", database)
            .env("CLAIMS_ETL_KEY_FILE", "claims-etl.key");
        Call::of(&mut command)
    };
    let run = "run --claims claims.csv --providers providers.csv --retries 2 --retry-delay-secs 60";
    let correction = run.replace("claims.csv", "claims-2.csv");
    let loads = |database: &str| {
        call("loader", database, run).done();
        let name = database.replace("%20", " ");
        assert_eq!(published_in(&server, &format!("'{name}'")), "3000 449985.00", "{database}");
        call("loader", database, &correction).done();
        assert_eq!(published_in(&server, &format!("'{name}'")), "3100 455284.50", "{database}");
        call("loader", database, &format!("{run} --mode replace")).done();
        assert_eq!(published_in(&server, &format!("'{name}'")), "3000 449985.00", "{database}");
        call("loader", database, "verify last --claims claims.csv --providers providers.csv")
            .done();
    };
    let refused = |login: &str, database: &str, arguments: &str, wanted: &[&str]| {
        let call = call(login, database, arguments);
        assert_eq!(call.code, Some(5), "{database}: {}", call.stderr);
        for words in wanted {
            assert!(call.stderr.contains(words), "{database}: {words}: {}", call.stderr);
        }
        let staged = "SELECT count(*) FROM pg_class WHERE relname LIKE '%stage%'";
        let staged: i64 =
            server.administrator(database).query_one(staged, &[]).expect("a count").get(0);
        assert_eq!(staged, 0, "{database}");
    };
    refused("loader", "b_latin1", run, &["has the encoding LATIN1", "UTF8"]);
    refused("loader", "c_sql_ascii", run, &["has the encoding SQL_ASCII", "UTF8"]);
    server.admin("a_publication", "CREATE PUBLICATION everything FOR ALL TABLES");
    loads("a_publication");
    for arguments in ["refresh --list", "quarantine prune --older-than 90d", "risk rescore"] {
        call("loader", "a_publication", arguments).done();
    }
    loads("d_timeouts");
    refused("loader", "e_read_only", run, &["is read-only", "replica"]);
    loads("f_habits");
    let names = "SELECT string_agg(provider_name, ' ' ORDER BY provider_id)
        FROM healthcare_analytics.providers_dim WHERE provider_id LIKE 'PRV%'";
    let names: String =
        server.administrator("f_habits").query_one(names, &[]).expect("names").get(0);
    assert!(names.contains("Clínica Sørensen – „West“ Łódź") && names.contains("医院"), "{names}");
    let narrow = format!("{run} --connections 4");
    refused("narrow", "g_connections", &narrow, &["too many connections for the role narrow"]);
    loads("h%20Claims-DB");
    refused("reader", "i_no_create", run, &["may not create the schema", "CREATE SCHEMA"]);
}

/// What a run has read and loaded, and the sum of it.
fn account(call: &Call) -> (Value, Value, Value) {
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    let report = call.json();
    let claims = &report["claims"];
    (claims["read"].clone(), claims["loaded"].clone(), report["amount"]["loaded"].clone())
}

/// One column of the warehouse in the order of the claims' amounts.
fn texts(database: &Database, sql: &str) -> Vec<String> {
    let rows = database.connect().query(sql, &[]).expect("an answer");
    rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect()
}

#[test]
fn types_of_real_parquet_files_are_read_as_they_are() {
    let Some(program) = program("25-parquet-types") else { return };
    let database = server::database();
    let load = |file: &str| {
        program.call(&format!(
            "run --claims {file}.parquet --providers providers.csv --mode replace --max-reject-ratio 1 \
             --format json --key-file claims-etl.key --warehouse {}",
            database.url()
        ))
    };
    let empty = load("no-rows");
    assert_eq!(empty.json()["claims"]["read"], 0, "{}", empty.stderr);
    let days = "SELECT date_of_service::text FROM healthcare_analytics.claims_fact
        ORDER BY date_of_service";
    let expected_days = ["2024-01-01", "2024-01-31", "2024-01-31", "2024-02-29"];
    for (file, loaded, sum) in [
        ("plain", 4, "1005.10"),
        ("decimal38_18", 4, "1005.10"),
        ("decimal256", 4, "1005.10"),
        ("dictionary-large", 4, "1005.10"),
        ("text-amounts", 4, "1005.10"),
        ("nested-beside", 4, "1005.10"),
        ("one-row-groups", 4, "1005.10"),
        ("codec-none", 4, "1005.10"),
        ("codec-snappy", 4, "1005.10"),
        ("codec-gzip", 4, "1005.10"),
        ("codec-zstd", 4, "1005.10"),
        ("codec-lz4", 4, "1005.10"),
        ("codec-brotli", 4, "1005.10"),
        ("v2-pages-delta", 4, "1005.10"),
        ("decimal9_0", 4, "1005.00"),
        ("int-cents-or-dollars", 4, "1005.00"),
        ("float64", 4, "1234580.93"),
        ("float32", 4, "1247.54"),
        ("float-nan-inf", 1, "5.00"),
        ("int96", 4, "1005.10"),
        ("timestamp-naive-ns", 4, "1005.10"),
        ("timestamp-utc", 4, "1005.10"),
        ("timestamp-new-york", 4, "1005.10"),
        ("date-int", 4, "1005.10"),
        ("date-text", 4, "1005.10"),
        ("null-typed", 4, "1005.10"),
    ] {
        let call = load(file);
        assert_eq!(account(&call), (4.into(), loaded.into(), sum.into()), "{file}");
        let report = call.json();
        // 0.1 + 0.2 is not thirty cents until it is rounded.
        let rounded = (file == "float64").then(|| Value::from(1));
        assert_eq!(report["flags"].get("amount_rounded"), rounded.as_ref(), "{file}: {report}");
        match file {
            "int96" | "timestamp-naive-ns" | "timestamp-utc" | "date-int" | "date-text" => {
                assert_eq!(texts(&database, days), expected_days, "{file}");
            }
            "timestamp-new-york" => {
                let days = texts(&database, days);
                assert_eq!(days, ["2024-01-01", "2024-01-31", "2024-01-31", "2024-03-10"]);
            }
            "null-typed" => {
                let flags = &report["flags"];
                assert_eq!(
                    (&flags["provider_missing"], &flags["procedure_missing"]),
                    (&4.into(), &4.into())
                );
            }
            _ => {}
        }
    }
    for file in ["int-ids", "float-ids"] {
        let call = load(file);
        assert_eq!(account(&call).1, 4, "{file}");
        let flags = &call.json()["flags"];
        let missing = flags.get("provider_missing").and_then(Value::as_u64).unwrap_or(0);
        assert_eq!(missing, u64::from(file == "float-ids"), "{file}: {flags}");
        assert_eq!(flags.get("provider_not_in_directory"), None, "{file}: {flags}");
    }
    let mut command = program.command("token --domain claim --key-file claims-etl.key");
    command.write_stdin("1001");
    let token = Call::of(&mut command).done();
    let found = "SELECT claim_token::text FROM healthcare_analytics.claims_fact";
    assert!(texts(&database, found).contains(&token.trim().to_owned()), "1001, not 1001.0");

    let binary = load("binary-text");
    assert_eq!(account(&binary).1, 3);
    assert_eq!(binary.json()["reject_reasons"]["encoding_invalid"], 1);
    for (file, code, message) in [
        ("nested-needed", 2, "no column for claim_id, amount"),
        ("two-columns-one-name", 2, "2 columns are named \"amount\""),
        ("no-rows", 4, "nothing was replaced"),
        ("cut-short", 3, "cut-short.parquet cannot be read as Parquet"),
        ("footer-only-magic", 3, "footer-only-magic.parquet cannot be read as Parquet"),
    ] {
        let call = load(file);
        assert_eq!(call.code, Some(code), "{file}: {}", call.stderr);
        assert!(call.stderr.contains(message), "{file}: {}", call.stderr);
        assert!(!call.stderr.contains("panic"), "{file}: {}", call.stderr);
    }
}

#[test]
fn a_folder_of_spark_is_read_without_its_litter() {
    let Some(program) = program("26-spark-folder") else { return };
    let load = |claims: &str| {
        let database = server::database();
        let url = database.url();
        let run = format!(
            "run --providers providers.csv --format json --key-file claims-etl.key --warehouse {url} --claims"
        );
        program.call(&format!("{run} {claims}"))
    };
    for claims in ["out", "out/*.csv"] {
        let call = load(claims);
        assert_eq!(account(&call), (10.into(), 10.into(), "55.00".into()), "{claims}");
        assert!(call.stderr.contains("1 file without rows"), "{}", call.stderr);
    }
    assert!(load("out").stderr.contains("part-00004.csv.filepart"));
    assert_eq!(account(&load("parquet")), (5.into(), 5.into(), "15.00".into()));
    let day = "parquet --interval-start 2024-01-31 --interval-end 2024-02-01";
    assert_eq!(account(&load(day)), (3.into(), 3.into(), "12.00".into()));
}

/// A case's run into a database of its own: the call, and what is published.
fn loaded(program: &Program, arguments: &str) -> (Call, Database) {
    let database = server::database();
    (run(program, &database, arguments), database)
}

/// The rows of a query as text, a null as `null`.
fn rows(database: &Database, query: &str) -> Vec<String> {
    let query = format!("SELECT coalesce(q::text, 'null') FROM ({query}) AS sub(q)");
    let rows = database.connect().query(&query, &[]).expect("an answer");
    rows.iter().map(|row| row.get(0)).collect()
}

const SUM: &str = "SELECT concat_ws(' ', count(*), count(DISTINCT patient_token), sum(amount))
    FROM healthcare_analytics.claims_fact";

#[test]
fn excel_text_formulas_are_unwrapped() {
    let Some(program) = program("01-excel-text-formula") else { return };
    let (call, database) = loaded(&program, "--claims claims.csv --providers providers.csv");
    call.done();
    assert_eq!(rows(&database, SUM), ["20 18 625.50"]);
    let codes = "SELECT procedure_code || ' ' || count(*) FROM healthcare_analytics.claims_fact
        GROUP BY procedure_code ORDER BY 1";
    assert_eq!(rows(&database, codes), ["00100 1", "99213 18", "99214 1"]);
    let inferred = "SELECT count(*) FROM healthcare_analytics.providers_dim WHERE is_placeholder";
    assert_eq!(rows(&database, inferred), ["0"]);
}

#[test]
fn a_byte_order_mark_in_the_middle_makes_no_second_claim() {
    let Some(program) = program("03-bom-mid-file") else { return };
    let (call, database) =
        loaded(&program, "--claims claims.csv --providers providers.csv --max-reject-ratio 1");
    let report = call.json();
    let claims = &report["claims"];
    let counts = ["read", "loaded", "rejected", "duplicates"].map(|count| claims[count].as_u64());
    assert_eq!(counts, [Some(9), Some(7), Some(1), Some(1)], "{report}");
    assert_eq!(report["reject_reasons"]["header_repeated"], 1);
    assert_eq!(report["amount"]["duplicates"], "60.00");
    assert_eq!(rows(&database, SUM), ["7 7 280.00"]);
}

#[test]
fn every_spelling_of_a_date_is_read_as_expected_or_rejected() {
    let Some(program) = program("08-dates") else { return };
    let (call, database) = loaded(
        &program,
        "--config claims-etl.toml --claims claims.csv --providers providers.csv --max-reject-ratio 1",
    );
    assert_eq!(call.json()["claims"]["read"], 49);
    let published: BTreeMap<String, (String, bool)> = rows(
        &database,
        "SELECT concat_ws(' ', procedure_code, date_of_service, dq_flags & 32768 <> 0)
         FROM healthcare_analytics.claims_fact",
    )
    .iter()
    .map(|row| {
        let fields: Vec<&str> = row.split(' ').collect();
        (fields[0].to_owned(), (fields[1].to_owned(), fields[2] == "t"))
    })
    .collect();
    let expected = fs::read_to_string(program.path().join("expected.tsv")).expect("a table");
    for line in expected.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let accepted = fields[2].split('|').any(|accepted| match published.get(fields[0]) {
            None => accepted == "reject",
            Some((day, too_old)) => match accepted.split_once("flagged date_too_old") {
                Some((date, _)) => *too_old && (date.is_empty() || date.trim() == day),
                None => accepted == day,
            },
        });
        assert!(accepted, "{line}: {:?}", published.get(fields[0]));
    }
}

#[test]
fn invisible_characters_split_nobody() {
    let Some(program) = program("14-invisible-characters") else { return };
    let run = "--providers providers.csv --max-reject-ratio 1 --claims";
    let (call, database) = loaded(&program, &format!("{run} claims.csv"));
    call.done();
    let tokens: BTreeMap<String, String> = rows(
        &database,
        "SELECT procedure_code || ' ' || patient_token FROM healthcare_analytics.claims_fact",
    )
    .iter()
    .filter_map(|row| row.split_once(' '))
    .map(|(code, token)| (code.to_owned(), token.to_owned()))
    .collect();
    for code in ["Z02", "Z03", "Z04", "Z05", "Z06", "Z07", "Z08", "Z09", "Z10"] {
        assert_eq!(tokens[code], tokens["Z01"], "{code}");
    }
    let others = ["Z01", "Z11", "Z12", "Z13", "Z14", "Z15", "Z16"];
    let unlike: BTreeSet<&String> = others.iter().map(|code| &tokens[*code]).collect();
    assert_eq!(unlike.len(), others.len());

    let (call, database) = loaded(&program, &format!("{run} claims-providers.csv"));
    call.done();
    let unknown = "SELECT procedure_code FROM healthcare_analytics.v_claims
        WHERE provider_not_in_directory ORDER BY 1";
    assert_eq!(rows(&database, unknown), ["Y05", "Y06"]);

    let (call, database) = loaded(&program, &format!("{run} claims-claim-ids.csv"));
    let claims = &call.json()["claims"];
    assert_eq!((&claims["loaded"], &claims["duplicates"]), (&17.into(), &3.into()), "{claims}");
    assert_eq!(claims["conflicts"], 0);
    let sum = "SELECT sum(amount) FROM healthcare_analytics.claims_fact";
    assert_eq!(rows(&database, sum), ["169.00"]);
}

#[test]
fn words_for_null_are_nobody() {
    let Some(program) = program("19-null-words") else { return };
    let (call, database) =
        loaded(&program, "--claims claims.csv --providers providers.csv --max-reject-ratio 1");
    let report = call.json();
    let (claims, reasons) = (&report["claims"], &report["reject_reasons"]);
    let counts = ["read", "loaded", "rejected"].map(|count| claims[count].as_u64());
    assert_eq!(counts, [Some(108), Some(36), Some(72)], "{report}");
    assert_eq!(reasons["patient_id_placeholder"], 18);
    assert_eq!(reasons["claim_id_placeholder"], 18);
    let flags = "SELECT DISTINCT concat_ws(' ', left(procedure_code, 2),
            array_to_string(healthcare_analytics.dq_flag_names(dq_flags), ' '))
        FROM healthcare_analytics.claims_fact ORDER BY 1";
    assert_eq!(rows(&database, flags), ["N1 provider_missing", "procedure_missing"]);
    let providers = "SELECT provider_id FROM healthcare_analytics.providers_dim ORDER BY 1";
    let known = ["(unknown)", "1234567893", "PRV-01", "PRV-02"];
    assert_eq!(rows(&database, providers), known);
}

#[test]
fn whole_numbers_of_parquet_are_identifiers() {
    let Some(program) = program("25-parquet-types") else { return };
    let of = |file: &str| loaded(&program, &format!("--claims {file} --providers providers.csv"));
    let key = MasterKey::load(&program.path().join("claims-etl.key")).expect("a key");
    let claims = |database: &Database, id: &str| {
        let token = key.tokenizer(Domain::Claim).token(id).map(uuid::Uuid::from_bytes);
        let token = token.expect("a token");
        let query = format!(
            "SELECT count(*) FROM healthcare_analytics.claims_fact WHERE claim_token = '{token}'"
        );
        rows(database, &query)
    };
    let named = "SELECT concat_ws(' ', provider_name, count(*)) FROM healthcare_analytics.v_claims
        GROUP BY provider_name ORDER BY 1";

    let (call, database) = of("int-ids.parquet");
    call.done();
    assert_eq!(claims(&database, "900000000000000001"), ["1"]);
    let codes = "SELECT procedure_code FROM healthcare_analytics.claims_fact ORDER BY 1";
    assert_eq!(rows(&database, codes), ["100", "36415", "99213", "99214"]);
    assert_eq!(rows(&database, named), ["Example, Ada 4"]);

    let (call, database) = of("float-ids.parquet");
    let report = call.json();
    if call.code == Some(2) {
        let message = report["error"]["message"].as_str().expect("a message");
        assert!(message.contains("column \"claim_id\""), "{message}");
        return;
    }
    assert_eq!(report["claims"]["loaded"], 4, "{report}");
    assert_eq!(report["flags"]["provider_missing"], 1);
    assert_eq!(claims(&database, "1001"), ["1"]);
    assert_eq!(rows(&database, named), ["Example, Ada 3", "Unknown provider 1"]);
}

/// A run of a case into a database of its own; its report.
fn reported(program: &Program, database: &Database, arguments: &str) -> (Call, Value) {
    let call = program.call(&format!(
        "run --format json --key-file claims-etl.key --warehouse {} {arguments}",
        database.url()
    ));
    let report = call.json();
    (call, report)
}

#[test]
fn odd_headers() {
    let Some(program) = program("12-odd-headers") else { return };
    let files = "--claims claims.csv --providers providers.csv";
    let (call, report) = reported(&program, &server::database(), files);
    assert_eq!(call.code, Some(2), "{}", call.stderr);
    let hint = report["error"]["hint"].as_str().expect("a hint");
    for line in [
        "claim_id = \"Claim ID\"",
        "patient_id = \"Patient\\nID\"",
        "provider_id = \"Provider ID\"",
        "procedure_code = \"Procedure \\\"CPT\\\" Code\"",
        "date_of_service = \"Date of Service\"",
    ] {
        assert!(hint.contains(line), "{line}: {hint}");
    }
    for (config, claims) in [("odd.toml", "claims.csv"), ("nfd.toml", "nfd.csv")] {
        let files = format!("--config {config} --claims {claims} --providers providers.csv");
        let (call, report) = reported(&program, &server::database(), &files);
        assert_eq!(call.code, Some(0), "{config}: {}", call.stderr);
        assert_eq!(
            (&report["claims"]["read"], &report["claims"]["loaded"]),
            (&5.into(), &5.into())
        );
        assert_eq!(report["amount"]["loaded"], "15.00", "{config}");
    }
}

#[test]
fn the_national_directory() {
    let Some(program) = program("nppes-directory") else { return };
    let database = server::database();
    let (call, report) = reported(&program, &database, "--config claims-etl.toml");
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    assert_eq!((&report["claims"]["read"], &report["claims"]["loaded"]), (&20.into(), &20.into()));
    assert_eq!(report["amount"]["loaded"], "210.00");
    for flag in ["npi_invalid", "provider_not_in_directory"] {
        assert_eq!(report["flags"][flag], Value::Null, "{flag}");
    }
    let providers = &report["providers"];
    for (count, expected) in [("read", 10), ("loaded", 10), ("rejected", 0), ("inferred", 0)] {
        assert_eq!(providers[count], expected, "{count}");
    }
    let named = "SELECT count(*) FILTER (WHERE provider_name <> ''), count(*) FILTER (WHERE specialty ~ '^[0-9]{3}[A-Z0-9]{6}X$'),
            count(*) FILTER (WHERE location = 'KEARNEY, NE 688472944')
        FROM healthcare_analytics.providers_dim WHERE NOT is_placeholder AND provider_id ~ '^[0-9]{10}$'";
    let row = database.connect().query_one(named, &[]).expect("counts");
    let counts = [0, 1, 2].map(|column| row.get::<_, i64>(column));
    assert_eq!((counts[0], counts[1]), (10, 10));
    assert!(counts[2] >= 1, "{counts:?}");
    let screen = program.call("inspect --config claims-etl.toml providers.csv").done();
    assert!(screen.lines().count() < 24, "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    assert!(screen.contains("329 columns · 10 records"), "{screen}");
}
