//! Identifiers to pairs of tokens, of the old key and of the new one.

use std::collections::BTreeSet;

use polars::prelude::{Column, DataFrame, LazyFrame};

use super::text::canonical;
use crate::error::{Error, Result};
use crate::key::{Token, Tokenizer};

/// The columns with identifiers, in canonical form; blank is null.
pub(crate) fn identifiers(records: LazyFrame, columns: &[&str]) -> LazyFrame {
    let columns: Vec<_> = columns.iter().map(|column| canonical(column)).collect();
    records.select(columns)
}

/// The tokens of a column of [`identifiers`] under two keys, each pair once.
///
/// # Errors
/// `Internal` when the column is not there.
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
