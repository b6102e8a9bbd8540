//! What a claim is compared with, as far as it follows from the counts alone.
//!
//! A claim is compared with claims of the same procedure and specialty where there are `min_peers`,
//! else of the same procedure, else with nothing; never across procedures.

use std::collections::BTreeMap;

use super::components::{AMOUNT, COMPONENTS, MISMATCH, VOLUME, WEEKEND, thousandths};
use super::fence::Fence;
use super::histogram::{Histogram, ln_dollars};
use super::statistics::Statistics;
use crate::risk::settings::Risk;

/// A group of claims whose amounts are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peers {
    /// Priced claims in the group.
    pub(crate) count: i64,
    /// Median of ln(amount in dollars).
    pub(crate) median_ln: f64,
    /// Spread of ln(amount in dollars).
    pub(crate) sigma_ln: f64,
}

impl Peers {
    fn of(histogram: &Histogram, min_peers: u64) -> Option<Self> {
        let count = histogram.count();
        if u64::try_from(count).unwrap_or(0) < min_peers.max(1) {
            return None;
        }
        let (median_ln, sigma_ln) = histogram.median_and_sigma()?;
        Some(Self { count, median_ln, sigma_ln })
    }

    /// The robust z of an amount above zero.
    #[must_use]
    pub(crate) fn z(&self, cents: i64) -> f64 {
        (ln_dollars(cents) - self.median_ln) / self.sigma_ln
    }

    /// `clip((z − 2) / 5, 0, 1)` in thousandths: the upper tail only.
    #[must_use]
    pub(crate) fn beyond(&self, cents: i64) -> u16 {
        thousandths((self.z(cents) - 2.0) / 5.0)
    }

    /// What a claim of the group is expected to cost, in millionths of a dollar.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "amounts are below 10^10 dollars")]
    pub(crate) fn expected_micros(&self) -> i64 {
        (self.median_ln.exp() * 1e6).round() as i64
    }
}

/// How often a specialty bills a procedure, and how often it would if both were independent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mismatch {
    /// Priced claims of the procedure by the specialty.
    pub(crate) together: i64,
    /// Those of the procedure, by any specialty.
    pub(crate) procedure: i64,
    /// Those of the specialty, with any procedure.
    pub(crate) specialty: i64,
    /// Those with both, in all.
    pub(crate) all: i64,
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
impl Mismatch {
    /// The claims that would be expected.
    #[must_use]
    pub(crate) fn expected(&self) -> f64 {
        self.procedure as f64 * self.specialty as f64 / self.all as f64
    }

    /// How many times the expected number there are.
    #[must_use]
    pub(crate) fn lift(&self) -> f64 {
        self.together as f64 / self.expected()
    }

    /// `clip(1 − lift / 0.25, 0, 1)` in thousandths; none where fewer than `least` are expected.
    #[must_use]
    pub(crate) fn component(&self, least: u64) -> Option<u16> {
        let possible = self.all > 0 && self.expected() >= least.max(1) as f64;
        possible.then(|| thousandths(1.0 - self.lift() / 0.25))
    }
}

/// How often a specialty bills on weekends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habit {
    /// Its priced claims.
    pub(crate) claims: i64,
    /// Those on a Saturday or Sunday.
    pub(crate) on_weekends: i64,
}

/// The peer groups of one procedure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Procedure {
    /// By specialty: its peers, where there are enough, and its priced claims.
    pub(crate) specialties: BTreeMap<String, (Option<Peers>, i64)>,
    /// All its claims.
    pub(crate) overall: Option<Peers>,
    /// Its priced claims with a specialty.
    pub(crate) claims: i64,
}

/// What follows from [`Statistics`].
#[derive(Debug, Clone)]
pub struct Medians {
    pub(crate) settings: Risk,
    pub(crate) procedures: BTreeMap<String, Procedure>,
    /// Priced claims with a procedure, by specialty.
    specialties: BTreeMap<String, i64>,
    all: i64,
    habits: BTreeMap<String, Habit>,
    days: BTreeMap<String, Fence>,
}

impl Medians {
    /// What follows from statistics under settings.
    #[must_use]
    pub fn fit(statistics: &Statistics, settings: &Risk) -> Self {
        let mut fitted = Self {
            settings: settings.clone(),
            procedures: BTreeMap::new(),
            specialties: BTreeMap::new(),
            all: 0,
            habits: BTreeMap::new(),
            days: BTreeMap::new(),
        };
        fitted.amounts(statistics);
        for (specialty, claims, on_weekends) in statistics.weekends() {
            fitted.habits.insert(specialty.to_owned(), Habit { claims, on_weekends });
        }
        fitted.days(statistics);
        fitted
    }

    fn amounts(&mut self, statistics: &Statistics) {
        let least = self.settings.min_peers;
        let mut groups = statistics.groups().peekable();
        while let Some(&(code, ..)) = groups.peek() {
            let (mut procedure, mut overall) = (Procedure::default(), Histogram::default());
            while let Some((_, specialty, histogram)) = groups.next_if(|group| group.0 == code) {
                overall.merge(histogram);
                if !specialty.is_empty() {
                    let claims = histogram.count();
                    let peers = Peers::of(histogram, least);
                    procedure.specialties.insert(specialty.to_owned(), (peers, claims));
                    procedure.claims += claims;
                    *self.specialties.entry(specialty.to_owned()).or_default() += claims;
                }
            }
            self.all += procedure.claims;
            procedure.overall = Peers::of(&overall, least);
            self.procedures.insert(code.to_owned(), procedure);
        }
    }

    /// Fences of provider-days; the distance of their quartiles is at least one patient.
    fn days(&mut self, statistics: &Statistics) {
        let mut by_specialty: BTreeMap<&str, Vec<(f64, u64)>> = BTreeMap::new();
        for (specialty, patients, days) in statistics.provider_days() {
            if let Ok(days) = u64::try_from(days) {
                by_specialty.entry(specialty).or_default().push((f64::from(patients), days));
            }
        }
        let least = self.settings.min_provider_days;
        self.days = by_specialty
            .into_iter()
            .filter_map(|(specialty, days)| {
                Some((specialty.to_owned(), Fence::of(&days, least, 1.0)?))
            })
            .collect();
    }

    /// The settings that it was fitted with.
    #[must_use]
    pub(crate) fn settings(&self) -> &Risk {
        &self.settings
    }

    /// The claims that an amount is compared with, and whether they are of the specialty too.
    #[must_use]
    pub(crate) fn peers(&self, procedure: &str, specialty: &str) -> Option<(Peers, bool)> {
        let procedure = self.procedures.get(procedure)?;
        let own = procedure.specialties.get(specialty).and_then(|group| group.0);
        own.map(|peers| (peers, true)).or(procedure.overall.map(|peers| (peers, false)))
    }

    /// What a claim is expected to cost, in millionths of a dollar; none where there are no peers.
    #[must_use]
    pub(crate) fn expected_micros(&self, procedure: &str, specialty: &str) -> Option<i64> {
        Some(self.peers(procedure, specialty)?.0.expected_micros())
    }

    /// What claims are expected to cost: procedure, specialty, millionths of a dollar; sorted. All
    /// pairs that have a priced claim and peers, those without a specialty (empty) too.
    pub(crate) fn expectations(&self) -> impl Iterator<Item = (&str, &str, i64)> {
        self.procedures.iter().flat_map(|(code, procedure)| {
            let overall = procedure.overall.as_ref();
            let without = overall.map(|peers| (code.as_str(), "", peers.expected_micros()));
            let with = procedure.specialties.iter().filter_map(move |(specialty, (own, _))| {
                let peers = own.as_ref().or(overall)?;
                Some((code.as_str(), specialty.as_str(), peers.expected_micros()))
            });
            without.into_iter().chain(with)
        })
    }

    /// How often the specialty bills the procedure; none where one of them has no priced claim.
    #[must_use]
    pub(crate) fn mismatch(&self, procedure: &str, specialty: &str) -> Option<Mismatch> {
        let claims = *self.specialties.get(specialty)?;
        let procedure = self.procedures.get(procedure)?;
        Some(Mismatch {
            together: procedure.specialties.get(specialty).map_or(0, |group| group.1),
            procedure: procedure.claims,
            specialty: claims,
            all: self.all,
        })
    }

    /// How often the specialty bills on weekends.
    #[must_use]
    pub(crate) fn habit(&self, specialty: &str) -> Option<Habit> {
        self.habits.get(specialty).copied()
    }

    /// The fence of a specialty's provider-days.
    #[must_use]
    pub(crate) fn day_fence(&self, specialty: &str) -> Option<Fence> {
        self.days.get(specialty).copied()
    }

    /// Whether a component is computed: it has a weight.
    pub(crate) fn computes(&self, component: usize) -> bool {
        component < COMPONENTS && self.settings.weights()[component] > 0.0
    }

    pub(crate) fn amount_component(&self, peers: Option<&Peers>, cents: i64) -> Option<u16> {
        let peers = peers.filter(|_| cents > 0 && self.computes(AMOUNT))?;
        Some(peers.beyond(cents))
    }

    pub(crate) fn mismatch_component(&self, mismatch: Option<Mismatch>) -> Option<u16> {
        mismatch.filter(|_| self.computes(MISMATCH))?.component(self.settings.min_expected)
    }

    pub(crate) fn volume_component(&self, fence: Option<&Fence>, patients: u32) -> Option<u16> {
        Some(fence.filter(|_| self.computes(VOLUME))?.beyond(f64::from(patients)))
    }

    /// Whether a weekend claim of the specialty is odd; none where it has too few claims.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(crate) fn rare_weekends(&self, specialty: &str) -> Option<bool> {
        let habit = self.habits.get(specialty).filter(|_| self.computes(WEEKEND))?;
        let known = u64::try_from(habit.claims).unwrap_or(0) >= self.settings.min_peers.max(1);
        known.then_some(
            (habit.on_weekends as f64) < self.settings.rare_weekend * habit.claims as f64,
        )
    }
}
