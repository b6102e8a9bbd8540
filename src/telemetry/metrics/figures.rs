//! Metrics and their OpenMetrics text.
//!
//! Labels are names of tasks, rules and targets, never data values.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::totals::{Cents, ControlTotals};

const PREFIX: &str = "claims_etl";
/// All statuses of a run.
const STATUSES: [&str; 3] = ["success", "already_loaded", "failed"];

type Labels = Vec<(&'static str, String)>;
type Number = Gauge<f64, AtomicU64>;
type Count = Gauge<u64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// The last completed run.
    pub last_run: Option<LastRun>,
    pub last_success: Option<DateTime<Utc>>,
    pub totals: Option<Totals>,
}

/// A completed run.
#[derive(Debug, Clone, PartialEq)]
pub struct LastRun {
    pub(crate) started: DateTime<Utc>,
    pub(crate) ended: DateTime<Utc>,
    /// `success`, `already_loaded` or `failed`.
    pub(crate) status: &'static str,
    pub(crate) exit_code: u8,
    pub(crate) account: ControlTotals,
    /// Bytes read per input.
    pub(crate) bytes: BTreeMap<&'static str, u64>,
    pub(crate) tasks: Vec<TaskFigures>,
    pub(crate) targets: Vec<TargetFigures>,
}

impl LastRun {
    /// Input that was already loaded is not a failure.
    #[must_use]
    pub(crate) fn is_success(&self) -> bool {
        self.status != "failed"
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct TaskFigures {
    pub(crate) task: String,
    /// Succeeded or skipped.
    pub(crate) success: bool,
    pub(crate) attempts: u32,
    /// Total of all attempts.
    pub(crate) seconds: f64,
}

/// One refreshed target.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetFigures {
    pub(crate) target: String,
    /// `succeeded`, `failed`, …
    pub(crate) outcome: String,
    pub(crate) seconds: f64,
}

/// Counts of a scheduler since its start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Totals {
    /// Runs by status.
    pub runs: BTreeMap<String, u64>,
    /// Data intervals by state.
    pub intervals: BTreeMap<String, u64>,
    pub next_run: Option<DateTime<Utc>>,
}

impl Figures {
    /// OpenMetrics text. Without counters it is also valid in the older Prometheus format.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        let mut registry = Registry::with_prefix(PREFIX);
        let built = Family::<Labels, Count>::default();
        built.get_or_create(&label("version", env!("CARGO_PKG_VERSION"))).set(1);
        registry.register("build_info", "The version that wrote these figures", built);
        if let Some(success) = self.last_success {
            let at = number(seconds(success));
            registry.register("last_success_timestamp_seconds", "When a run last succeeded", at);
        }
        if let Some(run) = &self.last_run {
            run.register(&mut registry);
        }
        if let Some(totals) = &self.totals {
            totals.register(&mut registry);
        }
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

impl LastRun {
    fn register(&self, registry: &mut Registry) {
        let run = registry.sub_registry_with_prefix("last_run");
        let started = number(seconds(self.started));
        run.register("start_timestamp_seconds", "When the last run started", started);
        let ended = number(seconds(self.ended));
        run.register("end_timestamp_seconds", "When the last run ended", ended);
        let took = number(seconds(self.ended) - seconds(self.started));
        run.register("duration_seconds", "Duration of the last run", took);
        let success = count(u64::from(self.is_success()));
        run.register("success", "Whether the last run succeeded", success);
        run.register("exit_code", "The exit code of the last run", count(self.exit_code.into()));
        let status =
            STATUSES.map(|known| (label("status", known), u64::from(self.status == known)));
        run.register("status", "Status of the last run", counts(status));
        self.register_rows(run);
        let bytes = self.bytes.iter().map(|(input, bytes)| (label("input", *input), *bytes));
        run.register("input_bytes", "Bytes of the sources", counts(bytes));

        let task = |task: &TaskFigures| label("task", &task.task);
        let took = self.tasks.iter().map(|one| (task(one), one.seconds));
        run.register("task_duration_seconds", "Duration of a task", numbers(took));
        let tries = self.tasks.iter().map(|one| (task(one), u64::from(one.attempts)));
        run.register("task_tries", "Attempts of a task", counts(tries));
        let ended = self.tasks.iter().map(|one| (task(one), u64::from(one.success)));
        run.register("task_success", "Whether a task succeeded or was skipped", counts(ended));

        let target = |target: &TargetFigures| label("target", &target.target);
        let took = self.targets.iter().map(|one| (target(one), one.seconds));
        run.register("refresh_duration_seconds", "Duration of a refresh", numbers(took));
        let fresh =
            self.targets.iter().map(|one| (target(one), u64::from(one.outcome == "succeeded")));
        run.register("refresh_success", "Whether a target shows the published data", counts(fresh));
        let outcomes = self.targets.iter().map(|one| {
            let mut labels = target(one);
            labels.push(("outcome", one.outcome.clone()));
            (labels, 1)
        });
        run.register("refresh_outcome", "Outcome of the refresh of a target", counts(outcomes));
    }

    fn register_rows(&self, run: &mut Registry) {
        let ControlTotals { claims, amount, providers, reject_reasons, flags, .. } = &self.account;
        let classed = |classes: &[(&str, u64)]| {
            counts(classes.iter().map(|(class, rows)| (label("class", *class), *rows)))
        };
        let rows = classed(&[
            ("read", claims.read),
            ("loaded", claims.loaded),
            ("inserted", claims.inserted),
            ("updated", claims.updated),
            ("unchanged", claims.unchanged),
            ("rejected", claims.rejected),
            ("duplicates", claims.duplicates),
            ("conflicts", claims.conflicts),
            ("filtered", claims.filtered),
        ]);
        run.register("claims", "Claim rows by class; classes overlap", rows);
        let cents = [
            ("read", amount.read),
            ("loaded", amount.loaded),
            ("rejected", amount.rejected),
            ("duplicates", amount.duplicates),
            ("conflicts", amount.conflicts),
        ];
        let cents = cents.into_iter().map(|(class, cents)| (label("class", class), whole(cents)));
        let sums = Family::<Labels, Gauge>::default();
        for (labels, cents) in cents {
            sums.get_or_create(&labels).set(cents);
        }
        run.register("amount_cents", "Amount of the claim rows in cents", sums);
        let rows = classed(&[
            ("read", providers.read),
            ("loaded", providers.loaded),
            ("rejected", providers.rejected),
            ("duplicates", providers.duplicates),
            ("conflicts", providers.conflicts),
            ("inferred", providers.inferred),
        ]);
        run.register("providers", "Provider rows by class; classes overlap", rows);
        let by_rule = |rules: &BTreeMap<String, u64>| {
            counts(rules.iter().map(|(rule, rows)| (label("rule", rule), *rows)))
        };
        run.register("rejects", "Rejected claims by rule", by_rule(reject_reasons));
        run.register("flags", "Loaded claims that break a rule", by_rule(flags));
    }
}

impl Totals {
    fn register(&self, registry: &mut Registry) {
        let counters = |name: &'static str, totals: &BTreeMap<String, u64>| {
            let family = Family::<Labels, Counter>::default();
            for (value, total) in totals {
                family.get_or_create(&label(name, value)).inc_by(*total);
            }
            family
        };
        let runs = counters("status", &self.runs);
        registry.register("runs", "Finished runs by status", runs);
        let intervals = counters("state", &self.intervals);
        registry.register("intervals", "Data intervals by state", intervals);
        if let Some(next) = self.next_run {
            let at = number(seconds(next));
            registry.register("next_run_timestamp_seconds", "When the next run is due", at);
        }
    }
}

fn label(name: &'static str, value: impl Into<String>) -> Labels {
    vec![(name, value.into())]
}

fn count(value: u64) -> Count {
    let gauge = Count::default();
    gauge.set(value);
    gauge
}

fn number(value: f64) -> Number {
    let gauge = Number::default();
    gauge.set(value);
    gauge
}

fn counts(values: impl IntoIterator<Item = (Labels, u64)>) -> Family<Labels, Count> {
    let family = Family::<Labels, Count>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).set(value);
    }
    family
}

fn numbers(values: impl IntoIterator<Item = (Labels, f64)>) -> Family<Labels, Number> {
    let family = Family::<Labels, Number>::default();
    for (labels, value) in values {
        family.get_or_create(&labels).set(value);
    }
    family
}

/// Cents as a sample, clamped to 64 bits (92 quadrillion dollars).
fn whole(Cents(cents): Cents) -> i64 {
    i64::try_from(cents).unwrap_or(if cents < 0 { i64::MIN } else { i64::MAX })
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium fit 53 bits")]
fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run with a value for every metric.
    pub(crate) fn run(status: &'static str) -> LastRun {
        let mut account = ControlTotals::default();
        account.claims.read = 10;
        account.claims.loaded = 9;
        account.claims.rejected = 1;
        account.amount.read = Cents(-5);
        account.amount.loaded = Cents(i128::MAX);
        account.reject_reasons.insert("amount_missing".into(), 1);
        let at = |millis| DateTime::from_timestamp_millis(millis).expect("a time");
        LastRun {
            started: at(1_704_067_200_000),
            ended: at(1_704_067_201_500),
            status,
            exit_code: 0,
            account,
            bytes: BTreeMap::from([("claims", 1234)]),
            tasks: vec![TaskFigures {
                task: "load.load_warehouse".into(),
                success: true,
                attempts: 2,
                seconds: 0.5,
            }],
            targets: vec![TargetFigures {
                target: "power_bi.sales".into(),
                outcome: "timed_out".into(),
                seconds: 60.0,
            }],
        }
    }

    #[test]
    fn figures_have_names_help_and_types() {
        let last_run = Some(run("success"));
        let text = Figures { last_run, ..Figures::default() }.render();
        for line in [
            "# HELP claims_etl_last_run_duration_seconds Duration of the last run.",
            "# TYPE claims_etl_last_run_duration_seconds gauge",
            "claims_etl_last_run_duration_seconds 1.5",
            "claims_etl_last_run_start_timestamp_seconds 1704067200.0",
            "claims_etl_last_run_success 1",
            "claims_etl_last_run_status{status=\"failed\"} 0",
            "claims_etl_last_run_claims{class=\"read\"} 10",
            "claims_etl_last_run_amount_cents{class=\"read\"} -5",
            "claims_etl_last_run_amount_cents{class=\"loaded\"} 9223372036854775807",
            "claims_etl_last_run_rejects{rule=\"amount_missing\"} 1",
            "claims_etl_last_run_input_bytes{input=\"claims\"} 1234",
            "claims_etl_last_run_task_tries{task=\"load.load_warehouse\"} 2",
            "claims_etl_last_run_refresh_success{target=\"power_bi.sales\"} 0",
            "claims_etl_last_run_refresh_outcome{target=\"power_bi.sales\",outcome=\"timed_out\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains(" counter\n"), "a file of gauges only");
    }

    #[test]
    fn totals_are_counters() {
        let totals = Totals {
            runs: BTreeMap::from([("success".into(), 7)]),
            intervals: BTreeMap::from([("done".into(), 3)]),
            next_run: DateTime::from_timestamp(1_704_067_200, 0),
        };
        let text = Figures { totals: Some(totals), ..Figures::default() }.render();
        for line in [
            "# TYPE claims_etl_runs counter",
            "claims_etl_runs_total{status=\"success\"} 7",
            "claims_etl_intervals_total{state=\"done\"} 3",
            "claims_etl_next_run_timestamp_seconds 1704067200.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }
}
