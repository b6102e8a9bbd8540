//! The provider directory: one row per provider id, whatever the file has.
//!
//! What claims are joined by are the ids as the source spells them; everything else that leaves is
//! what is released.

use std::collections::HashMap;
use std::sync::Arc;

use polars::prelude::{
    ChunkTake, Column, DataFrame, DataType, Expr, IntoColumn, IntoLazy, IntoSeries, LazyFrame,
    NewChunkedArray, PolarsError, StringChunked, UInt32Chunked, col,
};

use super::actions::Release;
use super::expression::{broken, elementwise};
use super::identifiers::of_directory;
use super::npi::is_false_npi;
use super::text::clean;
use crate::error::{Error, Result};
use crate::risk::canonical_specialty;
use crate::rule::{OnDuplicate, Rule, is_code};
use crate::schema::{DAMAGE, Dataset, ORIGIN, PROVIDER_ROW, SOURCE_LINE, Shape};
use crate::totals::ProviderCounts;
use crate::transform::rule_set::RuleSet;

/// For the provider at each place whether its id has the form of an NPI and is none; nothing where
/// no provider has such an id.
pub(super) type FalseNpis = Option<Arc<[bool]>>;

/// A record of the directory that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// Where it came from, as [`ORIGIN`] packs it.
    pub(crate) origin: i64,
    /// The line on which it begins, where there are lines.
    pub(crate) line: Option<u64>,
    /// The rule that it breaks.
    pub(crate) rule: Rule,
}

/// A directory with unique keys.
#[derive(Clone)]
pub struct Directory {
    /// The ids of the providers as the source spells them, for the join and nothing else.
    ids: StringChunked,
    /// What is released of `provider_id, provider_name, specialty, location`.
    frame: DataFrame,
    shape: Shape,
    /// The number of each provider's specialty.
    numbers: Arc<[u32]>,
    /// Spellings of the specialties in canonical case, by number; number 0 is "unknown".
    specialties: Vec<String>,
    false_npis: FalseNpis,
    counts: ProviderCounts,
    rejects: Arc<[Refused]>,
}

/// What is read of a provider source: the contract's columns in canonical form, where each record came from, and the rule
/// that a record breaks by itself.
pub fn provider_rows(providers: LazyFrame, checks: &RuleSet) -> LazyFrame {
    let mut columns = [ORIGIN, SOURCE_LINE].map(col).to_vec();
    columns.extend(of_directory(checks));
    let texts = Dataset::Providers.columns().filter(|column| *column != "provider_id");
    columns.extend(texts.map(clean));
    providers.select(columns)
}

/// One record: id, then name, specialty and location.
type Record<'a> = [Option<&'a str>; 4];

impl Directory {
    /// Makes the collected rows of [`provider_rows`] unique by id. Identical repeats are dropped;
    /// of conflicting ones `policy` picks one, or none. Records without an id are rejected, and
    /// those whose id or specialty is no code (see [`is_code`]), that hold a NUL character, or whose
    /// fields could not be separated. All of that is judged by the texts as they are; what `release` does to
    /// them comes after.
    ///
    /// # Errors
    /// `Internal` when the frame is not that of [`provider_rows`].
    pub fn new(rows: &DataFrame, policy: OnDuplicate, release: &Release) -> Result<Self> {
        let missing =
            |_: PolarsError| Error::internal("a column is missing from the provider rows");
        let text = |name: &str| -> Result<&StringChunked> {
            rows.column(name).and_then(Column::str).map_err(missing)
        };
        let columns =
            [text("provider_id")?, text("provider_name")?, text("specialty")?, text("location")?];
        let origins = rows.column(ORIGIN).and_then(Column::i64).map_err(missing)?;
        let lines = rows.column(SOURCE_LINE).and_then(Column::i64).map_err(missing)?;
        let damages = rows.column(DAMAGE).and_then(Column::i32).map_err(missing)?;
        let refused = |row: usize, rule: Rule| Refused {
            origin: origins.get(row).unwrap_or(0),
            line: lines.get(row).and_then(|line| u64::try_from(line).ok()),
            rule,
        };
        let mut rejects = Vec::new();
        let mut order: Vec<usize> = (0..rows.height()).collect();
        order.sort_by_key(|&row| origins.get(row));

        let mut counts = ProviderCounts { read: rows.height() as u64, ..ProviderCounts::default() };
        let mut place_of: HashMap<&str, usize> = HashMap::with_capacity(rows.height());
        let mut kept: Vec<Kept<'_>> = Vec::with_capacity(rows.height());
        for row in order {
            let record: Record<'_> = columns.map(|column| column.get(row));
            let damage = damages.get(row).and_then(Rule::from_code);
            let id = match damage.map_or_else(|| storable(&record), Err) {
                Ok(id) => id,
                Err(rule) => {
                    rejects.push(refused(row, rule));
                    continue;
                }
            };
            match place_of.get(id) {
                None => {
                    place_of.insert(id, kept.len());
                    kept.push(Kept { record, row, repeats: Vec::new() });
                }
                Some(&place) => kept[place].repeats.push((record, row)),
            }
        }
        let mut providers = Vec::with_capacity(kept.len());
        for Kept { record, row, repeats } in kept {
            // Repeats of the kept record are duplicates, whichever of them it is.
            let last = repeats.last().map_or(record, |(record, _)| *record);
            let first = std::iter::once(record).chain(repeats.iter().map(|(record, _)| *record));
            let record = if policy == OnDuplicate::Last { last } else { record };
            let conflicts = first.filter(|other| *other != record).count() as u64;
            if policy == OnDuplicate::Reject && conflicts > 0 {
                let rows = repeats.into_iter().map(|(_, row)| row).chain([row]);
                rejects.extend(rows.map(|row| refused(row, Rule::DirectoryConflict)));
            } else {
                counts.conflicts += conflicts;
                counts.duplicates += repeats.len() as u64 - conflicts;
                counts.loaded += 1;
                providers.push(record);
            }
        }
        rejects.sort_unstable();
        counts.rejected = rejects.len() as u64;
        for reject in &rejects {
            *counts.reject_reasons.entry(reject.rule.name().to_owned()).or_default() += 1;
        }
        Self::released(&providers, release, counts, rejects)
    }

    /// The directory of unique records, with what `release` does to them.
    fn released(
        providers: &[Record<'_>],
        release: &Release,
        counts: ProviderCounts,
        rejects: Vec<Refused>,
    ) -> Result<Self> {
        let missing =
            |_: PolarsError| Error::internal("a column is missing from the released providers");
        let false_npis: Vec<bool> =
            providers.iter().map(|record| record[0].is_some_and(is_false_npi)).collect();
        let false_npis = false_npis.contains(&true).then(|| false_npis.into());
        let column = |name: &str, field: usize| -> Column {
            let texts = providers.iter().map(|record| record[field]);
            StringChunked::from_iter_options(name.into(), texts).into_column()
        };
        let frame = DataFrame::new(
            providers.len(),
            vec![
                column("provider_id", 0),
                column("provider_name", 1),
                column("specialty", 2),
                column("location", 3),
            ],
        )
        .map_err(missing)?;
        let ids = frame.column("provider_id").and_then(Column::str).map_err(missing)?.clone();
        let frame = match release.directory_columns() {
            // What fails could quote a cell.
            Some(columns) => frame.lazy().select(columns).collect().map_err(missing)?,
            None => frame,
        };
        let shape = release.shape();
        let (specialties, numbers) = if shape.has("specialty") {
            number_specialties(frame.column("specialty").and_then(Column::str).map_err(missing)?)
        } else {
            (vec![String::new()], vec![0; ids.len()])
        };
        let (numbers, rejects) = (numbers.into(), rejects.into());
        Ok(Self { ids, frame, shape, numbers, specialties, false_npis, counts, rejects })
    }

    /// The providers as they are released: `provider_id, provider_name, specialty, location`, without
    /// those columns that are dropped.
    #[must_use]
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// Which columns are there.
    #[must_use]
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The accounting of the directory's records.
    #[must_use]
    pub(crate) fn counts(&self) -> ProviderCounts {
        self.counts.clone()
    }

    /// The records that were refused, in their order.
    #[must_use]
    pub(crate) fn rejects(&self) -> &[Refused] {
        &self.rejects
    }

    /// The providers whose id is a false NPI.
    pub(super) fn false_npis(&self) -> FalseNpis {
        self.false_npis.clone()
    }

    /// The canonical spelling of a specialty number; empty for "unknown".
    pub(super) fn specialty(&self, number: u32) -> &str {
        self.specialties.get(number as usize).map_or("", String::as_str)
    }

    /// What a claim is joined to: the provider's place.
    pub(super) fn lookup(&self) -> LazyFrame {
        let places = 0..u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        let places = UInt32Chunked::from_vec(PROVIDER_ROW.into(), places.collect());
        let columns = vec![self.ids.clone().into_column(), places.into_column()];
        // Lengths are equal.
        DataFrame::new(self.ids.len(), columns).unwrap_or_default().lazy()
    }

    /// A text of the row's provider; null where the directory has none such.
    pub(super) fn attribute(&self, column: &'static str) -> Expr {
        let texts = self.frame.column(column).and_then(Column::str).cloned();
        elementwise(column, &[col(PROVIDER_ROW)], DataType::String, move |series| {
            let texts =
                texts.as_ref().map_err(|_| broken("a column is missing from the directory"))?;
            Ok(texts.take(series[0].u32()?)?.into_series())
        })
        .alias(column)
    }

    /// The spellings of the specialties in canonical case, by number; number 0 is empty.
    #[must_use]
    pub(crate) fn specialties(&self) -> &[String] {
        &self.specialties
    }

    /// The providers' ids, by place.
    #[must_use]
    pub(crate) fn ids(&self) -> StringChunked {
        self.frame.column("provider_id").and_then(Column::str).cloned().unwrap_or_default()
    }

    /// The specialties in canonical case, by place; empty for none.
    #[must_use]
    pub(crate) fn peer_specialties(&self) -> Vec<&str> {
        self.numbers.iter().map(|&number| self.specialty(number)).collect()
    }

    /// The numbers of the providers' specialties, by place.
    #[must_use]
    pub(crate) fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// The number of the specialty of the provider at a place.
    pub(super) fn number(&self, place: u32) -> Option<u32> {
        self.numbers.get(place as usize).copied()
    }
}

/// The id of a record that can be stored: id and specialty, which are keys, are codes, and the rest
/// holds no NUL character. Otherwise the rule that it breaks.
fn storable<'a>(record: &Record<'a>) -> Result<&'a str, Rule> {
    let [id, name, specialty, location] = *record;
    let id = id.ok_or(Rule::DirectoryIdMissing)?;
    if !is_code(id) {
        return Err(Rule::ProviderIdInvalid);
    }
    let texts = [name, location].into_iter().flatten().all(|text| !text.contains('\0'));
    if texts && specialty.is_none_or(is_code) { Ok(id) } else { Err(Rule::DirectoryTextInvalid) }
}

/// A record that counts, and its repeats.
struct Kept<'a> {
    record: Record<'a>,
    /// The first row that has it.
    row: usize,
    /// The other rows, in their order.
    repeats: Vec<(Record<'a>, usize)>,
}

/// Numbers specialties by their canonical spelling. Number 0 is for providers without a specialty.
fn number_specialties(specialties: &StringChunked) -> (Vec<String>, Vec<u32>) {
    let mut spellings = vec![String::new()];
    let mut number_of: HashMap<String, u32> = HashMap::from([(String::new(), 0)]);
    let numbers = specialties
        .iter()
        .map(|text| {
            let spelling = canonical_specialty(text.unwrap_or_default());
            *number_of.entry(spelling).or_insert_with_key(|spelling| {
                spellings.push(spelling.clone());
                u32::try_from(spellings.len() - 1).unwrap_or(0)
            })
        })
        .collect();
    (spellings, numbers)
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
