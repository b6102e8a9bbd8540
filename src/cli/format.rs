//! Formats counts, amounts and durations for people.

use crate::totals::{Cents, grouped};

/// `1234567` as `1,234,567`.
pub(super) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// An amount as `1,234,567.89`.
pub(super) fn money(amount: Cents) -> String {
    money_text(&amount.to_string())
}

/// An amount as printed by Postgres, with thousands separators.
pub(super) fn money_text(amount: &str) -> String {
    let (sign, digits) = amount.strip_prefix('-').map_or(("", amount), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "00"));
    format!("{sign}{}.{fraction}", grouped(whole))
}

/// A share as `12.5 %`, rounded so that a non-zero share never shows as 0 and an incomplete one
/// never as 100.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if part == 0 || part >= whole {
        return format!("{} %", if part == 0 { 0 } else { 100 });
    }
    #[expect(clippy::cast_precision_loss, reason = "a share to show, not a count to keep")]
    let share = part as f64 * 100.0 / whole as f64;
    match share {
        ..0.05 => "<0.1 %".into(),
        ..99.95 => format!("{share:.1} %"),
        _ => ">99.9 %".into(),
    }
}

/// `512 B`, `12.3 kB`, `575.0 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a size to show")]
    let mut size = bytes as f64;
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    for unit in ["kB", "MB", "GB"] {
        size /= 1_000.0;
        if size < 999.95 {
            return format!("{size:.1} {unit}");
        }
    }
    format!("{:.1} TB", size / 1_000.0)
}

/// `0.8 s`, `12.3 s`, `2 min 05 s`.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let minutes = (seconds.round() / 60.0).floor();
    format!("{minutes:.0} min {:02.0} s", seconds.round() - minutes * 60.0)
}

/// Rows per second; `None` if no time was measured.
pub(super) fn rate(rows: u64, seconds: f64) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "a rate to show, not a count to keep")]
    let rate = rows as f64 / seconds;
    let shown = rows > 0 && rate.is_finite();
    shown.then(|| format!("{} rows/s", grouped(&format!("{rate:.0}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1_000, 1_234_567].map(count));
        assert_eq!(money(Cents(-123_456_789)), "-1,234,567.89");
        assert_eq!(money(Cents(5)), "0.05");
        assert_eq!(money_text("1000"), "1,000.00");
    }

    #[test]
    fn a_share_is_never_rounded_to_nothing_or_all() {
        let shown = [(0, 9), (1, 100_000), (1, 8), (99_999, 100_000), (9, 9)];
        let shown = shown.map(|(part, whole)| percent(part, whole));
        assert_eq!(shown, ["0 %", "<0.1 %", "12.5 %", ">99.9 %", "100 %"]);
    }

    #[test]
    fn sizes_are_short() {
        let shown = [999, 1_000, 999_949, 999_950, 2_500_000_000, 7_000_000_000_000].map(bytes);
        assert_eq!(shown, ["999 B", "1.0 kB", "999.9 kB", "1.0 MB", "2.5 GB", "7.0 TB"]);
    }

    #[test]
    fn times_and_rates_are_short() {
        assert_eq!(seconds(0.04), "0.0 s");
        assert_eq!(seconds(59.94), "59.9 s");
        assert_eq!(seconds(59.96), "1 min 00 s");
        assert_eq!(seconds(125.2), "2 min 05 s");
        assert_eq!(rate(1_500_000, 2.0).as_deref(), Some("750,000 rows/s"));
        assert_eq!(rate(5, 0.0), None);
        assert_eq!(rate(0, 1.0), None);
    }
}
