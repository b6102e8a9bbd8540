//! Throughput of the transform in claims/s: from CSV text to finished batches, at three sizes, step
//! by step. The input is synthetic and written outside the timed part; every row is counted, so no
//! step can be optimised away.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use claims_etl::config::{Rules, Settings};
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::extract::{self, Extracted};
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
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use polars::prelude::{DataFrame, IntoLazy, LazyFrame, lit};

/// Providers of every size.
const PROVIDERS: u32 = 50_000;

/// The stage's inputs for one size.
struct Input {
    extracted: Extracted,
    directory: Directory,
    claims: Claims,
}

fn input(folder: &Path, rows: u64) -> Input {
    let spec = Spec { claims: rows, providers: PROVIDERS, seed: 7, dirty: 0.01 };
    let made =
        synth::generate(&spec, folder, &NullObserver, &Cancellation::default()).expect("written");
    let mut settings = Settings::default();
    settings.claims.sources = vec![made.claims_path.display().to_string()];
    settings.providers.sources = vec![made.providers_path.display().to_string()];
    let found =
        |dataset| extract::extract(dataset, &settings, &Cancellation::default()).expect("found");
    let directory = found(Dataset::Providers);
    let directory = extract::scan(&directory).all();
    let directory =
        provider_rows(directory.expect("scans"), &RuleSet::new(&settings.rules, 0).expect("rules"));
    let directory = directory.collect().expect("runs");
    let key = MasterKey::ephemeral().expect("a key");
    let release = Release::new(&Privacy::default(), &key).expect("a release");
    let release = Arc::new(release);
    let directory = Directory::new(&directory, OnDuplicate::Last, &release).expect("a directory");
    let formats = Arc::new(DateFormats::of(&settings).expect("formats"));
    // A day of the synthetic claims' last year.
    let rules = Rules { run_date: Some("2024-12-31".into()), ..Rules::default() };
    let checks = Arc::new(RuleSet::new(&rules, 0).expect("rules"));
    Input {
        extracted: found(Dataset::Claims),
        claims: Claims::new(&directory, &formats, &checks, &release),
        directory,
    }
}

impl Input {
    /// Runs a plan over all blocks on all cores without keeping a row; returns the rows.
    fn drain(&self, plan: impl Fn(LazyFrame) -> LazyFrame + Sync) -> u64 {
        self.each(|block| black_box(plan(block).collect().expect("runs")).height() as u64)
    }

    fn each(&self, work: impl Fn(LazyFrame) -> u64 + Sync) -> u64 {
        let blocks = extract::scan(&self.extracted);
        let rows = AtomicU64::new(0);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(block) = blocks.next_block().expect("reads") {
                        let frame = block.frame().expect("parses");
                        rows.fetch_add(work(frame), Ordering::Relaxed);
                    }
                });
            }
        });
        rows.load(Ordering::Relaxed)
    }

    /// What the scores are made with.
    fn model(&self) -> Arc<Scorer> {
        let kept = Kept::of(&Risk::default(), Exactness::WHOLE);
        let mut counter = Counter::new(kept, Exactness::WHOLE, &Arc::default());
        counter.observe(&self.first_pass(), &self.directory).expect("counted");
        let mut statistics = Statistics::default();
        counter.add_to(&mut statistics, &self.directory);
        let model = RiskModel::new(Medians::fit(&statistics, &Risk::default()), []);
        Scorer::new(model, Exactness::WHOLE, &self.directory, [])
    }

    /// The rows of the first pass, all at once.
    fn first_pass(&self) -> DataFrame {
        let blocks = extract::scan(&self.extracted);
        self.claims.rows(blocks.all().expect("reads")).collect().expect("runs")
    }
}

fn join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("join");
    group.sample_size(10);
    for rows in [10_000_u64, 100_000, 1_000_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let input = input(folder.path(), rows);
        let total = input.drain(|block| block);
        group.throughput(Throughput::Elements(total));
        let id =
            |steps: &str| BenchmarkId::new(steps, format!("rows={rows}/providers={PROVIDERS}"));
        group.bench_function(id("scan"), |b| {
            b.iter(|| assert_eq!(input.drain(|block| block), total));
        });
        group.bench_function(id("scan+validate+join"), |b| {
            b.iter(|| assert_eq!(input.drain(|block| input.claims.joined(block)), total));
        });
        group.bench_function(id("scan+validate+join+hash"), |b| {
            b.iter(|| assert_eq!(input.drain(|block| input.claims.rows(block)), total));
        });
        let model = input.model();
        let severities = Severities::default();
        group.bench_function(id("scan+validate+join+hash+score"), |b| {
            b.iter(|| {
                let rows = input.each(|block| {
                    let rows = input.claims.rows(block).collect().expect("runs");
                    let rows = rows.lazy().with_columns([lit(Twin::None.code()).alias(TWIN)]);
                    let plan = scored(rows, &input.directory, Some(&model), &severities, None);
                    black_box(plan.collect().expect("runs")).height() as u64
                });
                assert_eq!(rows, total);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, join);
criterion_main!(benches);
