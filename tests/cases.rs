//! Inputs that real users have reported as trouble, each with its right outcome (`expect.txt`), when
//! they lie beside the checkout (see `real_data::data`). The project's own files of the same kinds
//! are in the tests of their subjects and always run.

use std::fs;
use std::path::Path;

use crate::program::{Call, KEY, Program};
use crate::real_data;
use crate::server::{self, Database};

/// A case's files in a program's folder, with a key; `None`, said on stderr, where they are not there.
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
    // Where somebody has chosen, it is said on the screen.
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
fn a_reversal_that_overwrites_its_original_is_said() {
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
