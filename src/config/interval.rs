//! The data interval: the period whose data a run loads.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Days, FixedOffset, NaiveDate, NaiveTime, Offset, TimeZone, Utc};
use serde::{Deserialize, Serialize};

/// A bound of the interval: a date, which means midnight UTC, or a timestamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment {
    at: DateTime<FixedOffset>,
    text: String,
}

/// A half-open interval: includes the start, excludes the end. A missing bound is unbounded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Interval {
    /// Inclusive start.
    pub(crate) start: Option<Moment>,
    /// Exclusive end.
    pub(crate) end: Option<Moment>,
}

impl Moment {
    /// The date in the bound's own time zone, in days since 1970-01-01.
    #[must_use]
    pub(crate) fn day(&self) -> Option<i32> {
        let since = self.at.date_naive().signed_duration_since(NaiveDate::default());
        i32::try_from(since.num_days()).ok()
    }

    /// The bound in a strftime format; `None` for an invalid format.
    #[must_use]
    pub(crate) fn format(&self, format: &str) -> Option<String> {
        let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
        if items.contains(&Item::Error) {
            return None;
        }
        let mut text = String::new();
        write!(text, "{}", self.at.format_with_items(items.iter())).ok()?;
        Some(text)
    }
}

/// Parses `2024-01-31` with exactly four year digits. (Chrono alone accepts the year 24 and a
/// sign.)
#[must_use]
pub(crate) fn day(text: &str) -> Option<NaiveDate> {
    let spelt = |(place, byte): (usize, u8)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    let spelt = text.len() == 10 && text.bytes().enumerate().all(spelt);
    if spelt { NaiveDate::parse_from_str(text, "%Y-%m-%d").ok() } else { None }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let at = match day(text) {
            Some(date) => Some(date.and_time(NaiveTime::MIN).and_utc().fixed_offset()),
            None => DateTime::parse_from_rfc3339(text).ok(),
        };
        let at = at.ok_or("expected a date, 2024-01-31, or a time, 2024-01-31T06:00:00Z")?;
        Ok(Self { at, text: text.to_owned() })
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.text
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Interval {
    /// Whether the interval is unbounded.
    #[must_use]
    pub(crate) fn is_everything(&self) -> bool {
        self.start.is_none() && self.end.is_none()
    }

    /// Whether the start is before the end, if both are set.
    #[must_use]
    pub(crate) fn is_ordered(&self) -> bool {
        let ends = self.start.as_ref().zip(self.end.as_ref());
        ends.is_none_or(|(start, end)| start.at < end.at)
    }

    /// Whether any part of the day `YYYY-MM-DD` is in the interval; `None` if the text is not a
    /// date. Days start at midnight in the time zone of the bounds.
    #[must_use]
    pub(crate) fn covers(&self, day: &str) -> Option<bool> {
        let day = self::day(day)?;
        let known = self.start.as_ref().or(self.end.as_ref());
        let zone = known.map_or_else(|| Utc.fix(), |moment| *moment.at.offset());
        let midnight =
            |day: NaiveDate| zone.from_local_datetime(&day.and_time(NaiveTime::MIN)).single();
        let (begins, ends) = (midnight(day)?, midnight(day.checked_add_days(Days::new(1))?)?);
        let after = self.start.as_ref().is_some_and(|start| ends <= start.at);
        let before = self.end.as_ref().is_some_and(|end| begins >= end.at);
        Some(!after && !before)
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |moment: &Option<Moment>| moment.as_ref().map_or("…".into(), ToString::to_string);
        write!(f, "[{}, {})", end(&self.start), end(&self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(start: &str, end: &str) -> Interval {
        let moment = |text: &str| text.parse().ok();
        Interval { start: moment(start), end: moment(end) }
    }

    #[test]
    fn moments_are_dates_or_times_in_any_format() {
        let moment: Moment = " 2024-01-31 ".parse().expect("a date");
        assert_eq!(moment.to_string(), "2024-01-31");
        assert_eq!(moment.format("%Y/%m/%d-%H").as_deref(), Some("2024/01/31-00"));
        let time: Moment = "2024-01-31T23:30:00-05:00".parse().expect("a time");
        assert_eq!(time.format("%Y%m%d").as_deref(), Some("20240131"), "as it is written");
        assert_eq!(moment.day(), Some(19_753));
        assert_eq!(time.day(), Some(19_753), "as it is written");
        assert_eq!(moment.format("%Q"), None);
        assert_eq!(moment.format("%Y-%"), None);
        for wrong in [
            "",
            "2024-13-01",
            "31.01.2024",
            "2024-01-31 06:00",
            "yesterday",
            "24-01-31",
            "+2024-01-31",
            "2024-1-31",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_are_covered_as_far_as_they_reach_into_the_interval() {
        let month = interval("2024-01-01", "2024-02-01");
        for (day, covered) in [
            ("2023-12-31", Some(false)),
            ("2024-01-01", Some(true)),
            ("2024-01-31", Some(true)),
            ("2024-02-01", Some(false)),
            ("2024-02-30", None),
            ("2024-1-31", None),
            ("2024-01-31x", None),
            ("+024-01-31", None),
        ] {
            assert_eq!(month.covers(day), covered, "{day}");
        }
        let hour = interval("2024-01-31T05:00:00Z", "2024-01-31T06:00:00Z");
        assert_eq!(hour.covers("2024-01-31"), Some(true), "its data lie in the day's folder");
        assert_eq!(hour.covers("2024-02-01"), Some(false));
        let there = interval("2024-01-31T00:00:00+09:00", "2024-02-01T00:00:00+09:00");
        assert_eq!(there.covers("2024-01-30"), Some(false));
        assert_eq!(there.covers("2024-01-31"), Some(true));
        assert_eq!(interval("2024-01-31", "").covers("2024-01-30"), Some(false));
        assert_eq!(interval("", "2024-01-31").covers("2024-01-30"), Some(true));
        assert_eq!(interval("", "").covers("1999-01-01"), Some(true));
    }

    #[test]
    fn the_start_comes_first() {
        assert!(interval("2024-01-31", "2024-02-01").is_ordered());
        assert!(!interval("2024-01-31", "2024-01-31").is_ordered());
        assert!(!interval("2024-01-31T00:00:00Z", "2024-01-31T08:00:00+09:00").is_ordered());
        assert!(interval("", "2024-01-31").is_ordered());
    }
}
