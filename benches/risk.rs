//! What the risk score costs, as a share of the transform: rounds of dry runs with all components,
//! with none, and with each of them left out, one after the other, so that whatever else the machine
//! does meets all of them.

#![expect(clippy::print_stdout, reason = "figures are its result")]

use claims_etl::config::Settings;
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::pipeline::{self, RunOptions, Status};
use claims_etl::risk::settings::Risk;
use claims_etl::synth::{self, Spec};

const CLAIMS: u64 = 2_000_000;
const ROUNDS: usize = 7;
const COMPONENTS: [&str; 6] = ["amount", "duplicate", "provider", "volume", "mismatch", "weekend"];
/// The tasks that transform; in a dry run the second stages nothing.
const TASKS: [&str; 2] = ["transform_join", "load.load_warehouse"];

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = Spec { claims: CLAIMS, providers: 50_000, seed: 7, dirty: 0.0 };
    let made = synth::generate(&spec, folder.path(), &NullObserver, &Cancellation::default());
    let made = made.expect("written");
    let mut settings = Settings::default();
    settings.run.data_dir = folder.path().join("data");
    settings.rules.run_date = Some("2025-01-01".into());
    settings.refresh.dashboard.enabled = false;
    settings.claims.sources = vec![made.claims_path.display().to_string()];
    settings.providers.sources = vec![made.providers_path.display().to_string()];

    let mut variants: Vec<(String, Risk)> = vec![
        ("the whole score".into(), Risk::default()),
        ("no score".into(), without(&COMPONENTS)),
    ];
    variants.extend(COMPONENTS.map(|name| (format!("without {name}"), without(&[name]))));
    // The amounts are counted for three components, which share that cost.
    variants.push((
        "without amount, provider, mismatch".into(),
        without(&["amount", "provider", "mismatch"]),
    ));
    let mut seconds = vec![Vec::new(); variants.len()];
    for _ in 0..ROUNDS {
        for ((_, risk), seconds) in variants.iter().zip(&mut seconds) {
            settings.risk = risk.clone();
            seconds.push(transform(&settings));
        }
    }
    let seconds: Vec<f64> = seconds.into_iter().map(median).collect();
    let whole = seconds[0];
    println!("{CLAIMS} clean claims, {ROUNDS} rounds, medians of the transform:");
    for ((name, _), seconds) in variants.iter().zip(&seconds) {
        let saved = 100.0 * (whole - seconds) / whole;
        println!("  {name:<36} {seconds:>6.3} s  {saved:>5.1} % less");
    }
    println!("the risk score: {:.1} % of the transform", 100.0 * (whole - seconds[1]) / whole);
}

/// The score without some components.
fn without(names: &[&str]) -> Risk {
    let mut risk = Risk::default();
    for name in names {
        *match *name {
            "amount" => &mut risk.weight_amount,
            "duplicate" => &mut risk.weight_duplicate,
            "provider" => &mut risk.weight_provider,
            "volume" => &mut risk.weight_volume,
            "mismatch" => &mut risk.weight_mismatch,
            "weekend" => &mut risk.weight_weekend,
            other => unreachable!("{other} is no component"),
        } = 0.0;
    }
    risk
}

/// Seconds of a dry run's transform.
fn transform(settings: &Settings) -> f64 {
    let options = RunOptions { force: true, dry_run: true };
    let report = pipeline::run(settings, &options, &NullObserver, &Cancellation::default());
    assert_eq!(report.status, Status::Success, "{:?}", report.error);
    assert_eq!(report.claims.read, CLAIMS, "every row is counted");
    report
        .tasks
        .iter()
        .filter(|task| TASKS.contains(&task.id.as_str()))
        .map(|task| task.seconds)
        .sum()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
