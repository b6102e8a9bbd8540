//! The score, computed a second time: exact medians over sorted values, floats and maps, none of
//! the program's own code, from the files and not from the tables. What the program stores must be
//! within the error that its histograms state, row by row.
//!
//! The error. A histogram puts the middle of a bucket in the place of ln(dollars), which moves each
//! value by at most half a bucket: h = ln(1.005) / 2 = 0.0025. The k-th smallest of values that move
//! by at most h moves by at most h, so the median does (also the mean of the middle two), the
//! deviations from it and their median or mean by 2 h, σ by 2 h / 0.6745 or 1.253314 · 2 h. Where the
//! exact MAD is not 0 but at most 2 h, the histogram's may be 0, and σ then follows from the mean
//! deviation. Expected amounts and O/E move by a factor of at most e^h, and so do their quartiles.
//! Duplicates, days, mismatch and weekends are counts: nothing of them is approximate.

#![expect(clippy::cast_precision_loss, reason = "counts and cents of small files")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use chrono::{Datelike, NaiveDate, Weekday};
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::key::{Domain, MasterKey};
use claims_etl::risk::settings::Risk;
use claims_etl::synth::{self, Spec};
use uuid::Uuid;

use crate::extract::real_data;
use crate::support::test_env::{TestEnv, succeeded};

/// Half a bucket in ln(dollars).
const HALF: f64 = 0.002_493_770_755_519_484;
/// What the rounding of floats may add to anything.
const NOISE: f64 = 1e-9;
const NAMES: [&str; 6] = ["amount", "duplicate", "provider", "volume", "mismatch", "weekend"];

/// A claim as its file has it.
#[derive(Debug, Clone)]
struct Claim {
    id: String,
    patient: String,
    provider: String,
    procedure: Option<String>,
    specialty: String,
    cents: i64,
    day: NaiveDate,
}

/// A value, and between which values an approximate one may be.
#[derive(Debug, Clone, Copy)]
struct Band {
    low: f64,
    exact: f64,
    high: f64,
}

impl Band {
    fn exactly(value: f64) -> Self {
        Self { low: value, exact: value, high: value }
    }
}

/// A peer group of amounts.
#[derive(Debug, Clone, Copy)]
struct Peers {
    median: f64,
    sigma: Band,
}

/// The components of a claim; none where there is nothing to compare with.
type Components = [Option<Band>; 6];

/// The claims of two files, with the specialty that the directory has for their provider. Records
/// without a date are not loaded.
fn read(claims: &Path, providers: &Path) -> Vec<Claim> {
    let mut directory = HashMap::new();
    for record in csv::Reader::from_path(providers).expect("a file").records() {
        let record = record.expect("a record");
        let words: Vec<String> = record[2].split_whitespace().map(str::to_uppercase).collect();
        directory.insert(record[0].trim().to_owned(), words.join(" "));
    }
    let records = csv::Reader::from_path(claims).expect("a file").into_records();
    let records = records.map(|record| record.expect("a record"));
    let dated = records.filter(|record| !record[5].is_empty());
    dated
        .map(|record| {
            let provider = record[2].trim().to_owned();
            Claim {
                id: record[0].to_owned(),
                patient: record[1].to_owned(),
                specialty: directory.get(&provider).cloned().unwrap_or_default(),
                provider: if provider.is_empty() { "(unknown)".into() } else { provider },
                procedure: Some(record[3].to_owned()).filter(|code| !code.is_empty()),
                cents: cents(&record[4]),
                day: day(&record[5]),
            }
        })
        .collect()
}

/// `-12.3` is -1230 cents.
fn cents(text: &str) -> i64 {
    let (dollars, rest) = text.split_once('.').unwrap_or((text, ""));
    format!("{dollars}{rest:0<2}").parse().expect("an amount")
}

/// A date with or without hyphens, and with or without a time behind it.
fn day(text: &str) -> NaiveDate {
    let format = if text.contains('-') { "%Y-%m-%d" } else { "%Y%m%d" };
    let length = if text.contains('-') { 10 } else { 8 };
    NaiveDate::parse_from_str(&text[..length], format).expect("a date")
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

/// A quantile between the two values next to it.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor();
    let at = |place: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place")]
        let place = place as usize;
        sorted[place]
    };
    at(below) + (place - below) * (at(place.ceil()) - at(below))
}

fn ln_dollars(cents: i64) -> f64 {
    (cents as f64 / 100.0).ln()
}

impl Peers {
    fn of(values: &[f64]) -> Self {
        let values = sorted(values.to_vec());
        let median = median(&values);
        let deviations = sorted(values.iter().map(|x| (x - median).abs()).collect());
        let mad = self::median(&deviations);
        let mean = deviations.iter().sum::<f64>() / deviations.len() as f64;
        let from_mad = |mad: f64| (mad / 0.6745).max(0.10);
        let from_mean = |mean: f64| (1.253_314 * mean).max(0.10);
        let exact = if mad > 0.0 { from_mad(mad) } else { from_mean(mean) };
        let mut bounds = Vec::new();
        if mad > 0.0 {
            bounds.extend([from_mad(mad - 2.0 * HALF), from_mad(mad + 2.0 * HALF)]);
        }
        if mad <= 2.0 * HALF + NOISE {
            bounds.extend([from_mean(mean - 2.0 * HALF), from_mean(mean + 2.0 * HALF)]);
        }
        let bounds = sorted(bounds);
        let sigma = Band { low: bounds[0], exact, high: bounds[bounds.len() - 1] };
        Self { median, sigma }
    }

    fn component(&self, cents: i64) -> Band {
        let distance = ln_dollars(cents) - self.median;
        let of = |distance: f64, sigma: f64| ((distance / sigma - 2.0) / 5.0).clamp(0.0, 1.0);
        // Below the median nothing is odd, so only distances above it matter.
        Band {
            low: of((distance - HALF).max(0.0), self.sigma.high),
            exact: of(distance, self.sigma.exact),
            high: of((distance + HALF).max(0.0), self.sigma.low),
        }
    }
}

/// From 0 at Q3 + 1.5 IQR to 1 at Q3 + 3 IQR.
fn beyond_fences(value: f64, q3: f64, iqr: f64) -> f64 {
    (((value - q3) / iqr - 1.5) / 1.5).clamp(0.0, 1.0)
}

/// All claims of a load, scored.
fn scored(claims: &[Claim], risk: &Risk) -> Vec<Components> {
    let amounts = amounts(claims, risk);
    let providers = providers(claims, &amounts, risk);
    let volumes = volumes(claims, risk);
    let twins = duplicates(claims);
    let mismatches = mismatches(claims, risk);
    let weekends = weekends(claims, risk);
    (0..claims.len())
        .map(|place| {
            [
                amounts[place]
                    .filter(|_| claims[place].cents > 0)
                    .map(|peers| peers.component(claims[place].cents)),
                twins[place].map(Band::exactly),
                providers[place],
                volumes[place].map(Band::exactly),
                mismatches[place].map(Band::exactly),
                weekends[place].map(Band::exactly),
            ]
        })
        .collect()
}

/// With whom the amount of each claim is compared, be it priced or not.
fn amounts(claims: &[Claim], risk: &Risk) -> Vec<Option<Peers>> {
    let mut groups: BTreeMap<(&str, Option<&str>), Vec<f64>> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.cents > 0) {
        if let Some(procedure) = &claim.procedure {
            let x = ln_dollars(claim.cents);
            groups.entry((procedure, None)).or_default().push(x);
            if !claim.specialty.is_empty() {
                groups.entry((procedure, Some(&claim.specialty))).or_default().push(x);
            }
        }
    }
    let enough = |values: &Vec<f64>| values.len() as u64 >= risk.min_peers;
    let peers: BTreeMap<_, Peers> = groups
        .iter()
        .filter(|(_, values)| enough(values))
        .map(|(group, values)| (*group, Peers::of(values)))
        .collect();
    let of = |claim: &Claim| {
        let procedure = claim.procedure.as_deref()?;
        let own = peers.get(&(procedure, Some(claim.specialty.as_str())));
        own.or_else(|| peers.get(&(procedure, None))).copied()
    };
    claims.iter().map(of).collect()
}

/// Observed over expected by provider and specialty, beyond the fences of the specialty.
fn providers(claims: &[Claim], peers: &[Option<Peers>], risk: &Risk) -> Vec<Option<Band>> {
    let key = |claim: &Claim| (claim.specialty.clone(), claim.provider.clone());
    let mut sums: BTreeMap<(String, String), (u64, f64, f64)> = BTreeMap::new();
    for (claim, peers) in claims.iter().zip(peers) {
        if let Some(peers) = peers.filter(|_| claim.cents > 0) {
            let sum = sums.entry(key(claim)).or_default();
            sum.0 += 1;
            sum.1 += claim.cents as f64 / 100.0;
            sum.2 += peers.median.exp();
        }
    }
    sums.retain(|(specialty, _), sum| sum.0 >= risk.min_provider_claims && !specialty.is_empty());
    let ratios: BTreeMap<_, f64> =
        sums.into_iter().map(|(key, sum)| (key, sum.1 / sum.2)).collect();
    let mut by_specialty: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for ((specialty, _), ratio) in &ratios {
        by_specialty.entry(specialty).or_default().push(*ratio);
    }
    let quartiles: BTreeMap<&str, (f64, f64)> = by_specialty
        .into_iter()
        .filter(|(_, ratios)| ratios.len() as u64 >= risk.min_providers)
        .map(|(specialty, ratios)| {
            let ratios = sorted(ratios);
            (specialty, (quantile(&ratios, 0.25), quantile(&ratios, 0.75)))
        })
        .collect();
    let of = |claim: &Claim| {
        let ratio = *ratios.get(&key(claim))?;
        let (q1, q3) = *quartiles.get(claim.specialty.as_str())?;
        let (less, more) = ((-HALF - NOISE).exp(), (HALF + NOISE).exp());
        let iqr = |q1: f64, q3: f64| (q3 - q1).max(0.1);
        Some(Band {
            low: beyond_fences((ratio * less).max(q3 * more), q3 * more, iqr(q1 * less, q3 * more)),
            exact: beyond_fences(ratio, q3, iqr(q1, q3)),
            high: beyond_fences(
                (ratio * more).max(q3 * less),
                q3 * less,
                iqr(q1 * more, q3 * less),
            ),
        })
    };
    claims.iter().map(of).collect()
}

/// Patients of a provider on a day, beyond the fences of the specialty's days.
fn volumes(claims: &[Claim], risk: &Risk) -> Vec<Option<f64>> {
    let mut days: BTreeMap<(&str, &str, NaiveDate), BTreeSet<&str>> = BTreeMap::new();
    let priced = |claim: &&Claim| claim.cents > 0;
    for claim in claims.iter().filter(priced) {
        let day = (claim.specialty.as_str(), claim.provider.as_str(), claim.day);
        days.entry(day).or_default().insert(&claim.patient);
    }
    let mut counts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for ((specialty, ..), patients) in &days {
        counts.entry(specialty).or_default().push(patients.len() as f64);
    }
    let counts: BTreeMap<&str, Vec<f64>> =
        counts.into_iter().map(|(specialty, counts)| (specialty, sorted(counts))).collect();
    let of = |claim: &Claim| {
        let counts = counts.get(claim.specialty.as_str())?;
        let day = days.get(&(claim.specialty.as_str(), claim.provider.as_str(), claim.day))?;
        let comparable = counts.len() as u64 >= risk.min_provider_days
            && claim.cents > 0
            && !claim.specialty.is_empty();
        let (q1, q3) = (quantile(counts, 0.25), quantile(counts, 0.75));
        comparable.then(|| beyond_fences(day.len() as f64, q3, (q3 - q1).max(1.0)))
    };
    claims.iter().map(of).collect()
}

/// 1 where another claim says the same, 0.2 where one has the same patient, procedure and day.
fn duplicates(claims: &[Claim]) -> Vec<Option<f64>> {
    let mut same: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    let mut suspect: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    let service = |claim: &Claim| {
        let procedure = claim.procedure.clone().filter(|_| claim.cents > 0)?;
        Some((claim.patient.clone(), procedure, claim.day))
    };
    for claim in claims {
        if let Some(service) = service(claim) {
            let all = (service.clone(), claim.provider.clone(), claim.cents);
            same.entry(all).or_default().insert(&claim.id);
            suspect.entry(service).or_default().insert(&claim.id);
        }
    }
    let of = |claim: &Claim| {
        let service = service(claim)?;
        let all = (service.clone(), claim.provider.clone(), claim.cents);
        Some(match (same[&all].len(), suspect[&service].len()) {
            (2.., _) => 1.0,
            (_, 2..) => 0.2,
            _ => 0.0,
        })
    };
    claims.iter().map(of).collect()
}

/// How much rarer a procedure is in a specialty than it would be by chance.
fn mismatches(claims: &[Claim], risk: &Risk) -> Vec<Option<f64>> {
    let mut pairs: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    let mut procedures: BTreeMap<&str, f64> = BTreeMap::new();
    let mut specialties: BTreeMap<&str, f64> = BTreeMap::new();
    let mut all = 0.0;
    for claim in claims.iter().filter(|claim| claim.cents > 0 && !claim.specialty.is_empty()) {
        if let Some(procedure) = &claim.procedure {
            *pairs.entry((procedure, &claim.specialty)).or_default() += 1.0;
            *procedures.entry(procedure).or_default() += 1.0;
            *specialties.entry(&claim.specialty).or_default() += 1.0;
            all += 1.0;
        }
    }
    let of = |claim: &Claim| {
        let (procedure, specialty) = (claim.procedure.as_deref()?, claim.specialty.as_str());
        let expected = procedures.get(procedure)? * specialties.get(specialty)? / all;
        let found = pairs.get(&(procedure, specialty)).copied().unwrap_or_default();
        let enough = expected >= risk.min_expected as f64;
        enough.then(|| (1.0 - found / expected / 0.25).clamp(0.0, 1.0))
    };
    claims.iter().map(of).collect()
}

/// A weekend claim of a specialty that hardly has any.
fn weekends(claims: &[Claim], risk: &Risk) -> Vec<Option<f64>> {
    let weekend = |claim: &Claim| matches!(claim.day.weekday(), Weekday::Sat | Weekday::Sun);
    let mut habits: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for claim in claims.iter().filter(|claim| claim.cents > 0 && !claim.specialty.is_empty()) {
        let habit = habits.entry(&claim.specialty).or_default();
        habit.0 += 1;
        habit.1 += u64::from(weekend(claim));
    }
    let of = |claim: &Claim| {
        let (claims, on_weekends) = *habits.get(claim.specialty.as_str())?;
        let rare = (on_weekends as f64) < risk.rare_weekend * claims as f64;
        (claims >= risk.min_peers).then(|| f64::from(u8::from(rare && weekend(claim))))
    };
    claims.iter().map(of).collect()
}

/// The noisy-OR, 0 to 100.
fn score(components: impl Iterator<Item = f64>, risk: &Risk) -> f64 {
    let quiet = components.zip(risk.weights()).map(|(component, weight)| 1.0 - weight * component);
    100.0 * (1.0 - quiet.product::<f64>())
}

/// What the comparison has found.
#[derive(Debug, Default)]
struct Agreement {
    rows: usize,
    /// Rows whose score differs by more than 1.0, all of them within their band.
    far: usize,
    /// The largest difference of a score.
    worst_score: f64,
    /// The largest difference of each component.
    worst: [f64; 6],
    /// Rows with a component that is above 0, and rows where it is null.
    above: [usize; 6],
    absent: [usize; 6],
}

/// Compares all stored rows with the claims of the files.
fn compared(env: &TestEnv, claims: &[Claim]) -> Agreement {
    let risk = &env.settings.risk;
    let key = MasterKey::load(&env.settings.key_path()).expect("the run's key");
    let tokens = key.tokenizer(Domain::Claim);
    let mut stored: HashMap<Uuid, (f64, i64)> = HashMap::new();
    let query = "SELECT concat_ws(' ', claim_token, risk_score, risk_components)
        FROM healthcare_analytics.claims_fact";
    for row in env.rows(query) {
        let mut parts = row.split(' ');
        let mut next = || parts.next().expect("three values");
        let token = next().parse().expect("a token");
        let values = (next().parse().expect("a score"), next().parse().expect("components"));
        assert_eq!(stored.insert(token, values), None, "a claim is one row here");
    }
    assert_eq!(stored.len(), claims.len(), "every claim is loaded");

    let mut found = Agreement { rows: claims.len(), ..Agreement::default() };
    for (claim, components) in claims.iter().zip(scored(claims, risk)) {
        let token = Uuid::from_bytes(tokens.token(&claim.id).expect("a token"));
        let (stored_score, packed) = stored[&token];
        let context = || format!("{token} {claim:?}: {components:?}, stored {stored_score}");
        let (mut least, mut most) = ([0.0; 6], [0.0; 6]);
        for (place, component) in components.iter().enumerate() {
            let thousandths = packed >> (10 * place) & 1023;
            let Some(band) = component else {
                assert_eq!(thousandths, 1023, "{} is null: {}", NAMES[place], context());
                found.absent[place] += 1;
                continue;
            };
            assert_ne!(thousandths, 1023, "{} is not null: {}", NAMES[place], context());
            let value = thousandths as f64 / 1000.0;
            // Half a thousandth is lost when it is stored.
            least[place] = band.low - 0.0005 - NOISE;
            most[place] = band.high + 0.0005 + NOISE;
            assert!(
                (least[place]..=most[place]).contains(&value),
                "{} is {value}: {}",
                NAMES[place],
                context()
            );
            found.worst[place] = found.worst[place].max((value - band.exact).abs());
            found.above[place] += usize::from(thousandths > 0);
        }
        let exact = score(components.iter().map(|band| band.map_or(0.0, |band| band.exact)), risk);
        let (low, high) = (score(least.into_iter(), risk), score(most.into_iter(), risk));
        assert!((low - 0.05..=high + 0.05).contains(&stored_score), "{}", context());
        let difference = (stored_score - exact).abs();
        found.worst_score = found.worst_score.max(difference);
        found.far += usize::from(difference > 1.0);
    }
    assert!(found.far * 200 <= found.rows, "{found:?}");
    found
}

/// Says what was found: docs/risk.md has these figures.
#[expect(clippy::print_stderr, reason = "figures for the documentation")]
fn print_agreement(name: &str, found: &Agreement) {
    eprintln!("{name}: {found:?}");
}

fn load(claims: &Path, providers: &Path, run_date: &str) -> TestEnv {
    let mut env = TestEnv::new();
    env.settings.refresh.dashboard.enabled = false;
    env.settings.rules.run_date = Some(run_date.into());
    env.settings.claims.sources = vec![claims.display().to_string()];
    env.settings.providers.sources = vec![providers.display().to_string()];
    succeeded(&env.run());
    env
}

fn agrees_on(name: &str) {
    let Some(folder) = real_data::data(name) else { return };
    let (claims, providers) = (folder.join("claims.csv"), folder.join("providers.csv"));
    let env = load(&claims, &providers, "2026-12-31");
    print_agreement(name, &compared(&env, &read(&claims, &providers)));
}

#[test]
fn the_oracle_agrees_on_synthea() {
    agrees_on("synthea");
}

#[test]
fn the_oracle_agrees_on_surakanti() {
    agrees_on("surakanti");
}

#[test]
fn the_oracle_agrees_on_desynpuf() {
    agrees_on("desynpuf");
}

/// Synthetic claims with something for every component: twins, suspects, a busy day, a dear
/// provider, procedures of other specialties, high amounts.
pub(crate) fn with_anomalies(folder: &Path, claims: u64) {
    let spec = Spec { claims, providers: 150, seed: 11, dirty: 0.0 };
    let made = synth::generate(&spec, folder, &NullObserver, &Cancellation::default());
    let made = made.expect("generated");
    let text = fs::read_to_string(&made.claims_path).expect("text");
    let mut rows: Vec<Vec<String>> =
        text.lines().skip(1).map(|row| row.split(',').map(ToOwned::to_owned).collect()).collect();
    let dear = rows[0][2].clone();
    for row in rows.iter_mut().filter(|row| row[2] == dear && !row[4].starts_with('-')) {
        let cents = 4 * cents(&row[4]);
        row[4] = format!("{}.{:02}", cents / 100, cents % 100);
    }
    let clean = rows.clone();
    for (place, row) in clean.iter().enumerate() {
        // A prime, so that all kinds of rows come by.
        if place % 97 != 0 {
            continue;
        }
        let mut other = row.clone();
        other[0] = format!("ADDED{place}");
        match place / 97 % 5 {
            0 => {}
            1 => other[4] = "77.77".into(),
            2 => other[2].clone_from(&clean[place + 1][2]),
            3 => other[3].clone_from(&clean[(place + 500) % clean.len()][3]),
            _ => other[4] = format!("{}.00", 12 * cents(&row[4]).max(100) / 100),
        }
        rows.push(other);
    }
    let busy = &clean[5];
    for patient in 0..40 {
        let mut other = busy.clone();
        other[0] = format!("BUSY{patient}");
        other[1] = format!("BUSY{patient}");
        rows.push(other);
    }
    let mut text = text.lines().next().expect("a header").to_owned();
    for row in rows {
        text = text + "\n" + &row.join(",");
    }
    fs::write(&made.claims_path, text + "\n").expect("written");
}

#[test]
fn the_oracle_agrees_on_synthetic_claims_with_something_of_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    with_anomalies(folder.path(), 20_000);
    let (claims, providers) =
        (folder.path().join("claims.csv"), folder.path().join("providers.csv"));
    let env = load(&claims, &providers, "2024-12-31");
    let found = compared(&env, &read(&claims, &providers));
    print_agreement("synthetic", &found);
    for (place, name) in NAMES.into_iter().enumerate() {
        assert!(found.above[place] > 10, "{name}: {found:?}");
        assert!(found.absent[place] < found.rows * 3 / 4, "{name}: {found:?}");
    }
}
