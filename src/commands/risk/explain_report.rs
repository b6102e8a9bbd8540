//! The explanation of a score.
//!
//! It holds tokens, provider ids and values of the warehouse, and no identifier of a person.

use serde::Serialize;

use crate::load::risk::explained::OtherClaim;
use crate::risk::settings::Risk;
use crate::risk::{COMPONENTS, Components, Fence, NAMES, score_tenths};
use crate::totals::Cents;

/// The scores of a claim's lines, explained.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RiskExplanation {
    pub(crate) claim_token: String,
    /// Name and version of the score.
    pub(crate) model: &'static str,
    /// The statistics that are stored today; null where none are.
    pub(crate) statistics: Option<StoredStatistics>,
    /// The lines, in order.
    pub(crate) lines: Vec<ExplainedLine>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StoredStatistics {
    /// The number of the last run that has changed them.
    pub(crate) version: i64,
    /// When, RFC 3339 in UTC.
    pub(crate) as_of: String,
}

/// A claim line and its score.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ExplainedLine {
    pub(crate) line_number: i64,
    /// The procedure code as it is published.
    pub(crate) procedure_code: Option<String>,
    /// The specialty as it is published.
    pub(crate) specialty: Option<String>,
    /// The provider's id as it is published.
    pub(crate) provider_id: String,
    /// The amount as it is published.
    pub(crate) amount: Cents,
    /// The date as it is published.
    pub(crate) date_of_service: String,
    /// Weights and thresholds: those that the stored score was computed with, where they are known.
    pub(crate) parameters: Risk,
    /// The score as it is stored.
    pub(crate) stored: ComputedScore,
    /// The score that follows from today's statistics; null where none are stored.
    pub(crate) today: Option<ComputedScore>,
    /// Whether the two differ.
    pub(crate) differs: bool,
    /// The components in their order, with today's inputs.
    pub(crate) components: Vec<ExplainedComponent>,
}

/// A score and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ComputedScore {
    /// The version of the statistics: the number of a run.
    pub(crate) statistics_version: i64,
    /// The score, 0 to 100.
    pub(crate) score: f64,
    /// `low`, `medium` or `high`.
    pub(crate) band: &'static str,
    /// The component that contributes most; null where none does.
    pub(crate) reason: Option<&'static str>,
    /// The share of the weights whose component could be computed, 0 to 1.
    pub(crate) coverage: f64,
    /// The components, 0 to 1; null where one cannot be computed.
    pub(crate) components: [Option<f64>; COMPONENTS],
    /// The same in thousandths.
    #[serde(skip)]
    pub(crate) thousandths: Components,
}

impl ComputedScore {
    /// The score of components; `stored`: as it is in the table, in tenths.
    pub(crate) fn new(
        version: i64,
        components: Components,
        stored: Option<i128>,
        parameters: &Risk,
    ) -> Self {
        let weights = parameters.weights();
        let tenths = stored.unwrap_or_else(|| score_tenths(&components, &weights).into());
        #[expect(clippy::cast_precision_loss, reason = "0 to 1000")]
        let score = tenths as f64 / 10.0;
        let mut reason = (None, 0.0);
        let (mut known, mut all) = (0.0, 0.0);
        for ((name, weight), component) in NAMES.into_iter().zip(weights).zip(components) {
            let contribution = weight * f64::from(component.unwrap_or(0));
            if contribution > reason.1 {
                reason = (Some(name), contribution);
            }
            all += weight;
            known += if component.is_some() { weight } else { 0.0 };
        }
        Self {
            statistics_version: version,
            score,
            band: match score {
                score if score >= parameters.high_from => "high",
                score if score >= parameters.medium_from => "medium",
                _ => "low",
            },
            reason: reason.0,
            coverage: if all > 0.0 { known / all } else { 0.0 },
            components: components.map(share),
            thousandths: components,
        }
    }
}

fn share(thousandths: Option<u16>) -> Option<f64> {
    thousandths.map(|thousandths| f64::from(thousandths) / 1000.0)
}

/// A component of a score.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ExplainedComponent {
    pub(crate) name: &'static str,
    /// Its weight, 0 to 1.
    pub(crate) weight: f64,
    /// Its value as it is stored, 0 to 1; null where it could not be computed.
    pub(crate) stored: Option<f64>,
    /// Its value with today's statistics, likewise.
    pub(crate) today: Option<f64>,
    /// 100 · weight · today's value: the score, if it were alone.
    pub(crate) contribution: f64,
    /// What today's value is computed from.
    pub(crate) inputs: Option<ComponentInputs>,
    /// Why it cannot be computed.
    pub(crate) why_not: Option<String>,
}

/// What a component is computed from.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum ComponentInputs {
    /// The peers of an amount.
    Amount {
        /// Whether they are of the same specialty, not only of the same procedure.
        same_specialty: bool,
        /// Their number.
        claims: i64,
        median: Cents,
        /// The same as ln(dollars).
        median_ln: f64,
        /// Their spread: MAD / 0.6745 of ln(dollars), at least 0.10.
        sigma_ln: f64,
        /// ln of the claim's own dollars.
        amount_ln: f64,
        /// (amount − median) / sigma.
        z: f64,
    },
    /// Claims with the same content.
    Duplicate {
        /// Those with the same patient, procedure and day.
        others: Vec<OtherClaim>,
    },
    /// A provider among those of its specialty.
    Provider {
        /// Its claims that can be compared.
        claims: i64,
        /// Their sum.
        observed: Cents,
        /// The sum of the medians of their peers.
        expected: Cents,
        /// Observed over expected.
        ratio: f64,
        /// Where the providers of the specialty lie; null where there are too few.
        fence: Option<Fences>,
    },
    /// A provider's day among the days of its specialty.
    Volume {
        /// Patients on the day.
        patients: u32,
        /// Where the days of the specialty lie; null where there are too few.
        fence: Option<Fences>,
    },
    /// A procedure in a specialty.
    Mismatch {
        /// n(p, s): priced claims of the procedure by the specialty.
        together: i64,
        /// n(p): those of the procedure.
        procedure: i64,
        /// n(s): those of the specialty.
        specialty: i64,
        /// N: all of them.
        all: i64,
        /// n(p) · n(s) / N.
        expected: f64,
        /// n(p, s) over that.
        lift: f64,
    },
    /// Weekends of a specialty.
    Weekend {
        /// Whether the day is a Saturday or Sunday.
        weekend: bool,
        /// Priced claims of the specialty.
        claims: i64,
        /// Those on weekends.
        on_weekends: i64,
        /// Their share, 0 to 1.
        share: f64,
    },
}

/// Quartiles and fences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Fences {
    /// Providers or provider-days.
    pub(crate) count: u64,
    /// The first quartile.
    pub(crate) q1: f64,
    /// The third quartile.
    pub(crate) q3: f64,
    /// The distance between them, at least the floor.
    pub(crate) iqr: f64,
    /// Q3 + 1.5 · IQR: the component is 0 up to here.
    pub(crate) inner: f64,
    /// Q3 + 3 · IQR: it is 1 from here.
    pub(crate) outer: f64,
}

impl From<Fence> for Fences {
    fn from(fence: Fence) -> Self {
        let Fence { count, q1, q3, iqr } = fence;
        Self { count, q1, q3, iqr, inner: q3 + 1.5 * iqr, outer: q3 + 3.0 * iqr }
    }
}
