//! Cleans texts other than identifiers: trims them, and blank becomes null. Nearly always nothing
//! changes: then the column passes through.

use std::borrow::Cow;

use polars::prelude::{DataType, Expr, IntoSeries, StringChunked, StringChunkedBuilder, col};

use super::expression::of_text;
use crate::identifier;
use crate::transform::column_access::all_texts;

/// A column of display texts: trimmed and NFC.
pub(super) fn clean(column: &str) -> Expr {
    of_text("clean", col(column), DataType::String, |text| {
        Ok(cleaned(text, is_plain, identifier::trimmed).into_series())
    })
}

/// A column of values to parse: also without invisible characters and spreadsheet text markers.
pub(super) fn bare(column: &str) -> Expr {
    of_text("bare", col(column), DataType::String, |text| {
        Ok(cleaned(text, is_plain, identifier::bare).into_series())
    })
}

/// A column of identifiers in canonical form, damaged or not.
pub(super) fn canonical(column: &str) -> Expr {
    of_text("canonical", col(column), DataType::String, |text| {
        Ok(cleaned(text, identifier::is_plain, identifier::canonical).into_series())
    })
}

/// ASCII without surrounding white space or text markers.
fn is_plain(value: &str) -> bool {
    let ends = [value.as_bytes().first(), value.as_bytes().last()];
    ends.iter().all(|end| end.is_some_and(u8::is_ascii_graphic))
        && !value.starts_with(['=', '"', '\''])
        && value.is_ascii()
}

/// Applies `canonical` to a column; `plain` is a fast check for texts that need no change.
fn cleaned(
    text: &StringChunked,
    plain: fn(&str) -> bool,
    canonical: fn(&str) -> Cow<'_, str>,
) -> StringChunked {
    let canonical_already = |value: &str| {
        !value.is_empty()
            && matches!(canonical(value), Cow::Borrowed(same) if same.len() == value.len())
    };
    let untouched = |value: &str| plain(value) || canonical_already(value);
    if all_texts(text, untouched) {
        return text.clone();
    }
    let mut builder = StringChunkedBuilder::new(text.name().clone(), text.len());
    for value in text.iter() {
        match value.map(canonical) {
            Some(value) if !value.is_empty() => builder.append_value(value),
            _ => builder.append_null(),
        }
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use polars::prelude::NewChunkedArray;

    use super::*;

    #[test]
    fn blank_is_null_and_the_rest_is_trimmed() {
        let text = StringChunked::from_slice_options(
            "a".into(),
            &[Some(" x "), Some(""), Some("\t \u{a0}"), None, Some("Vi\u{301}ctor"), Some("007")],
        );
        let cleaned: Vec<Option<String>> = cleaned(&text, is_plain, identifier::trimmed)
            .iter()
            .map(|value| value.map(ToOwned::to_owned))
            .collect();
        let expected = [Some("x"), None, None, None, Some("V\u{ed}ctor"), Some("007")];
        assert_eq!(cleaned, expected.map(|value| value.map(ToOwned::to_owned)));
    }
}
