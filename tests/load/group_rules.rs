//! The rules that need more than one row, through the whole program: what is stored, what is
//! counted, what is rejected, and that a verification finds the same.

use claims_etl::commands::quarantine::reasons;
use claims_etl::commands::verify::recompute;
use claims_etl::event::{Cancellation, NullObserver, RunId};
use claims_etl::pipeline::{RunOptions, RunReport, RunSelector, VerifyOptions};
use claims_etl::rule::Rule;

use crate::support::test_env::{TestEnv, succeeded};

const HEADER: &str =
    "claim_id,line_number,patient_id,provider_id,procedure_code,amount,date_of_service";

/// Each rule once, and beside it what only looks like it.
const CLAIMS: [&str; 17] = [
    // A5: two lines and the repeat of one; then a claim whose lines differ, and one without money.
    "A,1,P1,V1,99213,10.00,2024-01-05",
    "A,2,P1,V1,99214,10.00,2024-01-05",
    "A,2,P1,V1,99214,10.00,2024-01-05",
    "B,1,P1,V1,99215,10.00,2024-01-05",
    "B,2,P1,V1,99215,11.00,2024-01-05",
    "C,1,P1,V1,99213,0.00,2024-01-05",
    "C,2,P1,V1,99214,0.00,2024-01-05",
    // U1: twice the same under two claims, a provider that is not in the directory and no procedure.
    "D,1,P2,V9,,20.00,2024-01-06",
    "E,1, P2 ,V9 ,,$20,01/06/2024",
    "F,1,P2,V9,,20.00,2024-01-07",
    // U2: within a claim and across claims.
    "G,1,P3,V1,99213,30.00,2024-01-08",
    "G,2,P3,V1,99213,(30.00),2024-01-08",
    "H,1,P4,V1,99213,40.00,2024-01-08",
    "I,1,P4,V1,99213,-40.00,2024-01-08",
    // C3: two patients, and a repeat with another amount.
    "J,1,P5,V1,99213,50.00,2024-01-09",
    "J,2,P6,V1,99213,60.00,2024-01-09",
    "J,1,P5,V1,99213,70.00,2024-01-09",
];

fn env() -> TestEnv {
    let mut env = TestEnv::new().providers(&["V1,Ann,Cardiology,Boston"]);
    env.settings.claims.sources = vec![env.write("claims.csv", HEADER, &CLAIMS)];
    env.settings.refresh.dashboard.enabled = false;
    env.settings.refresh.provider_month.enabled = false;
    env
}

/// The rules of this file and how many loaded rows break them.
fn counts(report: &RunReport) -> Vec<(&str, u64)> {
    let rules = [
        Rule::AmountSameOnAllLines,
        Rule::ClaimWithTwoPatients,
        Rule::ContentRepeated,
        Rule::ReversalPair,
    ];
    let count = |rule: Rule| Some((rule.name(), *report.flags.get(rule.name())?));
    rules.into_iter().filter_map(count).collect()
}

/// A verification finds what was loaded.
fn verified(env: &TestEnv) {
    let which = RunSelector::parse("last").expect("a run");
    let (options, cancel) = (VerifyOptions::default(), Cancellation::default());
    let report = recompute::verify(&env.settings, options, which, &NullObserver, &cancel);
    let report = report.expect("verified");
    assert!(report.equal, "{report:#?}");
}

#[test]
fn each_rule_of_several_rows_is_stored_counted_or_rejects() {
    let env = env();
    let dry = env.run_with(&RunOptions { dry_run: true, force: false });
    succeeded(&dry);
    let report = env.run();
    succeeded(&report);
    assert_eq!(
        (
            report.claims.read,
            report.claims.loaded,
            report.claims.rejected,
            report.claims.duplicates
        ),
        (17, 13, 3, 1)
    );
    assert_eq!(report.claims.conflicts, 0, "a claim of two patients has no lines to choose from");
    assert_eq!(report.amount.rejected.to_string(), "180.00");
    assert_eq!(report.amount.duplicates.to_string(), "10.00");
    assert_eq!(report.reject_reasons, [("claim_with_two_patients".to_owned(), 3)].into());
    let expected = [("amount_same_on_all_lines", 2), ("content_repeated", 2), ("reversal_pair", 4)];
    assert_eq!(counts(&report), expected);
    assert_eq!((dry.flags, dry.claims.rejected), (report.flags.clone(), 3));

    // What flags is stored, what counts is not: content_repeated has bit 17.
    let stored = "SELECT amount || ' ' || (dq_flags >> 17) FROM healthcare_analytics.claims_fact
        WHERE dq_flags >= 1 << 11 AND date_of_service < '2024-01-09' ORDER BY amount";
    assert_eq!(env.rows(stored), ["20.00 1", "20.00 1"]);
    let ledger = "SELECT (flags->>'reversal_pair') || ' ' || (flags->>'content_repeated')
        FROM claims_etl.runs";
    assert_eq!(env.rows(ledger), ["4 2"]);

    let run = RunId::parse(&report.run_id).expect("an id");
    let rejects = reasons::quarantine(&env.settings, run).expect("readable");
    let rejects: Vec<_> =
        rejects.iter().map(|reject| (reject.record, reject.why.column.as_str())).collect();
    assert_eq!(rejects, [(15, "patient_id"), (16, "patient_id"), (17, "patient_id")]);

    verified(&env);
}

#[test]
fn severities_decide_what_is_stored_and_rejected() {
    let mut env = env();
    let set = [
        (Rule::ClaimWithTwoPatients, "flag"),
        (Rule::AmountSameOnAllLines, "flag"),
        (Rule::ContentRepeated, "off"),
        (Rule::ReversalPair, "flag"),
    ];
    for (rule, severity) in set {
        env.settings.rules.severity.insert(rule.name().to_owned(), severity.to_owned());
    }
    let report = env.run();
    succeeded(&report);
    // The repeat with another amount is a conflict now, and the last one counts.
    assert_eq!(
        (report.claims.loaded, report.claims.duplicates, report.claims.conflicts),
        (15, 1, 1)
    );
    assert_eq!(report.claims.rejected, 0);
    let expected =
        [("amount_same_on_all_lines", 2), ("claim_with_two_patients", 2), ("reversal_pair", 4)];
    assert_eq!(counts(&report), expected);
    let mask: i32 = set.iter().map(|(rule, _)| rule.mask()).sum();
    let stored = format!(
        "SELECT amount || ' ' || (dq_flags & {mask}) FROM healthcare_analytics.claims_fact
         WHERE dq_flags & {mask} <> 0 ORDER BY amount"
    );
    let (lines, patients, pair) = (1 << 11, 1 << 13, 1 << 18);
    let expected = [
        format!("-40.00 {pair}"),
        format!("-30.00 {pair}"),
        format!("10.00 {lines}"),
        format!("10.00 {lines}"),
        format!("30.00 {pair}"),
        format!("40.00 {pair}"),
        format!("60.00 {patients}"),
        format!("70.00 {patients}"),
    ];
    assert_eq!(env.rows(&stored), expected);
    verified(&env);
}
