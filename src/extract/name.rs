//! A column's name as a source spells it: how names are compared, and how one is shown and written.

use std::fmt::Write as _;

use unicode_normalization::UnicodeNormalization;

use crate::identifier::is_invisible;

/// Characters of a name that are shown.
const SHOWN: usize = 60;
/// Names that are listed where there may be hundreds.
const FEW: usize = 6;
/// A name with a longer run of digits is taken for an identifier.
const DIGITS_IN_A_NAME: usize = 4;
/// What is shown in the place of a name that may be a value.
pub(super) const WITHHELD: &str = "(not shown)";

/// Whether two names are the same: without regard to case, to white space around them and how much
/// of it is between words (a line break in a cell is one), to how accents are composed, and to
/// characters that nobody sees.
pub(super) fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim(), other.trim());
    one.eq_ignore_ascii_case(other)
        || (!(is_plain(one) && is_plain(other)) && canonical(one) == canonical(other))
}

/// Whether nothing about a name's spelling but its case can differ.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !name.contains("  ")
}

fn canonical(name: &str) -> String {
    let seen: String = name.nfc().filter(|c| !is_invisible(*c)).collect();
    seen.to_lowercase().split_whitespace().collect::<Vec<&str>>().join(" ")
}

/// Whether a name may be a value: no letter, or so many digits in a row as a name does not have.
pub(super) fn may_be_a_value(name: &str) -> bool {
    let mut run = 0;
    let long_run = name.chars().any(|c| {
        run = if c.is_numeric() { run + 1 } else { 0 };
        run > DIGITS_IN_A_NAME
    });
    !name.is_empty() && (long_run || name.contains('@') || !name.chars().any(char::is_alphabetic))
}

/// A name on one line, cut where it is long; one that may be a value is withheld.
pub(super) fn shown(name: &str) -> String {
    if may_be_a_value(name) {
        return WITHHELD.to_owned();
    }
    let visible: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    let line = visible.split_whitespace().collect::<Vec<&str>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.chars().count() <= SHOWN {
        return line;
    }
    line.chars().take(SHOWN - 1).chain(['…']).collect()
}

/// A name in a file or a report; one that may be a value is withheld.
pub(super) fn handed_on(name: &str) -> String {
    if may_be_a_value(name) { WITHHELD.to_owned() } else { name.to_owned() }
}

/// How many columns are not loaded, and the first of them; none where there are none.
#[must_use]
pub(crate) fn not_loaded(names: &[String]) -> Option<String> {
    let first: Vec<String> = names.iter().take(FEW).map(|name| shown(name)).collect();
    let columns = if names.len() == 1 { "column is" } else { "columns are" };
    let more = if names.len() > first.len() { ", …" } else { "" };
    let (count, first) = (names.len(), first.join(", "));
    (count > 0).then(|| format!("{count} {columns} not loaded: {first}{more}"))
}

/// Letters and digits in lower case.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The words of a name: split at other signs, and where a small letter meets a capital one.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (was_small && c.is_uppercase()) {
            words.push(String::new());
        }
        was_small = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A text as a basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_people_read_them() {
        for (one, other) in [
            ("Claim_ID", "claim_id"),
            (" Amount ($) ", "amount ($)"),
            ("Patient\r\nID", "patient id"),
            ("Patient\u{a0} ID", "Patient\nID"),
            ("Assure\u{301}", "assur\u{e9}"),
            ("ASSUR\u{c9}", "assure\u{301}"),
            ("\u{feff}claim\u{200b}_id", "claim_id"),
            ("Montant (\u{20ac})", "montant (\u{20ac})"),
        ] {
            assert!(same(one, other) && same(other, one), "{one:?} {other:?}");
        }
        for (one, other) in [("a b", "ab"), ("assur\u{e9}", "assure"), ("a", ""), ("a  b", "a c")] {
            assert!(!same(one, other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_may_be_a_value_is_not_shown() {
        for name in ["CLM000123", "2024-01-31", "12.50", "jane@example.org", "123-45-6789", "(€)"]
        {
            assert_eq!(shown(name), WITHHELD, "{name}");
        }
        for (name, line) in [
            ("Patient\n ID", "Patient ID"),
            ("ICD9_PRCDR_CD_1", "ICD9_PRCDR_CD_1"),
            ("2024 amount", "2024 amount"),
            ("Amount ($)", "Amount ($)"),
            ("a\u{200b}\u{7}b", "ab"),
            ("", ""),
        ] {
            assert_eq!(shown(name), line);
        }
        assert_eq!(shown(&"x".repeat(80)).chars().count(), SHOWN);
    }

    #[test]
    fn of_many_names_there_are_a_few() {
        let names = |count: usize| vec!["name".to_owned(); count];
        assert_eq!(not_loaded(&names(0)), None);
        assert_eq!(not_loaded(&names(1)).as_deref(), Some("1 column is not loaded: name"));
        let many = not_loaded(&names(329)).expect("some");
        assert_eq!(many, "329 columns are not loaded: name, name, name, name, name, name, …");
    }

    #[test]
    fn a_name_is_written_as_toml_reads_it() {
        for (name, written) in [
            ("a", "\"a\""),
            ("Patient\r\nID", "\"Patient\\r\\nID\""),
            ("the \"CPT\" \\ code", "\"the \\\"CPT\\\" \\\\ code\""),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{feff}a\u{1}", "\"\\uFEFFa\\u0001\""),
        ] {
            assert_eq!(quoted(name), written);
        }
    }
}
