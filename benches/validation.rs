//! What validation costs a clean input, as a share of the transform: rounds of the whole transform,
//! of the same without the rules, and of reading alone, one after the other, so that whatever else
//! the machine does meets all of them.

#![expect(clippy::print_stdout, reason = "figures are its result")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use claims_etl::config::{Rules, Settings};
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::extract::{self, Block, Extracted};
use claims_etl::key::MasterKey;
use claims_etl::privacy::settings::Privacy;
use claims_etl::risk::settings::Risk;
use claims_etl::risk::{Exactness, Kept, Medians, RiskModel, Statistics, Twin};
use claims_etl::rule::{OnDuplicate, Severities};
use claims_etl::schema::{Dataset, TWIN};
use claims_etl::synth::{self, Spec};
use claims_etl::transform::{
    Claims, Counter, DateFormats, Directory, Release, RuleSet, Scorer, provider_rows, scored,
};
use polars::prelude::{DataFrame, IntoLazy, lit};

const CLAIMS: u64 = 2_000_000;
const ROUNDS: usize = 9;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = Spec { claims: CLAIMS, providers: 50_000, seed: 7, dirty: 0.0 };
    let made = synth::generate(&spec, folder.path(), &NullObserver, &Cancellation::default());
    let made = made.expect("written");
    let mut settings = Settings::default();
    settings.claims.sources = vec![made.claims_path.display().to_string()];
    settings.providers.sources = vec![made.providers_path.display().to_string()];
    let found =
        |dataset| extract::extract(dataset, &settings, &Cancellation::default()).expect("found");
    let directory = extract::scan(&found(Dataset::Providers)).all().expect("scans");
    let directory = provider_rows(directory, &RuleSet::new(&settings.rules, 0).expect("rules"));
    let directory = directory.collect().expect("runs");
    let key = MasterKey::ephemeral().expect("a key");
    let release = Release::new(&Privacy::default(), &key).expect("a release");
    let release = Arc::new(release);
    let directory = Directory::new(&directory, OnDuplicate::Last, &release).expect("a directory");
    let formats = Arc::new(DateFormats::of(&settings).expect("formats"));
    // The day after the synthetic claims' last, and no code system, as by default.
    let rules = Rules { run_date: Some("2025-01-01".into()), ..Rules::default() };
    let checks = Arc::new(RuleSet::new(&rules, 0).expect("rules"));
    let claims = Claims::new(&directory, &formats, &checks, &release);
    let extracted = found(Dataset::Claims);
    let model = model(&extracted, &claims, &directory);
    let severities = Severities::default();
    let score = |rows: DataFrame| {
        let rows = rows.lazy().with_columns([lit(Twin::None.code()).alias(TWIN)]);
        let plan = scored(rows, &directory, Some(&model), &severities, None);
        black_box(plan.collect().expect("runs")).height() as u64
    };

    let reading = |block: Block<'_>| block.records();
    let parsing = |block: Block<'_>| {
        black_box(block.frame().expect("parses").collect().expect("runs")).height() as u64
    };
    let unjudged = |block: Block<'_>| {
        score(claims.unjudged(block.frame().expect("parses")).collect().expect("runs"))
    };
    let whole = |block: Block<'_>| {
        score(claims.rows(block.frame().expect("parses")).collect().expect("runs"))
    };
    let mut seconds: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        seconds[0].push(timed(&extracted, &reading));
        seconds[1].push(timed(&extracted, &parsing));
        seconds[2].push(timed(&extracted, &unjudged));
        seconds[3].push(timed(&extracted, &whole));
    }
    let [reading, parsing, unjudged, whole] = seconds.map(median);
    let share = |part: f64| 100.0 * part / whole;
    println!("{CLAIMS} clean claims, {ROUNDS} rounds, medians:");
    for (name, seconds) in [
        ("reading, cutting, hashing the bytes", reading),
        ("the same and parsing to columns of text", parsing),
        ("transform without the rules", unjudged),
        ("transform", whole),
    ] {
        println!("  {name:<42} {seconds:>6.3} s  {:>5.1} %", share(seconds));
    }
    println!("validation by the rules: {:.1} % of the transform", share(whole - unjudged));
}

/// Seconds for all blocks on all cores.
fn timed(extracted: &Extracted, work: &(impl Fn(Block<'_>) -> u64 + Sync)) -> f64 {
    let blocks = extract::scan(extracted);
    let rows = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(block) = blocks.next_block().expect("reads") {
                    rows.fetch_add(work(block), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(rows.into_inner(), CLAIMS, "every row is counted");
    started.elapsed().as_secs_f64()
}

fn model(extracted: &Extracted, claims: &Claims, directory: &Directory) -> Arc<Scorer> {
    let rows = claims.rows(extract::scan(extracted).all().expect("reads"));
    let kept = Kept::of(&Risk::default(), Exactness::WHOLE);
    let mut counter = Counter::new(kept, Exactness::WHOLE, &Arc::default());
    counter.observe(&rows.collect().expect("runs"), directory).expect("counted");
    let mut statistics = Statistics::default();
    counter.add_to(&mut statistics, directory);
    let model = RiskModel::new(Medians::fit(&statistics, &Risk::default()), []);
    Scorer::new(model, Exactness::WHOLE, directory, [])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
