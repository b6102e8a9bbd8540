//! What the claims of a run are compared with, fitted to the counts of the first pass.
//!
//! A file of its own because it is the state between the two passes: the first pass counts amounts
//! by procedure, specialty, log-bucket and weekend; the second looks peers up here, row by row.
//! Definitions of `claim_anomaly_v1`: c_amount compares with claims of the same procedure and
//! specialty where there are `min_peers`, else of the same procedure, else nothing; never across
//! procedures.

use polars::prelude::PlHashMap;

use super::components::{AMOUNT, COMPONENTS, Components, WEEKEND, thousandths};
use super::histogram::{Histogram, ln_dollars};
use super::peer_counts::PeerCounts;
use crate::config::Risk;
use crate::transform::directory::Directory;

/// Name and version of the score, stored with every run.
pub const RISK_MODEL: &str = "claim_anomaly_v1";

/// A specialty bills on weekends so rarely that a weekend claim is odd: below this share.
const RARE_WEEKEND: f64 = 0.05;

/// A group of claims whose amounts are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Peers {
    count: u64,
    median_ln: f64,
    sigma_ln: f64,
}

impl Peers {
    fn of(histogram: &Histogram, min_peers: u64) -> Option<Self> {
        let count = histogram.count();
        let (median_ln, sigma_ln) = histogram.median_and_sigma()?;
        (count >= min_peers).then_some(Self { count, median_ln, sigma_ln })
    }
}

/// The peer groups of one procedure.
#[derive(Debug, Clone, Default)]
struct Procedure {
    by_specialty: PlHashMap<u32, Peers>,
    overall: Option<Peers>,
}

/// One row of the stored statistics.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerStatistic {
    /// The procedure code.
    pub procedure_code: String,
    /// The specialty in canonical case; empty where the whole procedure is the group.
    pub specialty: String,
    /// Claims in the group.
    pub peers: u64,
    /// Median of ln(amount in dollars).
    pub median_ln: f64,
    /// Spread of ln(amount in dollars).
    pub sigma_ln: f64,
}

/// One row of the stored weekend statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeekendStatistic {
    /// The specialty in canonical case.
    pub specialty: String,
    /// Priced claims.
    pub claims: u64,
    /// Priced claims on a Saturday or Sunday.
    pub weekend_claims: u64,
}

/// The fitted model: peer groups, weekend habits, weights.
#[derive(Debug, Clone)]
pub struct RiskModel {
    procedures: PlHashMap<String, Procedure>,
    weekends: PlHashMap<u32, (u64, u64)>,
    min_peers: u64,
    pub(super) weights: [f64; COMPONENTS],
}

impl RiskModel {
    /// Fits the model to what the first pass has counted.
    #[must_use]
    pub fn fit(counts: &PeerCounts, settings: &Risk) -> Self {
        let procedures = counts
            .by_procedure()
            .iter()
            .map(|(code, groups)| (code.clone(), Procedure::fit(groups, settings.min_peers)))
            .collect();
        Self { procedures, weekends: counts.weekends().clone(), ..Self::unfitted(settings) }
    }

    /// A model without statistics, to show a plan with.
    #[must_use]
    pub fn unfitted(settings: &Risk) -> Self {
        Self {
            procedures: PlHashMap::default(),
            weekends: PlHashMap::default(),
            min_peers: settings.min_peers,
            weights: weights(settings),
        }
    }

    /// The components of one claim.
    pub(super) fn components(
        &self,
        procedure: Option<&str>,
        specialty: Option<u32>,
        cents: Option<i64>,
        weekend: Option<bool>,
    ) -> Components {
        let specialty = specialty.filter(|&number| number != 0);
        let mut components = [None; COMPONENTS];
        components[AMOUNT] = self.amount(procedure, specialty, cents);
        components[WEEKEND] = self.weekend(specialty, weekend);
        components
    }

    /// `clip((z − 2) / 5, 0, 1)` of the robust z of ln(amount) among its peers; upper tail only.
    fn amount(
        &self,
        procedure: Option<&str>,
        specialty: Option<u32>,
        cents: Option<i64>,
    ) -> Option<u16> {
        let cents = cents.filter(|&cents| cents > 0)?;
        let procedure = self.procedures.get(procedure?)?;
        let own = specialty.and_then(|number| procedure.by_specialty.get(&number));
        let peers = own.or(procedure.overall.as_ref())?;
        let z = (ln_dollars(cents) - peers.median_ln) / peers.sigma_ln;
        Some(thousandths((z - 2.0) / 5.0))
    }

    /// 1 for a weekend claim of a specialty that hardly bills on weekends, else 0.
    fn weekend(&self, specialty: Option<u32>, weekend: Option<bool>) -> Option<u16> {
        let (claims, on_weekends) = *self.weekends.get(&specialty?)?;
        if claims < self.min_peers {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let rare = (on_weekends as f64) < RARE_WEEKEND * claims as f64;
        weekend.map(|weekend| if weekend && rare { 1000 } else { 0 })
    }

    /// The peer groups, for the ledger: sorted by procedure and specialty.
    #[must_use]
    pub fn peer_statistics(&self, directory: &Directory) -> Vec<PeerStatistic> {
        let row = |code: &str, specialty: &str, peers: &Peers| PeerStatistic {
            procedure_code: code.to_owned(),
            specialty: specialty.to_owned(),
            peers: peers.count,
            median_ln: peers.median_ln,
            sigma_ln: peers.sigma_ln,
        };
        let mut rows = Vec::new();
        for (code, procedure) in &self.procedures {
            rows.extend(procedure.overall.iter().map(|peers| row(code, "", peers)));
            rows.extend(
                procedure
                    .by_specialty
                    .iter()
                    .map(|(&number, peers)| row(code, directory.specialty(number), peers)),
            );
        }
        rows.sort_by(|a, b| {
            (&a.procedure_code, &a.specialty).cmp(&(&b.procedure_code, &b.specialty))
        });
        rows
    }

    /// The weekend habits, for the ledger: sorted by specialty.
    #[must_use]
    pub fn weekend_statistics(&self, directory: &Directory) -> Vec<WeekendStatistic> {
        let mut rows: Vec<_> = self
            .weekends
            .iter()
            .map(|(&number, &(claims, weekend_claims))| WeekendStatistic {
                specialty: directory.specialty(number).to_owned(),
                claims,
                weekend_claims,
            })
            .collect();
        rows.sort_by(|a, b| a.specialty.cmp(&b.specialty));
        rows
    }
}

/// The reliabilities in the order of the components.
fn weights(settings: &Risk) -> [f64; COMPONENTS] {
    let mut weights = [0.0; COMPONENTS];
    weights[AMOUNT] = settings.weight_amount;
    weights[WEEKEND] = settings.weight_weekend;
    weights
}

impl Procedure {
    fn fit(groups: &PlHashMap<u32, Histogram>, min_peers: u64) -> Self {
        let mut overall = Histogram::default();
        let mut by_specialty = PlHashMap::default();
        for (&specialty, histogram) in groups {
            overall.merge(histogram);
            if specialty != 0
                && let Some(peers) = Peers::of(histogram, min_peers)
            {
                by_specialty.insert(specialty, peers);
            }
        }
        Self { by_specialty, overall: Peers::of(&overall, min_peers) }
    }
}
