//! Compares the two-pass scoring with a direct implementation of its definition.
//!
//! Both share only the histogram buckets, so they must agree to the thousandth.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers are small"
)]

use polars::prelude::{
    Column, DataFrame, DataType, Int16Chunked, Int32Chunked, Int64Chunked, Int128Chunked,
    IntoColumn, IntoLazy, IntoSeries, NewChunkedArray, StringChunked, UInt32Chunked,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::key::MasterKey;
use crate::privacy::settings::Privacy;
use crate::risk::settings::Risk;
use crate::risk::{COMPONENTS, Components, Inputs, Twin, bucket, is_weekend, ln_dollars, unpack};
use crate::rule::{OnDuplicate, Severities};
use crate::schema::{CENTS, CLAIM_CHECK, DAMAGE, ORIGIN, PATIENT_CHECK, PROVIDER_ROW, SOURCE_LINE};
use crate::shuffle::Resolved;
use crate::transform::{Counter, Release, scored};

/// A single-line claim.
#[derive(Debug, Clone)]
struct Claim {
    patient: u8,
    /// Provider index; the last one means no provider.
    index: u32,
    code: Option<&'static str>,
    cents: i64,
    day: i32,
}

/// Specialties by provider index.
const SPECIALTIES: [&str; 5] = ["GP", "GP", "GP", "ENT", ""];

impl Claim {
    fn specialty(&self) -> &'static str {
        SPECIALTIES.get(self.index as usize).copied().unwrap_or("")
    }

    fn is_priced(&self) -> bool {
        self.cents > 0
    }
}

fn settings() -> Settings {
    let risk = Risk {
        min_peers: 3,
        min_provider_claims: 2,
        min_providers: 2,
        min_provider_days: 3,
        min_expected: 1,
        ..Risk::default()
    };
    Settings { risk, ..Settings::default() }
}

fn column(name: &str, texts: impl Iterator<Item = Option<String>>) -> Column {
    StringChunked::from_iter_options(name.into(), texts).into_column()
}

fn directory() -> Directory {
    let rows = SPECIALTIES.len();
    let id = |index: usize| Some(format!("V{index}"));
    let none = || (0..rows).map(|_| None);
    let specialty = |name: &&str| Some((*name).to_owned()).filter(|name| !name.is_empty());
    let columns = vec![
        Int64Chunked::from_vec(ORIGIN.into(), (0..5).collect()).into_column(),
        Column::full_null(SOURCE_LINE.into(), rows, &DataType::Int64),
        Column::full_null(DAMAGE.into(), rows, &DataType::Int32),
        column("provider_id", (0..rows).map(id)),
        column("provider_name", none()),
        column("specialty", SPECIALTIES.iter().map(specialty)),
        column("location", none()),
    ];
    let frame = DataFrame::new(rows, columns).expect("a frame");
    let key = MasterKey::ephemeral().expect("a key");
    let release = Release::new(&Privacy::default(), &key).expect("a release");
    Directory::new(&frame, OnDuplicate::Last, &release).expect("a directory")
}

/// Tokens that encode the index.
fn token(index: usize) -> i128 {
    let bits = (index as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    i128::from_ne_bytes(bits.to_be_bytes())
}

fn accepted(claims: &[Claim], from: usize) -> DataFrame {
    let rows = claims.len();
    let known = |claim: &Claim| Some(claim.index).filter(|&index| index < 5);
    let days = claims.iter().map(|claim| claim.day).collect();
    let days = Int32Chunked::from_vec("date_of_service".into(), days).into_series();
    let id = |claim: &Claim| Some(format!("V{}", claim.index));
    let columns = vec![
        Int128Chunked::from_vec("claim_token".into(), (from..from + rows).map(token).collect())
            .into_column(),
        Int16Chunked::from_vec("line_number".into(), vec![1; rows]).into_column(),
        Int128Chunked::from_vec(
            "patient_token".into(),
            claims.iter().map(|claim| token(claim.patient.into())).collect(),
        )
        .into_column(),
        UInt32Chunked::from_iter_options(PROVIDER_ROW.into(), claims.iter().map(known))
            .into_column(),
        column("provider_id", claims.iter().map(id)),
        column("procedure_code", claims.iter().map(|claim| claim.code.map(str::to_owned))),
        Int64Chunked::from_vec(CENTS.into(), claims.iter().map(|claim| claim.cents).collect())
            .into_column(),
        days.cast(&DataType::Date).expect("dates").into_column(),
        Int32Chunked::from_vec("dq_flags".into(), vec![0; rows]).into_column(),
        Int64Chunked::from_vec(ORIGIN.into(), vec![0; rows]).into_column(),
        UInt32Chunked::from_vec(CLAIM_CHECK.into(), vec![0; rows]).into_column(),
        UInt32Chunked::from_vec(PATIENT_CHECK.into(), vec![0; rows]).into_column(),
    ];
    DataFrame::new(rows, columns).expect("a frame")
}

/// Components from both passes in claim order, and the model.
fn by_two_passes(claims: &[Claim], block: usize, memory: usize) -> (Vec<Components>, Arc<Scorer>) {
    let (settings, directory, cancel) = (settings(), directory(), Cancellation::default());
    let counting = Counting::new(&settings, true);
    let folder = tempfile::tempdir().expect("a folder");
    let severities = Severities::default();
    let mut shuffle = Shuffle::new(folder.path(), memory, &severities, counting.kept);
    let mut statistics = Statistics::default();
    for (index, rows) in claims.chunks(block).enumerate() {
        let mut counter = Counter::new(counting.kept, counting.exact, &counting.codes);
        let (mut writer, rows) = (shuffle.writer(), accepted(rows, index * block));
        let codes = counter.observe(&rows, &directory).expect("counted");
        writer.push(&rows, codes).expect("written");
        writer.finish().expect("finished");
        counter.add_to(&mut statistics, &directory);
    }
    let made = counting.scorer(statistics, &mut shuffle, &directory, &settings, &cancel);
    let (scorer, _) = made.expect("a model");
    let shuffle = shuffle.compared(&cancel).expect("compared");
    let (mut buckets, mut resolved) = (Shuffle::buckets(), Resolved::default());
    let rows = shuffle.next_rows(&mut buckets, usize::MAX, OnDuplicate::Last, &mut resolved);
    let Some(rows) = rows.expect("read") else { return (Vec::new(), scorer) };
    let rows = scored(rows.lazy(), &directory, Some(&scorer), &severities, None).collect();
    let rows = rows.expect("scored");
    let tokens = rows.column("claim_token").and_then(Column::i128).expect("tokens");
    let packed = rows.column("risk_components").and_then(Column::i64).expect("components");
    let mut components = vec![[None; COMPONENTS]; claims.len()];
    for (of, packed) in tokens.iter().zip(packed.iter()) {
        let index = (0..claims.len()).find(|&index| Some(token(index)) == of).expect("a claim");
        components[index] = unpack(packed.expect("components"));
    }
    (components, scorer)
}

/// Median; the mean of the middle two for an even count.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}

/// Median and spread of claim amounts, each at its bucket's midpoint.
fn peers(claims: &[&Claim]) -> Option<(f64, f64)> {
    if claims.len() < 3 {
        return None;
    }
    let middle = |claim: &&Claim| (f64::from(bucket(claim.cents)) - 0.5) * 1.005_f64.ln();
    let middles: Vec<f64> = claims.iter().map(middle).collect();
    let middle = median(middles.clone());
    let deviations: Vec<f64> = middles.iter().map(|x| (x - middle).abs()).collect();
    let mad = median(deviations.clone());
    let mean = deviations.iter().sum::<f64>() / deviations.len() as f64;
    let sigma = if mad > 0.0 { mad / 0.6745 } else { 1.253_314 * mean };
    Some((middle, sigma.max(0.10)))
}

fn peers_of(all: &[&Claim], code: &str, specialty: &str) -> Option<(f64, f64)> {
    let of = |own: bool| -> Vec<&Claim> {
        let same =
            |claim: &&&Claim| claim.code == Some(code) && (!own || claim.specialty() == specialty);
        all.iter().filter(same).copied().collect()
    };
    let own = if specialty.is_empty() { None } else { peers(&of(true)) };
    own.or_else(|| peers(&of(false)))
}

/// Third quartile and interquartile range, interpolated.
fn quartiles(mut values: Vec<f64>, floor: f64) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let position = share * (values.len() - 1) as f64;
        let (below, above) = (values[position.floor() as usize], values[position.ceil() as usize]);
        below + (position - position.floor()) * (above - below)
    };
    (at(0.75), (at(0.75) - at(0.25)).max(floor))
}

fn clip(x: f64) -> u16 {
    (x.clamp(0.0, 1.0) * 1000.0).round() as u16
}

fn beyond(x: f64, (q3, iqr): (f64, f64)) -> u16 {
    clip(((x - q3) / iqr - 1.5) / 1.5)
}

/// Observed/expected ratio of a provider, if enough claims are comparable.
fn ratio(all: &[&Claim], index: u32) -> Option<f64> {
    let expected = |claim: &&&Claim| {
        let (middle, _) = peers_of(all, claim.code?, claim.specialty())?;
        Some((claim.cents, (middle.exp() * 1e6).round()))
    };
    let own = all.iter().filter(|claim| claim.index == index);
    let pairs: Vec<(i64, f64)> = own.filter_map(|claim| expected(&claim)).collect();
    let observed: i64 = pairs.iter().map(|pair| pair.0).sum();
    let expected: f64 = pairs.iter().map(|pair| pair.1).sum();
    (pairs.len() >= 2).then(|| observed as f64 * 10_000.0 / expected)
}

fn patients(all: &[&Claim], index: u32, day: i32) -> usize {
    let visits = all.iter().filter(|claim| (claim.index, claim.day) == (index, day));
    let mut patients: Vec<u8> = visits.map(|claim| claim.patient).collect();
    patients.sort_unstable();
    patients.dedup();
    patients.len()
}

/// Direct implementation of the definition.
fn naive(claims: &[Claim], of: usize) -> Components {
    let all: Vec<&Claim> = claims.iter().filter(|claim| claim.is_priced()).collect();
    let claim = &claims[of];
    let specialty = claim.specialty();
    let indexes = || (0..4_u32).filter(|&index| SPECIALTIES[index as usize] == specialty);
    let mut components = [None; COMPONENTS];
    if let Some(code) = claim.code.filter(|_| claim.is_priced()) {
        components[0] = peers_of(&all, code, specialty)
            .map(|(middle, sigma)| clip(((ln_dollars(claim.cents) - middle) / sigma - 2.0) / 5.0));
        let others = || {
            claims.iter().enumerate().filter(|(index, other)| {
                *index != of
                    && other.is_priced()
                    && (other.patient, other.code, other.day)
                        == (claim.patient, claim.code, claim.day)
            })
        };
        let exact = others().any(|(_, o)| (o.index, o.cents) == (claim.index, claim.cents));
        let suspect = if others().next().is_some() { 200 } else { 0 };
        components[1] = Some(if exact { 1000 } else { suspect });
    }
    if specialty.is_empty() {
        return components;
    }
    let ratios: Vec<f64> = indexes().filter_map(|index| ratio(&all, index)).collect();
    if ratios.len() >= 2 {
        let fence = quartiles(ratios, 0.1);
        components[2] = ratio(&all, claim.index).map(|ratio| beyond(ratio, fence));
    }
    let mut days: Vec<(u32, i32)> = all
        .iter()
        .filter(|claim| claim.specialty() == specialty)
        .map(|claim| (claim.index, claim.day))
        .collect();
    days.sort_unstable();
    days.dedup();
    if days.len() >= 3 && claim.is_priced() {
        let counts = days.iter().map(|&(index, day)| patients(&all, index, day) as f64).collect();
        let own = patients(&all, claim.index, claim.day) as f64;
        components[3] = Some(beyond(own, quartiles(counts, 1.0)));
    }
    if let Some(code) = claim.code {
        let coded = || all.iter().filter(|c| c.code.is_some() && !c.specialty().is_empty());
        let n = coded().count() as f64;
        let of_code = coded().filter(|c| c.code == Some(code)).count() as f64;
        let of_specialty = coded().filter(|c| c.specialty() == specialty).count() as f64;
        let both = coded().filter(|c| c.code == Some(code) && c.specialty() == specialty).count();
        let expected = of_code * of_specialty / n;
        if expected >= 1.0 {
            components[4] = Some(clip(1.0 - both as f64 / expected / 0.25));
        }
    }
    let own: Vec<_> = all.iter().filter(|c| c.specialty() == specialty).collect();
    if own.len() >= 3 {
        let on_weekends = own.iter().filter(|claim| is_weekend(claim.day)).count();
        let rare = (on_weekends as f64) < 0.05 * own.len() as f64;
        components[5] = Some(if rare && is_weekend(claim.day) { 1000 } else { 0 });
    }
    components
}

/// Few distinct values, so that every case occurs.
fn claim() -> impl Strategy<Value = Claim> {
    let code = select(vec![Some("99213"), Some("99213"), Some("99214"), None]);
    let cents = select(vec![10_000, 10_000, 11_000, 12_500, 90_000, 0, -10_000]);
    let day = select(vec![4, 4, 5, 6, 9]);
    (0_u8..12, select(vec![0_u32, 0, 1, 2, 3, 3, 4, 5]), code, cents, day)
        .prop_map(|(patient, index, code, cents, day)| Claim { patient, index, code, cents, day })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_passes_come_to_the_components_of_the_definition(
        claims in vec(claim(), 0..90),
        block in 1_usize..40,
        memory in select(vec![0_usize, 1 << 20]),
    ) {
        let (found, scorer) = by_two_passes(&claims, block, memory);
        let all: Vec<&Claim> = claims.iter().filter(|claim| claim.is_priced()).collect();
        for (of, claim) in claims.iter().enumerate() {
            let expected = naive(&claims, of);
            let close = |one: Option<u16>, other: Option<u16>| match (one, other) {
                (Some(one), Some(other)) => one.abs_diff(other) <= 1,
                (one, other) => one == other,
            };
            for component in 0..COMPONENTS {
                prop_assert!(
                    close(found[of][component], expected[component]),
                    "{:?} {:?} {:?}", claim, found[of], expected
                );
            }
            // Scored one claim at a time from text: bitwise equal.
            let twin = match expected[1] {
                Some(1000) => Twin::Exact,
                Some(200) => Twin::Suspect,
                _ => Twin::None,
            };
            let patients = patients(&all, claim.index, claim.day);
            let inputs = Inputs {
                procedure: claim.code,
                specialty: claim.specialty(),
                provider: &format!("V{}", claim.index),
                cents: claim.cents,
                day: Some(claim.day),
                day_patients: Some(u32::try_from(patients).expect("few")),
                twin,
            };
            prop_assert_eq!(scorer.model.components_of(&inputs), found[of]);
        }
    }
}

#[test]
fn a_token_of_two_identifiers_stops_the_run() {
    assert!(one_token_each("patient", Distinct { ids: 3, tokens: 3 }).is_ok());
    let refused = one_token_each("patient", Distinct { ids: 3, tokens: 2 }).expect_err("refused");
    assert!(refused.message().contains("3 different patient ids have 2 different tokens"));
    assert_eq!(refused.kind(), crate::error::ErrorKind::Quality);
}
