//! Files as they really arrive: the outcome of each is one line of `adversarial_files.txt`.
//!
//! Every file goes through `run --dry-run` and through `check`. The outcome must be the table's, the
//! account must balance, and no identifier may be in what either of them says.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::extract::adversarial_inputs::files;
use crate::support::program::{Call, KEY, Program};

/// What the table says of one file.
struct Outcome {
    name: &'static str,
    exit: i32,
    /// Claims read, loaded and dropped as repeats; none where the file is refused.
    account: Option<[u64; 3]>,
    rejects: BTreeMap<String, u64>,
    options: &'static str,
}

/// The lines of the table.
fn table() -> Vec<Outcome> {
    let lines = include_str!("adversarial_files.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(outcome).collect()
}

fn outcome(line: &'static str) -> Outcome {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [name, exit, account, rejects, options] = cells[..] else { panic!("five cells: {line}") };
    let numbers: Vec<u64> = account.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let rejects = rejects.split_whitespace().map(|reject| {
        let (reason, rows) = reject.split_once('=').expect("reason=rows");
        (reason.to_owned(), rows.parse().expect("rows"))
    });
    Outcome {
        name,
        exit: exit.parse().expect("an exit code"),
        account: numbers.try_into().ok(),
        rejects: rejects.collect(),
        options,
    }
}

/// A folder with all files.
fn program() -> Program {
    let program = Program::new();
    program.write(
        "providers.csv",
        "provider_id,provider_name,specialty,location\nV1,Ann,Cardiology,Boston\n",
    );
    for (name, content) in files() {
        std::fs::write(program.path().join(name), content).expect("written");
    }
    program
}

fn call(program: &Program, arguments: &str) -> Call {
    let mut command = program.command(arguments);
    let call = Call::of(command.env("CLAIMS_ETL_KEY", KEY));
    for expected in [&call.stdout, &call.stderr] {
        assert!(!expected.contains("CANARY"), "{arguments} shows an identifier:\n{expected}");
    }
    call
}

#[test]
fn each_file_has_its_outcome() {
    let program = program();
    let mut wrong = Vec::new();
    for outcome in table() {
        let Outcome { name, options, .. } = outcome;
        program.write("claims-etl.toml", &options.replace("; ", "\n"));
        let call = call(
            &program,
            &format!("run --dry-run --format json --claims {name} --providers providers.csv"),
        );
        let found = found(name, &call);
        let expected = (Some(outcome.exit), outcome.account, outcome.rejects);
        if found != expected {
            wrong
                .push(format!("{name}:\n  found {found:?}\n  table {expected:?}\n{}", call.stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Exit code, claims read, loaded and repeated, and rejects by reason.
fn found(name: &str, call: &Call) -> (Option<i32>, Option<[u64; 3]>, BTreeMap<String, u64>) {
    let report = call.json();
    let number = |key: &str| report["claims"][key].as_u64().expect("a number");
    let [read, loaded, repeated, rejected] =
        ["read", "loaded", "duplicates", "rejected"].map(number);
    if read == 0 && call.code != Some(0) {
        let hint = "an error says what to do";
        assert!(call.stderr.lines().count() >= 2, "{name}: {hint}: {}", call.stderr);
        return (call.code, None, BTreeMap::new());
    }
    let reasons: BTreeMap<String, u64> =
        serde_json::from_value(report["reject_reasons"].clone()).expect("reasons");
    assert_eq!(rejected, reasons.values().sum::<u64>(), "{name}");
    if call.code == Some(0) {
        assert_eq!(read, loaded + rejected + repeated, "{name}");
    }
    (call.code, Some([read, loaded, repeated]), reasons)
}

#[test]
fn the_table_has_each_file_once() {
    let mut reported: Vec<&str> = table().iter().map(|outcome| outcome.name).collect();
    let mut made: Vec<&str> = files().iter().map(|file| file.0).collect();
    reported.sort_unstable();
    made.sort_unstable();
    assert_eq!(reported, made);
    made.dedup();
    assert!(made.len() == reported.len() && made.len() >= 60, "{}", made.len());
}

/// `check FILE` has one screen for each of them, and the exit code that a run would have. Rules of
/// several rows are left to a dry run, and it says so.
#[test]
fn check_reports_what_a_run_would_do() {
    let program = program();
    for Outcome { name, exit, rejects, options, .. } in table() {
        program.write("claims-etl.toml", &options.replace("; ", "\n"));
        let call = call(&program, &format!("inspect {name}"));
        assert_eq!(call.code, Some(exit), "{name}:\n{}\n{}", call.stdout, call.stderr);
        let lines = call.stdout.lines().count();
        assert!((3..=30).contains(&lines), "{name}: {lines} lines:\n{}", call.stdout);
        for reason in rejects.keys().filter(|reason| *reason != "claim_with_two_patients") {
            assert!(
                call.stdout.contains(reason.as_str()),
                "{name}: not found: {reason}:\n{}",
                call.stdout
            );
        }
        let call = self::call(&program, &format!("inspect {name} --format json"));
        let report: Value = call.json();
        assert_eq!((call.code, report[0]["exit_code"].as_i64()), (Some(exit), Some(exit.into())));
    }
}
