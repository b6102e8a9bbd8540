//! Parses amounts, exact to the cent.
//!
//! The only amount parser: decimal digits become cents, without floats. Rule A1: accepts `$`,
//! thousands commas, spaces and a sign; `(12.34)` is negative; rejects exponents, NaN and anything
//! else. More than two decimals are rounded half to even. If the decimal separator is a comma,
//! points separate thousands, and `€` is accepted before and after.

use polars::prelude::{DataType, Expr, Int64Type, IntoSeries, StringChunked, col};

use super::expression::of_text;
use crate::config::Decimal;
use crate::transform::column_access::read;

/// Sentinel for a number that is far too large.
const TOO_LARGE: i64 = i64::MAX;

/// The column's cents as `Int64`: null if not an amount, saturated if out of range.
pub(super) fn cents(column: &str, decimal: Decimal) -> Expr {
    of_text("cents", col(column), DataType::Int64, move |text| {
        let cents = match decimal {
            Decimal::Point => read::<Int64Type>(text, |text| parse(text.as_bytes())),
            Decimal::Comma => {
                let mut pointed = Vec::new();
                read::<Int64Type>(text, |text| {
                    point(text, &mut pointed);
                    parse(&pointed)
                })
            }
        };
        Ok(cents.into_series())
    })
}

/// Whether a text would be an amount with the other decimal separator.
pub(super) fn has_the_other_mark(text: &str, decimal: Decimal) -> bool {
    is_amount(text, decimal.other())
}

fn is_amount(text: &str, decimal: Decimal) -> bool {
    match decimal {
        Decimal::Point => parse(text.as_bytes()).is_some(),
        Decimal::Comma => {
            let mut pointed = Vec::new();
            point(text, &mut pointed);
            parse(&pointed).is_some()
        }
    }
}

/// Counts amounts by decimal separator: those with one or two decimals after the configured one,
/// and those valid only with the other one.
#[must_use]
pub(crate) fn decimal_marks(texts: &StringChunked, decimal: Decimal) -> (u64, u64) {
    let (mut with_own, mut with_other) = (0, 0);
    for text in texts.iter().flatten().map(str::trim) {
        if is_amount(text, decimal) {
            let place =
                text.bytes().rev().take(3).position(|byte| char::from(byte) == decimal.mark());
            with_own += u64::from(matches!(place, Some(1 | 2)));
        } else if has_the_other_mark(text, decimal) {
            with_other += 1;
        }
    }
    (with_own, with_other)
}

/// Rewrites an amount with a decimal comma to a decimal point.
fn point(text: &str, pointed: &mut Vec<u8>) {
    pointed.clear();
    for c in text.trim().chars() {
        pointed.push(match c {
            ',' => b'.',
            '.' => b',',
            '\u{20ac}' => b'$',
            // No-break spaces separate thousands.
            '\u{a0}' | '\u{202f}' => b' ',
            c => u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?'),
        });
    }
    // The currency may come last.
    if let [before @ .., b'$'] = pointed.as_slice()
        && !before.contains(&b'$')
    {
        pointed.pop();
    }
}

/// Parses one amount.
fn parse(text: &[u8]) -> Option<i64> {
    plain(text).or_else(|| decorated(text))
}

/// The common form: optional minus, up to 15 digits, at most two decimals.
fn plain(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let mut value = 0_i64;
    let mut decimals = None;
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + i64::from(byte - b'0');
                decimals = decimals.map(|n| n + 1);
            }
            b'.' if decimals.is_none() => decimals = Some(0),
            _ => return None,
        }
    }
    let cents = match decimals {
        None => value * 100,
        Some(1) => value * 10,
        Some(2) => value,
        Some(_) => return None,
    };
    Some(if negative { -cents } else { cents })
}

/// All other forms accepted by rule A1.
fn decorated(text: &[u8]) -> Option<i64> {
    let mut rest = trim(text);
    let mut negative = false;
    if let Some(inner) = rest.strip_prefix(b"(").and_then(|inner| inner.strip_suffix(b")")) {
        negative = true;
        rest = trim(inner);
    } else if let Some(inner) = rest.strip_prefix(b"-") {
        negative = true;
        rest = trim(inner);
    } else if let Some(inner) = rest.strip_prefix(b"+") {
        rest = trim(inner);
    }
    if let Some(inner) = rest.strip_prefix(b"$") {
        rest = trim(inner);
        if let Some(inner) = rest.strip_prefix(b"-").filter(|_| !negative) {
            negative = true;
            rest = trim(inner);
        }
    }
    let point = rest.iter().position(|&b| b == b'.').unwrap_or(rest.len());
    let (whole, fraction) = (&rest[..point], rest.get(point + 1..).unwrap_or_default());
    let digits = grouped_digits(whole)?;
    if !fraction.iter().all(u8::is_ascii_digit) || (digits.is_empty() && fraction.is_empty()) {
        return None;
    }
    let cents = magnitude(&digits, fraction);
    Some(if negative { -cents } else { cents })
}

/// The digits of an integer part with optional thousands separators (commas or spaces).
fn grouped_digits(whole: &[u8]) -> Option<Vec<u8>> {
    let separator = whole.iter().copied().find(|b| matches!(b, b',' | b' '));
    let Some(separator) = separator else {
        return whole.iter().all(u8::is_ascii_digit).then(|| whole.to_vec());
    };
    let mut digits = Vec::with_capacity(whole.len());
    for (place, group) in whole.split(|&b| b == separator).enumerate() {
        let fits = if place == 0 { (1..=3).contains(&group.len()) } else { group.len() == 3 };
        if !fits || !group.iter().all(u8::is_ascii_digit) {
            return None;
        }
        digits.extend_from_slice(group);
    }
    Some(digits)
}

/// Cents, rounded half to even, saturated.
fn magnitude(whole: &[u8], fraction: &[u8]) -> i64 {
    let number = |digits: &[u8]| {
        digits
            .iter()
            .try_fold(0_i64, |sum, d| sum.checked_mul(10)?.checked_add(i64::from(d - b'0')))
    };
    let digit = |place: usize| i64::from(fraction.get(place).map_or(0, |d| d - b'0'));
    let Some(dollars) = number(whole) else { return TOO_LARGE };
    let kept = dollars.checked_mul(100).and_then(|c| c.checked_add(digit(0) * 10 + digit(1)));
    let Some(kept) = kept else { return TOO_LARGE };
    let beyond = fraction.get(3..).is_some_and(|rest| rest.iter().any(|&d| d != b'0'));
    let up = match digit(2) {
        6.. => true,
        5 => beyond || kept % 2 == 1,
        _ => false,
    };
    kept.saturating_add(i64::from(up))
}

/// Whether rounding dropped non-zero digits of a readable amount.
pub(super) fn is_rounded(text: &str, decimal: Decimal) -> bool {
    let mark = decimal.mark();
    // Nearly always two decimals at the end.
    if let [.., byte, _, _] = text.as_bytes()
        && char::from(*byte) == mark
    {
        return false;
    }
    text.rsplit_once(mark).is_some_and(|(_, fraction)| {
        fraction.bytes().filter(u8::is_ascii_digit).skip(2).any(|digit| digit != b'0')
    })
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_spellings_of_rule_a1() {
        let readable = [
            ("77.49", 7749),
            ("1933.5", 193_350),
            ("5000", 500_000),
            ("0", 0),
            ("-0.01", -1),
            ("-300.00", -30_000),
            ("$1,234.56", 123_456),
            ("($1,234.56)", -123_456),
            ("(12.34)", -1234),
            ("- 12.34", -1234),
            ("$-5.00", -500),
            ("+7", 700),
            ("1 234 567.8", 123_456_780),
            (".5", 50),
            ("5.", 500),
            ("9999999999.99", 999_999_999_999),
            ("10000000000.00", 1_000_000_000_000),
            ("00012.30", 1230),
        ];
        for (text, cents) in readable {
            assert_eq!(parse(text.as_bytes()), Some(cents), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount() {
        for text in [
            "",
            ".",
            "-",
            "$",
            "()",
            "abc",
            "NaN",
            "inf",
            "1e5",
            "1E5",
            "12.3.4",
            "1,23",
            "1,2345",
            "12,34.5,6",
            "--5",
            "(-5",
            "5-",
            "(-5)",
            "0x10",
            "\u{661}",
            "1_000",
            "12.3a",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn more_decimals_round_half_to_even() {
        for (text, cents) in [
            ("0.125", 12),
            ("0.135", 14),
            ("0.1250001", 13),
            ("0.126", 13),
            ("0.124999", 12),
            ("-0.125", -12),
            ("1.000", 100),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(cents), "{text}");
        }
        let is_rounded = |text| is_rounded(text, Decimal::Point);
        assert!(is_rounded("0.125") && is_rounded("(1.001)") && !is_rounded("1.000"));
        assert!(!is_rounded("1,234") && !is_rounded("12.34") && !is_rounded("$5."));
    }

    #[test]
    fn a_decimal_comma_is_read_exactly() {
        let read = |text: &str| {
            let mut pointed = Vec::new();
            point(text, &mut pointed);
            parse(&pointed)
        };
        for (text, cents) in [
            ("77,49", 7749),
            ("1.234,56", 123_456),
            ("1.234.567", 123_456_700),
            ("1 234,5", 123_450),
            ("1\u{202f}234,56 \u{20ac}", 123_456),
            ("\u{20ac} 12,00", 1200),
            ("(1.234,56)", -123_456),
            ("-0,01", -1),
            ("0,125", 12),
            ("5", 500),
            ("9999999999,99", 999_999_999_999),
        ] {
            assert_eq!(read(text), Some(cents), "{text}");
        }
        for text in ["12.34", "1,234.56", "1.23", "12,3,4", "\u{20ac}5\u{20ac}", "5 \u{a3}", "x"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(is_rounded("0,125", Decimal::Comma) && !is_rounded("1.234", Decimal::Comma));
    }

    #[test]
    fn marks_are_counted_where_they_tell_something() {
        use polars::prelude::NewChunkedArray;
        let texts = ["12.50", "1.5", "7", "1.234", "1,234", "12,50", "1.234,56", "x", "", "1,2,3"];
        let texts = StringChunked::from_slice("a".into(), &texts);
        assert_eq!(decimal_marks(&texts, Decimal::Point), (2, 2));
        assert_eq!(decimal_marks(&texts, Decimal::Comma), (2, 2));
    }

    #[test]
    fn the_other_mark_is_recognised() {
        for text in ["12,34", "1.234,56", "12,5 \u{20ac}", "1.234.567"] {
            assert!(has_the_other_mark(text, Decimal::Point), "{text}");
        }
        for text in ["abc", "1e5", "12,34,5", "", "1,2,3"] {
            assert!(!has_the_other_mark(text, Decimal::Point), "{text}");
        }
        assert!(has_the_other_mark("12.34", Decimal::Comma));
        assert!(!has_the_other_mark("n/a", Decimal::Comma));
    }

    #[test]
    fn far_too_large_is_a_number_still() {
        assert_eq!(parse(b"99999999999999999999"), Some(TOO_LARGE));
        assert_eq!(parse(b"-99999999999999999999"), Some(-TOO_LARGE));
        assert_eq!(parse(b"92233720368547758.07"), Some(TOO_LARGE));
    }

    proptest! {
        #[test]
        fn every_amount_reads_back(cents in -999_999_999_999_i64..=999_999_999_999) {
            let text = crate::totals::Cents(i128::from(cents)).to_string();
            prop_assert_eq!(parse(text.as_bytes()), Some(cents));
            prop_assert_eq!(decorated(text.as_bytes()), Some(cents), "both readers agree");
            let mut pointed = Vec::new();
            point(&text.replace('.', ","), &mut pointed);
            prop_assert_eq!(parse(&pointed), Some(cents));
        }

        #[test]
        fn no_text_panics(text in "[ -~]{0,24}") {
            let _ = parse(text.as_bytes());
            let _ = is_rounded(&text, Decimal::Point);
            let _ = has_the_other_mark(&text, Decimal::Point);
        }
    }
}
