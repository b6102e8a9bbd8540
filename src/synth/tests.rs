//! Tests of the generator.

use std::collections::HashSet;

use super::*;
use crate::event::NullObserver;

fn generated(spec: &Spec) -> (Generated, String, String) {
    let out = tempfile::tempdir().expect("a directory");
    let told =
        generate(spec, out.path(), &NullObserver, &Cancellation::default()).expect("generated");
    let claims = fs::read_to_string(&told.claims_path).expect("claims");
    let providers = fs::read_to_string(&told.providers_path).expect("providers");
    (told, claims, providers)
}

fn records(text: &str) -> Vec<Vec<String>> {
    csv::Reader::from_reader(text.as_bytes())
        .records()
        .map(|record| record.expect("a record").iter().map(ToOwned::to_owned).collect())
        .collect()
}

/// The cents of an amount with at most two decimals.
fn cents_of(amount: &str) -> i128 {
    let (whole, decimals) = amount.split_once('.').unwrap_or((amount, ""));
    assert!(decimals.len() <= 2, "{} decimals", decimals.len());
    format!("{whole}{decimals:0<2}").parse().expect("digits")
}

/// The sample is the output of `claims-etl generate --claims 4000 --providers 120 --seed 42 --dirty
/// 0.03 --out data/sample`.
#[test]
fn the_committed_sample_is_reproduced_byte_by_byte() {
    let spec = Spec { claims: 4_000, providers: 120, seed: 42, dirty: 0.03 };
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
    let (_, claims, providers) = generated(&spec);
    assert!(fs::read_to_string(sample.join("claims.csv")).expect("sample") == claims);
    assert!(fs::read_to_string(sample.join("providers.csv")).expect("sample") == providers);
}

#[test]
fn a_seed_decides_every_byte_and_another_seed_differs() {
    // More than two blocks, so that threads finish out of order.
    let spec = Spec { claims: 250_000, providers: 50, seed: 7, dirty: 0.1 };
    let (first, claims, providers) = generated(&spec);
    let (again, claims_again, providers_again) = generated(&spec);
    assert!(claims == claims_again && providers == providers_again);
    assert_eq!(first.dirty_rows, again.dirty_rows);
    assert_eq!(first.amount_cents, again.amount_cents);
    assert_eq!(claims.lines().count(), 250_001);
    assert_eq!(claims.len() as u64, first.claims_bytes);
    let (_, other, _) = generated(&Spec { seed: 8, ..spec });
    assert!(claims != other);
}

#[test]
fn a_clean_file_keeps_the_contract() {
    let (told, claims, providers) =
        generated(&Spec { claims: 20_000, providers: 300, seed: 3, dirty: 0.0 });
    assert_eq!(told.dirty_rows.values().sum::<u64>(), 0);
    let directory: HashSet<String> =
        records(&providers).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(directory.len(), 300);
    let rows = records(&claims);
    let mut ids = HashSet::new();
    let mut patients = HashSet::new();
    let (mut cents, mut weekends, mut negative) = (0_i128, 0, 0);
    for row in &rows {
        assert_eq!(row.len(), 6);
        assert!(ids.insert(row[0].clone()) && row[0].len() == 15);
        assert_eq!(row[1].len(), 10);
        patients.insert(row[1].clone());
        assert!(directory.contains(&row[2]));
        assert_eq!(row[3].len(), 5);
        let amount = cents_of(&row[4]);
        cents += amount;
        negative += u32::from(amount < 0);
        let date = chrono::NaiveDate::parse_from_str(&row[5], "%Y-%m-%d").expect("a date");
        let weekday = chrono::Datelike::weekday(&date).number_from_monday();
        weekends += u32::from(weekday > 5);
    }
    assert_eq!(cents, told.amount_cents);
    assert!((800..1200).contains(&weekends), "{weekends} weekend claims of 20,000");
    assert!((50..160).contains(&negative), "{negative} reversals of 20,000");
    assert!((1_500..=1_666).contains(&patients.len()), "{} patients", patients.len());
    assert!(patients.iter().any(|patient| patient.starts_with('0')));
}

#[test]
fn the_share_of_dirty_rows_is_the_requested_one() {
    let (told, claims, providers) =
        generated(&Spec { claims: 60_000, providers: 1_000, seed: 5, dirty: 0.05 });
    let total: u64 = told.dirty_rows.values().sum();
    assert!((2_800..3_200).contains(&total), "{total} dirty rows of 60,000");
    assert!(told.dirty_rows.values().all(|count| *count > 120), "{:?}", told.dirty_rows);

    let rows = records(&claims);
    let known: HashSet<String> =
        records(&providers).into_iter().map(|row| row[0].clone()).collect();
    let counted =
        |test: &dyn Fn(&Vec<String>) -> bool| rows.iter().filter(|row| test(row)).count() as u64;
    let expected = |name: &str| told.dirty_rows[name];
    assert_eq!(counted(&|row| row[0].is_empty()), expected("missing_claim_id"));
    assert_eq!(counted(&|row| row[1].is_empty()), expected("missing_patient_id"));
    assert_eq!(counted(&|row| row[2].is_empty()), expected("missing_provider_id"));
    assert_eq!(counted(&|row| row[3].is_empty()), expected("missing_procedure_code"));
    assert_eq!(counted(&|row| row[4].is_empty()), expected("missing_amount"));
    assert_eq!(counted(&|row| row[5].is_empty()), expected("missing_date"));
    assert_eq!(
        counted(&|row| !row[2].is_empty() && !known.contains(&row[2])),
        expected("unknown_provider")
    );
    let distinct: HashSet<&str> =
        rows.iter().map(|row| row[0].as_str()).filter(|id| !id.is_empty()).collect();
    assert_eq!(
        rows.len() as u64 - expected("missing_claim_id") - distinct.len() as u64,
        expected("exact_duplicate") + expected("conflicting_duplicate")
    );
    assert_eq!(told.providers, 1_004);
}

#[test]
fn nonsense_is_refused() {
    let spec = Spec { claims: 1, providers: 1, seed: 0, dirty: 0.0 };
    let out = tempfile::tempdir().expect("a directory");
    for wrong in [
        Spec { dirty: 1.5, ..spec },
        Spec { dirty: f64::NAN, ..spec },
        Spec { providers: 0, ..spec },
        Spec { claims: MAX_CLAIMS + 1, ..spec },
    ] {
        let error = generate(&wrong, out.path(), &NullObserver, &Cancellation::default());
        assert_eq!(error.expect_err("refused").kind(), ErrorKind::Config);
    }
}

#[test]
fn a_stopped_run_leaves_no_file() {
    let out = tempfile::tempdir().expect("a directory");
    let cancel = Cancellation::default();
    cancel.cancel(2);
    let spec = Spec { claims: 200_000, providers: 10, seed: 0, dirty: 0.0 };
    let error = generate(&spec, out.path(), &NullObserver, &cancel).expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Interrupted(2));
    assert!(!out.path().join("claims.csv").exists());
    assert_eq!(std::fs::read_dir(out.path()).expect("the folder").count(), 1, "no half file");
}

#[test]
fn no_claims_give_a_header() {
    let (_, claims, _) = generated(&Spec { claims: 0, providers: 1, seed: 0, dirty: 0.0 });
    assert_eq!(claims.lines().count(), 1);
}
