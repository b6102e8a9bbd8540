//! No identifier gets out: unmistakable claim and patient ids are put wherever a file can have
//! them, the real program is run to success and into every kind of failure, and then everything it
//! left is searched.
//!
//! A file of its own because the search is the point: standard output and error, every file of the
//! data directory, every row of every table, the server's log; as text, hex and base64.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use claims_etl::event::RunId;
use claims_etl::pipeline::quarantine;
use claims_etl::rule::Rule;

use crate::desk::Desk;
use crate::process::{self, KEY};

/// What every claim id of these tests begins with, and what every patient id begins with.
const CLAIM: &str = "CANARY-CLAIM-7f3a";
const PATIENT: &str = "CANARY-PATIENT-9c1e";

/// Identifiers where they belong and where they do not, in rows that load and rows that do not.
fn claims() -> String {
    let mut text = String::from(
        "claim_id,line_number,patient_id,provider_id,procedure_code,amount,date_of_service\n",
    );
    let long = "Z9".repeat(5_000);
    let rows = [
        // Loaded, with blanks, quotes and a very long id; and a NUL.
        format!("{CLAIM}01,1,{PATIENT}01,V1,99213,10.00,2024-01-01"),
        format!("\"  {CLAIM}02 \",1,\"{PATIENT}\"\"02\",V1,99213,20.00,2024-01-01"),
        format!("{CLAIM}\0{CLAIM}03,1,{PATIENT}\003,V7,,-30.00,2024-01-01"),
        format!("{CLAIM}04{long},1,{PATIENT}04{long},,,0,2024-01-01"),
        // An identical repeat, and repeats in conflict.
        format!("{CLAIM}01,1,{PATIENT}01,V1,99213,10.00,2024-01-01"),
        format!("{CLAIM}05,1,{PATIENT}05,V1,99213,50.00,2024-01-01"),
        format!("{CLAIM}05,1,{PATIENT}05,V1,99213,51.00,2024-01-01"),
        // Rejected for each reason, with identifiers in the wrong columns too.
        format!(",1,{PATIENT}10,V1,99213,1.00,2024-01-01"),
        format!("{CLAIM}11,1,,V1,99213,1.00,2024-01-01"),
        format!("{CLAIM}12,{PATIENT}12,{PATIENT}12,V1,99213,1.00,2024-01-01"),
        format!("{CLAIM}13,1,{PATIENT}13,V1,99213,,2024-01-01"),
        format!("{CLAIM}14,1,{PATIENT}14,V1,99213,{PATIENT}14,2024-01-01"),
        format!("{CLAIM}15,1,{PATIENT}15,V1,99213,99999999999999,2024-01-01"),
        format!("{CLAIM}16,1,{PATIENT}16,V1,99213,1.00,"),
        format!("{CLAIM}17,1,{PATIENT}17,V1,99213,1.00,{CLAIM}17"),
        format!("{CLAIM}18,1,{PATIENT}18,V\u{1}{PATIENT}18,99213,1.00,2024-01-01"),
        format!("{CLAIM}19,1,{PATIENT}19,V1,{CLAIM}\u{1}19,1.00,2024-01-01"),
        format!("{CLAIM}20,1,UNKNOWN,V1,99213,1.00,2024-01-01"),
        format!("{CLAIM}21,1,{PATIENT}21,V1,99213,1.00,2099-01-01"),
        format!("{CLAIM}22,1,{PATIENT}22"),
        format!("{CLAIM}23,1,{PATIENT}23,V1,99213,1.00,2024-01-01,{PATIENT}23"),
        format!("\"{CLAIM}24\"{CLAIM}24,1,{PATIENT}24,V1,99213,1.00,2024-01-01"),
        format!("{CLAIM}25,1,\"{PATIENT}25,V1,99213,1.00,2024-01-01"),
        format!("\"{CLAIM}\n26\",1,{PATIENT}26,V1,99213,1.00,2024-01-01"),
        format!("{CLAIM}27,1,\"{PATIENT}\n27\",V1,99213,1.00,2024-01-01"),
        format!("{CLAIM}28,1,{PATIENT}28,V1,99213,1.00,2024-01-01"),
        format!("{CLAIM}28,2,{PATIENT}29,V1,99213,1.00,2024-01-01"),
    ];
    for row in rows {
        text += &row;
        text.push('\n');
    }
    text
}

fn desk(claims: &str) -> Desk {
    let mut desk = Desk::new().providers(&["V1,Ann,Cardiology,Boston"]);
    let path = desk.path("claims.csv");
    fs::write(&path, claims).expect("written");
    desk.settings.claims.sources = vec![path.display().to_string()];
    // Whatever machines are told is in the data directory too, and searched with it.
    let data = &desk.settings.run.data_dir;
    let told = format!(
        "[lineage]\nfile = '{0}/events.ndjson'\n[metrics]\ntextfile = '{0}/claims.prom'\n",
        data.display()
    );
    fs::write(desk.path("claims-etl.toml"), told).expect("written");
    desk
}

/// Why records of the file are rejected.
const REASONS: [Rule; 20] = [
    Rule::TooFewFields,
    Rule::TooManyFields,
    Rule::QuoteUnclosed,
    Rule::QuoteMalformed,
    Rule::NulCharacter,
    Rule::ClaimIdInvalid,
    Rule::PatientIdInvalid,
    Rule::ClaimWithTwoPatients,
    Rule::ProviderIdInvalid,
    Rule::ProcedureCodeInvalid,
    Rule::ClaimIdMissing,
    Rule::LineNumberInvalid,
    Rule::PatientIdMissing,
    Rule::PatientIdPlaceholder,
    Rule::AmountMissing,
    Rule::AmountUnparseable,
    Rule::AmountOutOfRange,
    Rule::DateMissing,
    Rule::DateUnparseable,
    Rule::DateInFuture,
];

/// Runs the program with everything it can say.
fn run(desk: &Desk, options: &[&str]) -> Output {
    loudly(process::reading(desk, &["run"]).args(options))
}

fn loudly(command: &mut Command) -> Output {
    process::output(command.arg("-vv").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full"))
}

/// A text that must not be found, in one spelling.
struct Needle {
    what: String,
    text: String,
    any_case: bool,
}

/// All spellings of all secrets.
fn needles() -> Vec<Needle> {
    let digits: Vec<u32> = KEY.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let key: Vec<u8> =
        digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect();
    let mut needles = Vec::new();
    for (name, secret) in
        [("claim", CLAIM.as_bytes()), ("patient", PATIENT.as_bytes()), ("key", &key)]
    {
        let mut add = |form: &str, text: String, any_case| {
            needles.push(Needle { what: format!("{name} as {form}"), text, any_case });
        };
        add("text", latin(&secret.to_ascii_lowercase()), true);
        let hex: Vec<String> = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        add("hex", hex.concat(), true);
        // Within a longer text it may begin at any place of a group of three.
        for shift in 0..3 {
            for last in ["+/", "-_"] {
                add("base64", latin(&base64(&secret[shift..], last)), false);
            }
        }
    }
    needles
}

/// Any bytes as a text in which they can be searched: one character a byte.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Base64 of whole groups of three bytes.
fn base64(bytes: &[u8], last: &str) -> Vec<u8> {
    let alphabet: Vec<u8> =
        (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last.bytes()).collect();
    bytes
        .chunks_exact(3)
        .flat_map(|group| {
            let bits = group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
            [18, 12, 6, 0].map(|shift| alphabet[bits >> shift & 63])
        })
        .collect()
}

/// The secrets that are in some bytes.
fn found_in(place: &str, bytes: &[u8]) -> Vec<String> {
    let (exact, lower) = (latin(bytes), latin(&bytes.to_ascii_lowercase()));
    needles()
        .iter()
        .filter(|needle| if needle.any_case { &lower } else { &exact }.contains(&needle.text))
        .map(|needle| format!("{place}: {}", needle.what))
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(
            |entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] },
        )
        .collect()
}

/// Searches everything but the input itself.
fn leaks(desk: &Desk, outputs: &[Output]) -> Vec<String> {
    let mut found = Vec::new();
    for output in outputs {
        found.extend(found_in("stdout", &output.stdout));
        found.extend(found_in("stderr", &output.stderr));
    }
    for told in ["events.ndjson", "claims.prom"] {
        assert!(desk.settings.run.data_dir.join(told).exists(), "{told}");
    }
    for path in files(&desk.settings.run.data_dir) {
        found.extend(found_in(&path.display().to_string(), &fs::read(&path).expect("readable")));
        let run = path.file_stem().and_then(|stem| RunId::parse(stem.to_str()?).ok());
        if let (Some(run), Some("parquet")) = (run, path.extension().and_then(|e| e.to_str())) {
            let rejects = quarantine(&desk.settings, run).expect("readable");
            assert!(!rejects.is_empty());
            found.extend(found_in("the quarantine, unpacked", format!("{rejects:?}").as_bytes()));
        }
    }
    let tables = desk.rows(
        "SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind IN ('r', 'p', 'v', 'm') AND nspname !~ '^pg_toast' AND nspname <> 'information_schema'
           AND (nspname <> 'pg_catalog' OR relname IN
                ('pg_description', 'pg_statistic', 'pg_constraint', 'pg_stat_activity'))",
    );
    assert!(tables.iter().any(|table| table == "healthcare_analytics.v_claims"), "{tables:?}");
    for table in tables {
        // Without hyphens too: an uuid could be made of an identifier's bytes.
        let rows = desk.rows(&format!("SELECT t::text FROM {table} t")).join("\n");
        found.extend(found_in(&table, rows.as_bytes()));
        found.extend(found_in(&table, rows.replace('-', "").as_bytes()));
    }
    let data = desk.rows("SELECT current_setting('data_directory')").remove(0);
    // The log of a server that is not ours may be elsewhere.
    if let Ok(log) = fs::read(Path::new(&data).with_file_name("server.log")) {
        found.extend(found_in("the server's log", &log));
    }
    found
}

/// The exit code, and nothing that must not be seen.
fn ends_silently(desk: &Desk, options: &[&str], code: i32) -> Vec<Output> {
    let mut outputs = Vec::new();
    for form in
        [["--format", "text", "--log-format", "text"], ["--format", "json", "--log-format", "json"]]
    {
        let output = run(desk, &[&form, options].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {said}");
        assert!(!said.is_empty() && !output.stdout.is_empty());
        outputs.push(output);
    }
    let found = leaks(desk, &outputs);
    assert!(found.is_empty(), "{found:#?}");
    outputs
}

#[test]
fn a_run_that_succeeds_shows_no_identifier() {
    let desk = desk(&claims());
    for policy in ["last", "first", "reject"] {
        let outputs = ends_silently(&desk, &["--force", "--on-duplicate", policy], 0);
        let report = String::from_utf8_lossy(&outputs[1].stdout).into_owned();
        for rule in REASONS {
            assert!(report.contains(rule.name()), "{policy}: {}", rule.name());
        }
        let conflicts = report.contains(Rule::DuplicateConflict.name());
        assert_eq!(conflicts, policy == "reject", "{policy}");
    }
    ends_silently(&desk, &["--dry-run"], 0);
    ends_silently(&desk, &["--force", "--mode", "append"], 4);
}

#[test]
fn other_commands_show_no_identifier() {
    let desk = desk(&claims());
    let loaded = run(&desk, &["--format", "json"]);
    let report: serde_json::Value =
        serde_json::from_slice(&loaded.stdout).expect("one JSON object");
    let id = report["run_id"].as_str().expect("an id").to_owned();
    let mut outputs = vec![loaded];
    let reading = [vec!["check"], vec!["explain"], vec!["config", "show"]];
    let plain = [
        vec!["runs"],
        vec!["runs", &id],
        vec!["quarantine", &id],
        vec!["refresh"],
        vec!["key", "id"],
    ];
    let commands = reading.iter().map(|words| process::reading(&desk, words));
    let commands = commands.chain(plain.iter().map(|words| {
        let mut command = process::command(&desk);
        command.args(words);
        command
    }));
    for mut command in commands {
        let output = loudly(&mut command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !output.stdout.is_empty(), "{command:?}: {said}");
        outputs.push(output);
    }
    let found = leaks(&desk, &outputs);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn damaged_files_show_no_identifier() {
    let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
    let good = format!("{CLAIM}01,{PATIENT}01,V1,99213,10.00,2024-01-01");
    let damaged = [
        ("too many fields", format!("{header}\n{good}\n{good},{PATIENT}02,{CLAIM}02\n{good}\n")),
        ("too few fields", format!("{header}\n{good}\n{CLAIM}02,{PATIENT}02\n{good}\n")),
        (
            "a stray quote",
            format!("{header}\n{good}\n{CLAIM}02,\"{PATIENT}02\"x,V1,1,1.00,2024-01-01\n{good}\n"),
        ),
        (
            "an open quote",
            format!("{header}\n{good}\n{CLAIM}02,\"{PATIENT}02,V1,1,1.00,2024-01-01\n{good}\n"),
        ),
        ("no header", format!("{good}\n{good}\n")),
        ("a header of identifiers", format!("{CLAIM}01,{PATIENT}01,V,P,,\n{good}\n")),
        (
            "another delimiter",
            format!("{}\n{}\n", header.replace(',', ";"), good.replace(',', ";")),
        ),
    ];
    for (what, text) in damaged {
        let desk = desk(&text);
        let output = [run(&desk, &["--format", "json"]), run(&desk, &["--log-format", "json"])];
        let said = String::from_utf8_lossy(&output[0].stderr).into_owned();
        assert!(
            output[0].status.code().is_some_and(|code| code != 1 && code < 100),
            "{what}: {said}"
        );
        let found = leaks(&desk, &output);
        assert!(found.is_empty(), "{what}: {found:#?}");
    }
    let desk = desk(&format!("{header}\n"));
    let mut bytes = format!("{header}\n{good}\n{CLAIM}02,{PATIENT}").into_bytes();
    bytes.extend(b"\xff\xfe,V1,1,1.00,2024-01-01\n");
    fs::write(desk.path("claims.csv"), bytes).expect("written");
    let output = run(&desk, &["--format", "json"]);
    let found = leaks(&desk, &[output]);
    assert!(found.is_empty(), "not UTF-8: {found:#?}");
}

#[test]
fn a_refused_run_shows_no_identifier() {
    let desk = desk(&claims());
    ends_silently(&desk, &["--max-reject-ratio", "0.1"], 4);
    ends_silently(&desk, &["--max-reject-rows", "0"], 4);
}

#[test]
fn a_warehouse_that_refuses_rows_shows_no_identifier() {
    let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
    for damage in [
        // The server's own messages quote the failing row, or whatever a trigger says.
        "ALTER TABLE healthcare_analytics.claims_fact ADD CONSTRAINT small CHECK (amount < 0) NOT VALID",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'no: %', NEW; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON healthcare_analytics.claims_fact
             FOR EACH ROW EXECUTE FUNCTION refuse()",
        "ALTER TABLE claims_etl.risk_statistics DROP COLUMN sigma_ln",
        "ALTER TABLE healthcare_analytics.claims_fact DROP COLUMN location CASCADE",
    ] {
        let desk = desk(&format!("{header}\n{CLAIM}00,{PATIENT}00,V1,1,-1.00,2024-01-01\n"));
        assert!(run(&desk, &["--format", "json"]).status.success());
        desk.database.connect().batch_execute(damage).expect("damaged");
        fs::write(desk.path("claims.csv"), claims()).expect("written");
        if damage.contains("CASCADE") {
            // The views are gone with the column; the search wants one.
            desk.database
                .connect()
                .batch_execute("CREATE VIEW healthcare_analytics.v_claims AS SELECT 1")
                .expect("a view");
        }
        ends_silently(&desk, &[], 5);
    }
}

#[test]
fn the_search_finds_what_is_planted() {
    let desk = desk(&claims());
    assert!(run(&desk, &[]).status.success());
    assert_eq!(leaks(&desk, &[]), [] as [&str; 0]);
    let mut client = desk.database.connect();
    let text = format!("x{PATIENT}y");
    for planted in [
        "lower($1)",
        "encode($1::text::bytea, 'hex')",
        "upper(encode($1::text::bytea, 'hex'))",
        "encode($1::text::bytea, 'base64')",
        "encode(('x' || $1)::bytea, 'base64')",
    ] {
        let plant = format!("UPDATE claims_etl.runs SET error = {planted}");
        client.execute(&plant, &[&text]).expect("planted");
        let found = leaks(&desk, &[]);
        assert!(found.iter().any(|leak| leak.starts_with("claims_etl.runs: patient")), "{planted}");
    }
    client.execute("UPDATE claims_etl.runs SET error = NULL", &[]).expect("cleaned");
    for bytes in
        [KEY.to_uppercase().into_bytes(), base64(format!("..{CLAIM}99...").as_bytes(), "-_")]
    {
        let path = desk.settings.run.data_dir.join("planted");
        fs::write(&path, &bytes).expect("planted");
        let found = leaks(&desk, &[]);
        assert!(found.iter().any(|leak| leak.contains("planted")), "{found:?}");
        fs::remove_file(path).expect("cleaned");
    }
    assert_eq!(leaks(&desk, &[]), [] as [&str; 0]);
}
