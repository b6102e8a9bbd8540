//! Redacts, masks, truncates or tokenizes texts.
//!
//! Counts characters, not bytes. Null stays null, and no text grows beyond 200 bytes.

use std::sync::Arc;

use polars::prelude::{DataType, Expr, IntoSeries, StringChunked, StringChunkedBuilder, col};
use uuid::Uuid;

use crate::key::{Token, Tokenizer};
use crate::privacy::settings::{Action, Mask};
use crate::transform::expression::of_text;

/// Applies an action to a column's texts; `None` for an action that keeps or drops them.
/// `tokenizer` is that of the column's domain.
pub(super) fn released(
    column: &str,
    action: &Action,
    tokenizer: Option<&Arc<Tokenizer>>,
) -> Option<Expr> {
    let expression = match action {
        Action::Redact(constant) => {
            let constant = constant.clone();
            each("redact", column, move |_, text| text.push_str(&constant))
        }
        Action::Mask(mask) => {
            let mask = mask.clone();
            each("mask", column, move |raw, text| masked(raw, &mask, text))
        }
        Action::Truncate(length) => {
            let length = usize::from(*length);
            each("truncate", column, move |raw, text| text.push_str(first_characters(raw, length)))
        }
        Action::Token => token(column, tokenizer?, ToOwned::to_owned),
        _ => return None,
    };
    Some(expression)
}

/// Tokens of a column's texts in Postgres' `uuid` format; `canonical` prepares the text for
/// hashing.
pub(super) fn token(
    column: &str,
    tokenizer: &Arc<Tokenizer>,
    canonical: impl Fn(&str) -> String + Send + Sync + 'static,
) -> Expr {
    let tokenizer = Arc::clone(tokenizer);
    of_text("token_text", col(column), DataType::String, move |texts| {
        let texts_of: Vec<Option<String>> = texts.iter().map(|text| text.map(&canonical)).collect();
        let identifiers = texts_of.iter().map(|text| text.as_deref());
        Ok(tokens(texts.name(), identifiers, &tokenizer).into_series())
    })
}

/// Tokens of texts in canonical form.
pub(super) fn tokens<'a>(
    name: &str,
    texts: impl ExactSizeIterator<Item = Option<&'a str>> + Clone,
    tokenizer: &Tokenizer,
) -> StringChunked {
    let mut tokens: Vec<Token> = Vec::with_capacity(texts.len());
    tokenizer.tokens_of(texts.clone().flatten().map(str::as_bytes), &mut tokens);
    let mut tokens = tokens.into_iter();
    let mut builder = StringChunkedBuilder::new(name.into(), texts.len());
    let mut buffer = Uuid::encode_buffer();
    for text in texts {
        match text.and_then(|_| tokens.next()) {
            Some(token) => {
                let token = Uuid::from_bytes(token).hyphenated();
                builder.append_value(token.encode_lower(&mut buffer));
            }
            None => builder.append_null(),
        }
    }
    builder.finish()
}

/// Maps each text of a column.
fn each(
    name: &'static str,
    column: &str,
    write: impl Fn(&str, &mut String) + Send + Sync + 'static,
) -> Expr {
    of_text(name, col(column), DataType::String, move |texts| {
        let mut builder = StringChunkedBuilder::new(texts.name().clone(), texts.len());
        let mut text = String::new();
        for raw in texts.iter() {
            let Some(raw) = raw else {
                builder.append_null();
                continue;
            };
            text.clear();
            write(raw, &mut text);
            builder.append_value(&text);
        }
        Ok(builder.finish().into_series())
    })
}

/// The first characters of a text, without trailing spaces.
fn first_characters(text: &str, length: usize) -> &str {
    let end = text.char_indices().nth(length).map_or(text.len(), |(end, _)| end);
    text[..end].trim_end()
}

/// Masks a text, keeping some characters at both ends; keeps none if that would keep all.
fn masked(raw: &str, mask: &Mask, text: &mut String) {
    let characters = raw.chars().count();
    let (first, last) = (usize::from(mask.first), usize::from(mask.last));
    let short = characters <= first + last;
    text.extend(raw.chars().enumerate().map(|(index, character)| {
        let shown = index < first || index >= characters.saturating_sub(last);
        if shown && !short { character } else { mask.with }
    }));
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Column, DataFrame, IntoColumn, IntoLazy, NewChunkedArray};
    use proptest::prelude::*;

    use super::*;
    use crate::key::{Domain, MasterKey};

    fn mask(first: u16, last: u16) -> Action {
        Action::Mask(Mask { first, last, with: '*' })
    }

    fn key() -> MasterKey {
        MasterKey::ephemeral().expect("a key")
    }

    fn of(action: &Action, texts: &[Option<&str>]) -> Vec<Option<String>> {
        let tokenizer = Arc::new(key().tokenizer(Domain::Location));
        let column = StringChunked::from_slice_options("name".into(), texts);
        let frame = DataFrame::new(texts.len(), vec![column.into_column()]).expect("a frame");
        let expression = released("name", action, Some(&tokenizer)).expect("an expression");
        let frame = frame.lazy().select([expression]).collect().expect("runs");
        let texts = frame.column("name").and_then(Column::str).expect("texts");
        texts.iter().map(|text| text.map(ToOwned::to_owned)).collect()
    }

    fn one(action: &Action, text: &str) -> String {
        of(action, &[Some(text)]).remove(0).expect("a text")
    }

    #[test]
    fn null_stays_null_whatever_is_done() {
        for action in [Action::Redact("x".into()), mask(1, 1), Action::Truncate(1), Action::Token] {
            let released = of(&action, &[None, Some("Ann"), None]);
            assert!(released[0].is_none() && released[1].is_some() && released[2].is_none());
        }
    }

    #[test]
    fn a_mask_counts_characters_and_shows_no_short_text() {
        assert_eq!(one(&mask(1, 0), "V\u{ed}ctor493"), "V********");
        assert_eq!(one(&mask(2, 2), "V\u{ed}ctor"), "V\u{ed}**or");
        assert_eq!(
            one(&mask(0, 3), "\u{5317}\u{4eac}\u{5e02}\u{533b}"),
            "*\u{4eac}\u{5e02}\u{533b}"
        );
        assert_eq!(one(&mask(2, 1), "Ann"), "***");
        assert_eq!(one(&mask(2, 2), "Ann"), "***");
        assert_eq!(one(&mask(0, 0), "Ann"), "***");
    }

    #[test]
    fn a_cut_text_ends_between_characters_and_not_with_a_blank() {
        assert_eq!(one(&Action::Truncate(2), "V\u{ed}ctor"), "V\u{ed}");
        assert_eq!(one(&Action::Truncate(6), "Saint Louis"), "Saint");
        assert_eq!(one(&Action::Truncate(60), "Saint Louis"), "Saint Louis");
        assert_eq!(one(&Action::Truncate(1), "\u{1f3e5} clinic"), "\u{1f3e5}");
    }

    #[test]
    fn a_redacted_text_says_nothing_but_that_there_is_one() {
        let texts = of(&Action::Redact("(withheld)".into()), &[Some("Ann"), Some("Ben")]);
        assert!(texts.iter().all(|text| text.as_deref() == Some("(withheld)")));
    }

    #[test]
    fn a_token_is_that_of_the_domain_written_as_a_uuid() {
        let key = key();
        let tokenizer = Arc::new(key.tokenizer(Domain::Specialty));
        let texts = [Some("GENERAL PRACTICE"), None];
        let tokens = tokens("specialty", texts.into_iter(), &tokenizer);
        let token = key.tokenizer(Domain::Specialty).token("GENERAL PRACTICE").expect("a token");
        assert_eq!(tokens.get(0), Some(Uuid::from_bytes(token).to_string().as_str()));
        assert_eq!(tokens.get(1), None);
        let other = key.tokenizer(Domain::Location).token("GENERAL PRACTICE").expect("a token");
        assert_ne!(token, other, "one text in two domains");
    }

    #[test]
    fn what_keeps_or_drops_a_column_is_no_expression() {
        for action in [Action::Keep, Action::Drop] {
            assert!(released("name", &action, None).is_none());
        }
    }

    proptest! {
        #[test]
        fn a_mask_never_shows_more_characters_than_allowed(
            raw in "[^*]{1,40}", first in 0_u16..6, last in 0_u16..6,
        ) {
            let masked = one(&mask(first, last), &raw);
            let (characters, shown) = (raw.chars().count(), masked.chars().filter(|&c| c != '*').count());
            prop_assert_eq!(masked.chars().count(), characters, "the length is released, nothing else");
            prop_assert!(shown <= usize::from(first + last) && shown < characters);
            prop_assert!(masked.len() <= raw.len());
            let same = raw.chars().zip(masked.chars()).all(|(raw, shown)| shown == '*' || shown == raw);
            prop_assert!(same);
        }

        #[test]
        fn a_cut_text_is_a_beginning_of_at_most_so_many_characters(
            raw in "\\S.{0,40}", length in 1_u16..50,
        ) {
            let cut = one(&Action::Truncate(length), &raw);
            prop_assert!(raw.starts_with(&cut) && !cut.is_empty());
            prop_assert!(cut.chars().count() <= usize::from(length));
        }
    }
}
