//! Profiles a column's values without storing any of them.

use std::collections::BTreeMap;

use polars::prelude::StringChunked;
use serde::Serialize;

/// Format of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Digits,
    Decimal,
    Letters,
    /// `J1100`, `99213-25`
    Mixed,
    /// `2024-01-31`
    Iso,
    /// `20240131`
    Compact,
    /// `01/31/2024`
    Slashed,
    /// `31.01.2024`
    Dotted,
    /// `31-Jan-2024`
    Named,
    /// `2024-01-31T10:00:00Z`
    Timestamp,
    Other,
}

/// Profile of a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ColumnProfile {
    rows: u64,
    kinds: BTreeMap<Kind, u64>,
    lengths: Option<(usize, usize)>,
    /// Whether the first and the second number of slashed dates ever exceed 12.
    above_twelve: (bool, bool),
}

/// Number of values of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KindCount {
    /// `digits`, `decimal`, `letters`, `mixed`, `other`, or `date` with a format.
    pub(crate) kind: String,
    pub(crate) rows: u64,
}

impl ColumnProfile {
    /// Counts a column of a block. `dated`: eight digits are a date.
    pub(crate) fn observe(&mut self, texts: &StringChunked, dated: bool) {
        self.rows += texts.len() as u64;
        for text in texts.iter().flatten().map(str::trim).filter(|text| !text.is_empty()) {
            let kind = self.kind(text, dated);
            *self.kinds.entry(kind).or_default() += 1;
            let length = if text.is_ascii() { text.len() } else { text.chars().count() };
            let (shortest, longest) = self.lengths.unwrap_or((length, length));
            self.lengths = Some((shortest.min(length), longest.max(length)));
        }
    }

    /// Adds another thread's counts.
    pub(crate) fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        for (kind, rows) in other.kinds {
            *self.kinds.entry(kind).or_default() += rows;
        }
        self.lengths = match (self.lengths, other.lengths) {
            (Some(one), Some(two)) => Some((one.0.min(two.0), one.1.max(two.1))),
            (one, two) => one.or(two),
        };
        self.above_twelve.0 |= other.above_twelve.0;
        self.above_twelve.1 |= other.above_twelve.1;
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Number of non-empty rows.
    pub(crate) fn filled(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// Minimum and maximum length in characters.
    pub(crate) fn lengths(&self) -> Option<(usize, usize)> {
        self.lengths
    }

    /// Kinds of values, most frequent first.
    pub(crate) fn kinds(&self) -> Vec<KindCount> {
        let name = |kind| match kind {
            Kind::Digits => "digits",
            Kind::Decimal => "decimal",
            Kind::Letters => "letters",
            Kind::Mixed => "mixed",
            Kind::Iso => "date %Y-%m-%d",
            Kind::Compact => "date %Y%m%d",
            Kind::Slashed => match self.above_twelve {
                (false, true) => "date %m/%d/%Y",
                (true, false) => "date %d/%m/%Y",
                (true, true) => "date %m/%d/%Y and %d/%m/%Y",
                (false, false) => "date %m/%d/%Y or %d/%m/%Y",
            },
            Kind::Dotted => "date %d.%m.%Y",
            Kind::Named => "date %d-%b-%Y",
            Kind::Timestamp => "date rfc3339",
            Kind::Other => "other",
        };
        let kinds = self.kinds.iter();
        let mut kinds: Vec<KindCount> =
            kinds.map(|(&kind, &rows)| KindCount { kind: name(kind).to_owned(), rows }).collect();
        kinds.sort_by_key(|count| std::cmp::Reverse(count.rows));
        kinds
    }

    fn kind(&mut self, text: &str, dated: bool) -> Kind {
        let bytes = text.as_bytes();
        if bytes.iter().all(u8::is_ascii_digit) {
            return if dated && bytes.len() == 8 { Kind::Compact } else { Kind::Digits };
        }
        if bytes[0].is_ascii_digit()
            && text.is_ascii()
            && let Some(kind) = self.date(bytes)
        {
            return kind;
        }
        if is_decimal(bytes) {
            return Kind::Decimal;
        }
        let (mut letter, mut digit, mut strange) = (false, false, false);
        for sign in text.chars() {
            letter |= sign.is_alphabetic();
            digit |= sign.is_numeric();
            strange |= sign.is_control() || sign == char::REPLACEMENT_CHARACTER;
        }
        match (strange, letter, digit) {
            (false, true, false) => Kind::Letters,
            (false, _, true) => Kind::Mixed,
            _ => Kind::Other,
        }
    }

    /// The date format a text may have.
    fn date(&mut self, text: &[u8]) -> Option<Kind> {
        let digits = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
        match text {
            [year @ .., b'-', m1, m2, b'-', d1, d2] if year.len() == 4 => {
                (digits(year) && digits(&[*m1, *m2, *d1, *d2])).then_some(Kind::Iso)
            }
            [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', rest @ ..] => {
                let date = digits(&[*y1, *y2, *y3, *y4, *m1, *m2, *d1, *d2]);
                let time = rest.first().is_some_and(u8::is_ascii_digit) && rest.contains(&b':');
                (date && time).then_some(Kind::Timestamp)
            }
            [d1, d2, b'.', m1, m2, b'.', year @ ..] if year.len() == 4 => {
                (digits(year) && digits(&[*d1, *d2, *m1, *m2])).then_some(Kind::Dotted)
            }
            [d1, d2, b'-', a, b, c, b'-', year @ ..] if matches!(year.len(), 2 | 4) => {
                let month = [a, b, c].iter().all(|sign| sign.is_ascii_alphabetic());
                (month && digits(year) && digits(&[*d1, *d2])).then_some(Kind::Named)
            }
            _ => self.slashed(text),
        }
    }

    fn slashed(&mut self, text: &[u8]) -> Option<Kind> {
        let mut parts = text.split(|&byte| byte == b'/');
        let (first, second, year) = (parts.next()?, parts.next()?, parts.next()?);
        let fits =
            |part: &[u8]| (1..=2).contains(&part.len()) && part.iter().all(u8::is_ascii_digit);
        let whole = parts.next().is_none() && fits(first) && fits(second);
        if !whole || year.len() != 4 || !year.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let above_twelve = |part: &[u8]| {
            part.iter().fold(0_u32, |number, &digit| number * 10 + u32::from(digit - b'0')) > 12
        };
        self.above_twelve.0 |= above_twelve(first);
        self.above_twelve.1 |= above_twelve(second);
        Some(Kind::Slashed)
    }
}

/// A number with a sign, currency, thousands separators or decimals.
fn is_decimal(text: &[u8]) -> bool {
    let inner = text.strip_prefix(b"(").and_then(|inner| inner.strip_suffix(b")")).unwrap_or(text);
    let inner = inner.strip_prefix(b"-").or_else(|| inner.strip_prefix(b"+")).unwrap_or(inner);
    let inner = inner.strip_prefix(b"$").unwrap_or(inner);
    let inner = inner.strip_prefix(b"-").unwrap_or(inner);
    let (mut points, mut digits) = (0, 0);
    for byte in inner {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' => points += 1,
            b',' => {}
            _ => return false,
        }
    }
    points <= 1 && digits > 0
}

#[cfg(test)]
mod tests {
    use polars::prelude::{NewChunkedArray, StringChunked};

    use super::*;

    fn kinds(texts: &[&str], dated: bool) -> Vec<(String, u64)> {
        let mut profile = ColumnProfile::default();
        profile.observe(&StringChunked::from_slice("x".into(), texts), dated);
        profile.kinds().into_iter().map(|count| (count.kind, count.rows)).collect()
    }

    fn kind(text: &str) -> String {
        kinds(&[text], true).swap_remove(0).0
    }

    #[test]
    fn texts_are_of_a_kind() {
        for (text, expected) in [
            ("00123", "digits"),
            ("20240131", "date %Y%m%d"),
            (" 12.50 ", "decimal"),
            ("-300", "decimal"),
            ("$1,234.50", "decimal"),
            ("(12.34)", "decimal"),
            ("-$5.00", "decimal"),
            ("1.2.3", "mixed"),
            ("Ann", "letters"),
            ("O'Brien, V\u{ed}ctor", "letters"),
            ("100571169204E347", "mixed"),
            ("99213-25", "mixed"),
            ("J1100", "mixed"),
            ("2024-01-31", "date %Y-%m-%d"),
            ("2024-01-31T10:00:00Z", "date rfc3339"),
            ("2024-01-31 10:00", "date rfc3339"),
            ("31.01.2024", "date %d.%m.%Y"),
            ("31-Jan-2024", "date %d-%b-%Y"),
            ("1/2/2024", "date %m/%d/%Y or %d/%m/%Y"),
            ("--", "other"),
            ("a\u{0}b", "other"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
        assert_eq!(kinds(&["20240131"], false), [("digits".to_owned(), 1)]);
    }

    #[test]
    fn slashed_dates_tell_their_order() {
        let of = |texts: &[&str]| kinds(texts, true).swap_remove(0).0;
        assert_eq!(of(&["01/02/2024", "01/31/2024"]), "date %m/%d/%Y");
        assert_eq!(of(&["01/02/2024", "31/01/2024"]), "date %d/%m/%Y");
        assert_eq!(of(&["13/01/2024", "01/31/2024"]), "date %m/%d/%Y and %d/%m/%Y");
    }

    #[test]
    fn threads_count_together() {
        let (mut one, mut two, mut all) =
            (ColumnProfile::default(), ColumnProfile::default(), ColumnProfile::default());
        let (first, second) = (["1", "", "22"], ["Ann", "  ", "31/12/2024"]);
        one.observe(&StringChunked::from_slice("x".into(), &first), true);
        two.observe(&StringChunked::from_slice("x".into(), &second), true);
        all.observe(&StringChunked::from_slice("x".into(), &[first, second].concat()), true);
        one.merge(two);
        assert_eq!(one, all);
        assert_eq!((one.rows(), one.filled(), one.lengths()), (6, 4, Some((1, 10))));
    }
}
