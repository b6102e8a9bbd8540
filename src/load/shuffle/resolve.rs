//! What the rows of one claim break together, and which of them leave.
//!
//! A file of its own because here rows are judged by their neighbours: the rows of a claim lie side
//! by side, whatever order they came in. Nothing is dropped or rejected without being counted.

use super::identities::Distinct;
use super::row::Row;
use crate::account::Cents;
use crate::config::OnDuplicate;
use crate::rule::{Rule, Severities, Severity};

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

/// What became of rows that came with others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Rows dropped because another row of the same key counts.
    pub duplicates: u64,
    /// Money of the dropped rows.
    pub duplicates_amount: Cents,
    /// Rows of a key with other content than the row that counts (or than each other).
    pub conflicts: u64,
    /// Rows rejected: their origins, and why.
    pub rejected: Vec<(i64, Rule)>,
    /// Money of the rejected rows.
    pub rejected_amount: Cents,
    /// Removed rows (dropped and rejected) by what the first pass has flagged them for, in the order
    /// of [`Rule::FLAGS`].
    pub removed: [u64; Rule::FLAGS.len()],
    /// Rows that leave, by what they break together with others, in the same order.
    pub found: [u64; Rule::FLAGS.len()],
    /// The claims of all rows.
    pub claims: Distinct,
}

impl Resolved {
    /// Adds what became of other rows.
    pub fn merge(&mut self, other: Self) {
        self.duplicates += other.duplicates;
        self.duplicates_amount += other.duplicates_amount;
        self.conflicts += other.conflicts;
        self.rejected.extend(other.rejected);
        self.rejected_amount += other.rejected_amount;
        self.claims.merge(other.claims);
        let counts = self.removed.iter_mut().chain(&mut self.found);
        for (count, more) in counts.zip(other.removed.into_iter().chain(other.found)) {
            *count += more;
        }
    }

    fn duplicate(&mut self, row: Row<'_>) {
        self.duplicates += 1;
        self.duplicates_amount += Cents(row.cents().into());
        count(&mut self.removed, row.flags());
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

    /// The rows of one claim: first its patient, about which all of them have a say, then the
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
        let content = row(&rows[0]).content();
        let conflicts = rows.iter().filter(|entry| row(entry).content() != content).count();
        self.resolved.conflicts += conflicts as u64;
        if policy == OnDuplicate::Reject && conflicts > 0 {
            for entry in rows {
                self.resolved.reject(row(entry), Rule::DuplicateConflict);
            }
            return None;
        }
        for entry in &rows[1..] {
            self.resolved.duplicate(row(entry));
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
