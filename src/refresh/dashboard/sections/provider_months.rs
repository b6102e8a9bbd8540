//! The latest months of providers with the highest amounts.

use maud::{Markup, html};

use super::section::section;
use crate::refresh::dashboard::format::{count, money, month};
use crate::refresh::dashboard::released::{Dates, Released};
use crate::refresh::dashboard::snapshot::{LATEST_MONTHS, ProviderMonths};
use crate::refresh::dashboard::table::{Cell, numbers, table, words};

/// The months of providers with the highest amounts.
pub(in super::super) fn provider_months(months: &ProviderMonths, released: &Released) -> Markup {
    // Where dates are coarser than a month, all dates of a period are its first day.
    let periods = matches!(released.dates, Dates::Quarter | Dates::Year);
    let begins = if periods { "From" } else { "Month" };
    let when = if periods { "period".to_owned() } else { format!("{LATEST_MONTHS} months") };
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
        html! {
            p class="note" { "No provider has 11 patients in any month of the last " (when) "." }
        }
    } else {
        table("Providers and months with the highest amounts", &columns, &rows)
    };
    let hidden = months.cells - months.shown;
    let intro = format!(
        "By amount, in the last {when} of service. Of {} provider-months in all, {} are \
         suppressed because they have 1 to 10 patients.",
        count(months.cells),
        count(hidden)
    );
    section("provider-months", "Busiest months of providers", intro, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::dashboard::snapshot::ProviderMonth;
    use crate::totals::Cents;

    #[test]
    fn shown_and_suppressed_months_are_counted() {
        let one = ProviderMonth {
            id: "V1".into(),
            name: Some("<b>Ada</b>".into()),
            month: 2024 * 12,
            amount: Cents(123_456),
            claims: 40,
            patients: 30,
            mean_score: "51.0".into(),
        };
        let html = provider_months(
            &ProviderMonths { cells: 1_200, shown: 200, highest: vec![one] },
            &Released::default(),
        )
        .into_string();
        for text in ["Of 1,200 provider-months", "1,000 are", "$1,234.56", "Jan 2024", "&lt;b&gt;"]
        {
            assert!(html.contains(text), "{text}: {html}");
        }
        let none = provider_months(&ProviderMonths::default(), &Released::default()).into_string();
        assert!(none.contains("No provider has 11 patients"));
    }
}
