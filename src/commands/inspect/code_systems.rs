//! Guesses the code system of procedure codes.

use polars::prelude::StringChunked;
use serde::Serialize;

use crate::rule::CodeSystem;
use crate::transform::belongs;

/// Number of codes that match a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct SystemCount {
    /// `hcpcs`, `icd9`, `icd10pcs` or `snomed`.
    pub(crate) system: &'static str,
    /// Matching codes.
    pub(crate) rows: u64,
}

const SYSTEMS: [(&str, CodeSystem); 4] = [
    ("hcpcs", CodeSystem::Hcpcs),
    ("icd9", CodeSystem::Icd9),
    ("icd10pcs", CodeSystem::Icd10pcs),
    ("snomed", CodeSystem::Snomed),
];

/// Codes counted by matching system; a code can match several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CodeSystems {
    codes: u64,
    of: [u64; SYSTEMS.len()],
}

impl CodeSystems {
    pub(crate) fn observe(&mut self, codes: &StringChunked) {
        for code in codes.iter().flatten().map(str::trim).filter(|code| !code.is_empty()) {
            self.codes += 1;
            for (count, (_, system)) in self.of.iter_mut().zip(SYSTEMS) {
                *count += u64::from(belongs(code, system));
            }
        }
    }

    /// Adds another thread's counts.
    pub(crate) fn merge(&mut self, other: Self) {
        self.codes += other.codes;
        for (count, more) in self.of.iter_mut().zip(other.of) {
            *count += more;
        }
    }

    /// Total number of codes.
    pub(crate) fn codes(&self) -> u64 {
        self.codes
    }

    /// Matching systems, most frequent first.
    pub(crate) fn counts(&self) -> Vec<SystemCount> {
        let counts = SYSTEMS.iter().zip(self.of);
        let mut counts: Vec<SystemCount> = counts
            .filter(|(_, rows)| *rows > 0)
            .map(|((system, _), rows)| SystemCount { system, rows })
            .collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.rows));
        counts
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::NewChunkedArray;

    use super::*;

    #[test]
    fn codes_look_like_systems() {
        for (code, expected) in [
            ("99213", "hcpcs"),
            ("0001F", "hcpcs"),
            ("J1100", "hcpcs"),
            ("4513", "icd9"),
            ("45.13", "icd9"),
            ("45", "icd9"),
            ("0DTJ4ZZ", "icd10pcs"),
            ("185345009", "snomed"),
            ("45.", ""),
            ("99213-25", ""),
            ("W1234", ""),
            ("", ""),
        ] {
            let mut systems = CodeSystems::default();
            systems.observe(&StringChunked::from_slice("x".into(), &[code]));
            let counts = systems.counts();
            let found = counts.first().map_or("", |count| count.system);
            assert_eq!(
                (found, counts.len()),
                (expected, usize::from(!expected.is_empty())),
                "{code}"
            );
        }
    }
}
