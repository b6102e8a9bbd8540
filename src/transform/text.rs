//! Texts as they are compared, joined and hashed: trimmed, NFC, blank is null.
//!
//! A file of its own because both inputs and all identifiers go through it, and because nearly
//! always there is nothing to do: then the column passes through untouched.

use std::borrow::Cow;

use polars::prelude::{DataType, Expr, IntoSeries, StringChunked, StringChunkedBuilder, col};

use super::cells::all_texts;
use super::expression::of_text;
use crate::key::canonical;

/// A column in canonical form.
pub(super) fn clean(column: &str) -> Expr {
    of_text("clean", col(column), DataType::String, |text| Ok(cleaned(text).into_series()))
}

fn cleaned(text: &StringChunked) -> StringChunked {
    // Nearly always ASCII without white space at its ends.
    let plain = |value: &str| {
        let ends = [value.as_bytes().first(), value.as_bytes().last()];
        ends.iter().all(|end| end.is_some_and(u8::is_ascii_graphic)) && value.is_ascii()
    };
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
        let cleaned: Vec<Option<String>> =
            cleaned(&text).iter().map(|value| value.map(ToOwned::to_owned)).collect();
        let expected = [Some("x"), None, None, None, Some("V\u{ed}ctor"), Some("007")];
        assert_eq!(cleaned, expected.map(|value| value.map(ToOwned::to_owned)));
    }
}
