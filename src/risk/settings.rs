//! The table `[risk]`: weights and thresholds of the score.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The risk score's parameters (model `claim_anomaly_v1`). A component with weight 0 is not
/// computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Risk {
    /// Claims that a peer group needs before amounts are compared with it; also those of a specialty
    /// before its weekends are judged.
    pub min_peers: u64,
    /// Priced claims that a provider needs before its prices are compared.
    pub min_provider_claims: u64,
    /// Such providers that a specialty needs.
    pub min_providers: u64,
    /// Provider-days that a specialty needs before days are compared.
    pub min_provider_days: u64,
    /// Claims of a procedure by a specialty that would be expected, below which their number says
    /// nothing.
    pub min_expected: u64,
    /// Share of weekend claims, 0 to 1, below which a specialty hardly bills on weekends.
    pub rare_weekend: f64,
    /// Reliability of the amount component, 0 to 1.
    pub weight_amount: f64,
    /// Reliability of the duplicate component, 0 to 1.
    pub weight_duplicate: f64,
    /// Reliability of the provider component, 0 to 1.
    pub weight_provider: f64,
    /// Reliability of the volume component, 0 to 1.
    pub weight_volume: f64,
    /// Reliability of the mismatch component, 0 to 1.
    pub weight_mismatch: f64,
    /// Reliability of the weekend component, 0 to 1.
    pub weight_weekend: f64,
    /// Score, 0 to 100, from which the band is `medium`.
    pub medium_from: f64,
    /// Score, 0 to 100, from which the band is `high`.
    pub high_from: f64,
}

impl Default for Risk {
    fn default() -> Self {
        Self {
            min_peers: 30,
            min_provider_claims: 11,
            min_providers: 5,
            min_provider_days: 30,
            min_expected: 10,
            rare_weekend: 0.05,
            weight_amount: 0.60,
            weight_duplicate: 0.50,
            weight_provider: 0.30,
            weight_volume: 0.30,
            weight_mismatch: 0.25,
            weight_weekend: 0.05,
            medium_from: 20.0,
            high_from: 50.0,
        }
    }
}

impl Risk {
    /// The weights in the order of the components: amount, duplicate, provider, volume, mismatch,
    /// weekend.
    #[must_use]
    pub fn weights(&self) -> [f64; 6] {
        [
            self.weight_amount,
            self.weight_duplicate,
            self.weight_provider,
            self.weight_volume,
            self.weight_mismatch,
            self.weight_weekend,
        ]
    }
}

/// Checks the ranges.
///
/// # Errors
/// `Config`, naming the first setting that is out of range.
pub(crate) fn validate(risk: &Risk) -> Result<()> {
    let shares = [
        ("weight_amount", risk.weight_amount),
        ("weight_duplicate", risk.weight_duplicate),
        ("weight_provider", risk.weight_provider),
        ("weight_volume", risk.weight_volume),
        ("weight_mismatch", risk.weight_mismatch),
        ("weight_weekend", risk.weight_weekend),
        ("rare_weekend", risk.rare_weekend),
    ];
    for (name, value) in shares {
        if !(0.0..=1.0).contains(&value) {
            return Err(Error::config(format!("risk.{name} must be from 0 to 1")));
        }
    }
    let bands = 0.0..=100.0;
    if !bands.contains(&risk.medium_from)
        || !bands.contains(&risk.high_from)
        || risk.medium_from > risk.high_from
    {
        return Err(Error::config("risk.medium_from and risk.high_from must be from 0 to 100")
            .hint("a high score is at least a medium one"));
    }
    Ok(())
}
