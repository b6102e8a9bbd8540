//! Identifiers to tokens, inside the plan.
//!
//! A file of its own because this is where raw identifiers end: after these expressions no column
//! holds one. The key is inside a closure, so that no plan and no `explain` can print it. This is
//! pseudonymisation, not anonymisation.

use polars::prelude::{DataType, Expr, Int128Chunked, IntoSeries, NewChunkedArray, col};

use super::expression::of_text;
use crate::key::Tokenizer;

/// The token of a column's identifiers, as the 16 bytes of a 128-bit integer; null stays null.
/// The column is in canonical form already.
pub(super) fn token(column: &str, tokenizer: Tokenizer) -> Expr {
    of_text("token", col(column), DataType::Int128, move |text| {
        let token = |id: &str| i128::from_ne_bytes(tokenizer.token_of_bytes(id.as_bytes()));
        let tokens = text.iter().map(|id| id.map(token));
        Ok(Int128Chunked::from_iter_options(text.name().clone(), tokens).into_series())
    })
}
