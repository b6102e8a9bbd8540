//! What all priced claims add up to: counts that can be added and taken out in any order.
//!
//! Texts are keys here; who counts millions of rows counts by numbers and adds them up at the end.

use std::collections::BTreeMap;

use super::histogram::{Histogram, bucket};

/// Counts by text, of amounts by text, of weekends and provider-days.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// Amounts by procedure and specialty (empty: none).
    amounts: BTreeMap<String, BTreeMap<String, Histogram>>,
    /// Priced claims by specialty, and those on weekends.
    weekends: BTreeMap<String, (i64, i64)>,
    /// Provider-days by specialty and patients.
    days: BTreeMap<String, BTreeMap<u32, i64>>,
}

/// The value of a text, which is made where there is none.
fn entry<'m, V: Default>(map: &'m mut BTreeMap<String, V>, key: &str) -> &'m mut V {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), V::default());
    }
    map.entry(key.to_owned()).or_default()
}

impl Statistics {
    /// Adds a claim (`sign` 1) or takes it out (`sign` −1); without an amount above zero it is in no
    /// statistic. `specialty` is in canonical case, empty where there is none; `weekend` is none
    /// where the day is not known.
    pub(crate) fn claim(
        &mut self,
        sign: i64,
        procedure: Option<&str>,
        specialty: &str,
        cents: i64,
        weekend: Option<bool>,
    ) {
        if cents <= 0 {
            return;
        }
        if let Some(procedure) = procedure {
            self.set_amount(procedure, specialty, bucket(cents), sign);
        }
        if let Some(weekend) = weekend.filter(|_| !specialty.is_empty()) {
            self.set_weekend(specialty, sign, if weekend { sign } else { 0 });
        }
    }

    /// Adds a day (`sign` 1) on which a provider has seen so many patients, or takes it out
    /// (`sign` −1); without patients or specialty it is none.
    pub(crate) fn provider_day(&mut self, sign: i64, specialty: &str, patients: u32) {
        if patients > 0 && !specialty.is_empty() {
            self.set_provider_days(specialty, patients, sign);
        }
    }

    /// Adds all counts of others.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (procedure, specialty, bucket, claims) in other.amounts() {
            self.set_amount(procedure, specialty, bucket, claims);
        }
        for (specialty, claims, on_weekends) in other.weekends() {
            self.set_weekend(specialty, claims, on_weekends);
        }
        for (specialty, patients, days) in other.provider_days() {
            self.set_provider_days(specialty, patients, days);
        }
    }

    /// The buckets of a procedure and specialty, sorted; those with claims.
    pub(crate) fn group(&self, procedure: &str, specialty: &str) -> Vec<(i32, i64)> {
        let group = self.amounts.get(procedure).and_then(|groups| groups.get(specialty));
        group.map_or_else(Vec::new, |histogram| histogram.buckets().collect())
    }

    /// Numbers of patients and the provider-days with each, sorted.
    pub(crate) fn days_of(&self, specialty: &str) -> Vec<(u32, i64)> {
        let days = self.days.get(specialty).into_iter().flatten();
        days.map(|(&patients, &days)| (patients, days)).filter(|(_, days)| *days != 0).collect()
    }

    /// Claims by procedure, specialty and bucket, sorted; counts of a change can be negative, none
    /// is zero.
    pub(crate) fn amounts(&self) -> impl Iterator<Item = (&str, &str, i32, i64)> {
        self.groups().flat_map(|(procedure, specialty, histogram)| {
            histogram.buckets().map(move |(bucket, claims)| (procedure, specialty, bucket, claims))
        })
    }

    /// Specialty, priced claims, those on weekends; sorted.
    pub(crate) fn weekends(&self) -> impl Iterator<Item = (&str, i64, i64)> {
        let all = self.weekends.iter();
        all.map(|(specialty, &(claims, on_weekends))| (specialty.as_str(), claims, on_weekends))
            .filter(|&(_, claims, on_weekends)| (claims, on_weekends) != (0, 0))
    }

    /// Specialty, patients, provider-days with so many; sorted.
    pub(crate) fn provider_days(&self) -> impl Iterator<Item = (&str, u32, i64)> {
        self.days.iter().flat_map(|(specialty, days)| {
            let days = days.iter().filter(|&(_, &days)| days != 0);
            days.map(move |(&patients, &days)| (specialty.as_str(), patients, days))
        })
    }

    /// Adds a row that [`Self::amounts`] gave.
    pub(crate) fn set_amount(
        &mut self,
        procedure: &str,
        specialty: &str,
        bucket: i32,
        claims: i64,
    ) {
        entry(entry(&mut self.amounts, procedure), specialty).add(bucket, claims);
    }

    /// Adds the buckets of a group.
    pub(crate) fn set_amounts(
        &mut self,
        procedure: &str,
        specialty: &str,
        buckets: impl Iterator<Item = (i32, i64)>,
    ) {
        let histogram = entry(entry(&mut self.amounts, procedure), specialty);
        for (bucket, claims) in buckets {
            histogram.add(bucket, claims);
        }
    }

    /// Adds a row that [`Self::weekends`] gave.
    pub(crate) fn set_weekend(&mut self, specialty: &str, claims: i64, on_weekends: i64) {
        let habit = entry(&mut self.weekends, specialty);
        habit.0 += claims;
        habit.1 += on_weekends;
    }

    /// Adds a row that [`Self::provider_days`] gave.
    pub(crate) fn set_provider_days(&mut self, specialty: &str, patients: u32, days: i64) {
        *entry(&mut self.days, specialty).entry(patients).or_default() += days;
    }

    /// Adds the amounts of a group that was counted apart.
    pub(crate) fn add_group(&mut self, procedure: &str, specialty: &str, amounts: &Histogram) {
        if !amounts.is_empty() {
            entry(entry(&mut self.amounts, procedure), specialty).merge(amounts);
        }
    }

    /// The groups of amounts: procedure, specialty, histogram; sorted.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&str, &str, &Histogram)> {
        self.amounts.iter().flat_map(|(procedure, groups)| {
            groups.iter().map(move |(specialty, histogram)| {
                (procedure.as_str(), specialty.as_str(), histogram)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_was_never_there() {
        let mut all = Statistics::default();
        all.claim(1, Some("99213"), "GP", 10_000, Some(true));
        all.claim(1, None, "", 10_000, None);
        all.claim(1, Some("99213"), "GP", 0, Some(true));
        all.provider_day(1, "GP", 3);
        all.provider_day(1, "", 3);
        all.provider_day(1, "GP", 0);
        let rows: Vec<_> = all.amounts().collect();
        assert_eq!(rows, [("99213", "GP", bucket(10_000), 1)]);
        assert_eq!(all.weekends().collect::<Vec<_>>(), [("GP", 1, 1)]);
        assert_eq!(all.provider_days().collect::<Vec<_>>(), [("GP", 3, 1)]);
        let mut change = Statistics::default();
        change.claim(-1, Some("99213"), "GP", 10_000, Some(true));
        change.provider_day(-1, "GP", 3);
        change.provider_day(1, "GP", 4);
        all.merge(&change);
        assert_eq!((all.amounts().count(), all.weekends().count()), (0, 0));
        assert_eq!(all.provider_days().collect::<Vec<_>>(), [("GP", 4, 1)]);
    }
}
