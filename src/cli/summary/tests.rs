//! Tests of the summary, on hand-made reports.

use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::*;
use crate::pipeline::{ErrorReport, Places, RefreshReport, TaskReport};
use crate::totals::{Amounts, Cents, ClaimCounts, Example, ProviderCounts, Reversals};

/// The summary with default severities.
fn render(report: &RunReport, dry_run: bool) -> String {
    super::render(report, dry_run, &Severities::default())
}

const RUN: &str = "0192f3a0-0000-7000-8000-000000000001";

fn report() -> RunReport {
    let task = |id: &str, state, tries, seconds| TaskReport {
        id: id.into(),
        state,
        tries,
        seconds,
        result: None,
    };
    RunReport {
        run_id: RUN.into(),
        status: Status::Success,
        resumed: None,
        loaded_by: None,
        fingerprint: Some("f".repeat(64)),
        key_id: Some("1234567890abcdef".into()),
        privacy_profile: Some("pseudonymized".into()),
        claims: ClaimCounts {
            read: 1_000_000,
            loaded: 990_000,
            inserted: 980_000,
            updated: 7_000,
            unchanged: 3_000,
            rejected: 9_000,
            duplicates: 960,
            conflicts: 40,
            filtered: 0,
        },
        amount: Amounts {
            read: Cents(12_345_678_901),
            loaded: Cents(12_300_000_000),
            rejected: Cents(44_678_901),
            duplicates: Cents(900_000),
            conflicts: Cents(100_000),
            generalized: Cents(0),
            unparsed_rows: 4_000,
        },
        reversals: Reversals::default(),
        line_column: None,
        providers: ProviderCounts {
            read: 50_000,
            loaded: 49_990,
            rejected: 4,
            duplicates: 4,
            conflicts: 2,
            inferred: 12,
            ..ProviderCounts::default()
        },
        reject_reasons: [("date_missing", 2_000), ("amount_unparseable", 7_000), ("nul", 0)]
            .map(|(name, rows)| (name.to_owned(), rows))
            .into(),
        reject_examples: [("date_missing", [3, 70_000])]
            .map(|(name, records)| {
                let example = |record| Example { source: "a/claims.csv".into(), record };
                (name.to_owned(), records.map(example).into())
            })
            .into(),
        flags: [("amount_negative".to_owned(), 31), ("amount_zero".to_owned(), 7)].into(),
        tasks: vec![
            task("extract.extract_claims", "success", 1, 0.84),
            task("extract.extract_providers", "success", 1, 0.02),
            task("transform_join", "success", 1, 1.5),
            task("load.load_warehouse", "success", 2, 9.95),
            task("load.refresh_bi", "success", 1, 0.3),
        ],
        phases: None,
        refresh: vec![RefreshReport {
            target: "dashboard".into(),
            outcome: "succeeded",
            detail: "data/dashboard.html".into(),
            required: false,
            started_at: "2024-12-31T00:00:00Z".into(),
            seconds: 0.3,
            attempts: 0,
            remote_id: None,
        }],
        seconds: 12.5,
        error: None,
        bytes: BTreeMap::new(),
        places: Places {
            warehouse: "private server in data/warehouse".into(),
            psql: "claims-etl warehouse psql".into(),
            quarantine: Some("data/quarantine/x.parquet".into()),
            dashboard: Some("data/dashboard.html".into()),
        },
        exit_code: 0,
    }
}

/// Report of a run that ended before reading anything.
fn empty(status: Status) -> RunReport {
    RunReport {
        status,
        claims: ClaimCounts::default(),
        amount: Amounts::default(),
        providers: ProviderCounts::default(),
        reject_reasons: BTreeMap::new(),
        flags: BTreeMap::new(),
        tasks: Vec::new(),
        phases: None,
        refresh: Vec::new(),
        places: Places::default(),
        seconds: 0.4,
        ..report()
    }
}

#[test]
fn reversals_are_reported_with_count_and_money() {
    let mut report = report();
    report.reversals = Reversals {
        lines: 3,
        dropped: 4,
        dropped_amount: Cents(5_000),
        kept_amount: Cents(3_000),
        overwritten: 1,
        overwritten_amount: Cents(10_000),
    };
    report.line_column = Some("SVC_LN".into());
    let text = render(&report, false);
    for expected in [
        "line_number was read from \"SVC_LN\", recognised by name and content",
        "! reversals: 3 claim lines came with amounts that cancel one another",
        "one row of each was kept (30.00), 4 were dropped (50.00)",
        "! reversals: 1 published claim lines (100.00) were overwritten by the opposite amount",
        "claim_id = \"{claim_id}-{adjustment}\"",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn a_load_accounts_for_every_row_and_cent() {
    assert_snapshot!(render(&report(), false), @"
Loaded 990,000 claims in 12.5 s, 80,000 rows/s.
run 0192f3a0-0000-7000-8000-000000000001, key 1234567890abcdef, pseudonymized

claims             rows          amount
  read        1,000,000  123,456,789.01
= loaded        990,000  123,000,000.00
+ rejected        9,000      446,789.01
+ duplicates        960        9,000.00
+ conflicts          40        1,000.00
✓ every row and every cent is accounted for
  4,000 rejected rows have no readable amount and are not in the totals
loaded: 980,000 new, 7,000 changed, 3,000 unchanged
conflicts: the claim id and line number of a row that was kept, with other content
providers: 50,000 read = 49,990 loaded + 4 rejected + 4 duplicates + 2 conflicts; 12 inferred from claims

rejected rows by reason
  amount_unparseable  7,000  The amount is not a decimal number
  date_missing        2,000  The record has no date of service: 3, 70000

loaded with a flag
  amount_negative  31

counted only
  amount_zero  7

tasks
  extract.extract_claims     success  0.8 s
  extract.extract_providers  success  0.0 s
  transform_join             success  1.5 s
  load.load_warehouse        success  9.9 s  2 tries
  load.refresh_bi            success  0.3 s

refresh
  dashboard  succeeded  0.3 s  data/dashboard.html

where to look
  tables     private server in data/warehouse
  psql       claims-etl warehouse psql
  dashboard  data/dashboard.html
  rejects    claims-etl quarantine 0192f3a0-0000-7000-8000-000000000001
");
}

#[test]
fn an_imbalance_is_named() {
    let mut report = report();
    report.claims.rejected -= 1;
    report.amount.loaded = Cents(0);
    let text = render(&report, false);
    assert!(!text.contains("every cent"), "{text}");
    assert!(text.contains("✗ claims: 1000000 read, but 990000 loaded + 8999 rejected"), "{text}");
    assert!(text.contains("✗ amount: 123456789.01 read"), "{text}");
}

#[test]
fn nothing_to_do_names_the_run_that_did_it() {
    let report = RunReport {
        loaded_by: Some("0192f3a0-0000-7000-8000-000000000000".into()),
        ..empty(Status::AlreadyLoaded)
    };
    assert_snapshot!(render(&report, false), @"
Nothing to do: run 0192f3a0-0000-7000-8000-000000000000 has loaded this input with these settings.
`--force` loads it again.
run 0192f3a0-0000-7000-8000-000000000001, key 1234567890abcdef, pseudonymized
");
}

#[test]
fn a_dry_run_says_that_nothing_was_published() {
    let mut report = report();
    report.claims.inserted = 0;
    report.claims.updated = 0;
    report.claims.unchanged = 0;
    let text = render(&report, true);
    assert!(text.starts_with("Dry run: 990,000 claims would be loaded (12.5 s)"), "{text}");
    assert!(text.contains("✓ every row and every cent"), "{text}");
}

#[test]
fn a_failure_says_what_is_published() {
    let failed = |kind| RunReport {
        error: Some(ErrorReport {
            kind,
            message: "told on stderr".into(),
            hint: None,
            is_transient: false,
        }),
        ..empty(Status::Failed)
    };
    assert_snapshot!(render(&failed("source"), false), @"
Failed after 0.4 s; nothing was published.
run 0192f3a0-0000-7000-8000-000000000001, key 1234567890abcdef, pseudonymized
");
    let text = render(&failed("refresh"), false);
    assert!(text.contains("but a required refresh failed"), "{text}");
    assert!(!text.contains("nothing was published"), "{text}");
}

#[test]
fn records_that_are_no_claims_are_told_apart() {
    let mut report = report();
    let line = "records that are no claims (claims.where), and in no count: 2,500,000\n";
    assert!(!render(&report, false).contains("claims.where"));
    report.claims.filtered = 2_500_000;
    assert!(render(&report, false).contains(line));
}
