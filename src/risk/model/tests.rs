//! The components against the formulas as they are written, on small numbers.

use super::*;
use crate::risk::settings::Risk;
use crate::risk::{Statistics, pack, score_tenths};

fn settings() -> Risk {
    Risk::default()
}

fn model(statistics: &Statistics, totals: Vec<ProviderTotal>) -> RiskModel {
    let medians = Medians::fit(statistics, &settings());
    let sums = provider_sums(totals, &medians);
    RiskModel::new(medians, sums)
}

fn total(provider: &str, claims: i64, cents: i64) -> ProviderTotal {
    let (specialty, procedure) = ("GP".to_owned(), "99213".to_owned());
    ProviderTotal { provider: provider.to_owned(), specialty, procedure, claims, cents }
}

/// 40 claims of 100 dollars by general practitioners, Monday to Friday.
fn plain() -> Statistics {
    let mut statistics = Statistics::default();
    for _ in 0..40 {
        statistics.claim(1, Some("99213"), "GP", 10_000, Some(false));
    }
    statistics
}

const CLAIM: Inputs<'_> = Inputs {
    procedure: Some("99213"),
    specialty: "GP",
    provider: "V1",
    cents: 10_000,
    // A Monday and a Saturday after it are 4 and 9.
    day: Some(4),
    day_patients: Some(1),
    twin: Twin::None,
};

#[test]
fn amounts_are_compared_with_their_own_peers_else_with_the_procedure() {
    let mut statistics = plain();
    statistics.claim(1, Some("99213"), "ENT", 10_000, None);
    statistics.claim(1, Some("99214"), "GP", 10_000, None);
    let model = model(&statistics, Vec::new());
    let amount = |inputs: Inputs<'_>| model.components_of(&inputs)[AMOUNT];
    assert_eq!(amount(CLAIM), Some(0));
    // The floor of sigma is 0.10: e^0.35 is z = 3.5, give or take half a bucket.
    let odd = amount(Inputs { cents: 14_190, ..CLAIM }).expect("compared");
    assert!((290..=310).contains(&odd), "{odd}");
    assert_eq!(amount(Inputs { cents: 120_000, ..CLAIM }), Some(1000));
    assert_eq!(amount(Inputs { specialty: "ENT", ..CLAIM }), Some(0), "one of 41");
    assert_eq!(
        model.medians().peers("99213", "ENT").map(|(peers, own)| (peers.count, own)),
        Some((41, false))
    );
    assert_eq!(amount(Inputs { procedure: Some("99214"), ..CLAIM }), None, "a single claim");
    assert_eq!(amount(Inputs { procedure: None, ..CLAIM }), None);
    assert_eq!(amount(Inputs { cents: 0, ..CLAIM }), None);
}

#[test]
fn twins_are_sought_for_priced_rows_with_a_code_and_a_day() {
    let model = model(&plain(), Vec::new());
    let duplicate = |inputs: Inputs<'_>| model.components_of(&inputs)[DUPLICATE];
    let twins = [Twin::None, Twin::Suspect, Twin::Exact, Twin::Unknown];
    let found = twins.map(|twin| duplicate(Inputs { twin, ..CLAIM }));
    assert_eq!(found, [Some(0), Some(200), Some(1000), None]);
    assert_eq!(duplicate(Inputs { cents: -1, ..CLAIM }), None);
    assert_eq!(duplicate(Inputs { procedure: None, ..CLAIM }), None);
    assert_eq!(duplicate(Inputs { day: None, ..CLAIM }), None);
}

#[test]
fn providers_are_compared_by_observed_over_expected() {
    // 11 claims each; nine providers around the expected amount, one at three times.
    let mut totals: Vec<_> = (0..9).map(|n| total(&format!("V{n}"), 11, 110_000)).collect();
    totals.push(total("V9", 11, 330_000));
    totals.push(total("V10", 10, 990_000));
    let model = model(&plain(), totals);
    let provider = |id: &str| model.components_of(&Inputs { provider: id, ..CLAIM })[PROVIDER];
    assert_eq!(provider("V0"), Some(0));
    assert_eq!(provider("V9"), Some(1000), "ratio 3, Q3 1, IQR 0.1");
    assert_eq!(provider("V10"), None, "ten claims");
    let fence = model.provider_fence("GP").expect("ten providers");
    assert_eq!((fence.count, fence.iqr), (10, 0.1));
    let ratio = model.provider("V9", "GP").and_then(ProviderSums::ratio).expect("a ratio");
    assert!((ratio - 3.0).abs() < 0.02, "{ratio}");
    let few = self::model(&plain(), (0..4).map(|n| total(&format!("V{n}"), 11, 1)).collect());
    assert_eq!(few.components_of(&Inputs { provider: "V0", ..CLAIM })[PROVIDER], None);
}

#[test]
fn a_total_without_peers_says_nothing() {
    let mut unknown = total("V0", 11, 5);
    unknown.procedure = "Z".into();
    let medians = Medians::fit(&plain(), &settings());
    assert_eq!(
        medians.expectations().map(|row| (row.0, row.1)).collect::<Vec<_>>(),
        [("99213", ""), ("99213", "GP")]
    );
    let sums = provider_sums([unknown, total("V0", 3, 7), total("V0", 4, 8)], &medians);
    let expected = i128::from(medians.expected_micros("99213", "GP").expect("peers"));
    assert_eq!((sums[0].claims, sums[0].cents, sums[0].expected_micros), (7, 15, 7 * expected));
}

#[test]
fn days_with_many_patients_are_beyond_the_fence() {
    let mut statistics = plain();
    for _ in 0..30 {
        statistics.provider_day(1, "GP", 2);
    }
    let volume = |model: &RiskModel, patients| {
        model.components_of(&Inputs { day_patients: Some(patients), ..CLAIM })[VOLUME]
    };
    let fitted = model(&statistics, Vec::new());
    // Q3 is 2 and the distance of the quartiles at least 1: fences at 3.5 and 5.
    assert_eq!([2, 3, 4, 5, 60].map(|n| volume(&fitted, n)), [0, 0, 333, 1000, 1000].map(Some));
    let none = Inputs { cents: 0, ..CLAIM };
    assert_eq!(fitted.components_of(&none)[VOLUME], None);
    statistics.provider_day(-1, "GP", 2);
    assert_eq!(volume(&model(&statistics, Vec::new()), 60), None, "29 days");
}

#[test]
fn a_procedure_of_another_specialty_is_a_mismatch() {
    let mut statistics = Statistics::default();
    let mut bill = |procedure: &str, specialty: &str, claims: usize| {
        for _ in 0..claims {
            statistics.claim(1, Some(procedure), specialty, 10_000, None);
        }
    };
    bill("A", "GP", 99);
    bill("B", "GP", 1);
    bill("B", "ENT", 99);
    bill("C", "ENT", 9);
    bill("A", "", 1_000);
    let model = model(&statistics, Vec::new());
    let mismatch = |procedure, specialty| {
        let inputs = Inputs { procedure: Some(procedure), specialty, ..CLAIM };
        model.components_of(&inputs)[MISMATCH]
    };
    assert_eq!(mismatch("A", "GP"), Some(0));
    // B: 100 · 100 / 208 = 48.08 expected, lift 0.0208, 1 − 0.0832.
    assert_eq!(mismatch("B", "GP"), Some(917));
    assert_eq!(mismatch("A", "ENT"), Some(1000), "never");
    assert_eq!(mismatch("C", "GP"), None, "4 expected");
    assert_eq!([mismatch("A", ""), mismatch("Z", "GP")], [None, None]);
    let reversal = Inputs { cents: -5, procedure: Some("A"), specialty: "ENT", ..CLAIM };
    assert_eq!(model.components_of(&reversal)[MISMATCH], Some(1000));
}

#[test]
fn weekends_are_odd_where_they_are_rare() {
    let mut statistics = plain();
    let weekend = |statistics: &Statistics, day| {
        model(statistics, Vec::new()).components_of(&Inputs { day, ..CLAIM })[WEEKEND]
    };
    assert_eq!([3, 4, 9].map(|day| weekend(&statistics, Some(day))), [1000, 0, 1000].map(Some));
    assert_eq!(weekend(&statistics, None), None);
    for _ in 0..3 {
        statistics.claim(1, None, "GP", 10_000, Some(true));
    }
    assert_eq!(weekend(&statistics, Some(9)), Some(0), "3 of 43 are 7 %");
    let mut few = Statistics::default();
    few.claim(1, None, "GP", 10_000, Some(false));
    assert_eq!(weekend(&few, Some(9)), None);
}

#[test]
fn a_component_without_weight_is_null() {
    let weightless = Risk {
        weight_amount: 0.0,
        weight_duplicate: 0.0,
        weight_provider: 0.0,
        weight_volume: 0.0,
        weight_mismatch: 0.0,
        weight_weekend: 0.0,
        ..settings()
    };
    let mut statistics = plain();
    for _ in 0..40 {
        statistics.provider_day(1, "GP", 1);
    }
    let totals: Vec<_> = (0..9).map(|n| total(&format!("V{n}"), 11, 110_000)).collect();
    let fit = |settings: &Risk| {
        let medians = Medians::fit(&statistics, settings);
        let sums = provider_sums(totals.clone(), &medians);
        RiskModel::new(medians, sums).components_of(&CLAIM)
    };
    assert_eq!(fit(&weightless), [None; COMPONENTS]);
    assert_eq!(fit(&settings()), [Some(0); COMPONENTS]);
    assert_eq!(pack(&fit(&settings()), &settings().weights()), 0);
    assert_eq!(score_tenths(&fit(&settings()), &settings().weights()), 0);
}
