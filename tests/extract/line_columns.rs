//! Lines of a claim keep their identity: the column that numbers them is recognised, and where lines
//! share a key although their content differs, a run stops before it publishes half of the money.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use claims_etl::config::Mode;
use claims_etl::event::Cancellation;
use claims_etl::extract::extract;
use claims_etl::pipeline::{RunOptions, RunReport, Status};
use claims_etl::rule::OnDuplicate;
use claims_etl::schema::Dataset;
use claims_etl::totals::Cents;
use parquet::arrow::ArrowWriter;

use crate::support::test_env::{TestEnv, succeeded};

const HEADER: &str = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
/// What 1,500 lines of 500 claims are worth: 1.00 + 2.00 + 3.00 each, and the claim's number in cents.
const WORTH: Cents = Cents(500 * 600 + 3 * (499 * 500 / 2));

/// 500 claims of three lines, each with another amount; `more` gives the fields behind the contract's.
fn lines(more: impl Fn(u32, u32) -> String) -> Vec<String> {
    let line = |claim: u32, line: u32| {
        let cents = line * 100 + claim;
        format!(
            "C{claim},P{},V1,99213,{}.{:02},2024-06-{:02}{}",
            claim % 90,
            cents / 100,
            cents % 100,
            claim % 28 + 1,
            more(claim, line)
        )
    };
    (0..500)
        .flat_map(|claim| (1..=3).map(move |number| (claim, number)))
        .map(|(c, l)| line(c, l))
        .collect()
}

/// An environment as it is by default, apart from what takes time.
fn env(header: &str, rows: &[String]) -> TestEnv {
    let mut env = TestEnv::new().providers(&["V1,Ann,Cardiology,Boston"]);
    env.settings.quality = claims_etl::config::Quality::default();
    env.settings.refresh.dashboard.enabled = false;
    env.settings.refresh.provider_month.enabled = false;
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    env.settings.claims.sources = vec![env.write("claims.csv", header, &rows)];
    env
}

fn published(env: &TestEnv) -> Vec<String> {
    env.rows("SELECT count(*) || ' ' || sum(amount) FROM healthcare_analytics.claims_fact")
}

/// The refusal of a run that has published nothing.
fn refused(env: &TestEnv, report: &RunReport) -> String {
    assert_eq!((report.status, report.exit_code), (Status::Failed, 4), "{:?}", report.error);
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["0"]);
    let error = report.error.as_ref().expect("an error");
    assert_eq!(error.kind, "quality");
    format!("{}\n{}", error.message, error.hint.as_deref().unwrap_or_default())
}

#[test]
fn a_line_column_is_used_by_itself_under_any_of_its_names() {
    // The file is loaded with each name; the warehouse shows the result.
    for name in [
        "SVC_LN",
        "Line #",
        "CLM_LINE_NO",
        "CLM_LINE_NUM",
        "ServiceLine",
        "claim_line_number",
        "LINE_NBR",
        "service_line_number",
        "line_no",
        "sv_line",
        "seq",
        "LINE_NUM",
        "Claim Line ID",
        "lx01",
        "Ln",
    ] {
        let rows = lines(|_, line| format!(",{line}"));
        let env = env(&format!("{HEADER},{name}"), &rows);
        let report = env.run_with(&RunOptions { force: false, dry_run: true });
        succeeded(&report);
        assert_eq!(report.line_column.as_deref(), Some(name));
        assert_eq!((report.claims.loaded, report.amount.loaded), (1_500, WORTH), "{name}");
        assert_eq!((report.claims.duplicates, report.claims.conflicts), (0, 0), "{name}");
        if matches!(name, "Line #" | "SVC_LN") {
            succeeded(&env.run());
            assert_eq!(published(&env), [format!("1500 {WORTH}")]);
            let lines = "SELECT string_agg(DISTINCT line_number::text, ',') FROM healthcare_analytics.claims_fact";
            assert_eq!(env.rows(lines), ["1,2,3"]);
        }
    }
}

#[test]
fn a_line_column_of_parquet_is_used_too() {
    let rows = lines(|_, line| format!(",{line}"));
    let field = |place: usize| -> Vec<String> {
        rows.iter().map(|row| row.split(',').nth(place).expect("a field").to_owned()).collect()
    };
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (place, name) in HEADER.split(',').enumerate() {
        columns.push((name, Arc::new(StringArray::from(field(place)))));
    }
    let numbers: Vec<i64> = field(6).iter().map(|text| text.parse().expect("a number")).collect();
    columns.push(("CLM_LINE_NBR", Arc::new(Int64Array::from(numbers))));
    columns.push(("LINE_NO", Arc::new(Float64Array::from(vec![1.5; rows.len()]))));
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let mut env = env(HEADER, &[]);
    let path = env.path("claims.parquet");
    let file = std::fs::File::create(&path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    env.settings.claims.sources = vec![path.display().to_string()];
    let report = env.run();
    succeeded(&report);
    assert_eq!(report.line_column.as_deref(), Some("CLM_LINE_NBR"));
    assert_eq!(published(&env), [format!("1500 {WORTH}")]);
}

#[test]
fn a_name_that_is_not_used_and_files_without_it_are_warned_of() {
    let extracted = |env: &TestEnv| {
        extract(Dataset::Claims, &env.settings, &Cancellation::default()).expect("claims").warnings
    };
    let mut env = env(&format!("{HEADER},LINE_NO"), &lines(|_, _| ",1".into()));
    let warnings = extracted(&env).concat();
    assert!(warnings.contains("column \"LINE_NO\" is not read as the line number"), "{warnings}");
    env.settings.claims.columns.insert("line_number".into(), claims_etl::config::Mapping::Absent);
    assert_eq!(extracted(&env), [] as [&str; 0]);
    env.settings.claims.columns.clear();
    let rows = lines(|_, line| format!(",{line}"));
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let one = env.write("a.csv", &format!("{HEADER},LINE_NO"), &rows);
    let other = env.write("b.csv", HEADER, &["D1,P1,V1,99213,1.00,2024-06-01"]);
    env.settings.claims.sources = vec![one, other];
    assert!(extracted(&env).concat().contains("1 of 2 files have no column \"LINE_NO\""));
    env.settings.claims.sources = vec![env.write("c.csv", &format!("{HEADER},LINE_NO"), &[])];
    assert_eq!(extracted(&env), [] as [&str; 0]);
}

#[test]
fn a_mapping_comes_before_what_is_recognised() {
    let rows = lines(|claim, line| format!(",{line},{}", claim * 3 + line));
    let mut env = env(&format!("{HEADER},SVC_LN,ROW"), &rows);
    env.settings.claims.columns.insert("line_number".into(), "ROW".into());
    let report = env.run();
    succeeded(&report);
    assert_eq!(report.line_column, None);
    assert_eq!(env.rows("SELECT max(line_number) FROM healthcare_analytics.claims_fact"), ["1500"]);
    // Nothing is recognised where the settings name none.
    env.settings.claims.columns.insert("line_number".into(), claims_etl::config::Mapping::Absent);
    env.settings.warehouse.mode = Mode::Replace;
    let report = env.run();
    assert_eq!((report.exit_code, report.claims.conflicts), (4, 1_000), "{:?}", report.error);
}

#[test]
fn what_only_looks_like_a_line_number_is_proposed_and_not_used() {
    let rows = lines(|claim, line| format!(",{line},{},{}", claim % 4 + 1, 7));
    let env = env(&format!("{HEADER},pos,units,site"), &rows);
    let report = env.run();
    let message = refused(&env, &report);
    assert_eq!(report.line_column, None);
    for expected in [
        "1,000 of 1,500 claim lines (66.7 %)",
        "column \"pos\" looks like the line number",
        "line_number = \"pos\"\n",
        "--on-duplicate last",
    ] {
        assert!(message.contains(expected), "{expected}: {message}");
    }
    // The account of the refused run is whole, and says what would have been lost.
    let (claims, amount) = (&report.claims, &report.amount);
    assert_eq!((claims.read, claims.duplicates, claims.conflicts), (1_500, 0, 1_000));
    // The third line of each claim would have been left.
    assert_eq!(amount.conflicts, Cents(500 * 300 + 2 * (499 * 500 / 2)));
}

#[test]
fn lines_that_are_alike_but_for_their_number_are_no_duplicates() {
    let alike = |more: fn(u32, u32) -> String| -> Vec<String> {
        let row = |claim: u32, line: u32| {
            format!("C{claim},P{claim},V1,99213,5.00,2024-06-01{}", more(claim, line))
        };
        (0..20)
            .flat_map(|claim| (1..=3).map(move |line| (claim, line)))
            .map(|(c, l)| row(c, l))
            .collect()
    };
    let numbered = env(&format!("{HEADER},pos"), &alike(|_, line| format!(",{line}")));
    let message = refused(&numbered, &numbered.run());
    assert!(message.contains("40 of 60 claim lines (66.7 %)"), "{message}");
    assert!(message.contains("column \"pos\" looks like the line number"), "{message}");
    // Nothing distinguishes them: duplicates.
    let same = env(&format!("{HEADER},pos"), &alike(|_, _| ",1".into()));
    let report = same.run();
    succeeded(&report);
    assert_eq!((report.claims.loaded, report.claims.duplicates), (20, 40));
}

#[test]
fn two_columns_that_number_lines_are_a_question() {
    let rows = lines(|_, line| format!(",{line},{line}"));
    let env = env(&format!("{HEADER},SVC_LN,LINE_NO"), &rows);
    let message = refused(&env, &env.run());
    assert!(message.contains("line_number = \"SVC_LN\"   # or \"LINE_NO\""), "{message}");
}

#[test]
fn a_name_without_the_content_is_not_used() {
    // Numbers of rows, a constant, texts, and amounts.
    for value in [
        (|claim: u32, line: u32| format!(",{}", claim * 3 + line)) as fn(u32, u32) -> String,
        |_, _| ",1".into(),
        |_, line| format!(",L{line}"),
        |_, line| format!(",{line}.5"),
    ] {
        let env = env(&format!("{HEADER},LINE_NO"), &lines(value));
        let report = env.run_with(&RunOptions { force: false, dry_run: true });
        assert_eq!(
            (report.exit_code, report.line_column.as_deref()),
            (4, None),
            "{:?}",
            report.error
        );
        assert_eq!(report.claims.conflicts, 1_000);
    }
    // As other programs write it where some are missing.
    let env = env(&format!("{HEADER},LINE_NO"), &lines(|_, line| format!(",{line}.0")));
    let report = env.run_with(&RunOptions { force: false, dry_run: true });
    succeeded(&report);
    assert_eq!(report.claims.loaded, 1_500);
}

#[test]
fn each_file_of_a_folder_is_read_by_the_same_column() {
    let rows = lines(|_, line| format!(",{line}"));
    let mut env = env(HEADER, &[]);
    let names = ["line_no", "LINE_NO ", "Line_No"];
    let parts = rows.chunks(500).zip(names).enumerate();
    env.settings.claims.sources = parts
        .map(|(place, (rows, name))| {
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            env.write(&format!("part{place}.csv"), &format!("{HEADER},{name}"), &rows)
        })
        .collect();
    let report = env.run();
    succeeded(&report);
    assert_eq!((report.claims.loaded, report.claims.conflicts), (1_500, 0));
    assert_eq!(published(&env), [format!("1500 {WORTH}")]);
}

/// One-line claims, of which the first few come again with another amount.
fn corrected(rows: usize, conflicts: usize) -> Vec<String> {
    let row = |claim: usize, cents: usize| {
        format!("C{claim},P{claim},V1,99213,{}.{:02},2024-06-01", cents / 100, cents % 100)
    };
    let first = (0..rows - conflicts).map(|claim| row(claim, 1_000 + claim));
    first.chain((0..conflicts).map(|claim| row(claim, 5_000 + claim))).collect()
}

#[test]
fn a_run_stops_above_one_conflict_in_a_hundred_lines_unless_a_policy_is_chosen() {
    for (rows, conflicts, stops) in [
        (100, 1, false),
        (99, 1, true),
        (200, 2, false),
        (200, 3, true),
        (20, 1, true),
        (2, 1, true),
        (20, 0, false),
    ] {
        let env = env(HEADER, &corrected(rows, conflicts));
        let report = env.run_with(&RunOptions { force: false, dry_run: true });
        let code = if stops { 4 } else { 0 };
        assert_eq!(report.exit_code, code, "{conflicts} of {rows}: {:?}", report.error);
        assert_eq!((report.claims.conflicts, report.claims.duplicates), (conflicts as u64, 0));
    }
    let mut env = env(HEADER, &corrected(20, 1));
    let message = refused(&env, &env.run());
    assert!(message.contains("1 of 20 claim lines (5.0 %)"), "{message}");
    for (policy, loaded, amount) in [
        (OnDuplicate::Last, 19, "231.71"),
        (OnDuplicate::First, 19, "191.71"),
        (OnDuplicate::Reject, 18, "181.71"),
    ] {
        env.settings.warehouse.on_duplicate = Some(policy);
        env.settings.warehouse.mode = Mode::Replace;
        let report = env.run();
        assert_eq!(report.exit_code, 0, "{policy:?}: {:?}", report.error);
        succeeded(&report);
        assert_eq!(published(&env), [format!("{loaded} {amount}")], "{policy:?}");
    }
    env.settings.warehouse.on_duplicate = None;
    let forced = env.run_with(&RunOptions { force: true, dry_run: false });
    succeeded(&forced);
    assert_eq!(published(&env), ["19 231.71"]);
}

#[test]
fn identical_repeats_stop_nothing_and_spelling_is_no_conflict() {
    let mut rows = corrected(50, 0);
    rows.extend(corrected(50, 0));
    // The same amount, written with more decimals.
    rows.push("C1,P1,V1,99213,10.0100,2024-06-01".into());
    rows.push("C2,P2,V1,99213,10.0201,2024-06-01".into());
    let env = env(HEADER, &rows);
    let report = env.run();
    succeeded(&report);
    assert_eq!(
        (report.claims.loaded, report.claims.duplicates, report.claims.conflicts),
        (50, 52, 0)
    );
    assert_eq!(report.amount.conflicts, Cents(0));
}

#[test]
fn the_ledger_has_rows_and_dollars_of_every_class() {
    let mut env = env(HEADER, &corrected(20, 2));
    env.settings.warehouse.on_duplicate = Some(OnDuplicate::Last);
    succeeded(&env.run());
    let sums = "SELECT concat_ws(' ', claims_read, claims_loaded, claims_rejected, claims_duplicates, claims_conflicts,
            amount_read, amount_loaded, amount_rejected, amount_duplicates, amount_conflicts) FROM claims_etl.runs";
    assert_eq!(env.rows(sums), ["20 18 0 0 2 281.54 261.53 0.00 0.00 20.01"]);
    let unbalanced = "UPDATE claims_etl.runs SET amount_conflicts = amount_conflicts + 0.01";
    let refused =
        env.database.connect().batch_execute(unbalanced).expect_err("it would not balance");
    assert!(
        refused
            .as_db_error()
            .is_some_and(|error| error.constraint() == Some("published_runs_balance"))
    );
    let unbalanced = "UPDATE claims_etl.runs SET claims_conflicts = 0";
    assert!(env.database.connect().batch_execute(unbalanced).is_err());
}

/// A feed that sends reversals under the claim id and line number of what they reverse.
const ADJUSTED: [&str; 8] = [
    "R1,P1,V1,99213,100.00,2024-01-05,1,original",
    "R1,P1,V1,99213,-100.00,2024-01-05,1,reversal",
    "R2,P2,V1,99214,100.00,2024-01-06,1,original",
    "R2,P2,V1,99214,-100.00,2024-01-06,1,reversal",
    "R2,P2,V1,99214,80.00,2024-01-06,1,replacement",
    "R3,P3,V1,99215,-50.00,2024-01-07,1,reversal",
    "R3,P3,V1,99215,50.00,2024-01-07,1,original",
    "R4,P4,V1,36415,30.00,2024-01-08,1,original",
];

#[test]
fn amounts_that_cancel_under_one_key_are_reported_with_count_and_money() {
    let rows = ADJUSTED.map(ToOwned::to_owned);
    let mut env = env(&format!("{HEADER},line_number,adjustment"), &rows);
    let message = refused(&env, &env.run());
    for expected in ["4 of 8 claim lines", "3 of these", "claim_id = \"{claim_id}-{adjustment}\""] {
        assert!(message.contains(expected), "{expected}: {message}");
    }
    env.settings.warehouse.on_duplicate = Some(OnDuplicate::Last);
    let report = env.run();
    succeeded(&report);
    let found = report.reversals;
    assert_eq!((found.lines, found.dropped, found.dropped_amount), (3, 4, Cents(5_000)));
    assert_eq!((found.kept_amount, report.amount.loaded), (Cents(3_000), Cents(6_000)));
    assert_eq!(
        env.rows("SELECT (reversals ->> 'lines') || ' ' || (reversals ->> 'dropped_amount') FROM claims_etl.runs
                   WHERE published_at IS NOT NULL"),
        ["3 50.00"]
    );
    // The way that keeps all of it.
    let template =
        claims_etl::config::Pattern::parse("{claim_id}-{adjustment}").expect("a template");
    env.settings
        .claims
        .columns
        .insert("claim_id".into(), claims_etl::config::Mapping::Is(template));
    env.settings.warehouse.on_duplicate = None;
    env.settings.warehouse.mode = Mode::Replace;
    let report = env.run();
    succeeded(&report);
    assert_eq!((report.claims.loaded, report.reversals.lines), (8, 0));
    assert_eq!(published(&env), ["8 110.00"]);
}

#[test]
fn a_merge_reports_a_reversal_that_replaces_its_original() {
    let claims = |rows: &[&str]| rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
    let first = claims(&[
        "R1,P1,V1,99213,100.00,2024-01-05",
        "R2,P2,V1,99213,70.00,2024-01-05",
        "R3,P3,V1,99213,-5.00,2024-01-05",
        "R4,P4,V1,99213,0.00,2024-01-05",
        "R5,P5,V1,99213,8.00,2024-01-05",
    ]);
    let env = env(HEADER, &first);
    let report = env.run();
    succeeded(&report);
    assert_eq!(report.reversals.overwritten, 0);
    let env = env.claims(&[
        "R1,P1,V1,99213,-100.00,2024-01-05",
        "R2,P2,V1,99213,71.00,2024-01-05",
        "R3,P3,V1,99213,5.00,2024-01-05",
        "R4,P4,V1,99214,0.00,2024-01-05",
        "R6,P6,V1,99213,-8.00,2024-01-05",
    ]);
    let report = env.run();
    succeeded(&report);
    let found = report.reversals;
    assert_eq!((found.overwritten, found.overwritten_amount), (2, Cents(9_500)));
    assert_eq!((report.claims.updated, report.claims.inserted), (4, 1));
    assert_eq!(published(&env), ["6 -24.00"]);
}
