//! The timetable: a cron expression defines ticks, and ticks define data intervals.
//!
//! Ticks are local times in one zone. A clock change neither loses nor repeats a tick: a skipped
//! time ticks at the first moment after the gap, a repeated one only the first time. An interval
//! spans two consecutive ticks, so intervals are contiguous.

use std::iter;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;

use crate::config::{Moment, Schedule, day};
use crate::error::{Error, Result};

/// The half-open interval `[start, end)` whose data one run loads; the run is due at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataInterval {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub struct Timetable {
    cron: Cron,
    zone: Tz,
    /// Start date; no interval starts earlier.
    start: DateTime<Utc>,
}

impl Timetable {
    /// # Errors
    /// `Config` when the expression, zone or start date is invalid.
    pub fn new(schedule: &Schedule) -> Result<Self> {
        let (cron, zone) = (schedule.rule()?, schedule.zone()?);
        let start = midnight(schedule.first_day()?, zone)?;
        Ok(Self { cron, zone, start })
    }

    /// The first tick after a moment, if any.
    #[must_use]
    pub(crate) fn tick_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = moment.with_timezone(&self.zone);
        let tick = self.cron.find_next_occurrence(&local, false).ok()?;
        Some(tick.with_timezone(&Utc))
    }

    /// The last tick at or before a moment. Searches forwards from successively earlier times, so
    /// that it is consistent with [`Self::tick_after`].
    #[must_use]
    pub(crate) fn tick_before_or_at(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let back = iter::successors(Some(1_i64), |hours| Some(hours * 4)).take(10);
        back.filter_map(|hours| moment.checked_sub_signed(TimeDelta::try_hours(hours)?))
            .find_map(|from| self.ticks_after(from).take_while(|tick| *tick <= moment).last())
    }

    /// Intervals that start at or after a moment, regardless of the start date.
    pub(crate) fn intervals_from(
        &self,
        moment: DateTime<Utc>,
    ) -> impl Iterator<Item = DataInterval> + use<'_> {
        // Ticks are whole seconds.
        let before = moment - TimeDelta::nanoseconds(1);
        let mut ticks = self.ticks_after(before);
        let mut start = ticks.next();
        iter::from_fn(move || {
            let interval = DataInterval { start: start?, end: ticks.next()? };
            start = Some(interval.end);
            Some(interval)
        })
    }

    /// All intervals since the start date.
    pub fn intervals(&self) -> impl Iterator<Item = DataInterval> + use<'_> {
        self.intervals_from(self.start)
    }

    /// The interval that contains a moment and all later ones, not before the start date.
    pub(crate) fn intervals_around(
        &self,
        moment: DateTime<Utc>,
    ) -> impl Iterator<Item = DataInterval> + use<'_> {
        let tick = self.tick_before_or_at(moment).unwrap_or(moment);
        self.intervals_from(tick.max(self.start))
    }

    /// The latest completed interval since the start date.
    #[must_use]
    pub(crate) fn latest_complete(&self, now: DateTime<Utc>) -> Option<DataInterval> {
        let end = self.tick_before_or_at(now)?;
        let start = self.tick_before_or_at(end - TimeDelta::nanoseconds(1))?;
        (start >= self.start).then_some(DataInterval { start, end })
    }

    /// RFC 3339 in the time zone of the timetable.
    #[must_use]
    pub(crate) fn show(&self, moment: DateTime<Utc>) -> String {
        moment.with_timezone(&self.zone).to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// The moment as a setting.
    ///
    /// # Errors
    /// Never: the text of [`Self::show`] is valid.
    pub(crate) fn setting(&self, moment: DateTime<Utc>) -> Result<Moment> {
        self.show(moment).parse().map_err(Error::internal)
    }

    /// Parses a day (midnight in the time zone of the timetable) or a timestamp.
    ///
    /// # Errors
    /// `Config` when the text is neither.
    pub fn read(&self, text: &str) -> Result<DateTime<Utc>> {
        let text = text.trim();
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(time.with_timezone(&Utc));
        }
        match day(text) {
            Some(day) => midnight(day, self.zone),
            None => Err(Error::config("not a day or a time")
                .hint("write 2024-01-31, or 2024-01-31T06:00:00Z")),
        }
    }

    fn ticks_after(&self, moment: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + use<'_> {
        iter::successors(self.tick_after(moment), |tick| self.tick_after(*tick))
    }
}

/// The start of a day: midnight, or the first moment after a clock gap.
fn midnight(day: NaiveDate, zone: Tz) -> Result<DateTime<Utc>> {
    let midnight = day.and_time(NaiveTime::MIN);
    // No zone has ever skipped more than a day.
    (0..=24 * 60)
        .find_map(|minute| {
            let local = midnight.checked_add_signed(TimeDelta::minutes(minute))?;
            zone.from_local_datetime(&local).earliest()
        })
        .map(|moment| moment.with_timezone(&Utc))
        .ok_or_else(|| Error::config("the day is out of range"))
}

#[cfg(test)]
#[path = "timetable_tests.rs"]
mod tests;
