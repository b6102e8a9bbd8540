//! The provider directory: one row per provider id, whatever the file says.
//!
//! A file of its own because a repeated provider would multiply claims at the join: keys are made
//! unique here, on the small side, where every repeat can be counted.

use std::collections::HashMap;
use std::sync::Arc;

use polars::prelude::{
    ChunkTake, Column, DataFrame, DataType, Expr, IntoColumn, IntoLazy, IntoSeries, LazyFrame,
    NewChunkedArray, PolarsError, StringChunked, UInt32Chunked, col,
};

use super::expression::{broken, elementwise};
use super::npi::is_false_npi;
use super::text::clean;
use crate::account::ProviderCounts;
use crate::config::OnDuplicate;
use crate::error::{Error, Result};
use crate::rule::{Rule, is_code};
use crate::schema::{DAMAGE, Dataset, ORIGIN, PROVIDER_ROW, SOURCE_LINE};

/// Number of the provider's specialty for peer groups; null only where there is no such provider.
pub(super) const SPECIALTY_NO: &str = "specialty_no";

/// For the member at each place whether its id has the form of an NPI and is none; nothing where
/// that is so of no member.
pub(super) type FalseNpis = Option<Arc<[bool]>>;

/// A record of the directory that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// Where it came from, as [`ORIGIN`] packs it.
    pub origin: i64,
    /// The line on which it begins, where there are lines.
    pub line: Option<u64>,
    /// The rule that it breaks.
    pub rule: Rule,
}

/// A directory with unique keys.
#[derive(Debug, Clone)]
pub struct Directory {
    /// `provider_id, provider_name, specialty, location`.
    frame: DataFrame,
    /// The number of each member's specialty.
    numbers: Arc<[u32]>,
    /// Spellings of the specialties in canonical case, by number; number 0 is "unknown".
    specialties: Vec<String>,
    false_npis: FalseNpis,
    counts: ProviderCounts,
    rejects: Arc<[Refused]>,
}

/// What is read of a provider source: the contract's columns in canonical form, and where each
/// record came from.
pub fn provider_rows(providers: LazyFrame) -> LazyFrame {
    let mut columns = [ORIGIN, SOURCE_LINE, DAMAGE].map(col).to_vec();
    columns.extend(Dataset::Providers.columns().map(clean));
    providers.select(columns)
}

/// One record: id, then name, specialty and location.
type Record<'a> = [Option<&'a str>; 4];

impl Directory {
    /// Makes the collected rows of [`provider_rows`] unique by id. Identical repeats are dropped;
    /// of conflicting ones `policy` picks one, or none. Records without an id are rejected, and
    /// those whose id or specialty is no code (see [`is_code`]), that hold a NUL character, or whose
    /// fields could not be told apart.
    ///
    /// # Errors
    /// `Internal` when the frame is not that of [`provider_rows`].
    pub fn new(rows: &DataFrame, policy: OnDuplicate) -> Result<Self> {
        let lacking = |_: PolarsError| Error::internal("the provider rows lack a column");
        let text = |name: &str| -> Result<&StringChunked> {
            rows.column(name).and_then(Column::str).map_err(lacking)
        };
        let columns =
            [text("provider_id")?, text("provider_name")?, text("specialty")?, text("location")?];
        let origins = rows.column(ORIGIN).and_then(Column::i64).map_err(lacking)?;
        let lines = rows.column(SOURCE_LINE).and_then(Column::i64).map_err(lacking)?;
        let damages = rows.column(DAMAGE).and_then(Column::i32).map_err(lacking)?;
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
        let mut kept: Vec<Member<'_>> = Vec::with_capacity(rows.height());
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
                    kept.push(Member { record, row, repeats: Vec::new(), conflicts: 0 });
                }
                Some(&place) => kept[place].repeat(record, row, policy),
            }
        }
        let mut members = Vec::with_capacity(kept.len());
        for member in kept {
            counts.conflicts += member.conflicts;
            if policy == OnDuplicate::Reject && member.conflicts > 0 {
                let records = member.repeats.into_iter().chain([member.row]);
                rejects.extend(records.map(|row| refused(row, Rule::DirectoryConflict)));
            } else {
                counts.duplicates += member.repeats.len() as u64;
                counts.loaded += 1;
                members.push(member.record);
            }
        }
        rejects.sort_unstable();
        counts.rejected = rejects.len() as u64;
        for reject in &rejects {
            *counts.reject_reasons.entry(reject.rule.name().to_owned()).or_default() += 1;
        }
        let (specialties, numbers) = number_specialties(&members);
        let false_npis: Vec<bool> =
            members.iter().map(|record| record[0].is_some_and(is_false_npi)).collect();
        let false_npis = false_npis.contains(&true).then(|| false_npis.into());
        let column = |name: &str, field: usize| -> Column {
            let texts = members.iter().map(|record| record[field]);
            StringChunked::from_iter_options(name.into(), texts).into_column()
        };
        let frame = DataFrame::new(
            members.len(),
            vec![
                column("provider_id", 0),
                column("provider_name", 1),
                column("specialty", 2),
                column("location", 3),
            ],
        )
        .map_err(lacking)?;
        let rejects = rejects.into();
        Ok(Self { frame, numbers: numbers.into(), specialties, false_npis, counts, rejects })
    }

    /// The members: `provider_id, provider_name, specialty, location`.
    #[must_use]
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// The accounting of the directory's records.
    #[must_use]
    pub fn counts(&self) -> ProviderCounts {
        self.counts.clone()
    }

    /// The records that were refused, in their order.
    #[must_use]
    pub fn rejects(&self) -> &[Refused] {
        &self.rejects
    }

    /// The members whose id is a false NPI.
    pub(super) fn false_npis(&self) -> FalseNpis {
        self.false_npis.clone()
    }

    /// The canonical spelling of a specialty number; empty for "unknown".
    pub(super) fn specialty(&self, number: u32) -> &str {
        self.specialties.get(number as usize).map_or("", String::as_str)
    }

    /// What a claim is joined to: the provider's place.
    pub(super) fn lookup(&self) -> LazyFrame {
        let places = 0..u32::try_from(self.frame.height()).unwrap_or(u32::MAX);
        let places = UInt32Chunked::from_vec(PROVIDER_ROW.into(), places.collect());
        let mut lookup = self.frame.clone();
        // Lengths are equal.
        let _ = lookup.with_column(places.into_column());
        lookup.lazy().select([col("provider_id"), col(PROVIDER_ROW)])
    }

    /// A text of the row's provider; null where the directory has none such.
    pub(super) fn attribute(&self, column: &'static str) -> Expr {
        let texts = self.frame.column(column).and_then(Column::str).cloned();
        elementwise(column, &[col(PROVIDER_ROW)], DataType::String, move |series| {
            let texts = texts.as_ref().map_err(|_| broken("the directory lacks a column"))?;
            Ok(texts.take(series[0].u32()?)?.into_series())
        })
        .alias(column)
    }

    /// The specialty's number of the row's provider; null where the directory has none such.
    pub(super) fn specialty_number(&self) -> Expr {
        let numbers = self.numbers.clone();
        elementwise(SPECIALTY_NO, &[col(PROVIDER_ROW)], DataType::UInt32, move |series| {
            let number = |place: Option<u32>| numbers.get(place? as usize).copied();
            let numbers = series[0].u32()?.iter().map(number);
            Ok(UInt32Chunked::from_iter_options(SPECIALTY_NO.into(), numbers).into_series())
        })
        .alias(SPECIALTY_NO)
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

/// A member and what became of its repeats.
struct Member<'a> {
    record: Record<'a>,
    /// The first row that has it.
    row: usize,
    /// The other rows.
    repeats: Vec<usize>,
    conflicts: u64,
}

impl<'a> Member<'a> {
    fn repeat(&mut self, record: Record<'a>, row: usize, policy: OnDuplicate) {
        self.repeats.push(row);
        if record != self.record {
            self.conflicts += 1;
            if policy == OnDuplicate::Last {
                self.record = record;
            }
        }
    }
}

/// Numbers specialties without regard to case and inner white space, so that two spellings are
/// one peer group. Number 0 is for members without a specialty.
fn number_specialties(members: &[Record<'_>]) -> (Vec<String>, Vec<u32>) {
    let mut spellings = vec![String::new()];
    let mut number_of: HashMap<String, u32> = HashMap::from([(String::new(), 0)]);
    let numbers = members
        .iter()
        .map(|record| {
            let words: Vec<String> =
                record[2].unwrap_or_default().split_whitespace().map(str::to_uppercase).collect();
            let spelling = words.join(" ");
            *number_of.entry(spelling).or_insert_with_key(|spelling| {
                spellings.push(spelling.clone());
                u32::try_from(spellings.len() - 1).unwrap_or(0)
            })
        })
        .collect();
    (spellings, numbers)
}

#[cfg(test)]
mod tests {
    use polars::prelude::Int64Chunked;

    use super::*;

    fn directory(rows: &[(Option<&str>, &str)], policy: OnDuplicate) -> Directory {
        let text = |name: &str, values: Vec<Option<&str>>| -> Column {
            StringChunked::from_iter_options(name.into(), values.into_iter()).into_column()
        };
        let origins: Vec<i64> = (1..).take(rows.len()).collect();
        let frame = DataFrame::new(
            rows.len(),
            vec![
                Int64Chunked::from_vec(ORIGIN.into(), origins).into_column(),
                Column::full_null(SOURCE_LINE.into(), rows.len(), &DataType::Int64),
                Column::full_null(DAMAGE.into(), rows.len(), &DataType::Int32),
                text("provider_id", rows.iter().map(|row| row.0).collect()),
                text("provider_name", rows.iter().map(|row| Some(row.1)).collect()),
                text("specialty", rows.iter().map(|_| Some("General  Practice")).collect()),
                text("location", rows.iter().map(|_| None).collect()),
            ],
        )
        .expect("a frame");
        Directory::new(&frame, policy).expect("a directory")
    }

    fn names(directory: &Directory) -> Vec<Option<&str>> {
        directory
            .frame()
            .column("provider_name")
            .and_then(Column::str)
            .expect("names")
            .iter()
            .collect()
    }

    #[test]
    fn keys_become_unique_and_every_record_is_counted() {
        let rows =
            [(Some("1"), "a"), (Some("1"), "a"), (Some("2"), "b"), (Some("2"), "c"), (None, "d")];
        for (policy, kept, rejected) in [
            (OnDuplicate::Last, vec![Some("a"), Some("c")], 1),
            (OnDuplicate::First, vec![Some("a"), Some("b")], 1),
            (OnDuplicate::Reject, vec![Some("a")], 3),
        ] {
            let directory = directory(&rows, policy);
            let counts = directory.counts();
            assert_eq!(names(&directory), kept, "{policy:?}");
            assert_eq!((counts.read, counts.rejected, counts.conflicts), (5, rejected, 1));
            assert_eq!(counts.read, counts.loaded + counts.rejected + counts.duplicates);
        }
    }

    #[test]
    fn each_refused_record_has_a_rule_and_a_place() {
        let long = "x".repeat(201);
        let rows = [
            (Some("1"), "a"),
            (None, "b"),
            (Some("2\u{7}"), "c"),
            (Some(long.as_str()), "d"),
            (Some("3"), "e\0"),
            (Some("1"), "f"),
        ];
        let refused = |policy| {
            let directory = directory(&rows, policy);
            let rejects = directory.rejects().iter();
            rejects.map(|reject| (reject.origin, reject.rule)).collect::<Vec<_>>()
        };
        let always = [
            (2, Rule::DirectoryIdMissing),
            (3, Rule::ProviderIdInvalid),
            (4, Rule::ProviderIdInvalid),
            (5, Rule::DirectoryTextInvalid),
        ];
        assert_eq!(refused(OnDuplicate::Last), always);
        let mut with_conflicts = always.to_vec();
        with_conflicts.insert(0, (1, Rule::DirectoryConflict));
        with_conflicts.push((6, Rule::DirectoryConflict));
        assert_eq!(refused(OnDuplicate::Reject), with_conflicts);
        let counts = directory(&rows, OnDuplicate::Reject).counts();
        assert_eq!(counts.rejected, 6);
        assert_eq!(counts.reject_reasons["provider_id_invalid"], 2);
    }

    #[test]
    fn false_npis_are_known_by_place() {
        let none = directory(&[(Some("V1"), "a"), (Some("1234567893"), "b")], OnDuplicate::Last);
        assert_eq!(none.false_npis(), None);
        let one =
            directory(&[(Some("1234567893"), "a"), (Some("1234567890"), "b")], OnDuplicate::Last);
        assert_eq!(one.false_npis().as_deref(), Some([false, true].as_slice()));
    }

    #[test]
    fn spellings_of_a_specialty_are_one_group() {
        let directory = directory(&[(Some("1"), "a"), (Some("2"), "b")], OnDuplicate::Last);
        assert_eq!(directory.specialty(1), "GENERAL PRACTICE");
        assert_eq!(directory.specialty(0), "");
    }
}
