//! Counts claim lines on their way into staging.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int32Type};
use chrono::{Datelike, NaiveDate};
use polars::prelude::{DataFrame, PlHashMap, PolarsError};

use super::provider_rows::ProviderRows;
use super::top_lines::{Ranked, TopLines};
use crate::error::{Error, Result};
use crate::risk::settings::Risk;
use crate::risk::tenths_of_score;
use crate::schema::{CENTS, PROVIDER_ROW};
use crate::totals::Cents;

/// Scores are tenths from 0 to 1000.
const SCORES: usize = 1001;

/// Band of a risk score: low, medium, high.
type Band = u8;
pub(super) const BANDS: [&str; 3] = ["low", "medium", "high"];
const HIGH: Band = 2;

/// Lines and money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) lines: i64,
    pub(super) amount: Cents,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.amount += other.amount;
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Day {
    /// First day of the month, in days since 1970-01-01.
    month: i32,
    pub(super) sum: Sum,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProviderSum {
    pub(super) sum: Sum,
    /// Sum of the scores, in tenths.
    pub(super) score: i64,
    pub(super) high_risk_lines: i64,
}

impl ProviderSum {
    fn add(&mut self, other: Self) {
        self.sum.add(other.sum);
        self.score += other.score;
        self.high_risk_lines += other.high_risk_lines;
    }
}

/// Claims with a line in a month, and those whose first month it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MonthClaims {
    pub(super) claims: i64,
    pub(super) first: i64,
}

/// What one connection has counted; rows come in the order of their keys.
#[derive(Clone)]
pub(crate) struct LineTotals {
    providers: Arc<ProviderRows>,
    /// The band of each score.
    band_of: Arc<[Band]>,
    days: PlHashMap<i32, Day>,
    /// By month, specialty and band.
    months: PlHashMap<(i32, u32, Band), Sum>,
    claims: PlHashMap<i32, MonthClaims>,
    scores: Vec<i64>,
    by_row: Vec<ProviderSum>,
    /// Providers that are not in the directory, by key.
    others: PlHashMap<i32, ProviderSum>,
    top: TopLines,
    /// The claim of the last row, and the months of its lines so far.
    claim: Option<(i128, Vec<i32>)>,
}

impl LineTotals {
    pub(crate) fn new(providers: Arc<ProviderRows>, risk: &Risk) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most 1000")]
        let band = |tenths: usize| {
            let score = tenths as f64 / 10.0;
            u8::from(score >= risk.medium_from) + u8::from(score >= risk.high_from)
        };
        Self {
            by_row: vec![ProviderSum::default(); providers.len()],
            providers,
            band_of: (0..SCORES).map(band).map(|band| band.min(HIGH)).collect(),
            days: PlHashMap::default(),
            months: PlHashMap::default(),
            claims: PlHashMap::default(),
            scores: vec![0; SCORES],
            others: PlHashMap::default(),
            top: TopLines::default(),
            claim: None,
        }
    }

    /// Counts rows of the second pass; `batch` are the same rows with their scores.
    ///
    /// # Errors
    /// `Internal` when a column is missing.
    pub(crate) fn add(&mut self, rows: &DataFrame, batch: &RecordBatch) -> Result<()> {
        let absent = |_: PolarsError| missing();
        let column = |name: &str| rows.column(name).map_err(absent);
        let tokens = column("claim_token")?.i128().map_err(absent)?;
        let lines = column("line_number")?.i16().map_err(absent)?;
        let providers = column(PROVIDER_ROW).and_then(|c| c.u32().map_err(absent))?;
        let cents = column(CENTS)?.i64().map_err(absent)?;
        let days = column("date_of_service")?.to_physical_repr();
        let days = days.i32().map_err(absent)?;
        let scores = batch
            .column_by_name("risk_score")
            .and_then(|scores| scores.as_primitive_opt::<Float32Type>())
            .ok_or_else(self::missing)?
            .values();
        let provider_keys = batch
            .column_by_name("provider_key")
            .and_then(|column| column.as_primitive_opt::<Int32Type>())
            .ok_or_else(self::missing)?;
        let columns =
            tokens.iter().zip(lines.iter()).zip(providers.iter().zip(provider_keys.values()));
        let values = cents.iter().zip(days.iter()).zip(scores);
        for (((token, line), (provider, &key)), ((cents, day), score)) in columns.zip(values) {
            let (token, line) = token.zip(line).ok_or_else(self::missing)?;
            let (cents, day) = cents.zip(day).ok_or_else(self::missing)?;
            let tenths = usize::try_from(tenths_of_score(*score)).unwrap_or_default();
            let tenths = tenths.min(SCORES - 1);
            self.line(token, line, provider, key, cents, day, tenths);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the cells of a row")]
    fn line(
        &mut self,
        token: i128,
        line: i16,
        provider: Option<u32>,
        key: i32,
        cents: i64,
        day: i32,
        tenths: usize,
    ) {
        let sum = Sum { lines: 1, amount: Cents(cents.into()) };
        let entry = self
            .days
            .entry(day)
            .or_insert_with(|| Day { month: first_of_month(day), sum: Sum::default() });
        entry.sum.add(sum);
        let month = entry.month;
        let band = self.band_of[tenths];
        let specialty = provider.map_or(0, |row| self.providers.specialty_of(row));
        self.months.entry((month, specialty, band)).or_default().add(sum);
        self.scores[tenths] += 1;
        let score = i64::try_from(tenths).unwrap_or_default();
        let of_line = ProviderSum { sum, score, high_risk_lines: i64::from(band == HIGH) };
        match provider.and_then(|row| self.by_row.get_mut(row as usize)) {
            Some(provider) => provider.add(of_line),
            None => self.others.entry(key).or_default().add(of_line),
        }
        if tenths > 0 {
            self.top.add(Ranked { tenths: score, cents, token: token.to_ne_bytes(), line });
        }
        match &mut self.claim {
            Some((claim, months)) if *claim == token => {
                if !months.contains(&month) {
                    months.push(month);
                }
            }
            _ => {
                self.end_claim();
                self.claim = Some((token, vec![month]));
            }
        }
    }

    /// Counts the last claim, whose lines are complete.
    fn end_claim(&mut self) {
        let Some((_, months)) = self.claim.take() else { return };
        let first = months.iter().min().copied();
        for month in months {
            let entry = self.claims.entry(month).or_default();
            entry.claims += 1;
            entry.first += i64::from(Some(month) == first);
        }
    }

    /// Adds what another connection has counted: claims of other ranges.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.end_claim();
        other.end_claim();
        for (day, of_day) in other.days {
            let entry =
                self.days.entry(day).or_insert(Day { month: of_day.month, sum: Sum::default() });
            entry.sum.add(of_day.sum);
        }
        for (key, sum) in other.months {
            self.months.entry(key).or_default().add(sum);
        }
        for (month, claims) in other.claims {
            let entry = self.claims.entry(month).or_default();
            entry.claims += claims.claims;
            entry.first += claims.first;
        }
        for (lines, more) in self.scores.iter_mut().zip(other.scores) {
            *lines += more;
        }
        for (provider, more) in self.by_row.iter_mut().zip(other.by_row) {
            provider.add(more);
        }
        for (id, more) in other.others {
            self.others.entry(id).or_default().add(more);
        }
        self.top.merge(other.top);
    }

    /// Days since 1970-01-01, in order.
    pub(super) fn days(&self) -> Vec<(i32, Sum)> {
        sorted(self.days.iter().map(|(&day, of_day)| (day, of_day.sum)))
    }

    /// Month, specialty, band.
    pub(super) fn months(&self) -> Vec<((i32, &str, &'static str), Sum)> {
        let named = |(&(month, specialty, band), &sum): (&(i32, u32, Band), &Sum)| {
            ((month, self.providers.specialty(specialty), BANDS[usize::from(band)]), sum)
        };
        sorted(self.months.iter().map(named))
    }

    pub(super) fn claims(&mut self) -> Vec<(i32, MonthClaims)> {
        self.end_claim();
        sorted(self.claims.iter().map(|(&month, &claims)| (month, claims)))
    }

    /// Score in tenths, lines.
    pub(super) fn scores(&self) -> impl Iterator<Item = (i64, i64)> {
        (0..).zip(self.scores.iter().copied()).filter(|(_, lines)| *lines > 0)
    }

    /// Providers with lines, by key.
    pub(super) fn providers(&self) -> Vec<(i32, ProviderSum)> {
        let known = self.by_row.iter().enumerate().filter(|(_, provider)| provider.sum.lines > 0);
        let known = known.map(|(row, &provider)| (self.providers.key(row), provider));
        sorted(known.chain(self.others.iter().map(|(&key, &provider)| (key, provider))))
    }

    pub(super) fn top(&mut self) -> (Vec<Ranked>, bool) {
        self.top.ranked()
    }
}

fn sorted<K: Ord, V>(rows: impl Iterator<Item = (K, V)>) -> Vec<(K, V)> {
    let mut rows: Vec<(K, V)> = rows.collect();
    rows.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    rows
}

fn missing() -> Error {
    Error::internal("a column is missing from the rows of the second pass")
}

/// The first day of a day's month.
fn first_of_month(day: i32) -> i32 {
    let date = NaiveDate::from_epoch_days(day);
    let of_month = date.map_or(0, |date| i32::try_from(date.day0()).unwrap_or_default());
    day - of_month
}
