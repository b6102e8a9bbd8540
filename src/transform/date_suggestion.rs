//! Suggests date formats for a source when the configured ones do not match.
//!
//! Tries candidates with the run's own parser on the source's texts.

use std::sync::Arc;

use polars::prelude::StringChunked;

use super::date::DateFormats;

/// Maximum sampled texts, each for those the configured formats parse and for the others.
const KEPT: usize = 2_000;
/// Maximum formats suggested.
const FORMATS: usize = 4;
/// 1900-01-01 to 2100-01-01 in days since 1970-01-01: other results are misparsed.
const PLAUSIBLE: std::ops::Range<i32> = -25_567..47_482;
/// Spreadsheet day numbers from 1970 on.
const DAY_NUMBERS: std::ops::Range<u32> = 25_569..73_050;

/// Candidate formats; on a tie the first wins.
const CANDIDATES: [&str; 40] = [
    "%Y-%m-%d",
    "%Y%m%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d-%b-%Y",
    "%d%b%Y",
    "%d %b %Y",
    "%d/%b/%Y",
    "%b %d, %Y",
    "%b %d %Y",
    "%B %d, %Y",
    "%d %B %Y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%d-%b-%y",
    "%d%b%y",
    "%m%d%Y",
    "%d%m%Y",
    "rfc3339",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y%m%d%H%M%S",
    "%d-%b-%Y %H:%M:%S",
    "%d%b%Y:%H:%M:%S",
    "%b %d %Y %I:%M%p",
];

/// Sampled dates of a source.
pub(crate) struct DateSample {
    formats: Arc<DateFormats>,
    read: Vec<String>,
    unread: Vec<String>,
}

/// Suggestion for a source's dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DateSuggestion {
    /// Formats that parse nearly all of them; and an alternative that parses as many as the first,
    /// but as other days.
    Formats(Vec<String>, Option<String>),
    /// Spreadsheet day numbers.
    DayNumbers,
}

impl DateSample {
    /// An empty sample for the configured formats.
    #[must_use]
    pub(crate) fn new(formats: &Arc<DateFormats>) -> Self {
        Self { formats: Arc::clone(formats), read: Vec::new(), unread: Vec::new() }
    }

    /// Samples some dates.
    pub(crate) fn observe(&mut self, texts: &StringChunked) {
        for text in texts.iter().flatten().map(str::trim).filter(|text| !text.is_empty()) {
            let kept = match self.formats.days(text) {
                Ok(day) if PLAUSIBLE.contains(&day) => &mut self.read,
                _ => &mut self.unread,
            };
            if kept.len() < KEPT {
                kept.push(text.to_owned());
            }
        }
    }

    /// Whether the sample is complete.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.unread.len() == KEPT
    }

    /// The suggestion; `None` when no known format matches.
    #[must_use]
    pub(crate) fn suggestion(&self, configured: &[String]) -> Option<DateSuggestion> {
        let texts: Vec<&str> = self.unread.iter().chain(&self.read).map(String::as_str).collect();
        let is_number = |text: &&String| {
            text.parse().is_ok_and(|day: u32| text.len() == 5 && DAY_NUMBERS.contains(&day))
        };
        if self.unread.iter().filter(is_number).count() * 2 > self.unread.len() {
            return Some(DateSuggestion::DayNumbers);
        }
        let mut candidates: Vec<(&str, Vec<Option<i32>>)> = Vec::new();
        for name in configured.iter().map(String::as_str).chain(CANDIDATES) {
            if candidates.iter().any(|(known, _)| *known == name) {
                continue;
            }
            // Configured formats were already parsed; candidates are validated by a test.
            let Ok(format) = DateFormats::new(&[name.to_owned()]) else { continue };
            let day = |text: &&str| format.days(text).ok().filter(|day| PLAUSIBLE.contains(day));
            candidates.push((name, texts.iter().map(day).collect()));
        }
        let mut left: Vec<usize> = (0..texts.len()).collect();
        let (mut chosen, mut other) = (Vec::new(), None);
        while chosen.len() < FORMATS && !left.is_empty() {
            let reads =
                |days: &[Option<i32>]| left.iter().filter(|&&at| days[at].is_some()).count();
            let most = candidates.iter().map(|(_, days)| reads(days)).max().unwrap_or(0);
            if most == 0 || most * 100 < texts.len() {
                break;
            }
            let mut best = candidates.iter().filter(|(_, days)| reads(days) == most);
            let Some((name, days)) = best.next() else { break };
            let differs = |others: &Vec<Option<i32>>| {
                left.iter().any(|&at| others[at].is_some() && others[at] != days[at])
            };
            if other.is_none() && chosen.is_empty() {
                other =
                    best.find(|(_, others)| differs(others)).map(|(name, _)| (*name).to_owned());
            }
            chosen.push((*name).to_owned());
            left.retain(|&at| days[at].is_none());
        }
        let enough = left.iter().filter(|&&at| at < self.unread.len()).count() * 2;
        (!chosen.is_empty() && enough < self.unread.len())
            .then_some(DateSuggestion::Formats(chosen, other))
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::NewChunkedArray;

    use super::*;

    fn suggested(texts: &[&str]) -> Option<DateSuggestion> {
        let configured = ["%Y-%m-%d", "%Y%m%d", "%m/%d/%Y", "rfc3339"].map(ToOwned::to_owned);
        let formats = Arc::new(DateFormats::new(&configured).expect("formats"));
        let mut sample = DateSample::new(&formats);
        sample.observe(&StringChunked::from_slice("d".into(), texts));
        sample.suggestion(&configured)
    }

    #[test]
    fn every_candidate_is_a_format_and_is_found_again() {
        let day =
            chrono::NaiveDate::from_ymd_opt(2024, 3, 31).and_then(|d| d.and_hms_opt(13, 5, 7));
        let time = day.expect("a day").and_utc();
        for name in CANDIDATES.into_iter().filter(|name| *name != "rfc3339") {
            assert!(DateFormats::new(&[name.to_owned()]).is_ok(), "{name}");
            let text = time.format(name).to_string();
            let found = suggested(&[&text]);
            if ["%Y-%m-%d", "%Y%m%d", "%m/%d/%Y"].contains(&name) {
                assert_eq!(found, None, "{name} is configured");
                continue;
            }
            let Some(DateSuggestion::Formats(formats, None)) = found else {
                panic!("{name}: {found:?}");
            };
            let read = DateFormats::new(&formats).expect("formats").days(&text);
            assert_eq!(read, Ok(19_813), "{name}: {formats:?}");
        }
    }

    #[test]
    fn formats_are_told_from_all_dates() {
        let formats = |formats: &[&str], other: Option<&str>| {
            let formats = formats.iter().map(|&format| format.to_owned()).collect();
            Some(DateSuggestion::Formats(formats, other.map(ToOwned::to_owned)))
        };
        for (texts, expected) in [
            (&["31.01.2024", "01.02.2024", "x"][..], formats(&["%d.%m.%Y"], None)),
            (&["05/03/2024", "31/12/2023"], formats(&["%d/%m/%Y"], None)),
            (&["01-02-2024", "03-04-2024"], formats(&["%m-%d-%Y"], Some("%d-%m-%Y"))),
            (&["1/5/24", "12/31/23"], formats(&["%m/%d/%y"], None)),
            (
                &["2024-01-31", "2024-02-01", "31-Jan-2024"],
                formats(&["%Y-%m-%d", "%d-%b-%Y"], None),
            ),
            (&["45322", "45323"], Some(DateSuggestion::DayNumbers)),
            (&["soon", "later", "2024-01-31"], None),
            (&[], None),
        ] {
            assert_eq!(suggested(texts), expected, "{texts:?}");
        }
    }
}
