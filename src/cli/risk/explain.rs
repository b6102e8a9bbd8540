//! The command `risk explain`.

use clap::Args;

use crate::cli::console::Console;
use crate::cli::format::{count, money};
use crate::cli::options::WarehouseOptions;
use crate::cli::output::{Reply, json};
use crate::cli::output_format::{Format, ResultOptions};
use crate::cli::table::{Table, shortened};
use crate::commands::risk::explain;
use crate::commands::risk::explain_report::{
    ComponentInputs, ComputedScore, ExplainedComponent, ExplainedLine, Fences, RiskExplanation,
};
use crate::error::Result;
use crate::load::risk::explained::OtherClaim;
use crate::totals::Cents;

/// Maximum number of other claims named.
const MAX_NAMED: usize = 5;
/// Maximum length of a warehouse text, in characters.
const MAX_LENGTH: usize = 30;

/// Which claim.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ExplainOptions {
    /// The claim's token
    #[arg(value_name = "CLAIM_TOKEN")]
    token: uuid::Uuid,
    #[command(flatten)]
    warehouse: WarehouseOptions,
    #[command(flatten)]
    result: ResultOptions,
}

/// Runs `risk explain`.
///
/// # Errors
/// `Config` when there is no such claim, `Warehouse` when the warehouse cannot be read.
pub(super) fn explain(options: ExplainOptions, console: &Console) -> Result<Reply> {
    let ExplainOptions { token, warehouse, result } = options;
    let explained = explain::risk_explain(&warehouse.load()?, token, console.observer())?;
    let text = match result.format {
        Format::Json => json(&explained)?,
        Format::Text => render(&explained),
    };
    Ok(Reply::done(text))
}

fn render(explained: &RiskExplanation) -> String {
    let statistics = match &explained.statistics {
        Some(stored) => format!("statistics of run {}, as of {}", stored.version, stored.as_of),
        None => "no statistics are stored: only the stored scores can be shown".to_owned(),
    };
    let mut text = format!("claim {}\n{}; {statistics}\n", explained.claim_token, explained.model);
    for line in &explained.lines {
        text.push('\n');
        text.push_str(&render_line(line));
    }
    text
}

fn render_line(line: &ExplainedLine) -> String {
    let of = |text: &Option<String>, missing: &str| {
        text.as_deref().map_or_else(|| missing.to_owned(), |text| shortened(text, MAX_LENGTH))
    };
    let mut lines = vec![
        format!(
            "line {}: {} on {}, {}",
            line.line_number,
            money(line.amount),
            line.date_of_service,
            of(&line.procedure_code, "no procedure")
        ),
        format!(
            "  provider {}, {}",
            shortened(&line.provider_id, MAX_LENGTH),
            of(&line.specialty, "no specialty")
        ),
        format!("  stored  {}", headline(&line.stored)),
    ];
    if let Some(today) = &line.today {
        lines.push(format!("  today   {}", headline(today)));
    }
    if line.differs {
        let rescore = "`claims-etl risk rescore` brings all stored scores up to today's statistics";
        lines.push(format!("  {rescore}"));
    }
    lines.push(String::new());
    let mut table = Table::new("lrrrr");
    table.head(["component", "weight", "stored", "today", "alone"]);
    for component in &line.components {
        table.row([
            component.name.to_owned(),
            format!("{:.2}", component.weight),
            share(component.stored),
            share(component.today),
            format!("{:.1}", component.contribution),
        ]);
    }
    lines.extend(table.render("  ").lines().map(ToOwned::to_owned));
    lines.push(String::new());
    for component in &line.components {
        lines.extend(render_component(component, line));
    }
    lines.extend(arithmetic(line));
    lines.join("\n") + "\n"
}

fn headline(score: &ComputedScore) -> String {
    let reason = score.reason.map_or_else(String::new, |reason| format!(", mainly {reason}"));
    format!(
        "{:>5.1}, {}{reason}; statistics of run {}, coverage {:.2}",
        score.score, score.band, score.statistics_version, score.coverage
    )
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

/// The noisy-OR calculation, once per score.
fn arithmetic(line: &ExplainedLine) -> Vec<String> {
    let product = |score: &ComputedScore| {
        let weights = line.parameters.weights();
        let parts = weights.iter().zip(score.components);
        let parts =
            parts.map(|(weight, value)| format!("{:.5}", 1.0 - weight * value.unwrap_or(0.0)));
        parts.collect::<Vec<_>>().join(" · ")
    };
    let mut lines = vec![
        "  score = 100 · (1 − product of (1 − weight · component)), where – counts as 0".into(),
    ];
    let shown = |name: &str, score: &ComputedScore| {
        format!("  {name}  100 · (1 − {}) = {:.1}", product(score), score.score)
    };
    lines.push(shown("stored", &line.stored));
    lines.extend(line.today.iter().filter(|_| line.differs).map(|today| shown("today ", today)));
    lines
}

/// A component's inputs and calculation.
fn render_component(component: &ExplainedComponent, line: &ExplainedLine) -> Vec<String> {
    let mut lines =
        component.inputs.as_ref().map_or_else(Vec::new, |inputs| describe_inputs(inputs, line));
    if component.why_not.is_some()
        && matches!(component.inputs, Some(ComponentInputs::Mismatch { .. }))
    {
        // Drops the formula, which is not applied when the expected count is this low.
        lines.pop();
    }
    lines.extend(component.why_not.iter().map(|why_not| format!("not computed: {why_not}")));
    let mut lines = lines.into_iter();
    let first = lines.next().map(|first| format!("  {:<9}  {first}", component.name));
    first.into_iter().chain(lines.map(|line| format!("  {:<9}  {line}", ""))).collect()
}

fn describe_inputs(inputs: &ComponentInputs, line: &ExplainedLine) -> Vec<String> {
    match inputs {
        ComponentInputs::Amount {
            same_specialty,
            claims,
            median,
            median_ln,
            sigma_ln,
            amount_ln,
            z,
        } => {
            let group = if *same_specialty { " and specialty" } else { ", any specialty" };
            vec![
                format!(
                    "{} of the procedure{group}: median {} (ln {median_ln:.4}), σ {sigma_ln:.4}",
                    claims_of(*claims),
                    money(*median)
                ),
                format!("z = ({amount_ln:.4} − {median_ln:.4}) / {sigma_ln:.4} = {z:.2}"),
                clipped("(z − 2) / 5", (z - 2.0) / 5.0),
            ]
        }
        ComponentInputs::Duplicate { others } => duplicates(others),
        ComponentInputs::Provider { claims, observed, expected, ratio, fence } => {
            provider(*claims, *observed, *expected, *ratio, fence.as_ref())
        }
        ComponentInputs::Volume { patients, fence } => {
            let mut lines = vec![format!("patients of the provider on the day: {patients}")];
            if let Some(fence) = fence {
                lines.extend(fences("provider-days", f64::from(*patients), fence));
            }
            lines
        }
        ComponentInputs::Mismatch { together, procedure, specialty, all, expected, lift } => vec![
            format!(
                "n(p, s) = {}, n(p) = {}, n(s) = {}, N = {}",
                number(*together),
                number(*procedure),
                number(*specialty),
                number(*all)
            ),
            format!("expected n(p) · n(s) / N = {expected:.1}, lift {lift:.3}"),
            clipped("1 − lift / 0.25", 1.0 - lift / 0.25),
        ],
        ComponentInputs::Weekend { weekend, claims, on_weekends, share } => {
            let rare = 100.0 * line.parameters.rare_weekend;
            let day = if *weekend { "a weekend" } else { "no weekend" };
            let (few, all) = (number(*on_weekends), claims_of(*claims));
            vec![
                format!("{day}; of {all} of the specialty {few} are on weekends"),
                format!("{:.2} %, rare is below {rare:.2} %", 100.0 * share),
            ]
        }
    }
}

fn duplicates(others: &[OtherClaim]) -> Vec<String> {
    if others.is_empty() {
        return vec!["no other claim has the same patient, procedure and day".to_owned()];
    }
    let exact = others.iter().filter(|other| other.exact).count();
    let all = others.len();
    let mut lines = vec![format!(
        "other claims with the same patient, procedure and day: {all}; provider and amount too: {exact}"
    )];
    lines.extend(others.iter().take(MAX_NAMED).map(|other| {
        let kind = if other.exact { "exact" } else { "suspect" };
        format!("{kind:<7} {}", other.claim_token)
    }));
    if all > MAX_NAMED {
        lines.push(format!("and {} more", all - MAX_NAMED));
    }
    lines
}

fn provider(
    claims: i64,
    observed: Cents,
    expected: Cents,
    ratio: f64,
    fence: Option<&Fences>,
) -> Vec<String> {
    let mut lines = vec![format!(
        "{} with peers: observed / expected = {} / {} = {ratio:.3}",
        claims_of(claims),
        money(observed),
        money(expected)
    )];
    lines.extend(fence.into_iter().flat_map(|fence| fences("providers", ratio, fence)));
    lines
}

fn fences(what: &str, value: f64, fence: &Fences) -> Vec<String> {
    let Fences { count, q1, q3, iqr, inner, outer } = fence;
    let floor = if *iqr > q3 - q1 + 1e-9 { " (the least)" } else { "" };
    let formula = clipped(
        &format!("(({value:.3} − {q3:.3}) / {iqr:.3} − 1.5) / 1.5"),
        ((value - q3) / iqr - 1.5) / 1.5,
    );
    vec![
        format!(
            "{} {what} of the specialty: Q1 {q1:.3}, Q3 {q3:.3}, IQR {iqr:.3}{floor}",
            self::count(*count)
        ),
        format!("fences {inner:.3} and {outer:.3}: {formula}"),
    ]
}

/// A formula, its value, and the value clipped to 0–1.
fn clipped(formula: &str, value: f64) -> String {
    let within = value.clamp(0.0, 1.0);
    if (within - value).abs() < f64::EPSILON {
        format!("{formula} = {value:.3}")
    } else {
        format!("{formula} = {value:.3}, so {within:.3}")
    }
}

fn number(number: i64) -> String {
    count(u64::try_from(number).unwrap_or(0))
}

fn claims_of(claims: i64) -> String {
    format!("{} {}", number(claims), if claims == 1 { "claim" } else { "claims" })
}
