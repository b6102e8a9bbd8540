//! The date dimension: all days of the years in which a claim line has its date of service.

use adbc_core::sync::Connection;

use crate::error::Result;
use crate::schema::PUBLISHED;
use crate::warehouse::sql;

/// Adds the years that have come and removes those that have gone, by the sums per day.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(super) fn update(connection: &mut impl Connection) -> Result<()> {
    let years = "SELECT DISTINCT extract(year FROM date_of_service)::integer AS year
                 FROM claims_etl.daily_totals";
    sql::execute(
        connection,
        "updating the date dimension",
        &format!(
            "DELETE FROM {PUBLISHED}.date_dim WHERE year NOT IN ({years});
             INSERT INTO {PUBLISHED}.date_dim (calendar_date, year, quarter, month, month_name,
                 year_month, year_quarter, iso_week, day_of_week, day_name, is_weekend)
             SELECT day::date, y.year, extract(quarter FROM day), extract(month FROM day),
                    to_char(day, 'FMMonth'), to_char(day, 'YYYY-MM'), to_char(day, 'YYYY-\"Q\"Q'),
                    to_char(day, 'IYYY-\"W\"IW'), extract(isodow FROM day), to_char(day, 'FMDay'),
                    extract(isodow FROM day) >= 6
             FROM ({years} EXCEPT SELECT year FROM {PUBLISHED}.date_dim) y
             CROSS JOIN generate_series(make_date(y.year, 1, 1)::timestamp,
                                        make_date(y.year, 12, 31)::timestamp, '1 day') AS day"
        ),
    )
    .map(drop)
}
