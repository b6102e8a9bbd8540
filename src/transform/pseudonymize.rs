//! Converts identifiers to tokens within a plan.
//!
//! The key is captured by a closure, so that no plan and no `explain` can print it. This is
//! pseudonymisation, not anonymisation.

use std::sync::Arc;

use polars::prelude::{DataType, Expr, Int128Chunked, Int128Type, IntoSeries, col};

use super::expression::of_text;
use crate::key::Tokenizer;
use crate::transform::column_access::{each_text, nullable_series};

/// Tokens of a column of canonical identifiers, as 128-bit integers; null stays null.
pub(super) fn token(column: &str, tokenizer: &Arc<Tokenizer>) -> Expr {
    let tokenizer = Arc::clone(tokenizer);
    of_text("token", col(column), DataType::Int128, move |text| {
        let mut tokens = Vec::with_capacity(text.len());
        if text.null_count() == 0 {
            tokenizer.tokens_of(text.no_null_iter().map(str::as_bytes), &mut tokens);
            let tokens = tokens.into_iter().map(i128::from_ne_bytes).collect();
            return Ok(Int128Chunked::from_vec(text.name().clone(), tokens).into_series());
        }
        tokenizer.tokens_of(text.iter().flatten().map(str::as_bytes), &mut tokens);
        let mut tokens = tokens.into_iter().map(i128::from_ne_bytes);
        let (mut values, mut valid) = (vec![0; text.len()], vec![false; text.len()]);
        each_text(text, |row, _| {
            if let Some(token) = tokens.next() {
                (values[row], valid[row]) = (token, true);
            }
        });
        Ok(nullable_series::<Int128Type>(text.name(), values, &valid))
    })
}
