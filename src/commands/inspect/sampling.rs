//! Reads a source without loading it: column profiles and broken rules.

use std::collections::BTreeMap;

use polars::prelude::{Column, DataFrame, IntoLazy, PolarsError};

use super::code_systems::CodeSystems;
use super::column_profile::ColumnProfile;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::extract::{Block, Blocks};
use crate::pipeline::all_blocks::AllBlocks;
use crate::pipeline::damaged_ids::DamagedIds;
use crate::pipeline::first_pass::SHUFFLED;
use crate::pipeline::query_plan::{collect, plan_error};
use crate::rule::Rule;
use crate::schema::{AMOUNT_MAX_CENTS, CENTS, DAMAGE, Dataset, IDENTIFIERS, ORIGIN, REJECT};
use crate::shuffle::{Resolved, Shuffle, Writer};
use crate::totals::Cents;
use crate::transform::{Claims, RuleSet};

/// Maximum example records per rule.
pub(crate) const EXAMPLES: usize = 3;

#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) columns: BTreeMap<&'static str, ColumnProfile>,
    /// Columns with damaged or placeholder identifiers.
    pub(crate) damaged: BTreeMap<&'static str, DamagedIds>,
    pub(crate) codes: CodeSystems,
    pub(crate) rows: u64,
    /// Rejected rows by rule: count and first origins.
    pub(crate) rejects: BTreeMap<Rule, (u64, Vec<i64>)>,
    /// Accepted rows by flag.
    pub(crate) flags: BTreeMap<Rule, u64>,
    pub(crate) amount: Cents,
    /// First and last date of service, in days since 1970-01-01.
    pub(crate) days: Option<(i32, i32)>,
}

impl Counts {
    fn merge(&mut self, other: Self) {
        for (column, profile) in other.columns {
            self.columns.entry(column).or_default().merge(profile);
        }
        for (column, damaged) in other.damaged {
            self.damaged.entry(column).or_default().merge(damaged);
        }
        self.codes.merge(other.codes);
        self.rows += other.rows;
        for (rule, (rows, origins)) in other.rejects {
            let (count, first) = self.rejects.entry(rule).or_default();
            *count += rows;
            add_examples(first, origins);
        }
        for (rule, rows) in other.flags {
            *self.flags.entry(rule).or_default() += rows;
        }
        self.amount += other.amount;
        self.days = match (self.days, other.days) {
            (Some(one), Some(two)) => Some((one.0.min(two.0), one.1.max(two.1))),
            (one, two) => one.or(two),
        };
    }

    /// Adds the rows dropped or rejected because of other rows.
    pub(crate) fn resolve(&mut self, resolved: &Resolved) {
        for &(origin, rule) in &resolved.rejected {
            let (count, first) = self.rejects.entry(rule).or_default();
            *count += 1;
            add_examples(first, [origin]);
        }
        let counts = resolved.removed.into_iter().zip(resolved.found);
        for (rule, (removed, found)) in Rule::FLAGS.into_iter().zip(counts) {
            let rows = self.flags.remove(&rule).unwrap_or(0).saturating_sub(removed) + found;
            if rows > 0 {
                self.flags.insert(rule, rows);
            }
        }
    }

    /// Profiles the texts of a block, excluding damaged records.
    fn texts(&mut self, dataset: Dataset, texts: &DataFrame, checks: &RuleSet) -> Result<()> {
        let damage = texts.column(DAMAGE).map_err(missing)?;
        let sound = if damage.null_count() == texts.height() {
            None
        } else {
            Some(texts.filter(&damage.is_null()).map_err(missing)?)
        };
        let sound = sound.as_ref().unwrap_or(texts);
        for column in dataset.columns() {
            let column_texts = sound.column(column).and_then(Column::str).map_err(missing)?;
            let dated = column == "date_of_service";
            self.columns.entry(column).or_default().observe(column_texts, dated);
            if column == "procedure_code" {
                self.codes.observe(column_texts);
            }
            if IDENTIFIERS.contains(&column)
                && let Some(damaged) = DamagedIds::of(column, column_texts, checks)
            {
                self.damaged.entry(column).or_default().merge(damaged);
            }
        }
        Ok(())
    }

    /// Counts the validated claims of a block.
    fn claims(&mut self, rows: &DataFrame) -> Result<()> {
        let of = |name: &str| rows.column(name).map_err(missing);
        let reject = of(REJECT)?.i32().map_err(missing)?;
        let origins = of(ORIGIN)?.i64().map_err(missing)?;
        let cents = of(CENTS)?.i64().map_err(missing)?;
        let flags = of("dq_flags")?.i32().map_err(missing)?;
        let days = of("date_of_service")?.to_physical_repr();
        let days = days.i32().map_err(missing)?;
        let fits = |cents: &i64| cents.unsigned_abs() <= AMOUNT_MAX_CENTS.unsigned_abs();
        self.amount += Cents(cents.iter().flatten().filter(fits).map(i128::from).sum());
        for day in days.iter().flatten() {
            let (first, last) = self.days.unwrap_or((day, day));
            self.days = Some((first.min(day), last.max(day)));
        }
        for (row, (code, bits)) in reject.iter().zip(flags.iter()).enumerate() {
            match code.map(Rule::from_code) {
                Some(Some(rule)) => {
                    let (count, first) = self.rejects.entry(rule).or_default();
                    *count += 1;
                    add_examples(first, origins.get(row));
                }
                Some(None) => return Err(Error::internal("a reject without a known reason")),
                None => {
                    let bits = bits.unwrap_or(0);
                    for rule in Rule::FLAGS.into_iter().filter(|rule| bits & rule.mask() != 0) {
                        *self.flags.entry(rule).or_default() += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Keeps the lowest origins, independently of arrival order.
fn add_examples(examples: &mut Vec<i64>, origins: impl IntoIterator<Item = i64>) {
    for origin in origins {
        let index = examples.partition_point(|&known| known < origin);
        if index < EXAMPLES {
            examples.insert(index, origin);
            examples.truncate(EXAMPLES);
        }
    }
}

pub(crate) struct Survey<'a> {
    pub(crate) dataset: Dataset,
    pub(crate) checks: &'a RuleSet,
    pub(crate) blocks: &'a Blocks<'a>,
    /// For claims: the plan, and the shuffle in which accepted rows are compared with each other.
    pub(crate) claims: Option<(&'a Claims, &'a Shuffle)>,
    pub(crate) cancel: &'a Cancellation,
    /// Called with the number of rows processed so far.
    pub(crate) progress: &'a (dyn Fn(u64) + Sync),
}

impl Survey<'_> {
    /// Reads all blocks, stopping at the first error.
    pub(crate) fn run(&self) -> (Counts, Result<()>) {
        let Self { blocks, cancel, progress, .. } = *self;
        let all = AllBlocks { blocks, cancel, progress };
        let start = || (Counts::default(), self.claims.map(|(_, shuffle)| shuffle.writer()));
        let counted =
            all.each(start, |block, (counts, writer)| self.block(block, counts, writer.as_mut()));
        let (mut all, mut end) = (Counts::default(), cancel.check());
        for ((counts, writer), result) in counted {
            all.merge(counts);
            end = end.and(result).and_then(|()| writer.map_or(Ok(()), Writer::finish));
        }
        progress(all.rows);
        (all, end)
    }

    /// Counts one block; returns its row count.
    fn block(
        &self,
        block: Block<'_>,
        counts: &mut Counts,
        writer: Option<&mut Writer<'_>>,
    ) -> Result<u64> {
        let texts = collect(block.frame()?)?;
        counts.texts(self.dataset, &texts, self.checks)?;
        let height = texts.height() as u64;
        counts.rows += height;
        if let Some(((claims, _), writer)) = self.claims.zip(writer) {
            let rows = claims.rows(texts.lazy()).collect().map_err(|error| plan_error(&error))?;
            counts.claims(&rows)?;
            let accepted = rows.column(REJECT).map_err(missing)?.is_null();
            let mut accepted =
                rows.select(SHUFFLED).and_then(|rows| rows.filter(&accepted)).map_err(missing)?;
            accepted.rechunk_mut();
            writer.push(&accepted, &[])?;
        }
        Ok(height)
    }
}

fn missing(_: PolarsError) -> Error {
    Error::internal("a column is missing from a block")
}
