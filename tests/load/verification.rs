//! A run is verified: computed again from its sources, compared with what is published, row by row.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use claims_etl::commands::verify::recompute;
use claims_etl::commands::verify::report::{Verdict, Verification};
use claims_etl::commands::verify::tables::Difference;
use claims_etl::config::Mode;
use claims_etl::error::{Error, ErrorKind};
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::pipeline::{RunSelector, VerifyOptions};
use claims_etl::secret::value::Secret;

use crate::support::process::OTHER_KEY;
use crate::support::test_env::{TestEnv, cut_short, succeeded};

/// Two providers, one that only claims name, none at all, a repeat, a reject; more than one bucket.
pub(crate) const CLAIMS: [&str; 8] = [
    "A,P1,V1,99213,1.25,2024-01-01",
    "B,P2,V1,99213,2.00,2024-01-02",
    "C,P3,V2,99213,3.005,2024-01-06",
    "D,P4,V9,99214,-4.00,2024-01-04",
    "E,P5,,99214,0,2024-01-05",
    "F,P6,V2,,6.00,2024-01-06",
    "B,P2,V1,99213,2.00,2024-01-02",
    "G,P7,V1,99213,much,2024-01-07",
];
const PROVIDERS: [&str; 2] = ["V1,Ada,Cardiology,Here", "V2,\"Ben \"\"B\"\" {x}\",,There"];

pub(crate) fn env() -> TestEnv {
    let mut env = TestEnv::new().claims(&CLAIMS).providers(&PROVIDERS);
    env.settings.refresh.dashboard.enabled = false;
    env
}

/// An environment whose input is loaded.
pub(crate) fn loaded() -> TestEnv {
    let env = env();
    succeeded(&env.run());
    env
}

fn attempt(env: &TestEnv, which: &str) -> Result<Verification, Error> {
    let which = RunSelector::parse(which).expect("a run");
    let options = VerifyOptions::default();
    recompute::verify(&env.settings, options, which, &NullObserver, &Cancellation::default())
}

pub(crate) fn verify(env: &TestEnv, which: &str) -> Verification {
    attempt(env, which).expect("verified")
}

pub(crate) fn equal(env: &TestEnv, which: &str) -> Verification {
    let report = verify(env, which);
    assert!(report.equal && report.exit_code == 0, "{report:#?}");
    assert!(report.examples.is_empty());
    assert!(report.compared.iter().all(|compared| compared.verdict == Verdict::Equal));
    let sums = report.checksums.expect("compared");
    assert_eq!(sums.sources, sums.table);
    assert_ne!(sums.table, claims_etl::commands::verify::checksum::Checksum::default());
    report
}

/// Something differs: the verdict on each thing that was compared.
fn differs(env: &TestEnv) -> (Verification, BTreeMap<&'static str, Verdict>) {
    let report = verify(env, "last");
    assert!(!report.equal && report.exit_code == 4, "{report:#?}");
    let verdicts = report.compared.iter().map(|compared| (compared.what, compared.verdict));
    let verdicts = verdicts.collect();
    (report, verdicts)
}

pub(crate) fn sql(env: &TestEnv, statement: &str) {
    let touched = env.database.connect().execute(statement, &[]).expect("a statement");
    assert!(touched > 0, "{statement}");
}

#[test]
fn a_first_load_is_equal_and_nothing_is_touched() {
    let env = loaded();
    let before = env.rows("SELECT r FROM claims_etl.runs r");
    let report = equal(&env, "last");
    let (claims, providers) = (report.claims.expect("rows"), report.providers.expect("rows"));
    assert_eq!((claims.expected, claims.equal, claims.superseded), (6, 6, 0));
    assert_eq!((providers.expected, providers.equal), (3, 3));
    assert_eq!(report.compared.len(), 4);
    assert_eq!(report.notes, [] as [&str; 0]);
    assert_eq!(env.rows("SELECT r FROM claims_etl.runs r"), before);
    assert!(!env.settings.run.data_dir.join("quarantine/leftover").exists());

    // The run that found its input loaded leads to the one that loaded it.
    let again = env.run();
    assert_ne!(again.run_id, report.run_id);
    let followed = equal(&env, &again.run_id);
    assert_eq!(followed.run_id, report.run_id);
    assert_eq!(followed.requested, Some(again.run_id));
}

#[test]
fn no_claims_at_all_are_equal_too() {
    let env = TestEnv::new().providers(&PROVIDERS);
    succeeded(&env.run());
    let report = verify(&env, "last");
    assert!(report.equal, "{report:?}");
    assert_eq!(report.claims.expect("rows").expected, 0);
}

#[test]
fn a_merge_is_equal_and_supersedes_without_a_difference() {
    let env = env();
    let first = env.run();
    succeeded(&first);
    let mut changed = CLAIMS.map(str::to_owned);
    changed[0] = "A,P1,V1,99213,1.26,2024-01-01".into();
    changed[7] = "H,P8,V1,99213,8.00,2024-01-08".into();
    let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
    let path = env.write(
        "later.csv",
        "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service",
        &changed,
    );
    let mut env = env.providers(&["V1,Ada Moved,Cardiology,There", PROVIDERS[1], "V9,Eve,,"]);
    env.settings.claims.sources = vec![path];
    // The first directory's file was overwritten, so it has to be what it was to verify that run.
    let merged = env.run();
    succeeded(&merged);
    assert_eq!(
        (merged.claims.inserted, merged.claims.updated),
        (1, 2),
        "a new version changes no claim"
    );

    let report = equal(&env, "last");
    assert_eq!(report.run_id, merged.run_id);
    let counts = report.claims.expect("rows");
    assert_eq!((counts.expected, counts.equal, counts.superseded), (7, 7, 0));

    let env = env.providers(&PROVIDERS);
    let report = equal(&env, &first.run_id);
    let counts = report.claims.expect("rows");
    assert_eq!((counts.expected, counts.equal, counts.superseded), (6, 4, 2));
    let counts = report.providers.expect("rows");
    assert_eq!((counts.expected, counts.equal, counts.superseded), (3, 1, 2));
}

#[test]
fn the_score_of_an_unchanged_row_is_that_of_its_run() {
    let mut env = env();
    env.settings.risk.min_peers = 1;
    succeeded(&env.run());
    let mut later = CLAIMS.map(str::to_owned);
    later[1] = "B,P2,V1,99213,900.00,2024-01-02".into();
    later[6] = later[1].clone();
    let later: Vec<&str> = later.iter().map(String::as_str).collect();
    let env = env.claims(&later);
    let merged = env.run();
    succeeded(&merged);
    assert!(merged.claims.unchanged > 0);
    equal(&env, "last");
    // But nobody else may have given it.
    sql(&env, "UPDATE healthcare_analytics.claims_fact SET run_no = 77 WHERE run_no = 1");
    let (report, _) = differs(&env);
    assert!(report.examples.iter().all(|example| example.columns == ["run_no"]), "{report:?}");
}

#[test]
fn a_replace_is_equal_and_takes_the_earlier_run_away() {
    let mut env = env();
    let first = env.run();
    succeeded(&first);
    let kept = env.settings.claims.sources.clone();
    env.settings.claims.sources = vec![env.write(
        "all.csv",
        "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service",
        &CLAIMS[..3],
    )];
    env.settings.warehouse.mode = Mode::Replace;
    let replaced = env.run();
    succeeded(&replaced);
    // The mode is the run's, whatever the settings say.
    env.settings.warehouse.mode = Mode::Merge;
    let report = equal(&env, "last");
    assert_eq!(report.claims.expect("rows").equal, 3);
    assert_eq!(report.notes, [] as [&str; 0]);
    env.settings.claims.sources = kept;
    let refused = attempt(&env, &first.run_id).expect_err("nothing is left of it");
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.message().contains(&format!("superseded by run {}", replaced.run_id)));

    sql(&env, "UPDATE healthcare_analytics.claims_fact SET run_no = 1");
    let (report, _) = differs(&env);
    assert_eq!(report.claims.expect("rows").differing, 3, "a replace leaves no row of another run");
}

#[test]
fn a_changed_cell_is_found_and_named() {
    let table = "healthcare_analytics.claims_fact";
    for (change, columns) in [
        ("amount = amount + 0.01 WHERE amount = 2.00", &["amount"][..]),
        ("risk_score = risk_score + 0.1 WHERE amount = 2.00", &["risk_score"][..]),
        ("risk_components = 0 WHERE amount = 2.00", &["risk_components"][..]),
        ("provider_key = 0 WHERE amount = 2.00", &["provider_id"][..]),
        (
            "procedure_code = NULL, dq_flags = 7 WHERE amount = 2.00",
            &["dq_flags", "procedure_code"],
        ),
        ("date_of_service = '2024-01-03' WHERE amount = 2.00", &["date_of_service"][..]),
        ("patient_token = claim_token WHERE amount = 2.00", &["patient_token"][..]),
        ("run_no = 5 WHERE amount = 2.00", &["run_no"][..]),
    ] {
        let env = loaded();
        sql(&env, &format!("UPDATE {table} SET {change}"));
        let (report, verdicts) = differs(&env);
        assert_eq!(verdicts["claims"], Verdict::Differs, "{change}");
        assert_eq!((verdicts["input"], verdicts["account"]), (Verdict::Equal, Verdict::Equal));
        let counts = report.claims.expect("rows");
        assert_eq!((counts.differing, counts.equal), (1, 5), "{change}");
        let example = &report.examples[0];
        assert_eq!((example.line, example.difference), (Some(1), Difference::Differing));
        assert_eq!(example.columns, columns, "{change}");
        assert_eq!(
            env.rows(&format!("SELECT 1 FROM {table} WHERE claim_token = '{}'", example.token)),
            ["1"]
        );
        let sums = report.checksums.expect("compared");
        assert_eq!(sums.sources == sums.table, change.starts_with("run_no"), "{change}");
    }
}

#[test]
fn missing_and_extra_rows_are_found() {
    let env = loaded();
    sql(&env, "DELETE FROM healthcare_analytics.claims_fact WHERE amount = 2.00");
    let (report, _) = differs(&env);
    assert_eq!(report.claims.expect("rows").missing, 1);
    assert_eq!(report.examples[0].difference, Difference::Missing);

    let env = loaded();
    // At both ends of the keys, where no bucket of the sources is near.
    for token in ["00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
        sql(
            &env,
            &format!(
                "INSERT INTO healthcare_analytics.claims_fact
                 SELECT '{token}', patient_token, risk_components, provider_key, date_of_service,
                        risk_score, dq_flags, run_no, line_number, amount, procedure_code
                 FROM healthcare_analytics.claims_fact WHERE amount = 2.00 LIMIT 1"
            ),
        );
    }
    let (report, _) = differs(&env);
    let counts = report.claims.expect("rows");
    assert_eq!((counts.extra, counts.equal), (2, 6));
    let tokens: Vec<&str> = report.examples.iter().map(|example| &*example.token).collect();
    assert_eq!(
        tokens,
        ["00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff"]
    );
    assert!(report.examples.iter().all(|example| example.difference == Difference::Extra));
}

#[test]
fn a_changed_provider_is_found() {
    let table = "healthcare_analytics.providers_dim";
    for (change, columns, difference) in [
        (
            "UPDATE # SET provider_name = 'Ida' WHERE provider_id = 'V1'",
            &["provider_name"][..],
            Difference::Differing,
        ),
        (
            "UPDATE # SET is_placeholder = true WHERE provider_id = 'V1'",
            &["is_placeholder"],
            Difference::Differing,
        ),
        (
            "UPDATE # SET specialty = 'x', is_placeholder = false WHERE provider_id = 'V9'",
            &["specialty", "is_placeholder"],
            Difference::Differing,
        ),
        ("DELETE FROM # WHERE provider_id = 'V2'", &[], Difference::Missing),
        (
            "INSERT INTO # (provider_key, provider_id, run_no) SELECT 99, 'V3', run_no FROM # WHERE provider_id = 'V1'",
            &[],
            Difference::Extra,
        ),
    ] {
        let env = loaded();
        sql(&env, &change.replace('#', table));
        let (report, verdicts) = differs(&env);
        assert_eq!(verdicts["providers"], Verdict::Differs, "{change}");
        // The claims of a removed provider are of no one.
        if !change.starts_with("DELETE") {
            assert_eq!(verdicts["claims"], Verdict::Equal, "{change}");
        }
        let of_providers = report.examples.iter().filter(|one| one.table == "providers_dim");
        let [example] = of_providers.collect::<Vec<_>>()[..] else { panic!("{report:?}") };
        assert_eq!((example.difference, &example.columns[..]), (difference, columns), "{change}");
        assert_eq!((example.table, example.line), ("providers_dim", None));
        assert_eq!(example.token.len(), 36);
    }
}

fn edit(path: &Path, was: &str, is: &str) {
    let text = fs::read_to_string(path).expect("readable");
    assert!(text.contains(was));
    fs::write(path, text.replacen(was, is, 1)).expect("written");
}

#[test]
fn an_edited_source_is_found_with_its_row() {
    let env = loaded();
    edit(&env.path("claims.csv"), "1.25", "1.35");
    let (report, verdicts) = differs(&env);
    assert!(verdicts.values().filter(|verdict| **verdict == Verdict::Differs).count() == 3);
    assert_eq!(verdicts["providers"], Verdict::Equal);
    let differences = &report.compared[0].differences;
    assert_eq!(differences.len(), 1);
    assert!(differences[0].contains("claims.csv is not what the run has read"), "{differences:?}");
    assert_eq!(
        report.compared[1].differences,
        ["amount.loaded: 8.25 then, 8.35 now", "amount.read: 10.25 then, 10.35 now"]
    );
    assert_eq!(report.examples[0].columns, ["amount"]);

    // One that cannot be read any more leaves nothing to compare.
    fs::write(env.path("claims.csv"), cut_short()).expect("written");
    let (report, verdicts) = differs(&env);
    assert_eq!((verdicts["input"], verdicts["claims"]), (Verdict::Differs, Verdict::NotCompared));
    assert_eq!((report.claims, report.checksums), (None, None));
}

#[test]
fn a_removed_file_is_reported_and_another_path_can_be_given() {
    let mut env = loaded();
    fs::rename(env.path("claims.csv"), env.path("moved.csv")).expect("moved");
    let (report, verdicts) = differs(&env);
    assert!(report.compared[0].differences[0].ends_with("claims.csv is missing"));
    assert_eq!(verdicts["claims"], Verdict::NotCompared);
    // What a configuration says of every run is not what this run has read.
    env.settings.claims.sources = vec![env.path("moved.csv").display().to_string()];
    assert!(!verify(&env, "last").equal);
    let named = VerifyOptions { claims_named: true, ..VerifyOptions::default() };
    let report = recompute::verify(
        &env.settings,
        named,
        RunSelector::Last,
        &NullObserver,
        &Cancellation::default(),
    );
    assert!(report.expect("verified").equal);
}

#[test]
fn several_files_are_distinguished() {
    let mut env = env();
    let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
    let first = env.write("1.csv", header, &CLAIMS[..3]);
    let second = env.write("2.csv", header, &CLAIMS[3..]);
    env.settings.claims.sources = vec![first.clone(), second.clone()];
    succeeded(&env.run());
    equal(&env, "last");
    let named = |env: &TestEnv| {
        let options = VerifyOptions { claims_named: true, providers_named: false };
        let (last, never) = (RunSelector::Last, Cancellation::default());
        let report = recompute::verify(&env.settings, options, last, &NullObserver, &never);
        report.expect("verified").compared[0].differences.clone()
    };
    env.settings.claims.sources = vec![second.clone()];
    assert_eq!(named(&env), [format!("claims: {first} is missing")]);
    let third = env.write("3.csv", header, &["X,P,V1,1,1,2024-01-01"]);
    env.settings.claims.sources = vec![first.clone(), second.clone(), third.clone()];
    assert_eq!(named(&env), [format!("claims: {third} was not read by the run")]);
    env.settings.claims.sources = vec![second, first];
    assert_eq!(named(&env).len(), 2, "another order");
}

#[test]
fn other_keys_and_runs_without_rows_are_refused() {
    let refused = |env: &TestEnv, which: &str, part: &str| {
        let error = attempt(env, which).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(part), "{error}");
    };
    let mut env = env();
    refused(&env, "last", "knows no run");
    env.settings.quality.max_reject_ratio = 0.01;
    assert_eq!(env.run().exit_code, 4);
    refused(&env, "last", "nothing to verify");
    env.settings.quality.max_reject_ratio = 1.0;
    succeeded(&env.run());
    refused(&env, "00000000-0000-7000-8000-000000000000", "knows no run");
    let right = env.settings.privacy.key.replace(Secret::new(OTHER_KEY));
    refused(&env, "last", "had key");
    env.settings.privacy.key = right;
    equal(&env, "last");
    env.settings.risk.min_peers = 2;
    let report = verify(&env, "last");
    assert!(report.notes[0].starts_with("these are not the settings of the run"));
}
