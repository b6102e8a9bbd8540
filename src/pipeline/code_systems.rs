//! Which code system procedure codes look like.
//!
//! A file of its own because it suggests a setting: what a code must look like is for the rules to
//! say.

use polars::prelude::StringChunked;
use serde::Serialize;

/// How many codes look like those of one system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SystemCount {
    /// `hcpcs`, `icd9`, `icd10pcs` or `snomed`.
    pub system: &'static str,
    /// Codes that look like it.
    pub rows: u64,
}

/// Whether a code looks like one of a system.
type Fits = fn(&[u8]) -> bool;

const SYSTEMS: [(&str, Fits); 4] =
    [("hcpcs", hcpcs), ("icd9", icd9), ("icd10pcs", icd10pcs), ("snomed", snomed)];

/// Codes counted by the systems that they look like; a code can look like several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CodeSystems {
    codes: u64,
    of: [u64; SYSTEMS.len()],
}

impl CodeSystems {
    /// Counts the codes of a block.
    pub(super) fn observe(&mut self, codes: &StringChunked) {
        for code in codes.iter().flatten().map(str::trim).filter(|code| !code.is_empty()) {
            self.codes += 1;
            for (count, (_, fits)) in self.of.iter_mut().zip(SYSTEMS) {
                *count += u64::from(fits(code.as_bytes()));
            }
        }
    }

    /// Adds what another thread has counted.
    pub(super) fn merge(&mut self, other: Self) {
        self.codes += other.codes;
        for (count, more) in self.of.iter_mut().zip(other.of) {
            *count += more;
        }
    }

    /// Codes seen.
    pub(super) fn codes(&self) -> u64 {
        self.codes
    }

    /// The systems that any code looks like, the most frequent first.
    pub(super) fn counts(&self) -> Vec<SystemCount> {
        let counts = SYSTEMS.iter().zip(self.of);
        let mut counts: Vec<SystemCount> = counts
            .filter(|(_, rows)| *rows > 0)
            .map(|((system, _), rows)| SystemCount { system, rows })
            .collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.rows));
        counts
    }
}

fn digits(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

/// `99213`, `0001F`, `J1100`
fn hcpcs(code: &[u8]) -> bool {
    let [first, middle @ .., last] = code else { return false };
    middle.len() == 3
        && digits(middle)
        && match first {
            b'0'..=b'9' => matches!(last, b'0'..=b'9' | b'F' | b'M' | b'T' | b'U'),
            b'A'..=b'V' => last.is_ascii_digit(),
            _ => false,
        }
}

/// `4513`, `45.13`
fn icd9(code: &[u8]) -> bool {
    let Some((chapter, rest)) = code.split_first_chunk::<2>() else { return false };
    let detail = rest.strip_prefix(b".").unwrap_or(rest);
    digits(chapter)
        && digits(detail)
        && detail.len() <= 2
        && detail.len() >= usize::from(rest != detail)
}

/// `0DTJ4ZZ`
fn icd10pcs(code: &[u8]) -> bool {
    let fits = |byte: &u8| {
        byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'O'))
    };
    code.len() == 7 && code.iter().all(fits)
}

/// `185345009`
fn snomed(code: &[u8]) -> bool {
    (6..=18).contains(&code.len()) && digits(code)
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
