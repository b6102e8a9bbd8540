//! Throughput of the transform in claims/s: from CSV text to finished batches, at three sizes,
//! with and without hashing and scoring. The input is synthetic and written outside the timed
//! part; every batch is counted, so no step can be optimised away.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use claims_etl::config::{OnDuplicate, Risk, Source};
use claims_etl::event::{Cancellation, Silent};
use claims_etl::extract;
use claims_etl::key::MasterKey;
use claims_etl::schema::Dataset;
use claims_etl::synth::{self, Spec};
use claims_etl::transform::{Claims, DateFormats, Directory, PeerCounts, RiskModel, provider_rows};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use polars::prelude::{DataFrame, Engine, LazyFrame, PlanCallback};

/// Providers of every size.
const PROVIDERS: u32 = 50_000;

/// The stage's inputs for one size.
struct Input {
    claims: LazyFrame,
    directory: Directory,
    formats: Arc<DateFormats>,
    key: MasterKey,
}

fn input(folder: &Path, rows: u64) -> Input {
    let spec = Spec { claims: rows, providers: PROVIDERS, seed: 7, dirty: 0.01 };
    let made = synth::generate(&spec, folder, &Silent, &Cancellation::default()).expect("written");
    let source =
        |path: &Path| Source { sources: vec![path.display().to_string()], ..Source::default() };
    let scan = |dataset, path: &Path| {
        let source = source(path);
        let found = extract::extract(dataset, &source, &Cancellation::default()).expect("found");
        extract::scan(&found, &source).expect("scans")
    };
    let providers = collect(provider_rows(scan(Dataset::Providers, &made.providers_path)));
    Input {
        claims: scan(Dataset::Claims, &made.claims_path),
        directory: Directory::new(&providers, OnDuplicate::Last).expect("a directory"),
        formats: Arc::new(DateFormats::new(&Source::default().date_formats).expect("formats")),
        key: MasterKey::ephemeral().expect("a key"),
    }
}

fn collect(plan: LazyFrame) -> DataFrame {
    plan.collect_with_engine(Engine::Streaming).expect("runs").unwrap_single()
}

/// The first pass.
fn count(observations: LazyFrame) -> PeerCounts {
    let counts = Arc::new(Mutex::new(PeerCounts::default()));
    let books = Arc::clone(&counts);
    let take = move |batch: DataFrame| {
        books.lock().expect("one thread").observe(&batch).expect("counted");
        Ok(false)
    };
    observations
        .sink_batches(PlanCallback::new(take), false, None)
        .and_then(|plan| plan.collect_with_engine(Engine::Streaming))
        .expect("runs");
    std::mem::take(&mut *counts.lock().expect("one thread"))
}

/// Runs a plan to its end without keeping a row; returns the rows.
fn drain(plan: LazyFrame) -> u64 {
    let rows = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&rows);
    let take = move |batch: DataFrame| {
        counter.fetch_add(black_box(batch).height() as u64, Ordering::Relaxed);
        Ok(false)
    };
    plan.sink_batches(PlanCallback::new(take), false, None)
        .and_then(|plan| plan.collect_with_engine(Engine::Streaming))
        .expect("runs");
    rows.load(Ordering::Relaxed)
}

fn join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("join");
    group.sample_size(10);
    for rows in [10_000_u64, 100_000, 1_000_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let input = input(folder.path(), rows);
        let joined =
            || Claims::joined(input.claims.clone(), &input.directory, &input.formats, &input.key);
        let total = drain(joined().unscored());
        group.throughput(Throughput::Elements(total));
        let id =
            |steps: &str| BenchmarkId::new(steps, format!("rows={rows}/providers={PROVIDERS}"));
        group.bench_function(id("scan"), |b| b.iter(|| drain(input.claims.clone())));
        group.bench_function(id("scan+validate+join"), |b| {
            b.iter(|| assert_eq!(drain(joined().unscored()), total));
        });
        group.bench_function(id("peer counts"), |b| b.iter(|| count(joined().observations())));
        let counts = count(joined().observations());
        let model = Arc::new(RiskModel::fit(&counts, &Risk::default()));
        group.bench_function(id("scan+validate+join+hash+score"), |b| {
            b.iter(|| assert_eq!(drain(joined().plan(&model, &input.key)), total));
        });
    }
    group.finish();
}

criterion_group!(benches, join);
criterion_main!(benches);
