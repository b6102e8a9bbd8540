//! Builds the scoring model of the second pass from the statistics of the first.
//!
//! Each step is one pass over small stores.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::load::Own;
use crate::risk::{Codes, Exactness, Fence, Kept, Medians, ProviderSums, RiskModel, Statistics};
use crate::shuffle::{Counted, Distinct, Shuffle};
use crate::transform::{Directory, Scorer};

/// Statistics collected for scoring.
pub(super) struct Counting {
    pub(super) kept: Kept,
    pub(super) exact: Exactness,
    pub(super) codes: Arc<Codes>,
}

impl Counting {
    /// Collects what the weighted components need; nothing when rows are scored against history.
    pub(super) fn new(settings: &Settings, own: bool) -> Self {
        let exact = Exactness::of(&settings.privacy);
        let kept = if own { Kept::of(&settings.risk, exact) } else { Kept::default() };
        Self { kept, exact, codes: Arc::default() }
    }

    /// Completes the statistics of the first pass and builds the scorer of the second.
    ///
    /// # Errors
    /// `Config` when a store cannot be read or written, `Interrupted` on cancellation.
    pub(super) fn scorer(
        self,
        mut statistics: Statistics,
        shuffle: &mut Shuffle,
        directory: &Directory,
        settings: &Settings,
        cancel: &Cancellation,
    ) -> Result<(Arc<Scorer>, Own)> {
        let Self { kept, exact, codes } = self;
        let (specialties, names) = (directory.numbers(), directory.specialties());
        let counted = Counted { kept, exact, codes: &codes, specialties, names };
        let change = shuffle.settle(&counted, settings.warehouse.duplicate_policy(), cancel)?;
        statistics.merge(&change);
        let medians = Medians::fit(&statistics, &settings.risk);
        let codes = codes.names();

        let number = |index: u32| specialties.get(index as usize).copied().unwrap_or(0);
        let expected = expected(&medians, &codes, names);
        let expected = |index: u32, code: u32| expected.get(&(code, number(index))).copied();
        let ids = directory.ids();
        let sums = shuffle.provider_sums(&expected, cancel)?.into_iter().map(|(index, sums)| {
            let name = names.get(number(index) as usize);
            ProviderSums {
                provider: ids.get(index as usize).unwrap_or_default().to_owned(),
                specialty: name.cloned().unwrap_or_default(),
                claims: sums.claims,
                cents: sums.cents,
                expected_micros: sums.expected_micros,
            }
        });
        let sums: Vec<ProviderSums> = sums.collect();

        let fences: Vec<Option<Fence>> = names.iter().map(|name| medians.day_fence(name)).collect();
        let beyond = |index: u32, patients: u32| {
            let fence = fences.get(number(index) as usize).copied().flatten();
            fence.is_some_and(|fence| fence.beyond(f64::from(patients)) > 0)
        };
        let busy = shuffle.busy_days(&beyond, cancel)?;
        let scorer = Scorer::new(RiskModel::new(medians, sums), exact, directory, busy);
        let own = Own {
            statistics,
            kept,
            codes,
            specialties: specialties.iter().map(|&number| name_of(names, number)).collect(),
        };
        Ok((scorer, own))
    }
}

fn name_of(names: &[String], number: u32) -> Arc<str> {
    names.get(number as usize).map_or("", String::as_str).into()
}

/// Expected cost by (procedure, specialty) number.
fn expected(medians: &Medians, codes: &[String], names: &[String]) -> HashMap<(u32, u32), i64> {
    let by_text =
        |texts: &[String]| -> HashMap<String, u32> { texts.iter().cloned().zip(0..).collect() };
    let (codes, names) = (by_text(codes), by_text(names));
    let numbered = |(code, specialty, micros): (&str, &str, i64)| {
        Some(((*codes.get(code)?, *names.get(specialty)?), micros))
    };
    medians.expectations().filter_map(numbered).collect()
}

/// Fails if two identifiers share a token.
///
/// # Errors
/// `Quality` when there are more identifiers than tokens.
pub(super) fn one_token_each(domain: &str, distinct: Distinct) -> Result<()> {
    if distinct.ids == distinct.tokens {
        return Ok(());
    }
    Err(Error::quality(format!(
        "{} different {domain} ids have {} different tokens: two of them would become one; nothing was published",
        distinct.ids, distinct.tokens
    ))
    .hint("equal tokens of different ids are next to impossible: check the key and the memory of this machine, and run again"))
}

#[cfg(test)]
mod tests;
