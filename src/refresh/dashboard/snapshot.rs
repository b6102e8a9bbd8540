//! What the page shows, as plain values.

use super::released::Released;
use crate::rule::Severities;
use crate::totals::{Cents, ControlTotals};

/// Everything on the page.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// The last run that published; `None` before the first.
    pub run: Option<Run>,
    /// A run that failed after it.
    pub failure: Option<Failure>,
    /// Runs in the run log, whatever their outcome.
    pub runs: i64,
    pub published_runs: i64,
    /// Claim lines in the warehouse.
    pub claims: i64,
    pub amount: Cents,
    /// First and last date of service.
    pub dates: Option<(String, String)>,
    /// Mean score over all claim lines, with one decimal.
    pub mean_score: String,
    /// Months that hold claims, oldest first.
    pub months: Vec<Month>,
    /// Specialties, highest amount first.
    pub specialties: Vec<Specialty>,
    pub released: Released,
    /// Claim lines in the medium and in the high band.
    pub medium: i64,
    pub high: i64,
    /// Claim lines by ten points: score 0, above 0 to below 10, 10 to below 20, …, 90 to 100.
    pub bands: [i64; BANDS],
    /// Providers with the highest mean score, among those with enough claims.
    pub providers: Vec<Provider>,
    /// `None` where `mv_provider_month` has never been filled.
    pub provider_months: Option<ProviderMonths>,
    /// Claim lines with the highest score.
    pub top_claims: Vec<Claim>,
    /// Rows of the provider dimension without the unknown provider.
    pub directory: i64,
    /// Placeholder providers: only claims name them.
    pub placeholders: i64,
    pub severities: Severities,
}

/// Zero, then ten bands of ten points.
pub(super) const BANDS: usize = 11;
/// Providers with fewer claim lines are not ranked: a mean over a few lines means little and would
/// point at a few patients.
pub(super) const RANKED_FROM: i64 = 11;

/// The last published run.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub id: String,
    /// In UTC.
    pub published_at: String,
    /// The month of publication, counted from January of year 0.
    pub month: i64,
    pub tool_version: String,
    pub mode: String,
    pub key_id: String,
    pub privacy_profile: String,
    pub risk_model: Option<String>,
    pub account: ControlTotals,
}

/// A failed run.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure {
    pub id: String,
    pub started_at: String,
    pub kind: Option<String>,
    pub message: Option<String>,
}

/// One month of service, counted from January of year 0.
#[derive(Debug, Clone, Default)]
pub(super) struct Month {
    pub number: i64,
    pub claims: i64,
    pub amount: Cents,
}

/// One specialty; `None` where the directory names none.
#[derive(Debug, Clone, Default)]
pub(super) struct Specialty {
    pub name: Option<String>,
    pub claims: i64,
    pub amount: Cents,
    pub high: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Provider {
    pub id: String,
    pub name: Option<String>,
    pub specialty: Option<String>,
    pub claims: i64,
    pub amount: Cents,
    pub patients: i64,
    pub mean_score: String,
    pub max_score: String,
    pub high: i64,
}

/// One claim line.
#[derive(Debug, Clone, Default)]
pub(super) struct Claim {
    pub token: String,
    pub line: i64,
    pub procedure: Option<String>,
    pub provider: String,
    pub amount: Cents,
    pub date: String,
    pub score: String,
    /// The component that contributes most.
    pub reason: Option<String>,
}

/// The public view of the months of providers.
#[derive(Debug, Clone, Default)]
pub(super) struct ProviderMonths {
    /// Cells with at least one claim.
    pub cells: i64,
    /// Cells that are not suppressed.
    pub shown: i64,
    /// The cells of the latest months with the highest amounts.
    pub highest: Vec<ProviderMonth>,
}

/// A cell that is not suppressed.
#[derive(Debug, Clone, Default)]
pub(super) struct ProviderMonth {
    pub id: String,
    pub name: Option<String>,
    /// Counted from January of year 0.
    pub month: i64,
    pub amount: Cents,
    pub claims: i64,
    pub patients: i64,
    pub mean_score: String,
}

/// Months in the list of the highest amounts, counted back from the last one.
pub(super) const LATEST_MONTHS: u32 = 3;
