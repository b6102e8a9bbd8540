//! A checksum of an identifier, stored with its token.
//!
//! The checksum identifies nobody: it has 32 bits and never leaves the process.

use std::hash::{BuildHasher, RandomState};

use polars::prelude::{DataType, Expr, IntoSeries, UInt32Chunked, col};

use super::expression::of_text;

/// Random keys of the checksum's hash.
pub(super) type Seed = RandomState;

/// The checksum of a column's canonical identifiers; 0 for null.
pub(super) fn check(column: &str, seed: &Seed) -> Expr {
    let seed = seed.clone();
    of_text("check", col(column), DataType::UInt32, move |text| {
        let check = |id: &str| {
            let [a, b, c, d, ..] = seed.hash_one(id).to_le_bytes();
            u32::from_le_bytes([a, b, c, d])
        };
        let checks = text.iter().map(|id| id.map_or(0, check)).collect();
        Ok(UInt32Chunked::from_vec(text.name().clone(), checks).into_series())
    })
}
