//! Maps identifiers to pairs of old and new tokens.

use std::collections::BTreeSet;

use polars::prelude::{Column, DataFrame, LazyFrame};

use super::text::canonical;
use crate::error::{Error, Result};
use crate::key::{Token, Tokenizer};

/// Identifier columns in canonical form; blank is null.
pub(crate) fn identifiers(records: LazyFrame, columns: &[&str]) -> LazyFrame {
    let columns: Vec<_> = columns.iter().map(|column| canonical(column)).collect();
    records.select(columns)
}

/// Distinct pairs of tokens under two keys, for a column of [`identifiers`].
///
/// # Errors
/// `Internal` when the column is missing.
pub(crate) fn token_pairs(
    frame: &DataFrame,
    column: &str,
    old: &Tokenizer,
    new: &Tokenizer,
) -> Result<Vec<(Token, Token)>> {
    let texts = frame
        .column(column)
        .and_then(Column::str)
        .map_err(|_| Error::internal("the identifiers lack a column"))?;
    let distinct: BTreeSet<&str> = texts.iter().flatten().collect();
    let tokens = |tokenizer: &Tokenizer| {
        let mut tokens = Vec::with_capacity(distinct.len());
        tokenizer.tokens_of(distinct.iter().map(|text| text.as_bytes()), &mut tokens);
        tokens
    };
    Ok(tokens(old).into_iter().zip(tokens(new)).collect())
}
