//! Settings of the schedule: when, since when, and catch-up.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

use super::interval::day;
use crate::error::{Error, Result};

/// Airflow's names for common expressions.
const PRESETS: [(&str, &str); 6] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@quarterly", "0 0 1 */3 *"),
    ("@yearly", "0 0 1 1 *"),
];

/// When runs start, equivalent to the schedule of the replaced Airflow DAG.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// The schedule's name in the ledger, under which completed intervals are stored: use a new
    /// name for another expression or time zone.
    pub name: String,
    /// Five-field cron expression, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@quarterly`,
    /// `@yearly`.
    pub cron: String,
    /// IANA time zone of the expression.
    pub timezone: String,
    /// First day with data, `YYYY-MM-DD` in that time zone.
    pub start_date: String,
    /// Whether to run every interval since the start, or only the latest complete one.
    pub catchup: bool,
    /// Whether an interval waits until the previous one has succeeded.
    pub depends_on_past: bool,
    /// Lease of the active scheduler in seconds, 1 to 3600; a standby waits this long after the
    /// active one has died.
    pub lease_secs: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            name: "healthcare_claims_etl".into(),
            cron: "@daily".into(),
            timezone: "UTC".into(),
            start_date: "2024-01-01".into(),
            catchup: false,
            depends_on_past: false,
            lease_secs: 60,
        }
    }
}

impl Schedule {
    /// The cron expression, with preset names expanded.
    #[must_use]
    pub(crate) fn expression(&self) -> &str {
        let text = self.cron.trim();
        PRESETS.iter().find(|(name, _)| *name == text).map_or(text, |(_, expression)| expression)
    }

    /// The parsed expression.
    ///
    /// # Errors
    /// `Config` when it is invalid or never matches.
    pub(crate) fn rule(&self) -> Result<Cron> {
        let expression = self.expression();
        if expression.starts_with('@') {
            let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
            return Err(Error::config("schedule.cron: there is no such preset")
                .hint(format!("the presets are {}", names.join(", "))));
        }
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let refused = || {
            Error::config("schedule.cron is no cron expression").hint(
                "five fields are meant: minute, hour, day of the month, month, day of the week",
            )
        };
        if expression.split_whitespace().count() != 5 {
            return Err(refused());
        }
        let cron = parser.parse(expression).map_err(|_| refused())?;
        // February 30 is a valid expression, too.
        match cron.find_next_occurrence(&DateTime::<Utc>::UNIX_EPOCH, false) {
            Ok(_) => Ok(cron),
            Err(_) => Err(Error::config("schedule.cron: no moment matches this expression")),
        }
    }

    /// The parsed time zone.
    ///
    /// # Errors
    /// `Config` for an unknown time zone.
    pub(crate) fn zone(&self) -> Result<Tz> {
        Tz::from_str(self.timezone.trim()).map_err(|_| {
            Error::config("schedule.timezone is no time zone")
                .hint("zones are named as IANA names them, for example Europe/Berlin or UTC")
        })
    }

    /// The parsed start date.
    ///
    /// # Errors
    /// `Config` when it is not a date.
    pub(crate) fn first_day(&self) -> Result<NaiveDate> {
        day(self.start_date.trim())
            .ok_or_else(|| Error::config("schedule.start_date is no day").hint("write 2024-01-31"))
    }

    /// Validates constraints that the types do not enforce.
    pub(super) fn validate(&self) -> Result<()> {
        if self.name.trim().is_empty() || self.name.len() > 200 {
            return Err(Error::config("schedule.name must have 1 to 200 characters"));
        }
        if !(1..=3600).contains(&self.lease_secs) {
            return Err(Error::config("schedule.lease_secs must be from 1 to 3600"));
        }
        self.rule()?;
        self.zone()?;
        self.first_day().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Schedule)) -> Option<String> {
        let mut schedule = Schedule::default();
        change(&mut schedule);
        schedule.validate().err().map(|error| error.message().to_owned())
    }

    #[test]
    fn presets_are_expressions() {
        for (name, expression) in PRESETS {
            let schedule = Schedule { cron: format!(" {name} "), ..Schedule::default() };
            assert_eq!(schedule.expression(), expression);
            assert!(schedule.validate().is_ok(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_waited_for_is_refused() {
        assert_eq!(refusal(|_| ()), None);
        assert_eq!(refusal(|s| s.cron = "15,45 6-18/2 * * MON-FRI".into()), None);
        assert_eq!(refusal(|s| s.timezone = "America/New_York".into()), None);
        for cron in ["", "@once", "@continuous", "@never", "0 0 * *", "0 0 * * * *", "61 * * * *"] {
            let said = refusal(|s| s.cron = cron.into()).expect(cron);
            assert!(said.starts_with("schedule.cron"), "{cron}: {said}");
        }
        let said = refusal(|s| s.cron = "0 0 30 2 *".into()).expect("no such day");
        assert_eq!(said, "schedule.cron: no moment matches this expression");
        for zone in ["", "Berlin", "CEST", "+01:00"] {
            let said = refusal(|s| s.timezone = zone.into()).expect(zone);
            assert_eq!(said, "schedule.timezone is no time zone", "{zone}");
        }
        for day in ["", "2024-13-01", "01.02.2024", "2024-1-1", "2024-01-01T00:00:00Z"] {
            assert!(refusal(|s| s.start_date = day.into()).is_some(), "{day}");
        }
        assert!(refusal(|s| s.lease_secs = 0).is_some());
        assert!(refusal(|s| s.lease_secs = 3601).is_some());
        assert!(refusal(|s| s.name = " ".into()).is_some());
    }
}
