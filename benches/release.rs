//! What the actions cost: rounds of the first pass with the default profile, with each action and
//! with all of them, one after the other, so that whatever else the machine does meets all of them.
//! The number of claims can be given.

#![expect(clippy::print_stdout, reason = "figures are its result")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use claims_etl::config::{Rules, Settings};
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::extract::{self, Extracted};
use claims_etl::key::MasterKey;
use claims_etl::privacy::settings::{Action, Level, Privacy};
use claims_etl::rule::OnDuplicate;
use claims_etl::schema::Dataset;
use claims_etl::synth::{self, Spec};
use claims_etl::totals::Cents;
use claims_etl::transform::{Claims, DateFormats, Directory, Release, RuleSet, provider_rows};
use polars::prelude::DataFrame;

const CLAIMS: u64 = 2_000_000;
const ROUNDS: usize = 7;

fn main() {
    let claims = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(CLAIMS);
    let folder = tempfile::tempdir().expect("a folder");
    let spec = Spec { claims, providers: 50_000, seed: 7, dirty: 0.0 };
    let made = synth::generate(&spec, folder.path(), &NullObserver, &Cancellation::default());
    let made = made.expect("written");
    let mut settings = Settings::default();
    settings.claims.sources = vec![made.claims_path.display().to_string()];
    settings.providers.sources = vec![made.providers_path.display().to_string()];
    let found =
        |dataset| extract::extract(dataset, &settings, &Cancellation::default()).expect("found");
    let directory = extract::scan(&found(Dataset::Providers)).all().expect("scans");
    let providers = provider_rows(directory, &RuleSet::new(&Rules::default(), 0).expect("rules"));
    let providers = providers.collect().expect("runs");
    let extracted = found(Dataset::Claims);

    let one = |column: &str, action: Action| vec![(column.to_owned(), action)];
    let cents = |cents: i128| Cents(cents);
    let (token, month) = (Action::Token, Action::Generalize(Level::Month));
    let (round, shift) = (Action::Round(cents(1_000)), Action::DateShift(364));
    let cases = [
        ("the default profile", Vec::new()),
        ("provider_id = token", one("provider_id", token.clone())),
        ("procedure_code = truncate", one("procedure_code", Action::Truncate(3))),
        ("date_of_service = month", one("date_of_service", month)),
        ("date_of_service = date_shift", one("date_of_service", shift.clone())),
        ("amount = round", one("amount", round.clone())),
        (
            "all at once",
            [
                one("provider_id", token),
                one("procedure_code", Action::Truncate(3)),
                one("date_of_service", shift),
                one("amount", round),
            ]
            .concat(),
        ),
    ];
    let plans = cases.map(|(name, actions)| (name, plan(&settings, &providers, actions)));
    let mut seconds: Vec<Vec<f64>> = plans.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for ((_, plan), seconds) in plans.iter().zip(&mut seconds) {
            seconds.push(timed(&extracted, plan, claims));
        }
    }
    println!("{claims} clean claims, first pass without shuffle, {ROUNDS} rounds, medians:");
    let default = median(&seconds[0]);
    for ((name, _), seconds) in plans.iter().zip(&seconds) {
        let seconds = median(seconds);
        println!("  {name:<30} {seconds:>7.3} s  {:>6.1} %", 100.0 * seconds / default);
    }
}

fn plan(settings: &Settings, providers: &DataFrame, actions: Vec<(String, Action)>) -> Claims {
    let privacy = Privacy { columns: actions.into_iter().collect(), ..Privacy::default() };
    let key = MasterKey::ephemeral().expect("a key");
    let release = Arc::new(Release::new(&privacy, &key).expect("a release"));
    let directory = Directory::new(providers, OnDuplicate::Last, &release).expect("a directory");
    let formats = Arc::new(DateFormats::of(settings).expect("formats"));
    // The day after the synthetic claims' last.
    let rules = Rules { run_date: Some("2025-01-01".into()), ..Rules::default() };
    let checks = Arc::new(RuleSet::new(&rules, 0).expect("rules"));
    Claims::new(&directory, &formats, &checks, &release)
}

/// Seconds for all blocks on all cores.
fn timed(extracted: &Extracted, plan: &Claims, claims: u64) -> f64 {
    let blocks = extract::scan(extracted);
    let rows = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(block) = blocks.next_block().expect("reads") {
                    let frame = plan.rows(block.frame().expect("parses")).collect().expect("runs");
                    rows.fetch_add(black_box(frame).height() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(rows.into_inner(), claims, "every row is counted");
    started.elapsed().as_secs_f64()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
