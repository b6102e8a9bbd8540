//! Generalises or shifts dates.
//!
//! A generalised date is the first day of its period.
//!
//! A shifted date keeps its weekday and its distance to the patient's other dates: all move by the
//! same multiple of 7, derived from the key and the patient id. No date moves beyond the run date:
//! there the direction is reversed, so that equal dates stay equal, and a date loaded soon after
//! its day is never released unchanged. Two dates of a patient, one of them reversed, can coincide
//! or swap their order.

use std::sync::Arc;

use chrono::{Datelike, NaiveDate};
use polars::prelude::{ChunkApply, DataType, Expr, Int32Type, IntoSeries, col};

use crate::key::{Token, Tokenizer};
use crate::privacy::settings::Level;
use crate::transform::column_access::nullable;
use crate::transform::expression::elementwise;

/// Offset of 1970-01-01 in chrono's day numbers.
const EPOCH: i32 = 719_163;
/// 0001-01-01, the earliest date.
const FIRST: i32 = 1 - EPOCH;

/// The first day of each date's period; null stays null.
pub(super) fn generalized(column: &str, level: Level) -> Expr {
    elementwise("generalize_date", &[col(column)], DataType::Date, move |series| {
        let days = series[0].to_physical_repr();
        let days = days.i32()?.apply_values(|day| first_day(day, level));
        Ok(days.into_date().into_series())
    })
}

/// The first day of the week, month, quarter or year that contains a day.
fn first_day(day: i32, level: Level) -> i32 {
    let date = NaiveDate::from_num_days_from_ce_opt(day.saturating_add(EPOCH));
    let of_month = |date: NaiveDate, month: u32| NaiveDate::from_ymd_opt(date.year(), month, 1);
    let first = date.and_then(|date| match level {
        Level::Week => {
            date.checked_sub_days(chrono::Days::new(date.weekday().num_days_from_monday().into()))
        }
        Level::Month => of_month(date, date.month()),
        Level::Quarter => of_month(date, (date.month() - 1) / 3 * 3 + 1),
        Level::Year => of_month(date, 1),
        // Not date levels.
        Level::State | Level::Zip3 => None,
    });
    first.map_or(FIRST, |first| first.num_days_from_ce() - EPOCH)
}

/// Shifts the column's dates by a patient-specific number of days, up to `most` either way, and
/// never beyond `last`. Null where date or patient is null.
pub(super) fn shifted(column: &str, most: u16, last: i32, tokenizer: &Arc<Tokenizer>) -> Expr {
    let tokenizer = Arc::clone(tokenizer);
    let inputs = [col(column), col("patient_id")];
    elementwise("date_shift", &inputs, DataType::Date, move |series| {
        let (days, patients) = (series[0].to_physical_repr(), series[1].str()?);
        let days = days.i32()?;
        let mut tokens: Vec<Token> = Vec::with_capacity(patients.len());
        tokenizer.tokens_of(patients.iter().flatten().map(str::as_bytes), &mut tokens);
        let mut tokens = tokens.into_iter();
        let (mut moved, mut valid) = (vec![0; days.len()], vec![false; days.len()]);
        for (row, (day, patient)) in days.iter().zip(patients.iter()).enumerate() {
            let token = patient.and_then(|_| tokens.next());
            if let (Some(day), Some(token)) = (day, token) {
                (moved[row], valid[row]) = (shift(day, days_of(&token, most), last), true);
            }
        }
        Ok(nullable::<Int32Type>(days.name(), moved, &valid).into_date().into_series())
    })
}

/// The patient's shift in days: a multiple of 7, uniformly distributed over `-most..=most`.
fn days_of(token: &Token, most: u16) -> i32 {
    let weeks = i32::from(most / 7);
    let choices = u128::from(2 * weeks.unsigned_abs() + 1);
    // 128 random bits, so the modulo bias is negligible.
    let choice = u128::from_le_bytes(*token) % choices;
    7 * (i32::try_from(choice).unwrap_or(weeks) - weeks)
}

/// A day shifted by some days, or by as many in the other direction if that is after the run date
/// or before the calendar.
fn shift(day: i32, by: i32, last: i32) -> i32 {
    let moved = day.saturating_add(by);
    let is_out = if by > 0 { moved > last } else { moved < FIRST };
    if is_out { day.saturating_sub(by) } else { moved }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use polars::prelude::{
        Column, DataFrame, Int32Chunked, IntoColumn, IntoLazy, NewChunkedArray, StringChunked,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::key::{Domain, MasterKey};

    fn day(text: &str) -> i32 {
        text.parse::<NaiveDate>().expect("a date").num_days_from_ce() - EPOCH
    }

    fn tokenizer() -> Arc<Tokenizer> {
        Arc::new(MasterKey::ephemeral().expect("a key").tokenizer(Domain::DateShift))
    }

    fn dates(rows: &[(Option<i32>, Option<&str>)], plan: impl Fn() -> Expr) -> Vec<Option<i32>> {
        let days = Int32Chunked::from_iter_options("day".into(), rows.iter().map(|row| row.0));
        let patients =
            StringChunked::from_iter_options("patient_id".into(), rows.iter().map(|row| row.1));
        let columns = vec![days.into_date().into_column(), patients.into_column()];
        let frame = DataFrame::new(rows.len(), columns).expect("a frame");
        let released = frame.lazy().select([plan()]).collect().expect("runs");
        let released = released.column("day").expect("days");
        assert_eq!(released.dtype(), &DataType::Date, "a date is a date still");
        let released = released.to_physical_repr();
        Column::i32(&released).expect("days").iter().collect()
    }

    #[test]
    fn a_coarser_date_is_the_first_day() {
        for (raw, week, month, quarter, year) in [
            ("2024-12-31", "2024-12-30", "2024-12-01", "2024-10-01", "2024-01-01"),
            ("2024-09-01", "2024-08-26", "2024-09-01", "2024-07-01", "2024-01-01"),
            ("2024-02-29", "2024-02-26", "2024-02-01", "2024-01-01", "2024-01-01"),
            ("2024-01-01", "2024-01-01", "2024-01-01", "2024-01-01", "2024-01-01"),
            ("1968-01-21", "1968-01-15", "1968-01-01", "1968-01-01", "1968-01-01"),
            ("2023-01-01", "2022-12-26", "2023-01-01", "2023-01-01", "2023-01-01"),
            ("0001-01-01", "0001-01-01", "0001-01-01", "0001-01-01", "0001-01-01"),
            ("9999-12-31", "9999-12-27", "9999-12-01", "9999-10-01", "9999-01-01"),
        ] {
            for (level, first) in [
                (Level::Week, week),
                (Level::Month, month),
                (Level::Quarter, quarter),
                (Level::Year, year),
            ] {
                assert_eq!(first_day(day(raw), level), day(first), "{raw} {level:?}");
            }
        }
    }

    #[test]
    fn no_date_stays_no_date() {
        let rows = [(Some(day("2024-05-17")), Some("P1")), (None, Some("P1")), (Some(0), None)];
        let months = dates(&rows, || generalized("day", Level::Month));
        assert_eq!(months, [Some(day("2024-05-01")), None, Some(day("1970-01-01"))]);
        let tokenizer = tokenizer();
        let moved = dates(&rows, || shifted("day", 30, day("2024-12-31"), &tokenizer));
        assert!(moved[0].is_some());
        assert_eq!(moved[1..], [None, None]);
    }

    #[test]
    fn patients_move_by_whole_weeks_within_the_limit_and_all_of_them_occur() {
        let tokenizer = tokenizer();
        let days: BTreeSet<i32> = (0..2_000)
            .map(|patient| {
                let token = tokenizer.token(&format!("P{patient}")).expect("a token");
                days_of(&token, 30)
            })
            .collect();
        assert_eq!(days, (-4..=4).map(|weeks| 7 * weeks).collect());
    }

    #[test]
    fn the_same_key_moves_a_patient_alike_in_every_run_and_another_otherwise() {
        let (key, other) = (tokenizer(), tokenizer());
        let patients: Vec<String> = (0..100).map(|patient| format!("P{patient}")).collect();
        let rows: Vec<_> =
            patients.iter().map(|patient| (Some(0), Some(patient.as_str()))).collect();
        let moved = |key: &Arc<Tokenizer>, last| dates(&rows, || shifted("day", 3650, last, key));
        assert_eq!(moved(&key, 20_000), moved(&key, 20_365));
        assert_ne!(moved(&key, 20_000), moved(&other, 20_000));
    }

    #[test]
    fn the_sign_is_turned_where_a_date_would_lie_beyond_the_run_date() {
        assert_eq!(shift(100, 14, 114), 114);
        assert_eq!(shift(101, 14, 114), 87);
        assert_eq!(shift(114, 14, 114), 100);
        assert_eq!(shift(114, -14, 114), 100);
        assert_eq!(shift(FIRST + 3, -7, 114), FIRST + 10);
        // A date already beyond the limit is not moved further.
        assert_eq!(shift(120, 14, 114), 106);
    }

    proptest! {
        #[test]
        fn a_patients_dates_keep_weekday_distance_and_order(
            (one, two) in (-20_000_i32..19_000, -20_000_i32..19_000),
            patient in "[A-Z0-9]{1,12}",
            most in 7_u16..=365,
        ) {
            let tokenizer = tokenizer();
            let last = 20_000;
            let rows = [(Some(one), Some(patient.as_str())), (Some(two), Some(patient.as_str()))];
            let moved = dates(&rows, || shifted("day", most, last, &tokenizer));
            let (first, second) = (moved[0].expect("a date"), moved[1].expect("a date"));
            prop_assert_eq!(first - second, one - two);
            prop_assert_eq!((first - one).rem_euclid(7), 0);
            prop_assert!((first - one).abs() <= i32::from(most));
        }

        #[test]
        fn near_the_run_date_weekdays_equality_and_the_limits_remain(
            ago in 0_i32..400, most in 7_u16..=365, patient in "[A-Z0-9]{1,12}",
        ) {
            let tokenizer = tokenizer();
            let last = 20_000;
            let raw = last - ago;
            let rows = [(Some(raw), Some(patient.as_str())), (Some(raw), Some(patient.as_str()))];
            let moved = dates(&rows, || shifted("day", most, last, &tokenizer));
            let day = moved[0].expect("a date");
            prop_assert_eq!(moved[0], moved[1]);
            prop_assert!(day <= last && (day - raw).abs() <= i32::from(most));
            prop_assert_eq!((day - raw).rem_euclid(7), 0);
        }

        #[test]
        fn coarser_never_means_later(raw in FIRST..=2_932_896) {
            let mut before = raw;
            for level in [Level::Month, Level::Quarter, Level::Year] {
                let first = first_day(raw, level);
                prop_assert!(first <= before && first >= FIRST);
                prop_assert_eq!(first_day(first, level), first);
                before = first;
            }
            let monday = first_day(raw, Level::Week);
            prop_assert!((0..7).contains(&(raw - monday)));
            prop_assert_eq!((monday + 3).rem_euclid(7), 0);
        }
    }
}
