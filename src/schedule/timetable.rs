//! The timetable: from a cron expression to ticks, from ticks to data intervals.
//!
//! Ticks are wall time of one zone; what the clock skips or repeats when it is changed costs no
//! tick and makes none twice: a fixed time that is skipped happens at the first moment after the
//! gap, one that is repeated happens the first time. An interval reaches from a tick to the next
//! one, so intervals abut and leave nothing out.

use std::iter;

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Cron;

use crate::config::{Moment, Schedule, day};
use crate::error::{Error, Result};

/// The stretch of time whose data one run loads: the start belongs to it, the end does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataInterval {
    /// The first moment.
    pub start: DateTime<Utc>,
    /// The first moment beyond; the run is due then.
    pub end: DateTime<Utc>,
}

/// When intervals begin and end.
#[derive(Debug, Clone)]
pub struct Timetable {
    cron: Cron,
    zone: Tz,
    /// Nothing begins before it.
    start: DateTime<Utc>,
}

impl Timetable {
    /// The timetable that the settings describe.
    ///
    /// # Errors
    /// `Config` when expression, zone or start date cannot be understood.
    pub fn new(schedule: &Schedule) -> Result<Self> {
        let (cron, zone) = (schedule.rule()?, schedule.zone()?);
        let start = midnight(schedule.first_day()?, zone)?;
        Ok(Self { cron, zone, start })
    }

    /// The first tick after a moment; none where there will be none.
    #[must_use]
    pub fn tick_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = moment.with_timezone(&self.zone);
        let tick = self.cron.find_next_occurrence(&local, false).ok()?;
        Some(tick.with_timezone(&Utc))
    }

    /// The last tick that is not after a moment. It is looked for forwards from ever further back,
    /// so that it is one of those that [`Self::tick_after`] gives.
    #[must_use]
    pub fn tick_before_or_at(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let back = iter::successors(Some(1_i64), |hours| Some(hours * 4)).take(10);
        back.filter_map(|hours| moment.checked_sub_signed(TimeDelta::try_hours(hours)?))
            .find_map(|from| self.ticks_after(from).take_while(|tick| *tick <= moment).last())
    }

    /// The intervals from the first that begins at or after a moment, whatever the start date.
    pub fn intervals_from(
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

    /// The interval that contains a moment, and all after it, but none before the start date.
    pub fn intervals_around(
        &self,
        moment: DateTime<Utc>,
    ) -> impl Iterator<Item = DataInterval> + use<'_> {
        let tick = self.tick_before_or_at(moment).unwrap_or(moment);
        self.intervals_from(tick.max(self.start))
    }

    /// The latest interval since the start date that has ended; none before the first has.
    #[must_use]
    pub fn latest_complete(&self, now: DateTime<Utc>) -> Option<DataInterval> {
        let end = self.tick_before_or_at(now)?;
        let start = self.tick_before_or_at(end - TimeDelta::nanoseconds(1))?;
        (start >= self.start).then_some(DataInterval { start, end })
    }

    /// The moment in the timetable's wall time, as a run's settings have it.
    #[must_use]
    pub fn show(&self, moment: DateTime<Utc>) -> String {
        moment.with_timezone(&self.zone).to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// The moment as a setting.
    ///
    /// # Errors
    /// `Internal`, never: what is shown can be read.
    pub fn setting(&self, moment: DateTime<Utc>) -> Result<Moment> {
        self.show(moment).parse().map_err(Error::internal)
    }

    /// A day, which stands for its first moment in the timetable's zone, or a time.
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
            None => Err(Error::config("that is neither a day nor a time")
                .hint("write 2024-01-31, or 2024-01-31T06:00:00Z")),
        }
    }

    fn ticks_after(&self, moment: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + use<'_> {
        iter::successors(self.tick_after(moment), |tick| self.tick_after(*tick))
    }
}

/// The first moment of a day: midnight, or where the clock skips that, the first that there is.
fn midnight(day: NaiveDate, zone: Tz) -> Result<DateTime<Utc>> {
    let midnight = day.and_time(NaiveTime::MIN);
    // No zone has ever skipped more than a day.
    (0..=24 * 60)
        .find_map(|minute| {
            let local = midnight.checked_add_signed(TimeDelta::minutes(minute))?;
            zone.from_local_datetime(&local).earliest()
        })
        .map(|moment| moment.with_timezone(&Utc))
        .ok_or_else(|| Error::config("that day is beyond the calendar"))
}

#[cfg(test)]
#[path = "timetable_tests.rs"]
mod tests;
