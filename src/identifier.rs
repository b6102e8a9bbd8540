//! Identifiers and codes: their canonical form for comparing, joining and hashing, and detection of
//! export damage.
//!
//! The canonical form removes, in this order: invisible characters, surrounding white space,
//! spreadsheet text markers (`="00456"`, `'00456`, enclosing quotes), and the `.0` of a number from
//! a floating-point column; the rest is normalised to Unicode NFC. Case and leading zeros are
//! significant. `docs/keys.md` describes it for people who create tokens elsewhere.

use std::borrow::Cow;
use std::ops::BitOrAssign;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Kind of an identifier; controls removal of `.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Claim, patient or provider id.
    Id,
    /// Procedure code. `38.00` and `250.0` are valid codes, so `.0` is removed only after four or
    /// more digits.
    Code,
}

/// Bit set of the damage found in an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damage(u8);

impl Kind {
    /// The kind of a column of [`crate::schema::IDENTIFIERS`].
    #[must_use]
    pub(crate) fn of(column: &str) -> Self {
        if column == "procedure_code" { Self::Code } else { Self::Id }
    }
}

impl Damage {
    pub(crate) const NONE: Self = Self(0);
    /// Spreadsheet text markers, which are removed.
    pub(crate) const WRAPPED: Self = Self(1);
    /// A decimal point followed by zeros, which are removed.
    pub const DECIMAL: Self = Self(1 << 1);
    /// Invisible characters or unusual white space, which are removed.
    pub const INVISIBLE: Self = Self(1 << 2);
    /// Scientific notation with lost digits; the original is unrecoverable.
    pub const SCIENTIFIC: Self = Self(1 << 3);

    /// Whether it includes any of `other`.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits as an integer, for storage in a column.
    #[must_use]
    pub(crate) fn bits(self) -> i32 {
        self.0.into()
    }

    /// Inverse of [`Self::bits`].
    #[must_use]
    pub(crate) fn from_bits(bits: i32) -> Self {
        u8::try_from(bits).map_or(Self::NONE, Self)
    }
}

impl BitOrAssign for Damage {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// An identifier in canonical form, and the damage found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined<'a> {
    /// Canonical form; may be empty.
    pub text: Cow<'a, str>,
    /// Deviations from the canonical form, other than surrounding plain spaces.
    pub damage: Damage,
}

/// Largest integer up to which all integers are exact in a floating-point column.
const EXACT: u64 = 1 << 53;

/// Canonical form of an identifier; may be empty.
#[must_use]
pub(crate) fn canonical(identifier: &str) -> Cow<'_, str> {
    examine(identifier, Kind::Id).text
}

/// Converts a text to canonical form and reports its damage.
#[must_use]
pub fn examine(text: &str, kind: Kind) -> Examined<'_> {
    let mut damage = Damage::NONE;
    let mut text = bared(text, &mut damage);
    if let Some(digits) = before_zeros(&text, kind) {
        let number = text[..digits].trim_start_matches('0');
        if number.is_empty() || number.parse().is_ok_and(|number: u64| number <= EXACT) {
            damage |= Damage::DECIMAL;
            text = match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..digits]),
                Cow::Owned(text) => Cow::Owned(text[..digits].to_owned()),
            };
        } else {
            damage |= Damage::SCIENTIFIC;
        }
    } else if is_scientific(&text) {
        damage |= Damage::SCIENTIFIC;
    }
    Examined { text, damage }
}

/// Strips invisible characters, surrounding white space and spreadsheet text markers from a value
/// that is not an identifier (amount, date, line number).
#[must_use]
pub(crate) fn bare(value: &str) -> Cow<'_, str> {
    bared(value, &mut Damage::default())
}

/// Trims white space and normalises to NFC, for display text.
#[must_use]
pub(crate) fn trimmed(text: &str) -> Cow<'_, str> {
    composed(text.trim())
}

/// Fast check whether a text is in canonical form and undamaged. False only means that it must be
/// examined.
#[inline]
#[must_use]
pub(crate) fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !first.is_ascii_graphic()
        || matches!(first, b'=' | b'"' | b'\'')
        || !last.is_ascii_graphic()
        || !text.is_ascii()
    {
        return false;
    }
    // A number with a decimal point, or with a sign and at most three digits as exponent.
    let number = (first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.' | b','))
        && last.is_ascii_digit();
    let exponent = &bytes[bytes.len().saturating_sub(5)..];
    !(number && (exponent.iter().any(|byte| matches!(byte, b'e' | b'E')) || bytes.contains(&b'.')))
}

/// Length of the digits before a decimal point followed only by zeros, else `None`.
fn before_zeros(text: &str, kind: Kind) -> Option<usize> {
    let (digits, zeros) = text.split_once('.')?;
    let least = match kind {
        Kind::Id => 1,
        Kind::Code => 4,
    };
    let fits = digits.len() >= least && are_digits(digits) && !zeros.is_empty();
    (fits && zeros.bytes().all(|byte| byte == b'0')).then_some(digits.len())
}

/// Whether a text is in scientific notation: digits, `E` and one to three digits, with a decimal
/// point (or comma) or a sign. Without either, only a single digit before the `E` and an exponent
/// that does not begin with 0 qualify: `1e5` is a number, `100571169204E347` and the ICD-10 code
/// `3E03317` are not.
fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return false };
    let mantissa = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let unsigned = exponent.strip_prefix(['+', '-']);
    let power = unsigned.unwrap_or(exponent);
    let (whole, fraction) = mantissa
        .split_once(['.', ','])
        .map_or((mantissa, None), |(whole, fraction)| (whole, Some(fraction)));
    let some_digits = !whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    let is_number = some_digits && are_digits(whole) && are_digits(fraction.unwrap_or_default());
    is_number
        && (1..=3).contains(&power.len())
        && are_digits(power)
        && (fraction.is_some() || unsigned.is_some() || whole.len() == 1 && !power.starts_with('0'))
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Removes invisible characters, white space and text markers; normalises to NFC.
fn bared<'a>(text: &'a str, damage: &mut Damage) -> Cow<'a, str> {
    if text.is_ascii() {
        return Cow::Borrowed(unwrapped(text.trim(), damage));
    }
    if !text.chars().any(|sign| is_invisible(sign) || is_odd_blank(sign)) {
        return composed(unwrapped(text.trim(), damage));
    }
    *damage |= Damage::INVISIBLE;
    let visible: String = text
        .chars()
        .filter(|&sign| !is_invisible(sign))
        .map(|sign| if is_odd_blank(sign) { ' ' } else { sign })
        .collect();
    Cow::Owned(composed(unwrapped(visible.trim(), damage)).into_owned())
}

/// Normalises to NFC.
fn composed(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// Removes spreadsheet text markers and white space inside them.
fn unwrapped<'a>(mut text: &'a str, damage: &mut Damage) -> &'a str {
    while let Some(inner) = within_markers(text) {
        *damage |= Damage::WRAPPED;
        text = inner.trim();
    }
    text
}

/// The text inside `="…"`, `"…"`, `'…'` or after a single `'`.
fn within_markers(text: &str) -> Option<&str> {
    let formula = text.strip_prefix('=').unwrap_or(text);
    if let Some(rest) = formula.strip_prefix('"') {
        return rest.strip_suffix('"').filter(|inner| !inner.contains('"'));
    }
    let rest = text.strip_prefix('\'')?;
    Some(rest.strip_suffix('\'').unwrap_or(rest)).filter(|inner| !inner.contains('\''))
}

/// White space other than the plain space: no-break, ideographic, fixed-width.
fn is_odd_blank(sign: char) -> bool {
    !sign.is_ascii() && sign.is_whitespace() && !sign.is_control()
}

/// Whether a character is invisible: Unicode format characters (Cf) and other default-ignorable
/// code points, such as variation selectors and Hangul fillers.
pub(crate) fn is_invisible(sign: char) -> bool {
    let index = INVISIBLE.partition_point(|&(first, _)| first <= sign);
    index > 0 && sign <= INVISIBLE[index - 1].1
}

/// Ranges of invisible characters, Unicode 16.
const INVISIBLE: [(char, char); 25] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// A set of placeholder values.
#[derive(Debug, Clone)]
pub(crate) struct Placeholders {
    texts: Vec<String>,
    /// By first byte: one bit per length of a placeholder; the last bit for all longer ones.
    lengths: Box<[u64; 256]>,
}

impl Placeholders {
    pub(crate) fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let texts: Vec<String> = texts.into_iter().map(|text| text.trim().to_owned()).collect();
        let mut lengths = Box::new([0; 256]);
        for text in texts.iter().map(String::as_bytes) {
            for first in text
                .first()
                .into_iter()
                .flat_map(|b| [b.to_ascii_lowercase(), b.to_ascii_uppercase()])
            {
                lengths[usize::from(first)] |= length_bit(text);
            }
        }
        Self { texts, lengths }
    }

    /// Whether a text in canonical form is a placeholder, case-insensitive.
    #[inline]
    #[must_use]
    pub(crate) fn have(&self, text: &str) -> bool {
        // Nearly all ids differ in length or first byte.
        let first = text.as_bytes().first().map_or(0, |&first| self.lengths[usize::from(first)]);
        first & length_bit(text.as_bytes()) != 0
            && self.texts.iter().any(|placeholder| placeholder.eq_ignore_ascii_case(text))
    }
}

fn length_bit(text: &[u8]) -> u64 {
    1 << text.len().min(63)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> (String, Damage) {
        let Examined { text, damage } = examine(text, Kind::Id);
        (text.into_owned(), damage)
    }

    fn both(one: Damage, mut other: Damage) -> Damage {
        other |= one;
        other
    }

    #[test]
    fn what_exports_do_to_an_identifier_is_undone_and_named() {
        use Damage as D;
        for (text, expected, damage) in [
            ("00456", "00456", D::NONE),
            ("  00456\t", "00456", D::NONE),
            ("Vi\u{301}ctor", "V\u{ed}ctor", D::NONE),
            ("=\"00456\"", "00456", D::WRAPPED),
            (" =\" 00456 \" ", "00456", D::WRAPPED),
            ("\"00456\"", "00456", D::WRAPPED),
            ("'00456", "00456", D::WRAPPED),
            ("'00456'", "00456", D::WRAPPED),
            ("=\"\"", "", D::WRAPPED),
            ("5001.0", "5001", D::DECIMAL),
            ("00456.000", "00456", D::DECIMAL),
            ("0.0", "0", D::DECIMAL),
            ("9007199254740992.0", "9007199254740992", D::DECIMAL),
            ("=\"5001.0\"", "5001", both(D::WRAPPED, D::DECIMAL)),
            ("P00123\u{a0}", "P00123", D::INVISIBLE),
            ("P00123\u{3000}", "P00123", D::INVISIBLE),
            ("\u{200b}P00123", "P00123", D::INVISIBLE),
            ("\u{feff}P00123", "P00123", D::INVISIBLE),
            ("P00123\u{200e}", "P00123", D::INVISIBLE),
            ("P\u{ad}00123", "P00123", D::INVISIBLE),
            ("P00123\u{fe0f}", "P00123", D::INVISIBLE),
            ("P\u{a0}1", "P 1", D::INVISIBLE),
            ("\u{feff}=\"00456\"", "00456", both(D::INVISIBLE, D::WRAPPED)),
            ("\u{feff}\u{a0}", "", D::INVISIBLE),
            ("9.87E+11", "9.87E+11", D::SCIENTIFIC),
            ("9007199254740993.0", "9007199254740993.0", D::SCIENTIFIC),
            ("900000000000000000.00", "900000000000000000.00", D::SCIENTIFIC),
        ] {
            assert_eq!(id(text), (expected.to_owned(), damage), "{text:?}");
            assert_eq!(is_plain(text), text == expected && damage == D::NONE, "{text:?}");
        }
    }

    #[test]
    fn what_belongs_to_an_identifier_stays() {
        for text in [
            "p00123",
            "0123",
            "P-00123",
            "PRV\u{2011}01",
            "5001.10",
            "5001.",
            ".0",
            "-5001.0",
            "A5001.0",
            "5001.0.0",
            "=5001",
            "O'Brien",
            "a\"b",
            "\"a\"b\"",
            "{00016F74-5862-898F}",
            "P\u{ff10}1",
            "V\u{ed}ctor",
        ] {
            assert_eq!(id(text), (text.to_owned(), Damage::NONE), "{text:?}");
        }
    }

    #[test]
    fn a_number_in_scientific_form_is_told_from_an_id_with_an_e() {
        for text in [
            "9.87E+11",
            "9.87e+11",
            "9,87E+11",
            "9.87E11",
            "987.0E9",
            "1E+05",
            "1e-05",
            "1e5",
            "9E11",
            "-9.87E+11",
            "+1.0E10",
            "12E+10",
            ".5e3",
            "5.e3",
            "1E308",
        ] {
            assert!(id(text).1.has(Damage::SCIENTIFIC), "{text}");
            assert!(!is_plain(text), "{text}");
        }
        for text in [
            "100571169204E347",
            "00016F745862898E",
            "3E03317",
            "12E10",
            "1E05",
            "E5",
            "1E",
            "5E1234",
            "2023E-0045",
            "1E5A",
            "A1E5",
            "1e5e5",
            "1.2.3E4",
            "4E+A",
        ] {
            assert_eq!(id(text), (text.to_owned(), Damage::NONE), "{text}");
        }
    }

    #[test]
    fn a_code_with_a_point_is_no_damaged_number() {
        for (text, code) in [
            ("38.00", "38.00"),
            ("45.0", "45.0"),
            ("250.0", "250.0"),
            ("99213.0", "99213"),
            ("430193006.0", "430193006"),
            ("=\"99213\"", "99213"),
        ] {
            assert_eq!(examine(text, Kind::Code).text, code, "{text}");
        }
    }

    #[test]
    fn values_that_are_no_identifiers_lose_only_what_hides_around_them() {
        for (text, value) in [
            ("=\"125.00\"", "125.00"),
            ("\u{feff}2024-01-31\u{a0}", "2024-01-31"),
            ("5001.0", "5001.0"),
            ("(12.34)", "(12.34)"),
        ] {
            assert_eq!(bare(text), value, "{text}");
        }
        assert_eq!(trimmed("\u{a0}=\"x\" "), "=\"x\"");
    }

    #[test]
    fn invisible_characters_are_in_order_and_none_that_is_seen_is_among_them() {
        assert!(INVISIBLE.is_sorted_by(|one, other| one.1 < other.0));
        assert!(INVISIBLE.iter().all(|(first, last)| first <= last));
        for seen in (' '..='~').chain(['\u{e9}', '\u{301}', '\u{5d0}', '\u{2011}', '\u{4e2d}']) {
            assert!(!is_invisible(seen), "{seen:?}");
        }
    }

    #[test]
    fn placeholders_are_known_in_any_case() {
        let long = "x".repeat(70);
        let placeholders = Placeholders::new(["Unknown", " n/a ", "0", "-", &long]);
        for text in ["UNKNOWN", "unknown", "N/A", "n/a", "0", "-", &long.to_uppercase()] {
            assert!(placeholders.have(text), "{text}");
        }
        for text in ["", "unknow", "unknown1", "nnknown", "na", "00", "1", &"x".repeat(71)] {
            assert!(!placeholders.have(text), "{text}");
        }
        assert!(!Placeholders::new([]).have("UNKNOWN"));
    }

    fn near_an_id() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "0", "1", "42", ".", ".0", "e", "E+", "=", "\"", "'", " ", "\u{a0}", "\u{200b}",
            "\u{ad}", "A", "i\u{301}", "-", ",",
        ]);
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn canonical_is_final_and_the_quick_look_never_errs(text in near_an_id()) {
            for kind in [Kind::Id, Kind::Code] {
                let once = examine(&text, kind);
                let again = examine(&once.text, kind);
                prop_assert_eq!(&again.text, &once.text);
                prop_assert!(!again.damage.has(Damage::WRAPPED) && !again.damage.has(Damage::INVISIBLE));
                if is_plain(&text) {
                    prop_assert_eq!(once, Examined { text: Cow::Borrowed(&*text), damage: Damage::NONE });
                }
            }
        }
    }
}
