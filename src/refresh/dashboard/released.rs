//! How the warehouse is released: the columns that the privacy profile keeps, the precision of dates,
//! and the levels of the risk score.

use maud::{Markup, html};

use super::format;
use crate::error::{Error, Result};
use crate::refresh::job::Job;
use crate::schema::Shape;
use crate::warehouse::sql;

/// What is published, and how.
#[derive(Debug, Clone, Default)]
pub(super) struct Released {
    /// The name of the privacy profile.
    pub(crate) profile: String,
    pub(crate) shape: Shape,
    pub(crate) dates: Dates,
    pub(crate) levels: Levels,
}

/// The precision of dates of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Dates {
    #[default]
    Day,
    /// Days, each shifted by up to this many.
    Shifted(u16),
    Week,
    Month,
    Quarter,
    Year,
}

const RELEASED: &str = "
SELECT s.profile, array_to_json(s.dropped)::text AS dropped,
       s.actions #>> '{date_of_service,generalize}' AS level,
       (s.actions #>> '{date_of_service,date_shift}')::bigint AS shift,
       (r.parameters ->> 'medium_from')::double precision AS medium,
       (r.parameters ->> 'high_from')::double precision AS high
FROM claims_etl.table_layout s
LEFT JOIN (SELECT risk_parameters AS parameters FROM claims_etl.runs
           WHERE published_at IS NOT NULL ORDER BY publish_no DESC LIMIT 1) r ON true";

/// Reads it from the ledger.
pub(super) fn read(job: &mut Job<'_>) -> Result<Released> {
    let batch = job.query("dashboard: privacy profile", RELEASED)?;
    let dropped = sql::text(&batch, "dropped", 0).unwrap_or_else(|| "[]".into());
    let dropped: Vec<String> = serde_json::from_str(&dropped)
        .map_err(|_| Error::internal("claims_etl.table_layout.dropped is no list"))?;
    let shift = sql::int(&batch, "shift", 0).and_then(|days| u16::try_from(days).ok());
    let dates = match (sql::text(&batch, "level", 0).as_deref(), shift) {
        (_, Some(days)) => Dates::Shifted(days),
        (Some("week"), _) => Dates::Week,
        (Some("month"), _) => Dates::Month,
        (Some("quarter"), _) => Dates::Quarter,
        (Some("year"), _) => Dates::Year,
        _ => Dates::Day,
    };
    let usual = Levels::default();
    Ok(Released {
        profile: sql::text(&batch, "profile", 0).unwrap_or_default(),
        shape: Shape::without(dropped.iter().map(String::as_str)),
        dates,
        levels: Levels {
            medium: sql::float(&batch, "medium", 0).unwrap_or(usual.medium),
            high: sql::float(&batch, "high", 0).unwrap_or(usual.high),
        },
    })
}

impl Released {
    /// A sentence on why something is not shown; `what` is its beginning.
    pub(super) fn without(&self, what: &str, column: &str) -> Markup {
        html! {
            (what) ": the privacy profile " (self.profile) " drops " code { (column) } "."
        }
    }
}

impl Dates {
    /// Months in the shortest period that can be drawn.
    pub(super) fn months(self) -> i64 {
        match self {
            Self::Day | Self::Shifted(_) | Self::Week | Self::Month => 1,
            Self::Quarter => 3,
            Self::Year => 12,
        }
    }

    /// The word for that period.
    pub(super) fn period(self) -> &'static str {
        match self {
            Self::Day | Self::Shifted(_) | Self::Week | Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The name of a period by its first month, counted from January of year 0.
    pub(super) fn name(self, month: i64) -> String {
        match self {
            Self::Quarter => format!("Q{} {}", month.rem_euclid(12) / 3 + 1, month.div_euclid(12)),
            Self::Year => month.div_euclid(12).to_string(),
            _ => format::month(month),
        }
    }

    /// The same for an axis.
    pub(super) fn short(self, month: i64) -> String {
        match self {
            Self::Quarter | Self::Year => self.name(month),
            _ => format::short_month(month),
        }
    }

    /// A date in its precision; anything that is not a date is returned unchanged.
    pub(super) fn day(self, iso: &str) -> String {
        let Ok(date) = chrono::NaiveDate::parse_from_str(iso, "%Y-%m-%d") else {
            return iso.to_owned();
        };
        let day = || date.format("%-d\u{a0}%b\u{a0}%Y").to_string();
        let quarter = || date.format("%-m").to_string().parse::<u32>().unwrap_or(1).div_ceil(3);
        match self {
            Self::Day | Self::Shifted(_) => day(),
            Self::Week => format!("the week of {}", day()),
            Self::Month => date.format("%b\u{a0}%Y").to_string(),
            Self::Quarter => format!("Q{}\u{a0}{}", quarter(), date.format("%Y")),
            Self::Year => date.format("%Y").to_string(),
        }
    }

    /// The same for a table, where days are ISO dates.
    pub(super) fn cell(self, iso: &str) -> String {
        match self {
            Self::Day | Self::Shifted(_) => iso.to_owned(),
            _ => self.day(iso),
        }
    }

    /// What a reader must know about the dates.
    pub(super) fn remark(self) -> Option<String> {
        Some(match self {
            Self::Day => return None,
            Self::Shifted(days) => format!(
                "Dates are shifted by up to {days} days, all dates of a patient by the same number: months are blurred."
            ),
            Self::Week => {
                "Dates are the Mondays of their weeks: a week counts towards the month of its Monday."
                    .into()
            }
            Self::Month => "Dates are released as months.".into(),
            Self::Quarter => "Dates are released as quarters.".into(),
            Self::Year => "Dates are released as years.".into(),
        })
    }
}

/// A level of the risk score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Low,
    Medium,
    High,
}

/// The lower bounds of the levels, as scores from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Levels {
    pub(crate) medium: f64,
    pub(crate) high: f64,
}

impl Default for Levels {
    fn default() -> Self {
        Self { medium: 20.0, high: 50.0 }
    }
}

impl Levels {
    pub(super) fn of(self, score: f64) -> Level {
        if score >= self.high {
            Level::High
        } else if score >= self.medium {
            Level::Medium
        } else {
            Level::Low
        }
    }

    /// The level of a score as the warehouse prints it.
    pub(super) fn of_text(self, score: &str) -> Level {
        self.of(score.parse().unwrap_or_default())
    }
}

impl Level {
    /// The name, which is also the CSS class.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_shown_in_its_precision() {
        let iso = "2024-04-01";
        for (dates, day, period) in [
            (Dates::Day, "1\u{a0}Apr\u{a0}2024", "Apr 2024"),
            (Dates::Shifted(28), "1\u{a0}Apr\u{a0}2024", "Apr 2024"),
            (Dates::Week, "the week of 1\u{a0}Apr\u{a0}2024", "Apr 2024"),
            (Dates::Month, "Apr\u{a0}2024", "Apr 2024"),
            (Dates::Quarter, "Q2\u{a0}2024", "Q2 2024"),
            (Dates::Year, "2024", "2024"),
        ] {
            assert_eq!(
                (dates.day(iso).as_str(), dates.name(2024 * 12 + 3).as_str()),
                (day, period)
            );
            assert_eq!(dates.remark().is_none(), dates == Dates::Day);
        }
        assert_eq!(Dates::Year.day("someday"), "someday");
    }

    #[test]
    fn levels_begin_at_20_and_50_by_default() {
        for (score, level) in [
            ("0.0", Level::Low),
            ("19.9", Level::Low),
            ("20.0", Level::Medium),
            ("49.9", Level::Medium),
            ("50.0", Level::High),
        ] {
            assert_eq!(Levels::default().of_text(score), level, "{score}");
        }
        assert_eq!(Levels { medium: 5.0, high: 33.3 }.of_text("33.3"), Level::High);
    }
}
