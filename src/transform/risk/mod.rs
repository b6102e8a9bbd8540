//! The risk score on frames: statistics in the first pass, scores in the second.
//!
//! [`crate::risk`] defines the numbers.

mod counter;
mod scorer;

use std::sync::Arc;

pub use counter::Counter;
use polars::prelude::{
    DataType, Expr, Float32Chunked, Int32Chunked, Int64Chunked, IntoSeries, col,
};
use scorer::Row;
pub use scorer::Scorer;

use super::expression::elementwise;
pub(crate) use crate::risk::*;
use crate::schema::{CENTS, PROVIDER_ROW, TWIN};

/// Packed components of each row; 0 without a scorer.
pub(super) fn risk_components(scorer: Option<&Arc<Scorer>>) -> Expr {
    let Some(scorer) = scorer.map(Arc::clone) else {
        // Derived from a column: a literal would lose its length in the plan.
        return elementwise("unscored", &[col(CENTS)], DataType::Int64, |series| {
            let zeros = vec![0; series[0].len()];
            Ok(Int64Chunked::from_vec("risk_components".into(), zeros).into_series())
        })
        .alias("risk_components");
    };
    let inputs = ["procedure_code", PROVIDER_ROW, CENTS, "date_of_service", TWIN].map(col);
    elementwise("risk_components", &inputs, DataType::Int64, move |series| {
        let (procedure, places, cents) = (series[0].str()?, series[1].u32()?, series[2].i64()?);
        let days = series[3].to_physical_repr();
        let (days, twins): (_, &Int32Chunked) = (days.i32()?, series[4].i32()?);
        let weights = scorer.weights();
        let rows = procedure
            .iter()
            .zip(places.iter())
            .zip(cents.iter().zip(days.iter()))
            .zip(twins.iter());
        let packed = rows.map(|(((procedure, place), (cents, day)), twin)| {
            let (cents, day) = (cents.unwrap_or(0), day.unwrap_or(0));
            let twin = twin_of(twin.unwrap_or(-1));
            let row = Row { procedure, place, cents, day, twin };
            pack(&scorer.components(row), &weights)
        });
        let packed: Vec<i64> = packed.collect();
        Ok(Int64Chunked::from_vec("risk_components".into(), packed).into_series())
    })
    .alias("risk_components")
}

/// The score from packed components, in steps of a tenth; 0 without a scorer.
pub(super) fn risk_score(scorer: Option<&Arc<Scorer>>) -> Expr {
    let weights = scorer.map(|scorer| scorer.weights());
    let inputs = [col("risk_components")];
    elementwise("noisy_or", &inputs, DataType::Float32, move |series| {
        let score = |packed: Option<i64>| {
            let tenths =
                weights.map(|weights| score_tenths(&unpack(packed.unwrap_or(0)), &weights));
            score_of_tenths(tenths.unwrap_or(0))
        };
        let values: Vec<f32> = series[0].i64()?.iter().map(score).collect();
        Ok(Float32Chunked::from_vec("risk_score".into(), values).into_series())
    })
    .alias("risk_score")
}

/// The duplicate type encoded in a row's column.
fn twin_of(code: i32) -> Twin {
    [Twin::None, Twin::Suspect, Twin::Exact]
        .into_iter()
        .find(|twin| twin.code() == code)
        .unwrap_or(Twin::Unknown)
}
