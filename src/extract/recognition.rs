//! Decides whether a record is a header, by its known names, and which names may be shown.
//!
//! The first line of a file without a header may contain patient data. So its text appears in a
//! message only if it is known to be a header.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::name::{may_be_a_value, plain, same, shown, words};
use super::synonyms::{SYNONYMS, WORDS};
use crate::config::{Mapping, Pattern, Source, presets};
use crate::schema::Dataset;

/// Maximum number of names in a message.
const MAX_SHOWN_NAMES: usize = 40;

/// Classification of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Header: most names are known, or the format itself names columns.
    Names,
    /// Header with few known names: only those are shown.
    Partly,
    /// Not a header: nothing is shown.
    Data {
        /// Its line number.
        line: u64,
        /// The line that looks like the header.
        likely: Option<u64>,
    },
}

/// Counts the known names of a record and classifies it.
pub(super) fn classify(source: &Source, names: &[String], line: u64) -> (usize, Standing) {
    let known = names.iter().filter(|name| is_known(source, name)).count();
    let values = names.iter().filter(|name| may_be_a_value(name)).count();
    let filled = names.iter().filter(|name| !name.is_empty()).count();
    let standing = if known < 2 || known < 2 * values {
        Standing::Data { line, likely: None }
    } else if 2 * known > filled {
        Standing::Names
    } else if values == 0 {
        Standing::Partly
    } else {
        Standing::Data { line, likely: None }
    };
    (known, standing)
}

/// Names that may be shown and suggested.
pub(super) fn may_be_shown(standing: Standing, source: &Source, names: &[String]) -> Vec<String> {
    let may = |name: &&String| match standing {
        Standing::Names => !may_be_a_value(name),
        Standing::Partly => is_known(source, name),
        Standing::Data { .. } => false,
    };
    names.iter().filter(|name| !name.is_empty()).filter(may).cloned().collect()
}

/// `what`, followed by the names that may be shown.
pub(super) fn describe(
    standing: Standing,
    source: &Source,
    names: &[String],
    what: &str,
) -> String {
    let fields = match names.len() {
        1 => "1 field".to_owned(),
        fields => format!("{fields} fields"),
    };
    if let Standing::Data { line, likely } = standing {
        if let Some(likely) = likely {
            return format!("{what}; line {line} is no header; line {likely} looks like one");
        }
        let known = match names.iter().filter(|name| is_known(source, name)).count() {
            0 => "no known column names".to_owned(),
            1 => "only 1 known column name".to_owned(),
            known => format!("only {known} known column names"),
        };
        return format!("{what}; line {line} is no header ({fields}, {known})");
    }
    let may = may_be_shown(standing, source, names);
    let first: Vec<String> = may.iter().take(MAX_SHOWN_NAMES).map(|name| shown(name)).collect();
    let more = match names.len() - first.len() {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!("{what}; the header has: {}{more}", first.join(", "))
}

/// Whether a name is configured, in the contract, industry vocabulary or a preset, or consists only
/// of such words.
fn is_known(source: &Source, name: &str) -> bool {
    let configured = || source.columns.values().flat_map(patterns).flat_map(Pattern::names);
    let named = |wanted: &str| same(wanted, name);
    let vocabulary = &*VOCABULARY;
    vocabulary.names.contains(&plain(name))
        || configured().any(named)
        || source.filter.keys().any(|wanted| named(wanted))
        || is_of_words(vocabulary, name)
}

/// Whether a name consists of known words and small numbers.
fn is_of_words(vocabulary: &Vocabulary, name: &str) -> bool {
    let words = words(name);
    let is_number = |word: &String| word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit());
    words.iter().any(|word| !is_number(word))
        && words.iter().all(|word| is_number(word) || vocabulary.words.contains(word))
}

fn patterns(mapping: &Mapping) -> &[Pattern] {
    match mapping {
        Mapping::Is(pattern) => std::slice::from_ref(pattern),
        Mapping::FirstOf { patterns, .. } => patterns,
        Mapping::Constant(_) | Mapping::Absent => &[],
    }
}

/// Known column names.
struct Vocabulary {
    /// Full names, letters and digits only.
    names: BTreeSet<String>,
    words: BTreeSet<String>,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let mut all: Vec<String> = [Dataset::Claims, Dataset::Providers]
        .into_iter()
        .flat_map(Dataset::columns)
        .chain(SYNONYMS.iter().flat_map(|(_, names)| names.iter().copied()))
        .map(ToOwned::to_owned)
        .collect();
    for preset in presets() {
        for source in [&preset.settings.claims, &preset.settings.providers] {
            let columns = source.columns.values().flat_map(patterns).flat_map(Pattern::names);
            all.extend(columns.map(ToOwned::to_owned));
            all.extend(source.filter.keys().cloned());
        }
    }
    let words = all.iter().flat_map(|name| words(name));
    let words = words.chain(WORDS.split_whitespace().map(ToOwned::to_owned));
    let is_word = |word: &String| word.chars().any(char::is_alphabetic);
    Vocabulary {
        words: words.filter(is_word).collect(),
        names: all.iter().map(|name| plain(name)).collect(),
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Vec<String> {
        line.split('|').map(ToOwned::to_owned).collect()
    }

    fn standing(line: &str) -> Standing {
        classify(&Source::default(), &names(line), 1).1
    }

    #[test]
    fn a_header_is_known_by_its_names() {
        for header in [
            "claim_id|patient_id|provider_id|procedure_code|amount|date_of_service",
            "Claim ID|Patient\nID|Provider ID|Procedure \"CPT\" Code|Montant (\u{20ac})|Date of Service|Notes|Notes|",
            "CLM|PAT|AMT (1)",
            "Member Number|DOS|Amount ($)|CPT, HCPCS",
            "DESYNPUF_ID|CLM_ID|SEGMENT|CLM_FROM_DT|ICD9_PRCDR_CD_1|HCPCS_CD_45",
            "NPI|Provider Last Name (Legal Name)|Provider Business Practice Location Address Country Code (If outside U.S.)",
            "claim_id|patient_id|provider_id|amount|CLM000123|CLM000124",
        ] {
            assert_eq!(standing(header), Standing::Names, "{header}");
        }
        assert_eq!(standing("claim_id|member_id|kolor|kleur|farbe|culoare"), Standing::Partly);
    }

    #[test]
    fn no_line_of_a_person_is_a_header() {
        for line in [
            "Statement for Jane Doe MRN 1234",
            "Statement for Jane Doe|MRN 1234",
            "Patient: Jane Doe",
            "Patient|Jane Doe|DOB|01/02/1980",
            "MRN 1234|Jane Doe|99213|12.50|2024-01-01",
            "CLM-1|PAT-1|PRV-1|99213|12.50|2024-01-02",
            "CLM1|Jane|Doe|99213|12.50|2024-01-02",
            "claim|C0001234|10.00|2024-01-01",
            "",
            "amount",
        ] {
            assert!(matches!(standing(line), Standing::Data { .. }), "{line}");
            let shown = describe(standing(line), &Source::default(), &names(line), "no");
            assert!(!shown.contains("Doe") && !shown.contains("1234"), "{shown}");
        }
        // Half of it may be personal data: only known names are shown.
        let half = "Patient|Jane Doe|Provider|John Roe";
        assert_eq!(standing(half), Standing::Partly);
        let shown = describe(Standing::Partly, &Source::default(), &names(half), "no amount");
        assert_eq!(shown, "no amount; the header has: Patient, Provider and 2 more");
    }

    #[test]
    fn what_is_configured_is_known() {
        let mut source = Source::default();
        source.columns.insert("claim_id".into(), "Identifiant".into());
        source.columns.insert("patient_id".into(), "Assur\u{e9}".into());
        source.columns.insert("provider_id".into(), "M\u{e9}decin".into());
        let header = names("Identifiant|Assure\u{301}|Me\u{301}decin|Acte|Date");
        assert_eq!(classify(&source, &header, 1), (4, Standing::Names));
        let (known, standing) = classify(&Source::default(), &header, 3);
        assert_eq!((known, standing), (1, Standing::Data { line: 3, likely: None }));
        let text = describe(standing, &Source::default(), &header, "no column for amount");
        assert_eq!(
            text,
            "no column for amount; line 3 is no header (5 fields, only 1 known column name)"
        );
    }
}
