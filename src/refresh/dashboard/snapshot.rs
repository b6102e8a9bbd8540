//! What the page shows, as plain values.

use super::released::Released;
use crate::rule::Severities;
use crate::totals::{Cents, ControlTotals};

/// Everything on the page.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// The last run that published; `None` before the first.
    pub(crate) run: Option<Run>,
    /// A run that failed after it.
    pub(crate) failure: Option<Failure>,
    /// Runs in the run log, whatever their outcome.
    pub(crate) runs: i64,
    pub(crate) published_runs: i64,
    /// Claims in the warehouse, and their lines.
    pub(crate) claims: i64,
    pub(crate) lines: i64,
    pub(crate) amount: Cents,
    /// First and last date of service.
    pub(crate) dates: Option<(String, String)>,
    /// Mean score over all claim lines, with one decimal.
    pub(crate) mean_score: String,
    /// Months that hold claims, oldest first.
    pub(crate) months: Vec<Month>,
    /// Specialties, highest amount first.
    pub(crate) specialties: Vec<Specialty>,
    pub(crate) released: Released,
    /// Claim lines in the medium and in the high band.
    pub(crate) medium: i64,
    pub(crate) high: i64,
    /// Claim lines by ten points: score 0, above 0 to below 10, 10 to below 20, …, 90 to 100.
    pub(crate) bands: [i64; BANDS],
    /// Providers with the highest mean score, among those with enough claims.
    pub(crate) providers: Vec<Provider>,
    /// `None` where `mv_provider_month` has never been filled.
    pub(crate) provider_months: Option<ProviderMonths>,
    /// Claim lines with the highest score.
    pub(crate) top_lines: Vec<Line>,
    /// Rows of the provider dimension without the unknown provider.
    pub(crate) directory: i64,
    /// Placeholder providers: only claims name them.
    pub(crate) placeholders: i64,
    pub(crate) severities: Severities,
}

/// Zero, then ten bands of ten points.
pub(super) const BANDS: usize = 11;
/// Providers with fewer claim lines are not ranked: a mean over a few lines means little and would
/// point at a few patients.
pub(super) const RANKED_FROM: i64 = 11;

/// The last published run.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(crate) id: String,
    /// In UTC.
    pub(crate) published_at: String,
    /// The month of publication, counted from January of year 0.
    pub(crate) month: i64,
    pub(crate) tool_version: String,
    pub(crate) mode: String,
    pub(crate) key_id: String,
    pub(crate) privacy_profile: String,
    pub(crate) risk_model: Option<String>,
    pub(crate) account: ControlTotals,
}

/// A failed run.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure {
    pub(crate) id: String,
    pub(crate) started_at: String,
    pub(crate) kind: Option<String>,
    pub message: Option<String>,
}

/// One month of service, counted from January of year 0.
#[derive(Debug, Clone, Default)]
pub(super) struct Month {
    pub(crate) number: i64,
    /// Claims with a line in the month.
    pub(crate) claims: i64,
    pub(crate) lines: i64,
    pub(crate) amount: Cents,
}

/// One specialty; `None` where the directory names none.
#[derive(Debug, Clone, Default)]
pub(super) struct Specialty {
    pub(crate) name: Option<String>,
    pub(crate) lines: i64,
    pub(crate) amount: Cents,
    /// Lines of the high band.
    pub(crate) high: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Provider {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) specialty: Option<String>,
    pub(crate) lines: i64,
    pub(crate) amount: Cents,
    pub(crate) mean_score: String,
    /// Lines of the high band.
    pub(crate) high: i64,
}

/// One claim line.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pub(crate) token: String,
    pub(crate) line: i64,
    pub(crate) procedure: Option<String>,
    pub(crate) provider: String,
    pub(crate) amount: Cents,
    pub(crate) date: String,
    pub(crate) score: String,
    /// The component that contributes most.
    pub(crate) reason: Option<String>,
}

/// The public view of the months of providers.
#[derive(Debug, Clone, Default)]
pub(super) struct ProviderMonths {
    /// Cells with at least one claim.
    pub(crate) cells: i64,
    /// Cells that are not suppressed.
    pub(crate) shown: i64,
    /// The cells of the latest months with the highest amounts.
    pub(crate) highest: Vec<ProviderMonth>,
}

/// A cell that is not suppressed.
#[derive(Debug, Clone, Default)]
pub(super) struct ProviderMonth {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    /// Counted from January of year 0.
    pub(crate) month: i64,
    pub(crate) amount: Cents,
    pub(crate) claims: i64,
    pub(crate) patients: i64,
    pub(crate) mean_score: String,
}

/// Months in the list of the highest amounts, counted back from the last one.
pub(super) const LATEST_MONTHS: u32 = 3;
