//! Identifiers to tokens, inside the plan.
//!
//! A file of its own because this is where raw identifiers end: after these expressions no column
//! holds one. The key is inside a closure, so that no plan and no `explain` can print it. This is
//! pseudonymisation, not anonymisation.

use std::sync::Arc;

use polars::prelude::{DataType, Expr, Int128Chunked, IntoSeries, NewChunkedArray, col};

use super::expression::of_text;
use crate::key::Tokenizer;

/// The token of a column's identifiers, as the 16 bytes of a 128-bit integer; null stays null.
/// The column is in canonical form already.
pub(super) fn token(column: &str, tokenizer: &Arc<Tokenizer>) -> Expr {
    let tokenizer = Arc::clone(tokenizer);
    of_text("token", col(column), DataType::Int128, move |text| {
        let mut tokens = Vec::with_capacity(text.len());
        let present = text.iter().flatten().map(str::as_bytes);
        tokenizer.tokens_of(present, &mut tokens);
        let mut tokens = tokens.into_iter().map(i128::from_ne_bytes);
        let name = text.name().clone();
        let tokens = if text.null_count() == 0 {
            Int128Chunked::from_vec(name, tokens.collect())
        } else {
            let of_row = |id: Option<&str>| id.and_then(|_| tokens.next());
            Int128Chunked::from_iter_options(name, text.iter().map(of_row))
        };
        Ok(tokens.into_series())
    })
}
