//! Parses dates of service by an ordered list of formats.
//!
//! Formats are tried in the configured order; a text that two of them parse as different dates is
//! invalid. ISO dates and eight digits are unambiguous and have a fast parser; other formats use
//! chrono, except that `%Y` requires exactly four digits without a sign, where chrono accepts `24`
//! as the year 24. Of a timestamp the date as written counts: time and zone are dropped without
//! conversion.

use std::sync::Arc;

use chrono::format::{Item, Numeric, StrftimeItems};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use polars::prelude::{DataType, Expr, Int32Type, IntoSeries, col};

use super::expression::of_text;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::transform::column_access::read;

/// A date format.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Format {
    /// `%Y-%m-%d`
    Iso,
    /// `%Y%m%d`
    Compact,
    /// `rfc3339`: a date, `T` or a space, a time, optional fraction and zone.
    Timestamp,
    /// Any other strftime format, and its four-digit year, if any.
    Strftime(String, Option<Year>),
}

/// A four-digit year in a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Year {
    /// `%Y`
    Calendar,
    /// `%G`, the ISO week year.
    Week,
}

impl Year {
    fn of_format(format: &str) -> Option<Self> {
        StrftimeItems::new(format).find_map(|item| match item {
            Item::Numeric(Numeric::Year, _) => Some(Self::Calendar),
            Item::Numeric(Numeric::IsoYear, _) => Some(Self::Week),
            _ => None,
        })
    }

    /// Whether the text contains all four digits of the year, without a sign.
    fn is_whole(self, text: &str, date: NaiveDate) -> bool {
        let year = match self {
            Self::Calendar => date.year(),
            Self::Week => date.iso_week().year(),
        };
        let digits = format!("{year:04}");
        text.match_indices(&digits).any(|(at, _)| !text[..at].ends_with('+'))
    }
}

/// Why a text is not a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// No format matches.
    NoFormat,
    /// Two formats yield different dates.
    Ambiguous,
    /// Before the earliest allowed date.
    TooEarly,
}

/// An ordered list of date formats, and the earliest date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateFormats {
    formats: Vec<Format>,
    /// In days since 1970-01-01.
    earliest: i32,
}

impl DateFormats {
    /// The formats and the earliest date of the settings.
    ///
    /// # Errors
    /// `Config` as [`DateFormats::new`], or when the earliest date is invalid.
    pub fn of(settings: &Settings) -> Result<Self> {
        let formats = Self::new(&settings.claims.date_formats)?;
        Ok(Self { earliest: settings.rules.earliest_day()?, ..formats })
    }

    /// Parses a list of formats: chrono's strftime formats, or `rfc3339`. No earliest date.
    ///
    /// # Errors
    /// `Config` when the list is empty or a format does not define a full date.
    pub(crate) fn new(formats: &[String]) -> Result<Self> {
        if formats.is_empty() {
            return Err(Error::config("date_formats is empty")
                .hint("write at least one, for example date_formats = [\"%Y-%m-%d\"]"));
        }
        formats
            .iter()
            .map(|format| match format.as_str() {
                "%Y-%m-%d" | "%F" => Ok(Format::Iso),
                "%Y%m%d" => Ok(Format::Compact),
                "rfc3339" => Ok(Format::Timestamp),
                other => strftime(other),
            })
            .collect::<Result<Vec<_>>>()
            .map(|formats| Self { formats, earliest: i32::MIN })
    }

    /// Parses a text with the first matching format, to days since 1970-01-01; years 1 to 9999.
    ///
    /// # Errors
    /// When no format matches, when a later chrono format yields a different date, or when the date
    /// is too early.
    pub(super) fn days(&self, text: &str) -> Result<i32, Unread> {
        self.read(text)
            .and_then(|day| if day < self.earliest { Err(Unread::TooEarly) } else { Ok(day) })
    }

    fn read(&self, text: &str) -> Result<i32, Unread> {
        for (place, format) in self.formats.iter().enumerate() {
            let read = match format {
                Format::Iso => iso(text.as_bytes()),
                Format::Compact => compact(text.as_bytes()),
                Format::Timestamp => timestamp(text),
                Format::Strftime(format, year) => {
                    let day = strftime_date(text, format, *year);
                    if day.is_some_and(|day| self.reads_otherwise(text, day, place + 1)) {
                        return Err(Unread::Ambiguous);
                    }
                    day
                }
            };
            if let Some(day) = read {
                return Ok(day);
            }
        }
        Err(Unread::NoFormat)
    }

    /// Whether a later chrono format yields a different date.
    fn reads_otherwise(&self, text: &str, day: i32, later: usize) -> bool {
        self.formats[later..].iter().any(|format| match format {
            Format::Strftime(format, year) => {
                strftime_date(text, format, *year).is_some_and(|other| other != day)
            }
            Format::Iso | Format::Compact | Format::Timestamp => false,
        })
    }
}

/// The column's date of service; null when no format matches or two differ.
pub(super) fn date(column: &str, formats: &Arc<DateFormats>) -> Expr {
    let formats = Arc::clone(formats);
    of_text("date", col(column), DataType::Date, move |text| {
        let days = read::<Int32Type>(text, |text| formats.days(text).ok());
        Ok(days.into_date().into_series())
    })
}

/// Validates a strftime format: known to chrono and defining a full date.
fn strftime(format: &str) -> Result<Format> {
    let probe = NaiveDate::from_ymd_opt(2001, 12, 31)
        .and_then(|date| date.and_hms_opt(23, 59, 58))
        .ok_or_else(|| Error::internal("the probe date"))?;
    let items: Vec<_> = StrftimeItems::new(format).collect();
    let known = !items.iter().any(|item| matches!(item, Item::Error));
    let year = Year::of_format(format);
    let reads_back = known && {
        let spelt = probe.and_utc().format_with_items(items.iter()).to_string();
        strftime_date(&spelt, format, year) == days_of(probe.date())
    };
    if reads_back {
        Ok(Format::Strftime(format.to_owned(), year))
    } else {
        Err(Error::config(format!("date format {format:?} does not name a full date"))
            .hint("use chrono's strftime codes, for example %m/%d/%Y or %d-%b-%Y, or rfc3339"))
    }
}

fn strftime_date(text: &str, format: &str, year: Option<Year>) -> Option<i32> {
    NaiveDate::parse_from_str(text, format)
        .or_else(|_| NaiveDateTime::parse_from_str(text, format).map(|time| time.date()))
        .or_else(|_| DateTime::parse_from_str(text, format).map(|time| time.date_naive()))
        .ok()
        .filter(|date| year.is_none_or(|year| year.is_whole(text, *date)))
        .and_then(days_of)
}

/// `2024-01-31`
fn iso(text: &[u8]) -> Option<i32> {
    match text {
        [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] => {
            calendar(number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)
        }
        _ => None,
    }
}

/// `20240131`
fn compact(text: &[u8]) -> Option<i32> {
    match text {
        [y1, y2, y3, y4, m1, m2, d1, d2] => {
            calendar(number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?)
        }
        _ => None,
    }
}

/// `2024-01-31T10:00:00Z`; `T` or a space, optional fraction, optional zone.
fn timestamp(text: &str) -> Option<i32> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    if !rest.starts_with(['T', 't', ' ']) {
        return None;
    }
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"));
    if local.is_err() {
        DateTime::parse_from_rfc3339(text).ok()?;
    }
    iso(date.as_bytes())
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, &digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
    })
}

/// Days since 1970-01-01, after Howard Hinnant's `days_from_civil`.
fn calendar(year: u32, month: u32, day: u32) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || day == 0 || day > last {
        return None;
    }
    let shifted = year - u32::from(month <= 2);
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    i32::try_from(days).ok().map(|days| days - 719_468)
}

fn days_of(date: NaiveDate) -> Option<i32> {
    (1..=9999).contains(&date.year()).then(|| date.num_days_from_ce() - 719_163)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::risk::is_weekend;

    fn formats(list: &[&str]) -> DateFormats {
        let list: Vec<String> = list.iter().map(|&format| format.to_owned()).collect();
        DateFormats::new(&list).expect("known formats")
    }

    fn iso_of(days: i32) -> String {
        NaiveDate::from_num_days_from_ce_opt(days + 719_163).expect("a date").to_string()
    }

    #[test]
    fn the_formats_of_the_field() {
        let default = formats(&["%Y-%m-%d", "%Y%m%d", "%m/%d/%Y", "rfc3339", "%d-%b-%Y"]);
        for (text, date) in [
            ("2024-10-16", "2024-10-16"),
            ("20090412", "2009-04-12"),
            ("05/23/2005", "2005-05-23"),
            ("2023-01-27T16:17:47Z", "2023-01-27"),
            ("2023-01-27T23:59:59.123+05:30", "2023-01-27"),
            ("2023-01-27 16:17:47.000000", "2023-01-27"),
            ("30-May-2015", "2015-05-30"),
            ("1968-01-21", "1968-01-21"),
            ("2024-02-29", "2024-02-29"),
        ] {
            assert_eq!(default.days(text).map(iso_of).as_deref(), Ok(date), "{text}");
        }
        for text in [
            "",
            "2023-02-29",
            "2024-13-01",
            "2024-00-10",
            "not a date",
            "2024-1-1",
            "0000-01-01",
            "20241301",
            "2024-10-16x",
            "2023-01-27T25:00:00Z",
            "99/99/9999",
            "2023-01-27Tnonsense",
        ] {
            assert_eq!(default.days(text), Err(Unread::NoFormat), "{text}");
        }
    }

    #[test]
    fn a_date_that_two_formats_read_differently_is_none() {
        let either = formats(&["%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%d"]);
        let ambiguous = Err(Unread::Ambiguous);
        for (text, date) in [
            ("03/04/2024", ambiguous),
            ("04/04/2024", Ok("2024-04-04")),
            ("13/04/2024", Ok("2024-04-13")),
            ("04/13/2024", Ok("2024-04-13")),
            ("2024-03-04", Ok("2024-03-04")),
            ("20240304", Ok("2024-03-04")),
            ("13/13/2024", Err(Unread::NoFormat)),
        ] {
            let read = either.days(text).map(iso_of);
            assert_eq!(read.as_deref().map_err(|unread| *unread), date, "{text}");
        }
        let one = formats(&["%d/%m/%Y"]).days("03/04/2024").map(iso_of);
        assert_eq!(one.as_deref(), Ok("2024-04-03"));
        // Only the second format accepts a two-digit year.
        let short = formats(&["%m/%d/%Y", "%m/%d/%y"]).days("03/04/24").map(iso_of);
        assert_eq!(short.as_deref(), Ok("2024-03-04"));
    }

    #[test]
    fn a_year_has_four_digits_and_no_sign() {
        for (format, good, bad) in [
            ("%m/%d/%Y", "01/31/2024", vec!["1/31/24", "01/31/024", "01/31/+2024", "01/31/-2024"]),
            (
                "%Y/%m/%d",
                "2024/01/31",
                vec!["24/01/31", "+2024/01/31", "12024/01/31", "-2024/01/31"],
            ),
            ("%d%m%Y", "31012024", vec!["310124", "3101+2024"]),
            ("%d-%b-%Y", "31-Jan-2024", vec!["31-Jan-24", "31-Jan-+2024"]),
            ("%d %b %Y %H:%M", "31 Jan 2024 20:24", vec!["31 Jan 24 20:24"]),
            ("%Y-%m-%d %H:%M:%S %z", "2024-01-31 23:30:00 +0500", vec!["24-01-31 23:30:00 +0500"]),
            ("%G-W%V-%u", "2024-W05-3", vec!["24-W05-3", "+2024-W05-3"]),
            ("%v", "31-Jan-2024", vec!["31-Jan-24"]),
        ] {
            let one = formats(&[format]);
            assert_eq!(one.days(good).map(iso_of).as_deref(), Ok("2024-01-31"), "{format}");
            for text in bad {
                assert_eq!(one.days(text), Err(Unread::NoFormat), "{format} {text}");
            }
        }
        // A two-digit format accepts two digits.
        let short = formats(&["%m/%d/%y"]).days("01/31/24").map(iso_of);
        assert_eq!(short.as_deref(), Ok("2024-01-31"));
    }

    #[test]
    fn a_date_before_the_earliest_is_told_from_no_date() {
        let mut settings = Settings::default();
        let of = |settings: &Settings, text: &str| {
            DateFormats::of(settings).expect("formats").days(text).map(iso_of)
        };
        for early in ["0001-01-01", "00010101", "0024-01-31", "12/31/1899", "1899-12-31T00:00:00Z"]
        {
            assert_eq!(of(&settings, early), Err(Unread::TooEarly), "{early}");
        }
        assert_eq!(of(&settings, "1900-01-01").as_deref(), Ok("1900-01-01"));
        settings.rules.earliest_date = "1950-06-01".into();
        assert_eq!(of(&settings, "1950-05-31"), Err(Unread::TooEarly));
        assert_eq!(of(&settings, "1950-06-01").as_deref(), Ok("1950-06-01"));
    }

    #[test]
    fn eight_digits_and_iso_are_what_they_are() {
        let list = formats(&["%Y%m%d", "%d%m%Y", "%Y-%m-%d", "%Y-%d-%m"]);
        assert_eq!(list.days("20111012").map(iso_of).as_deref(), Ok("2011-10-12"));
        assert_eq!(list.days("2011-10-12").map(iso_of).as_deref(), Ok("2011-10-12"));
    }

    #[test]
    fn a_format_must_name_a_full_date() {
        for bad in ["%Y-%m", "%H:%M", "%Q", ""] {
            assert!(DateFormats::new(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(DateFormats::new(&[]).is_err());
    }

    proptest! {
        #[test]
        fn the_fast_reader_agrees_with_chrono(days in -719_162_i32..=2_932_896) {
            let text = iso_of(days);
            prop_assert_eq!(iso(text.as_bytes()), Some(days));
            prop_assert_eq!(compact(text.replace('-', "").as_bytes()), Some(days));
            let date = NaiveDate::from_num_days_from_ce_opt(days + 719_163).expect("a date");
            let weekend = matches!(date.weekday(), chrono::Weekday::Sat | chrono::Weekday::Sun);
            prop_assert_eq!(is_weekend(days), weekend);
        }
    }
}
