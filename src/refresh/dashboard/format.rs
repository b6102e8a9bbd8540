//! How values become text of the page: grouped, shortened.

use crate::totals::{Cents, grouped};

/// A whole number with thousands separators.
pub(super) fn count(number: impl Into<i128>) -> String {
    let number = number.into();
    let sign = if number < 0 { "\u{2212}" } else { "" };
    format!("{sign}{}", grouped(&number.unsigned_abs().to_string()))
}

/// An exact amount, as `$1,234,567.89`.
pub(super) fn money(amount: Cents) -> String {
    let cents = amount.0.unsigned_abs();
    let sign = if amount.0 < 0 { "\u{2212}" } else { "" };
    let dollars = i128::try_from(cents / 100).unwrap_or(i128::MAX);
    format!("{sign}${}.{:02}", count(dollars), cents % 100)
}

/// A number for an axis: at most one decimal and a unit, as `1.5 M`.
pub(super) fn compact(number: i128) -> String {
    let sign = if number < 0 { "\u{2212}" } else { "" };
    let size = number.unsigned_abs();
    let units = [(1_000_000_000, "\u{a0}bn"), (1_000_000, "\u{a0}M"), (1_000, "\u{a0}k")];
    for (unit, name) in units {
        if size >= unit {
            let tenths = (size * 10 + unit / 2) / unit;
            return match tenths % 10 {
                0 => format!("{sign}{}{name}", tenths / 10),
                rest => format!("{sign}{}.{rest}{name}", tenths / 10),
            };
        }
    }
    format!("{sign}{size}")
}

/// Cents for an axis, in dollars.
pub(super) fn compact_money(cents: i128) -> String {
    let dollars = compact(cents / 100);
    match dollars.strip_prefix('\u{2212}') {
        Some(size) => format!("\u{2212}${size}"),
        None => format!("${dollars}"),
    }
}

/// `part` of `whole` in percent with one decimal; a dash when there is no whole.
pub(super) fn share(part: i128, whole: i128) -> String {
    if whole <= 0 {
        return "\u{2013}".into();
    }
    let tenths = (part * 1000 + whole / 2) / whole;
    if part > 0 && tenths == 0 {
        return "<0.1%".into();
    }
    if part < whole && tenths == 1000 {
        return ">99.9%".into();
    }
    format!("{}.{}%", tenths / 10, tenths % 10)
}

/// A snake_case code as words: `amount_unparseable` → `Amount unparseable`.
pub(super) fn words(code: &str) -> String {
    let mut letters = code.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).map(|c| if c == '_' { ' ' } else { c }).collect()
    })
}

/// The name of a month counted from January of year 0.
pub(super) fn month(number: i64) -> String {
    format!("{} {}", month_name(number), number.div_euclid(12))
}

/// The same for an axis: `Mar ’25`.
pub(super) fn short_month(number: i64) -> String {
    format!("{} \u{2019}{:02}", month_name(number), number.div_euclid(12).rem_euclid(100))
}

fn month_name(number: i64) -> &'static str {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    usize::try_from(number.rem_euclid(12)).map_or("", |place| NAMES[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "\u{2212}1,234,567")]
        {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn money_is_exact_beyond_what_a_float_holds() {
        assert_eq!(money(Cents(123_456_789)), "$1,234,567.89");
        assert_eq!(money(Cents(-5)), "\u{2212}$0.05");
        assert_eq!(money(Cents(9_007_199_254_740_993_001)), "$90,071,992,547,409,930.01");
    }

    #[test]
    fn axis_numbers_are_short() {
        for (number, text) in [
            (0, "0"),
            (950, "950"),
            (1_500, "1.5\u{a0}k"),
            (2_000_000, "2\u{a0}M"),
            (-40_000, "\u{2212}40\u{a0}k"),
        ] {
            assert_eq!(compact(number), text);
        }
        assert_eq!(compact_money(-150_000), "\u{2212}$1.5\u{a0}k");
    }

    #[test]
    fn shares_never_round_something_to_nothing_or_to_all() {
        assert_eq!(share(1, 8), "12.5%");
        assert_eq!(share(1, 1_000_000), "<0.1%");
        assert_eq!(share(999_999, 1_000_000), ">99.9%");
        assert_eq!(share(0, 5), "0.0%");
        assert_eq!(share(0, 0), "\u{2013}");
    }

    #[test]
    fn months_and_codes_read_as_words() {
        assert_eq!(month(2025 * 12 + 2), "Mar 2025");
        assert_eq!(short_month(2005 * 12 + 11), "Dec \u{2019}05");
        assert_eq!(words("amount_unparseable"), "Amount unparseable");
    }
}
