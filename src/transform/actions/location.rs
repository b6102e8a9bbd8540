//! Generalises locations to the state, or to the first three digits of the ZIP code.
//!
//! Parses from the end, word by word. Unrecognised text is never released: the result is null or
//! has one of a few fixed forms.

use std::collections::BTreeSet;
use std::sync::Arc;

use polars::prelude::{DataType, Expr, IntoSeries, StringChunked, StringChunkedBuilder, col};

use crate::privacy::zip3::OTHER_ZIP3;
use crate::transform::expression::of_text;

/// Codes of the US Postal Service: states, district, territories, associated states, military.
const STATES: [&str; 62] = [
    "AA", "AE", "AK", "AL", "AP", "AR", "AS", "AZ", "CA", "CO", "CT", "DC", "DE", "FL", "FM", "GA",
    "GU", "HI", "IA", "ID", "IL", "IN", "KS", "KY", "LA", "MA", "MD", "ME", "MH", "MI", "MN", "MO",
    "MP", "MS", "MT", "NC", "ND", "NE", "NH", "NJ", "NM", "NV", "NY", "OH", "OK", "OR", "PA", "PR",
    "PW", "RI", "SC", "SD", "TN", "TX", "UT", "VA", "VI", "VT", "WA", "WI", "WV", "WY",
];
/// Prefix of a two-digit state code of the Social Security Administration.
const SSA_STATE: &str = "SSA-STATE-";
/// Country names at the end of a location.
const COUNTRY: [&str; 3] = ["USA", "US", "U.S.A."];

/// Recognised parts of a location.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct ParsedLocation {
    /// State code.
    state: Option<String>,
    zip: Option<Zip>,
}

/// The last word of a location, if it is a number or looks like a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zip {
    /// The first three of five digits.
    Prefix([u8; 3]),
    /// Neither five nor nine digits, nor a damaged form of them.
    Damaged,
}

/// The state of each location: two letters, or decoded from `SSA-STATE-39`; null if not recognised.
pub(super) fn state(column: &str) -> Expr {
    of_text("state", col(column), DataType::String, |texts| {
        Ok(each(texts, |location, text| {
            let state = parse(location).state;
            state.is_some_and(|state| {
                text.push_str(&state);
                true
            })
        })
        .into_series())
    })
}

/// The first three digits of each location's ZIP code, or `000` if restricted or damaged; null
/// without a ZIP code.
pub(super) fn zip3(column: &str, restricted: &Arc<BTreeSet<String>>) -> Expr {
    let restricted = Arc::clone(restricted);
    of_text("zip3", col(column), DataType::String, move |texts| {
        Ok(each(texts, |location, text| {
            let Some(zip) = parse(location).zip else { return false };
            text.push_str(OTHER_ZIP3);
            if let Zip::Prefix(digits) = zip {
                let prefix: String = digits.into_iter().map(char::from).collect();
                if !restricted.contains(&prefix) {
                    *text = prefix;
                }
            }
            true
        })
        .into_series())
    })
}

/// Maps each text to a column; null if `write` returns false.
fn each(texts: &StringChunked, write: impl Fn(&str, &mut String) -> bool) -> StringChunked {
    let mut builder = StringChunkedBuilder::new(texts.name().clone(), texts.len());
    let mut text = String::new();
    for raw in texts.iter() {
        text.clear();
        let written = raw.is_some_and(|raw| write(raw, &mut text));
        builder.append_option(written.then_some(text.as_str()));
    }
    builder.finish()
}

/// Parses a location from its end.
fn parse(location: &str) -> ParsedLocation {
    if let Some(state) = ssa_state(location.trim()) {
        return ParsedLocation { state: Some(state), zip: None };
    }
    let Some(mut last) = Word::last(location) else { return ParsedLocation::default() };
    if COUNTRY.iter().any(|country| last.text.eq_ignore_ascii_case(country)) {
        match Word::last(last.before) {
            Some(word) => last = word,
            None => return ParsedLocation::default(),
        }
    }
    if !last.text.chars().any(char::is_numeric) {
        return ParsedLocation { state: last.state(), zip: None };
    }
    let mut digits = whole_zip(last.text);
    let mut before = Word::last(last.before);
    // Five and four digits separated by a space.
    if let Some(word) = before.filter(|word| last.is_digits(4) && word.is_digits(5)) {
        digits = whole_zip(word.text);
        before = Word::last(word.before);
    }
    let state = before.and_then(Word::state);
    // Such a short number is ambiguous, unless it follows a state: ZIP codes of Puerto Rico begin
    // with 00.
    let digits = digits.or_else(|| state.as_ref().and_then(|_| short_zip(last.text)));
    let zip = digits.map_or(Zip::Damaged, Zip::Prefix);
    ParsedLocation { state, zip: Some(zip) }
}

/// `SSA-STATE-39`, in upper case.
fn ssa_state(location: &str) -> Option<String> {
    let (name, number) = location.split_at_checked(SSA_STATE.len())?;
    let fits = number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit());
    (fits && name.eq_ignore_ascii_case(SSA_STATE)).then(|| format!("{SSA_STATE}{number}"))
}

/// A word and the preceding text.
#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    before: &'a str,
    text: &'a str,
}

impl<'a> Word<'a> {
    /// The last word of a text.
    fn last(text: &'a str) -> Option<Self> {
        let separates = |character: char| character.is_whitespace() || ",;".contains(character);
        let text = text.trim_end_matches(separates);
        let start = text
            .rfind(separates)
            .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
        let (before, word) = text.split_at(start);
        (!word.is_empty()).then_some(Self { before, text: word })
    }

    fn is_digits(self, count: usize) -> bool {
        self.text.len() == count && self.text.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// The state named by the word: two upper-case letters, or two letters that stand alone or
    /// follow a comma. So `Villa de 02138` has no state.
    fn state(self) -> Option<String> {
        let stands_alone = {
            let before = self.before.trim_end();
            before.is_empty() || before.ends_with([',', ';'])
        };
        let capitals = self.text.bytes().all(|byte| byte.is_ascii_uppercase());
        let code = self.text.to_ascii_uppercase();
        ((capitals || stands_alone) && STATES.contains(&code.as_str())).then_some(code)
    }
}

/// A number without a `.0` fraction, and without the four digits after a hyphen; leading zeros may
/// still be missing.
fn bare(word: &str) -> Option<(&str, Option<&str>)> {
    let whole = match word.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => word,
    };
    let (digits, four) = match whole.split_once('-') {
        Some((digits, four)) => (digits, Some(four)),
        None => (whole, None),
    };
    let numeric = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let sound = numeric(digits) && four.is_none_or(|four| four.len() == 4 && numeric(four));
    sound.then_some((digits, four))
}

/// Prefix of a ZIP code of 5 or 9 digits that may have lost one leading zero.
fn whole_zip(word: &str) -> Option<[u8; 3]> {
    let (digits, four) = bare(word)?;
    match (digits.len(), four) {
        (5, _) | (9, None) => prefix(digits, 0),
        (4, _) | (8, None) => prefix(digits, 1),
        _ => None,
    }
}

/// Prefix of a ZIP code that has lost two leading zeros.
fn short_zip(word: &str) -> Option<[u8; 3]> {
    let (digits, four) = bare(word)?;
    match (digits.len(), four) {
        (3, _) | (7, None) => prefix(digits, 2),
        _ => None,
    }
}

/// The first three digits, after restoring lost zeros.
fn prefix(digits: &str, lost: usize) -> Option<[u8; 3]> {
    let mut prefix = [b'0'; 3];
    prefix[lost..].copy_from_slice(digits.as_bytes().get(..3 - lost)?);
    Some(prefix)
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Column, DataFrame, IntoColumn, IntoLazy, NewChunkedArray};
    use proptest::prelude::*;

    use super::*;
    use crate::privacy::settings::Privacy;

    fn union() -> Arc<BTreeSet<String>> {
        Arc::new(Privacy::default().restricted_zip3().expect("the union"))
    }

    fn of(expression: Expr, texts: &[Option<&str>]) -> Vec<Option<String>> {
        let column = StringChunked::from_slice_options("location".into(), texts);
        let frame = DataFrame::new(texts.len(), vec![column.into_column()]).expect("a frame");
        let frame = frame.lazy().select([expression]).collect().expect("runs");
        let texts = frame.column("location").and_then(Column::str).expect("texts");
        texts.iter().map(|text| text.map(ToOwned::to_owned)).collect()
    }

    fn both(location: &str) -> (Option<String>, Option<String>) {
        let of = |expression| of(expression, &[Some(location)]).remove(0);
        (of(state("location")), of(zip3("location", &union())))
    }

    #[test]
    fn the_spellings_of_the_field() {
        for (location, state, zip3) in [
            ("ATTLEBORO, MA, 02703", Some("MA"), Some("027")),
            ("Robinsonshire, KY 01352", Some("KY"), Some("013")),
            ("SSA-STATE-39", Some("SSA-STATE-39"), None),
            ("ssa-state-05", Some("SSA-STATE-05"), None),
            ("GREENFIELD, MA, 01376-1830", Some("MA"), Some("013")),
            ("LOWELL, MA, 1850", Some("MA"), Some("018")),
            ("BROCKTON, MA, 2301", Some("MA"), Some("023")),
            ("BROCKTON, MA, 2301-1830", Some("MA"), Some("023")),
            ("ATTLEBORO, MA, 027030000.0", Some("MA"), Some("027")),
            ("ATTLEBORO, MA, 27030000.0", Some("MA"), Some("027")),
            ("ATTLEBORO, MA, 2703.0", Some("MA"), Some("027")),
            ("ATTLEBORO, MA, 02703.00", Some("MA"), Some("027")),
            ("ATTLEBORO, MA, 027031830", Some("MA"), Some("027")),
            ("ATTLEBORO, MA, 27031830", Some("MA"), Some("027")),
            ("Attleboro MA 02703 1830", Some("MA"), Some("027")),
            ("San Juan, PR, 901", Some("PR"), Some("009")),
            ("San Juan, PR, 9011234.0", Some("PR"), Some("009")),
            ("attleboro, ma, 02703", Some("MA"), Some("027")),
            ("Boston, MA 02138, USA", Some("MA"), Some("021")),
            ("Boston;MA;02138;", Some("MA"), Some("021")),
            ("Boston, MA", Some("MA"), None),
            ("MA", Some("MA"), None),
            ("ma", Some("MA"), None),
            ("02138", None, Some("021")),
            ("2138", None, Some("021")),
        ] {
            let expected = (state.map(ToOwned::to_owned), zip3.map(ToOwned::to_owned));
            assert_eq!(both(location), expected, "{location}");
        }
    }

    #[test]
    fn what_is_not_recognised_is_not_told() {
        for (location, zip3) in [
            ("Here", None),
            ("Boston, Massachusetts", None),
            ("Villa de la", None),
            ("12 Rue de", None),
            ("XX", None),
            ("USA", None),
            (",;,", None),
            ("SSA-STATE-3", Some("000")),
            ("SSA-STATE-391", Some("000")),
            ("Toronto, ON, K1A 0B1", Some("000")),
            ("Main Street 123456", Some("000")),
            ("Ward 12", Some("000")),
            ("Room 501", Some("000")),
            ("Route66", Some("000")),
            ("Villa \u{661}\u{662}\u{663}\u{664}\u{665}", Some("000")),
            ("Boston, 02138.5", Some("000")),
            ("Boston, 02138-12", Some("000")),
            ("-", None),
            ("Villa de 02138", Some("021")),
        ] {
            assert_eq!(both(location), (None, zip3.map(ToOwned::to_owned)), "{location}");
        }
    }

    #[test]
    fn a_restricted_prefix_is_never_told() {
        let restricted = union();
        for prefix in 0..1000 {
            let location = format!("Somewhere, MA {prefix:03}99");
            let released = both(&location).1.expect("a ZIP code");
            let prefix = format!("{prefix:03}");
            let expected = if restricted.contains(&prefix) { OTHER_ZIP3 } else { &prefix };
            assert_eq!(released, expected);
        }
        // Padded first: 3699 is 03699, and 036 is restricted.
        assert_eq!(both("Somewhere, NH, 3699").1.as_deref(), Some(OTHER_ZIP3));
        assert_eq!(both("Somewhere, NH, 3699.0").1.as_deref(), Some(OTHER_ZIP3));
    }

    #[test]
    fn null_stays_null() {
        assert_eq!(of(state("location"), &[None, Some("MA")]), [None, Some("MA".into())]);
        assert_eq!(of(zip3("location", &union()), &[None, Some("x")]), [None, None]);
    }

    #[test]
    fn states_are_sorted_and_none_twice() {
        assert!(STATES.is_sorted_by(|one, two| one < two));
    }

    proptest! {
        #[test]
        fn nothing_but_a_state_or_three_digits_comes_of_any_text(location in "\\PC{0,40}") {
            let (state, zip3) = both(&location);
            let known = |state: &String| {
                STATES.contains(&state.as_str())
                    || ssa_state(state).as_deref() == Some(state.as_str())
            };
            prop_assert!(state.as_ref().is_none_or(known));
            let released = |zip3: &String| {
                zip3.len() == 3
                    && zip3.bytes().all(|byte| byte.is_ascii_digit())
                    && !union().contains(zip3)
            };
            prop_assert!(zip3.as_ref().is_none_or(released));
        }

        #[test]
        fn no_word_of_city_or_street_is_told(
            street in "[1-9][0-9]{0,4} [A-Z][a-z]{2,10} (Street|Avenue|Rd\\.)",
            city in "[A-Z][a-z]{2,12}( [A-Z][a-z]{2,12})?",
            state_no in 0..STATES.len(),
            zip in "[0-9]{5}(-[0-9]{4})?",
            form in 0..4,
        ) {
            let code = STATES[state_no];
            let location = match form {
                0 => format!("{street}, {city}, {code}, {zip}"),
                1 => format!("{street}; {city}; {code} {zip}"),
                2 => format!("{city}, {code} {zip}, USA"),
                _ => format!("{} {code} {zip}", city.to_uppercase()),
            };
            let (state, zip3) = both(&location);
            prop_assert_eq!(state.as_deref(), Some(code));
            let zip3 = zip3.expect("a ZIP code");
            prop_assert!(zip3 == OTHER_ZIP3 || zip.starts_with(&zip3));
        }
    }
}
