//! The latest months of providers with the highest amounts, as everybody may see them.

use super::data::{cents, number, text};
use super::released::{Dates, Released};
use super::sections::section;
use super::table::{Cell, numbers, table, words};
use super::text::{count, money, month};
use crate::error::Result;
use crate::refresh::Job;
use crate::totals::Cents;
use crate::warehouse::sql;

/// Months that are looked at, from the last one backwards.
const MONTHS: u32 = 3;
/// Rows of the list.
const LISTED: usize = 10;

/// The stored months.
#[derive(Debug, Clone, Default)]
pub(super) struct ProviderMonths {
    /// Cells with at least one claim.
    pub cells: i64,
    /// Those whose figures are shown.
    pub shown: i64,
    /// The latest cells with the highest amounts.
    pub highest: Vec<ProviderMonth>,
}

/// A provider and a month with enough patients.
#[derive(Debug, Clone, Default)]
pub(super) struct ProviderMonth {
    pub id: String,
    pub name: Option<String>,
    /// Counted from January of year 0.
    pub month: i64,
    pub amount: Cents,
    pub claims: i64,
    pub patients: i64,
    pub mean_score: String,
}

const IS_FILLED: &str = "
SELECT relispopulated AS filled FROM pg_class
WHERE oid = to_regclass('healthcare_analytics.mv_provider_month')
  AND to_regclass('healthcare_analytics.v_provider_month_public') IS NOT NULL";

const CELLS: &str = "
SELECT count(*) AS cells, count(*) FILTER (WHERE suppressed IS NULL) AS shown
FROM healthcare_analytics.v_provider_month_public";

/// The name is read as JSON, because a privacy profile can take the column out.
fn highest() -> String {
    format!(
        "
SELECT provider_id AS id, to_jsonb(highest) ->> 'provider_name' AS name, amount::text AS amount,
       (extract(year FROM service_month) * 12 + extract(month FROM service_month) - 1)::bigint
           AS month,
       claims, patients, round(mean_risk_score, 1)::text AS mean
FROM (SELECT v.* FROM healthcare_analytics.v_provider_month_public v
      WHERE v.suppressed IS NULL
        AND v.service_month > (SELECT max(m.service_month) - interval '{MONTHS} months'
                               FROM healthcare_analytics.mv_provider_month m)
      ORDER BY v.amount DESC, v.provider_id, v.service_month LIMIT {LISTED}) highest
ORDER BY highest.amount DESC, provider_id, service_month"
    )
}

/// Reads the stored months; none where they were never stored.
pub(super) fn gather(job: &mut Job<'_>) -> Result<Option<ProviderMonths>> {
    let filled = job.query("dashboard: months of providers", IS_FILLED)?;
    if filled.num_rows() == 0 || sql::boolean(&filled, "filled", 0) != Some(true) {
        return Ok(None);
    }
    let batch = job.query("dashboard: months of providers", CELLS)?;
    let (cells, shown) = (number(&batch, "cells", 0), number(&batch, "shown", 0));
    let batch = job.query("dashboard: months of providers", &highest())?;
    let row = |row| {
        Ok(ProviderMonth {
            id: text(&batch, "id", row),
            name: sql::text(&batch, "name", row),
            month: number(&batch, "month", row),
            amount: cents(&batch, "amount", row)?,
            claims: number(&batch, "claims", row),
            patients: number(&batch, "patients", row),
            mean_score: text(&batch, "mean", row),
        })
    };
    let highest = (0..batch.num_rows()).map(row).collect::<Result<_>>()?;
    Ok(Some(ProviderMonths { cells, shown, highest }))
}

/// The section.
pub(super) fn render(months: &ProviderMonths, released: &Released) -> String {
    // Where dates are coarser than a month, all of a period lie on its first day.
    let periods = matches!(released.dates, Dates::Quarter | Dates::Year);
    let begins = if periods { "From" } else { "Month" };
    let when = if periods { "period".to_owned() } else { format!("{MONTHS} months") };
    let rows: Vec<Vec<Cell>> = months
        .highest
        .iter()
        .map(|one| {
            vec![
                match &one.name {
                    Some(name) => Cell::Lines { first: name.clone(), second: one.id.clone() },
                    None => Cell::Name(one.id.clone()),
                },
                Cell::Text(month(one.month)),
                Cell::Number(money(one.amount)),
                Cell::Number(count(one.claims)),
                Cell::Number(count(one.patients)),
                Cell::Score {
                    text: one.mean_score.clone(),
                    level: released.levels.of_text(&one.mean_score),
                },
            ]
        })
        .collect();
    let columns = [
        words("Provider"),
        words(begins),
        numbers("Amount"),
        numbers("Claim lines"),
        numbers("Patients"),
        numbers("Mean score"),
    ];
    let body = if rows.is_empty() {
        format!(
            "<p class=\"note\">No provider has 11 patients in any month of the last {when}.</p>"
        )
    } else {
        table("Providers and months with the highest amounts", &columns, &rows)
    };
    let hidden = months.cells - months.shown;
    let intro = format!(
        "By amount, in the last {when} of service. Of {} provider-months in all, {} are \
         never shown: they have 1 to 10 patients, or would tell of one that has.",
        count(months.cells),
        count(hidden)
    );
    section("provider-months", "Busiest months of providers", &intro, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_counted_and_what_is_not_too() {
        let one = ProviderMonth {
            id: "V1".into(),
            name: Some("<b>Ada</b>".into()),
            month: 2024 * 12,
            amount: Cents(123_456),
            claims: 40,
            patients: 30,
            mean_score: "51.0".into(),
        };
        let html = render(
            &ProviderMonths { cells: 1_200, shown: 200, highest: vec![one] },
            &Released::default(),
        );
        for text in ["Of 1,200 provider-months", "1,000 are", "$1,234.56", "Jan 2024", "&lt;b&gt;"]
        {
            assert!(html.contains(text), "{text}: {html}");
        }
        let none = render(&ProviderMonths::default(), &Released::default());
        assert!(none.contains("No provider has 11 patients"));
    }
}
