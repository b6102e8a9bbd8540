//! Procedure codes: recognises code systems and extracts HCPCS codes.
//!
//! A well-formed code need not exist; code lists are licensed and change every year.

use std::borrow::Cow;

use polars::prelude::{DataType, Expr, IntoSeries, StringChunked, StringChunkedBuilder, col};

use super::expression::of_text;
use crate::rule::CodeSystem;
use crate::transform::column_access::all_texts;

/// Length of a CPT or HCPCS code.
const HCPCS_BYTES: usize = 5;

/// CPT (`99213`, `0001F`, `0001T`, `0001U`, `0001M`) or HCPCS Level II (`J1100`, `D0120`).
pub(crate) fn is_hcpcs(code: &str) -> bool {
    match code.as_bytes() {
        [first, rest @ .., last] if rest.len() == HCPCS_BYTES - 2 => {
            rest.iter().all(u8::is_ascii_digit)
                && match first {
                    b'0'..=b'9' => matches!(last, b'0'..=b'9' | b'F' | b'T' | b'U' | b'M'),
                    b'A'..=b'V' => last.is_ascii_digit(),
                    _ => false,
                }
        }
        _ => false,
    }
}

/// The HCPCS code in a text that is not already one: lower case, prefixed with `CPT` or `HCPCS`, or
/// followed by two-character modifiers (`99213-25`, `99213:25:59`). `None` if there is none.
pub(crate) fn hcpcs_within(text: &str) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    let bare = ["CPT", "HCPCS"].iter().find_map(|prefix| upper.strip_prefix(prefix));
    let bare = bare.map_or(upper.as_str(), |rest| rest.trim_start_matches([' ', ':', '-', '#']));
    let code = bare.get(..HCPCS_BYTES).filter(|code| is_hcpcs(code))?;
    let mut modifiers = bare[HCPCS_BYTES..].split(['-', ':', ',', ' ']);
    // Text between the code and the first separator.
    let nothing = modifiers.next().is_none_or(str::is_empty);
    let modifier = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    (nothing && modifiers.all(modifier)).then(|| code.to_owned())
}

/// ICD-9-CM procedure: `45`, `45.1`, `45.13`, `4513`.
fn is_icd9(code: &str) -> bool {
    let Some((chapter, rest)) = code.as_bytes().split_first_chunk::<2>() else { return false };
    let after_point = rest.strip_prefix(b".");
    let detail = after_point.unwrap_or(rest);
    chapter.iter().chain(detail).all(u8::is_ascii_digit)
        && detail.len() <= 2
        && !(after_point.is_some() && detail.is_empty())
}

/// ICD-10-PCS: seven digits or letters other than I and O.
fn is_icd10pcs(code: &str) -> bool {
    let of_the_system = |byte: &u8| {
        byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'O'))
    };
    code.len() == 7 && code.as_bytes().iter().all(of_the_system)
}

/// SNOMED CT: 6 to 18 digits.
fn is_snomed(code: &str) -> bool {
    (6..=18).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a code matches the format of its system.
#[must_use]
pub(crate) fn belongs(code: &str, system: CodeSystem) -> bool {
    match system {
        CodeSystem::Any => true,
        CodeSystem::Hcpcs => is_hcpcs(code),
        CodeSystem::Icd9 => is_icd9(code),
        CodeSystem::Icd10pcs => is_icd10pcs(code),
        CodeSystem::Snomed => is_snomed(code),
    }
}

/// Extracts a column's HCPCS codes; other texts are unchanged.
pub(crate) fn bare(column: &str) -> Expr {
    of_text("bare_code", col(column), DataType::String, |text| Ok(bared(text).into_series()))
}

fn bared(text: &StringChunked) -> StringChunked {
    if all_texts(text, is_hcpcs) {
        return text.clone();
    }
    let mut builder = StringChunkedBuilder::new(text.name().clone(), text.len());
    for code in text.iter() {
        let bare = code.map(|code| match hcpcs_within(code) {
            Some(bare) if !is_hcpcs(code) => Cow::Owned(bare),
            _ => Cow::Borrowed(code),
        });
        builder.append_option(bare);
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use polars::prelude::NewChunkedArray;

    use super::*;

    #[test]
    fn codes_of_each_system() {
        use CodeSystem::{Any, Hcpcs, Icd9, Icd10pcs, Snomed};
        for (system, good, bad) in [
            (Any, vec!["", "x y"], vec![]),
            (
                Hcpcs,
                vec!["99213", "0010F", "0042T", "0001U", "0015M", "J1100", "A0425", "V2020"],
                vec![
                    "",
                    "9921",
                    "992133",
                    "9921X",
                    "0010f",
                    "W1234",
                    "Z9999",
                    "J110F",
                    "JJ100",
                    "99213-25",
                    "\u{661}9921",
                    "9 213",
                    "9921\u{661}",
                ],
            ),
            (
                Icd9,
                vec!["45", "45.1", "45.13", "4513", "451"],
                vec!["", "4", "45.", "45.131", "45131", "4a", "45.1a", "4.51", "45..1"],
            ),
            (
                Icd10pcs,
                vec!["0DTJ4ZZ", "2W0UX0Z", "0000000"],
                vec!["", "0DTJ4Z", "0DTJ4ZZZ", "0DTI4ZZ", "0DTO4ZZ", "0dtj4zz"],
            ),
            (
                Snomed,
                vec!["430193", "430193006", "123456789012345678"],
                vec!["", "43019", "1234567890123456789", "43019300a"],
            ),
        ] {
            for code in good {
                assert!(belongs(code, system), "{system:?} {code}");
            }
            for code in bad {
                assert!(!belongs(code, system), "{system:?} {code}");
            }
        }
    }

    #[test]
    fn wrapping_is_taken_off_and_nothing_else() {
        for (text, code) in [
            ("CPT43779", "43779"),
            ("cpt 99213", "99213"),
            ("CPT:99213-25", "99213"),
            ("HCPCS J1100", "J1100"),
            ("99213-25", "99213"),
            ("99213:25:59", "99213"),
            ("99213,25 LT", "99213"),
            ("j1100", "J1100"),
            ("0010f", "0010F"),
        ] {
            assert_eq!(hcpcs_within(text).as_deref(), Some(code), "{text}");
        }
        for text in [
            "",
            "CPT",
            "9921",
            "992133",
            "9921325",
            "99213-",
            "99213--25",
            "99213-2",
            "99213-255",
            "99213/25",
            "X99213",
            "CPTCPT99213",
            "99213 modifier",
            "9921\u{e9}",
            "\u{e9}99213",
        ] {
            assert_eq!(hcpcs_within(text), None, "{text}");
        }
    }

    #[test]
    fn a_column_keeps_what_holds_no_code() {
        let codes = [Some("99213"), None, Some("CPT99214-25"), Some("none")];
        let text = StringChunked::from_slice_options("code".into(), &codes);
        let bare = bared(&text);
        let bare: Vec<Option<&str>> = bare.iter().collect();
        assert_eq!(bare, [Some("99213"), None, Some("99214"), Some("none")]);
    }
}
