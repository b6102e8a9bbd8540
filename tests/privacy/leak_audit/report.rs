//! What was searched and what was found.

use std::collections::BTreeMap;
use std::fmt;

use super::search::Hit;

/// Everything that is known of an audit.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// How often the program was run.
    pub(super) runs: u64,
    pub(super) places: BTreeMap<&'static str, Searched>,
    /// Identifiers in places that may hold none.
    pub(super) findings: Vec<Finding>,
    /// Runs with another exit code than expected: what they would have shown is not known.
    pub(super) unexpected: Vec<String>,
    /// What could not be tried on this machine.
    not_tried: Vec<String>,
}

/// How much of a place was searched.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Searched {
    /// Files, tables or streams.
    pub(super) items: u64,
    pub(super) bytes: u64,
    /// Identifiers in it.
    pub(super) found: u64,
}

/// An identifier that got out.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) place: &'static str,
    /// The file, the table and its column, or the run whose output it is.
    pub(super) at: String,
    /// What it identifies.
    pub(super) kind: &'static str,
    pub(super) spelling: String,
    /// The first byte of the first one.
    offset: u64,
    times: u64,
}

/// Places that may hold identifiers and do: the search works.
pub(super) const CONTROLS: [&str; 2] = ["inputs", "quarantine --source"];

impl Report {
    /// Adds what was searched.
    pub(super) fn searched(&mut self, place: &'static str, at: &str, bytes: u64, hits: &[Hit]) {
        let searched = self.places.entry(place).or_default();
        searched.items += 1;
        searched.bytes += bytes;
        searched.found += hits.iter().map(|hit| hit.times).sum::<u64>();
        if CONTROLS.contains(&place) {
            return;
        }
        for hit in hits {
            let (kind, spelling) = (hit.kind.name(), hit.form.clone());
            let same = self.findings.iter_mut().find(|known| {
                (known.place, known.at.as_str(), known.kind) == (place, at, kind)
                    && known.spelling == spelling
            });
            if let Some(same) = same {
                same.times += hit.times;
                continue;
            }
            let (offset, times, at) = (hit.offset, hit.times, at.to_owned());
            self.findings.push(Finding { place, at, kind, spelling, offset, times });
        }
    }

    pub(super) fn not_tried(&mut self, what: &str) {
        if !self.not_tried.iter().any(|known| known == what) {
            self.not_tried.push(what.to_owned());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs of the program", self.runs)?;
        for (place, Searched { items, bytes, found }) in &self.places {
            writeln!(f, "{place}: {items} items, {bytes} bytes, {found} identifiers")?;
        }
        for Finding { place, at, kind, spelling, offset, times } in &self.findings {
            writeln!(
                f,
                "FOUND in {place}: {kind} as {spelling}, {times} times, first at byte {offset}: {at}"
            )?;
        }
        let unexpected = self.unexpected.iter().map(|what| ("unexpected", what));
        for (head, what) in unexpected.chain(self.not_tried.iter().map(|what| ("not tried", what)))
        {
            writeln!(f, "{head}: {what}")?;
        }
        Ok(())
    }
}
