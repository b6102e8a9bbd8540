//! Column names of a source: comparison, display and quoting.

use std::fmt::Write as _;

use unicode_normalization::UnicodeNormalization;

use crate::identifier::is_invisible;

/// Maximum length of a displayed name, in characters.
const MAX_SHOWN: usize = 60;
/// Maximum number of names listed.
const MAX_LISTED: usize = 6;
/// A name with a longer run of digits is treated as an identifier.
const DIGITS_IN_A_NAME: usize = 4;
/// Shown instead of a name that may be a value.
pub(super) const WITHHELD: &str = "(not shown)";

/// Whether two names are equal, ignoring case, surrounding white space, the amount of white space
/// between words (including line breaks), Unicode composition and invisible characters.
pub(super) fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim(), other.trim());
    one.eq_ignore_ascii_case(other)
        || (!(is_plain(one) && is_plain(other)) && canonical(one) == canonical(other))
}

/// Whether the name can differ only by case.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| matches!(byte, b' '..=b'~')) && !name.contains("  ")
}

fn canonical(name: &str) -> String {
    let seen: String = name.nfc().filter(|c| !is_invisible(*c)).collect();
    seen.to_lowercase().split_whitespace().collect::<Vec<&str>>().join(" ")
}

/// Whether a name may be a value: it has no letter, or a long run of digits.
pub(super) fn may_be_a_value(name: &str) -> bool {
    let mut run = 0;
    let long_run = name.chars().any(|c| {
        run = if c.is_numeric() { run + 1 } else { 0 };
        run > DIGITS_IN_A_NAME
    });
    !name.is_empty() && (long_run || name.contains('@') || !name.chars().any(char::is_alphabetic))
}

/// The name on one line, truncated; withheld if it may be a value.
pub(super) fn shown(name: &str) -> String {
    if may_be_a_value(name) {
        return WITHHELD.to_owned();
    }
    let visible: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    let line = visible.split_whitespace().collect::<Vec<&str>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.chars().count() <= MAX_SHOWN {
        return line;
    }
    line.chars().take(MAX_SHOWN - 1).chain(['…']).collect()
}

/// The name for a file or report; withheld if it may be a value.
pub(super) fn handed_on(name: &str) -> String {
    if may_be_a_value(name) { WITHHELD.to_owned() } else { name.to_owned() }
}

/// Message with the number of ignored columns and the first few names; `None` when there are none.
#[must_use]
pub(crate) fn not_loaded(names: &[String]) -> Option<String> {
    let first: Vec<String> = names.iter().take(MAX_LISTED).map(|name| shown(name)).collect();
    let columns = if names.len() == 1 { "column is" } else { "columns are" };
    let more = if names.len() > first.len() { ", …" } else { "" };
    let (count, first) = (names.len(), first.join(", "));
    (count > 0).then(|| format!("{count} {columns} not loaded: {first}{more}"))
}

/// Letters and digits in lower case.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Splits a name into words at punctuation and at lower-to-upper case changes.
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

/// The text as a TOML basic string.
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
        assert_eq!(shown(&"x".repeat(80)).chars().count(), MAX_SHOWN);
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
