//! The whole model: what follows from the counts, and how providers compare.

use std::collections::BTreeMap;

use super::components::{
    AMOUNT, COMPONENTS, Components, DUPLICATE, MISMATCH, PROVIDER, VOLUME, WEEKEND,
};
use super::fence::Fence;
use super::medians::{Medians, Peers};

/// Name and version of the score, stored with every run.
pub const RISK_MODEL: &str = "claim_anomaly_v1";

/// Priced claims of a provider and their sum: a stored row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProviderTotal {
    /// The provider's id as it is published.
    pub(crate) provider: String,
    /// The specialty that the claims carry, in canonical case.
    pub(crate) specialty: String,
    /// The procedure code.
    pub(crate) procedure: String,
    /// Priced claims.
    pub(crate) claims: i64,
    /// Their sum in cents.
    pub(crate) cents: i64,
}

/// What a provider was paid, and what its claims were expected to cost: over those priced claims
/// whose procedure has peers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderSums {
    /// The provider's id as it is published.
    pub(crate) provider: String,
    /// The specialty that the claims carry, in canonical case.
    pub(crate) specialty: String,
    pub(crate) claims: i64,
    /// Their sum in cents.
    pub(crate) cents: i128,
    /// The sum of what they were expected to cost, in millionths of a dollar.
    pub(crate) expected_micros: i128,
}

impl ProviderSums {
    /// Adds what is expected of a total, if its procedure has peers.
    pub(crate) fn add(
        &mut self,
        total_claims: i64,
        total_cents: i64,
        expected_micros: Option<i64>,
    ) {
        if let Some(expected) = expected_micros {
            self.claims += total_claims;
            self.cents += i128::from(total_cents);
            self.expected_micros += i128::from(total_claims) * i128::from(expected);
        }
    }

    /// Observed over expected; none where nothing is expected.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "one rounding of each sum, whatever its order")]
    pub(crate) fn ratio(&self) -> Option<f64> {
        let comparable = self.claims > 0 && self.expected_micros > 0;
        comparable.then(|| self.cents as f64 * 10_000.0 / self.expected_micros as f64)
    }
}

/// Sums by provider and specialty of totals, which may come in any order.
pub fn provider_sums(
    totals: impl IntoIterator<Item = ProviderTotal>,
    medians: &Medians,
) -> Vec<ProviderSums> {
    let mut sums: BTreeMap<(String, String), ProviderSums> = BTreeMap::new();
    for total in totals {
        let expected = medians.expected_micros(&total.procedure, &total.specialty);
        let key = (total.provider, total.specialty);
        sums.entry(key).or_default().add(total.claims, total.cents, expected);
    }
    let named = sums.into_iter().map(|((provider, specialty), sums)| ProviderSums {
        provider,
        specialty,
        ..sums
    });
    named.collect()
}

/// Whether another claim has the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Twin {
    /// None does.
    None,
    /// The same patient, procedure and day.
    Suspect,
    /// The same provider and amount too.
    Exact,
    /// Nobody looked.
    #[default]
    Unknown,
}

impl Twin {
    /// The number that represents it in the rows of the second pass.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::None => 0,
            Self::Suspect => 1,
            Self::Exact => 2,
            Self::Unknown => 3,
        }
    }

    /// The component in thousandths.
    #[must_use]
    pub(crate) fn component(self) -> Option<u16> {
        match self {
            Self::None => Some(0),
            Self::Suspect => Some(200),
            Self::Exact => Some(1000),
            Self::Unknown => None,
        }
    }
}

/// What the components of one claim are computed from, all as it is published.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inputs<'a> {
    /// The procedure code; none where it is missing or the profile takes it away.
    pub(crate) procedure: Option<&'a str>,
    /// The specialty in canonical case; empty where there is none.
    pub(crate) specialty: &'a str,
    /// The provider's id.
    pub(crate) provider: &'a str,
    /// The amount in cents.
    pub(crate) cents: i64,
    /// The day in days since 1970-01-01; none where dates are coarser than a day.
    pub(crate) day: Option<i32>,
    /// Patients with priced claims that the provider (with this specialty) has seen on the day;
    /// none where nobody has counted.
    pub(crate) day_patients: Option<u32>,
    /// Whether another claim has the same content.
    pub(crate) twin: Twin,
}

/// All that claims are compared with.
#[derive(Debug, Clone)]
pub struct RiskModel {
    medians: Medians,
    providers: BTreeMap<String, BTreeMap<String, ProviderSums>>,
    fences: BTreeMap<String, Fence>,
}

impl RiskModel {
    /// The model of medians and providers, which may come in any order.
    #[must_use]
    pub fn new(medians: Medians, providers: impl IntoIterator<Item = ProviderSums>) -> Self {
        let mut by_specialty: BTreeMap<String, BTreeMap<String, ProviderSums>> = BTreeMap::new();
        for sums in providers {
            // Only those that are compared stay.
            if !sums.specialty.is_empty() && compared(&medians, &sums) {
                let of_specialty = by_specialty.entry(sums.specialty.clone()).or_default();
                of_specialty.insert(sums.provider.clone(), sums);
            }
        }
        let least = medians.settings().min_providers;
        let fences = by_specialty
            .iter()
            .filter_map(|(specialty, providers)| {
                let mut ratios: Vec<f64> =
                    providers.values().filter_map(ProviderSums::ratio).collect();
                ratios.sort_by(f64::total_cmp);
                let ratios: Vec<_> = ratios.into_iter().map(|ratio| (ratio, 1)).collect();
                Some((specialty.clone(), Fence::of(&ratios, least, 0.1)?))
            })
            .collect();
        Self { medians, providers: by_specialty, fences }
    }

    /// What follows from the counts alone.
    #[must_use]
    pub(crate) fn medians(&self) -> &Medians {
        &self.medians
    }

    /// The weights in the order of the components.
    #[must_use]
    pub(crate) fn weights(&self) -> [f64; COMPONENTS] {
        self.medians.settings().weights()
    }

    /// A provider's sums under a specialty; none where too few of its claims can be compared.
    #[must_use]
    pub(crate) fn provider(&self, provider: &str, specialty: &str) -> Option<&ProviderSums> {
        self.providers.get(specialty)?.get(provider)
    }

    /// The fence of the ratios of a specialty's providers.
    #[must_use]
    pub(crate) fn provider_fence(&self, specialty: &str) -> Option<Fence> {
        self.fences.get(specialty).copied()
    }

    #[must_use]
    pub(crate) fn provider_component(&self, provider: &str, specialty: &str) -> Option<u16> {
        if !self.medians.computes(PROVIDER) {
            return None;
        }
        let ratio = self.provider(provider, specialty)?.ratio()?;
        Some(self.fences.get(specialty)?.beyond(ratio))
    }

    /// The components of one claim.
    #[must_use]
    pub(crate) fn components_of(&self, inputs: &Inputs<'_>) -> Components {
        let Inputs { procedure, specialty, provider, cents, day, day_patients, twin } = *inputs;
        let medians = &self.medians;
        let mut components = [None; COMPONENTS];
        let peers: Option<Peers> = procedure
            .and_then(|procedure| medians.peers(procedure, specialty))
            .map(|found| found.0);
        components[AMOUNT] = medians.amount_component(peers.as_ref(), cents);
        let asked = cents > 0 && procedure.is_some() && day.is_some();
        if asked && medians.computes(DUPLICATE) {
            components[DUPLICATE] = twin.component();
        }
        components[PROVIDER] = self.provider_component(provider, specialty);
        if let Some(patients) = day_patients.filter(|_| cents > 0 && day.is_some()) {
            let fence = medians.day_fence(specialty);
            components[VOLUME] = medians.volume_component(fence.as_ref(), patients);
        }
        components[MISMATCH] = medians.mismatch_component(
            procedure.and_then(|procedure| medians.mismatch(procedure, specialty)),
        );
        if let Some(day) = day {
            let rare = medians.rare_weekends(specialty);
            components[WEEKEND] = rare.map(|rare| weekend_component(rare, is_weekend(day)));
        }
        components
    }
}

/// Whether a provider has enough claims to be compared.
fn compared(medians: &Medians, sums: &ProviderSums) -> bool {
    let claims = u64::try_from(sums.claims).unwrap_or(0);
    claims >= medians.settings().min_provider_claims.max(1) && sums.expected_micros > 0
}

/// 1 for a weekend claim of a specialty that hardly bills on weekends, else 0.
#[must_use]
pub fn weekend_component(rare: bool, weekend: bool) -> u16 {
    if rare && weekend { 1000 } else { 0 }
}

/// Whether a day, counted from 1970-01-01, is a Saturday or Sunday.
#[must_use]
pub fn is_weekend(day: i32) -> bool {
    // 1970-01-01 was a Thursday.
    matches!(day.rem_euclid(7), 2 | 3)
}

#[cfg(test)]
mod tests;
