//! What the rows of one claim break together, and which of them leave.
//!
//! Nothing is dropped or rejected without being counted.

use super::row::Row;
use super::token_collisions::Distinct;
use crate::rule::{OnDuplicate, Rule, Severities, Severity};
use crate::totals::{Cents, Reversals};

/// What is done about rules, as bits of `dq_flags`.
#[derive(Clone, Copy)]
pub(super) struct Masks {
    /// Rules that are looked at.
    pub(super) on: i32,
    /// Rules that reject.
    reject: i32,
}

impl Masks {
    pub(super) fn of(severities: &Severities) -> Self {
        Self { on: !severities.mask(Severity::Off), reject: severities.mask(Severity::Reject) }
    }
}

/// What happened to duplicate rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Rows dropped because another row of the same key, with the same content, counts.
    pub(crate) duplicates: u64,
    /// Money of those rows.
    pub(crate) duplicates_amount: Cents,
    /// Rows dropped because another row of the same key, with other content, counts.
    pub(crate) conflicts: u64,
    /// Money of those rows.
    pub(crate) conflicts_amount: Cents,
    /// Keys whose rows cancel one another.
    pub(crate) reversals: Reversals,
    /// Rows rejected: their origins, and why.
    pub(crate) rejected: Vec<(i64, Rule)>,
    /// Money of the rejected rows.
    pub(crate) rejected_amount: Cents,
    /// Removed rows (dropped and rejected) by what the first pass has flagged them for, in the order
    /// of [`Rule::FLAGS`].
    pub(crate) removed: [u64; Rule::FLAGS.len()],
    /// Rows that leave, by what they break together with others, in the same order.
    pub(crate) found: [u64; Rule::FLAGS.len()],
    /// The claims of all rows.
    pub(crate) claims: Distinct,
}

impl Resolved {
    /// Adds what became of other rows.
    pub(crate) fn merge(&mut self, other: Self) {
        self.duplicates += other.duplicates;
        self.duplicates_amount += other.duplicates_amount;
        self.conflicts += other.conflicts;
        self.conflicts_amount += other.conflicts_amount;
        self.reversals.lines += other.reversals.lines;
        self.reversals.dropped += other.reversals.dropped;
        self.reversals.dropped_amount += other.reversals.dropped_amount;
        self.reversals.kept_amount += other.reversals.kept_amount;
        self.rejected.extend(other.rejected);
        self.rejected_amount += other.rejected_amount;
        self.claims.merge(other.claims);
        let counts = self.removed.iter_mut().chain(&mut self.found);
        for (count, more) in counts.zip(other.removed.into_iter().chain(other.found)) {
            *count += more;
        }
    }

    /// Rows that were dropped.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.duplicates + self.conflicts
    }

    /// Drops a row of a key of which `kept` counts.
    fn drop_repeat(&mut self, row: Row<'_>, kept: Row<'_>) {
        let (rows, amount) = if row.content_bytes() == kept.content_bytes() {
            (&mut self.duplicates, &mut self.duplicates_amount)
        } else {
            (&mut self.conflicts, &mut self.conflicts_amount)
        };
        *rows += 1;
        *amount += Cents(row.cents().into());
        count(&mut self.removed, row.flags());
    }

    /// Counts a key whose rows cancel one another, the one that counts first.
    fn reversal(&mut self, cents: &[i64]) {
        let [kept, dropped @ ..] = cents else { return };
        self.reversals.lines += 1;
        self.reversals.dropped += dropped.len() as u64;
        self.reversals.dropped_amount +=
            dropped.iter().map(|&cents| Cents(cents.into())).sum::<Cents>();
        self.reversals.kept_amount += Cents((*kept).into());
    }

    fn reject(&mut self, row: Row<'_>, rule: Rule) {
        self.rejected.push((row.origin(), rule));
        self.rejected_amount += Cents(row.cents().into());
        count(&mut self.removed, row.flags());
    }

    /// Counts what a row that leaves breaks together with others.
    pub(super) fn count_found(&mut self, bits: i32) {
        if bits != 0 {
            count(&mut self.found, bits);
        }
    }
}

fn count(counts: &mut [u64; Rule::FLAGS.len()], bits: i32) {
    for (count, rule) in counts.iter_mut().zip(Rule::FLAGS) {
        *count += u64::from(bits & rule.mask() != 0);
    }
}

/// Whether an amount cancels another one. Most keys come twice or a few times.
fn cancel(cents: &[i64]) -> bool {
    let mut sorted = cents.to_vec();
    sorted.sort_unstable();
    sorted.iter().take_while(|&&cents| cents < 0).any(|cents| sorted.binary_search(&-cents).is_ok())
}

/// A row's key and its place.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) token: u128,
    pub(super) line: i16,
    /// What the row breaks together with others of its claim, as bits of `dq_flags`.
    pub(super) found: i32,
    pub(super) start: usize,
}

impl Entry {
    pub(super) fn same_claim(&self, other: &Self) -> bool {
        self.token == other.token
    }

    fn same_key(&self, other: &Self) -> bool {
        self.token == other.token && self.line == other.line
    }
}

/// The rows of some claims.
pub(super) struct Claims<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) policy: OnDuplicate,
    pub(super) masks: Masks,
    pub(super) resolved: &'a mut Resolved,
}

impl Claims<'_> {
    fn row(&self, entry: &Entry) -> Row<'_> {
        Row::at(self.bytes, entry.start)
    }

    /// The rows that leave, of `entries` in the order of their keys.
    pub(super) fn resolve(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let mut kept = Vec::with_capacity(entries.len());
        for claim in entries.chunk_by_mut(Entry::same_claim) {
            match claim {
                [only] => kept.push(*only),
                rows => self.claim(rows, &mut kept),
            }
        }
        kept
    }

    /// The rows of one claim: first its patient, which all rows must agree on, then the
    /// repeats, then the lines that remain.
    fn claim(&mut self, rows: &mut [Entry], kept: &mut Vec<Entry>) {
        let patient = self.row(&rows[0]).patient();
        let two_patients = rows.iter().any(|entry| self.row(entry).patient() != patient);
        let mut found = if two_patients { Rule::ClaimWithTwoPatients.mask() } else { 0 };
        if found & self.masks.reject != 0 {
            for entry in rows {
                let row = Row::at(self.bytes, entry.start);
                self.resolved.reject(row, Rule::ClaimWithTwoPatients);
            }
            return;
        }
        let first = kept.len();
        for line in rows.chunk_by_mut(Entry::same_key) {
            kept.extend(self.line(line));
        }
        let lines = &mut kept[first..];
        if self.one_amount(lines) {
            found |= Rule::AmountSameOnAllLines.mask();
        }
        for line in lines {
            line.found = found & self.masks.on;
        }
    }

    /// One row of a key, or none.
    fn line(&mut self, rows: &mut [Entry]) -> Option<Entry> {
        if let [only] = rows {
            return Some(*only);
        }
        let (bytes, policy) = (self.bytes, self.policy);
        let row = |entry: &Entry| Row::at(bytes, entry.start);
        rows.sort_unstable_by_key(|entry| row(entry).origin());
        if policy == OnDuplicate::Last {
            rows.reverse();
        }
        // The first one counts. Under `reject` a key whose rows differ has none that counts.
        let kept = row(&rows[0]);
        let differs = |entry: &Entry| row(entry).content_bytes() != kept.content_bytes();
        if policy == OnDuplicate::Reject && rows.iter().any(differs) {
            for entry in rows {
                self.resolved.reject(row(entry), Rule::DuplicateConflict);
            }
            return None;
        }
        for entry in &rows[1..] {
            self.resolved.drop_repeat(row(entry), kept);
        }
        let cents: Vec<i64> = rows.iter().map(|entry| row(entry).cents()).collect();
        if cancel(&cents) {
            self.resolved.reversal(&cents);
        }
        Some(rows[0])
    }

    /// Whether there are several lines, all with the same amount, which is not zero.
    fn one_amount(&self, lines: &[Entry]) -> bool {
        let [first, _, ..] = lines else { return false };
        let cents = self.row(first).cents();
        cents != 0 && lines.iter().all(|line| self.row(line).cents() == cents)
    }
}
