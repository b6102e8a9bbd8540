//! Parses an age limit: `30d`, `12w`, `6h`, or a date.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::config::day;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Relative age.
    Ago(TimeDelta),
    /// Before the start of this day, UTC.
    Before(NaiveDate),
}

impl Age {
    /// The point in time before which everything is old.
    pub(super) fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            // Out of range: nothing is that old.
            Self::Ago(age) => now.checked_sub_signed(age).unwrap_or(DateTime::<Utc>::MIN_UTC),
            Self::Before(day) => day.and_time(NaiveTime::MIN).and_utc(),
        }
    }
}

impl FromStr for Age {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write a number with h, d or w (30d), or a day (2024-01-31)";
        if let Some(day) = day(text) {
            return Ok(Self::Before(day));
        }
        let unit = text.chars().next_back().ok_or(WRONG)?;
        let hours = match unit {
            'h' => 1,
            'd' => 24,
            'w' => 7 * 24,
            _ => return Err(WRONG),
        };
        let number = &text[..text.len() - unit.len_utf8()];
        let plain = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
        let number: i64 = number.parse().ok().filter(|_| plain).ok_or(WRONG)?;
        let age = number.checked_mul(hours).and_then(TimeDelta::try_hours);
        age.map(Self::Ago).ok_or(WRONG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_with_a_unit_or_a_day() {
        let now = DateTime::from_timestamp(1_706_745_600, 0).expect("2024-02-01");
        let before = |text: &str| text.parse::<Age>().map(|age| age.before(now).to_rfc3339());
        let day = |day: &str| Ok(format!("{day}+00:00"));
        assert_eq!(before("6h"), day("2024-01-31T18:00:00"));
        assert_eq!(before("30d"), day("2024-01-02T00:00:00"));
        assert_eq!(before("1w"), day("2024-01-25T00:00:00"));
        assert_eq!(before("0d"), day("2024-02-01T00:00:00"));
        assert_eq!(before("2023-06-01"), day("2023-06-01T00:00:00"));
        assert!(before("99999999999w").is_err() && before("999999999d").is_ok());
        for wrong in
            ["", "d", "30", "-1d", "+1d", "1.5d", "30 d", "30m", "3€", "2024-02-30", "24-01-31"]
        {
            assert!(before(wrong).is_err(), "{wrong}");
        }
    }
}
