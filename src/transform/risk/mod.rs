//! The risk score `claim_anomaly_v1`: a billing-anomaly score from 0 to 100, not a clinical risk
//! adjustment (which needs diagnosis codes).
//!
//! A module of its own because it needs two passes: [`PeerCounts`] counts the rows of the first in
//! bounded memory, a [`RiskModel`] is fitted to them, and its expressions score rows in the second.
//! Components that are not computed yet are absent and contribute nothing.

mod components;
mod histogram;
mod model;
mod peer_counts;

use std::sync::Arc;

use polars::prelude::{DataType, Expr, Int64Chunked, Int128Chunked, IntoSeries, col};

pub use components::{COMPONENTS, Components, pack, score_tenths, unpack};
pub use model::{PeerStatistic, RISK_MODEL, RiskModel, WeekendStatistic};
pub use peer_counts::PeerCounts;

use super::date::is_weekend;
use super::directory::SPECIALTY_NO;
use super::expression::elementwise;
use crate::schema::CENTS;

/// The packed components of each row.
pub(super) fn risk_components(model: &Arc<RiskModel>) -> Expr {
    let model = Arc::clone(model);
    let inputs = ["procedure_code", SPECIALTY_NO, CENTS, "date_of_service"].map(col);
    elementwise("risk_components", &inputs, DataType::Int64, move |series| {
        let (procedure, specialty, cents) = (series[0].str()?, series[1].u32()?, series[2].i64()?);
        let days = series[3].to_physical_repr();
        let days = days.i32()?;
        let packed: Vec<i64> = procedure
            .iter()
            .zip(specialty.iter())
            .zip(cents.iter().zip(days.iter()))
            .map(|((procedure, specialty), (cents, day))| {
                let components = model.components(procedure, specialty, cents, day.map(is_weekend));
                pack(&components, &model.weights)
            })
            .collect();
        Ok(Int64Chunked::from_vec("risk_components".into(), packed).into_series())
    })
    .alias("risk_components")
}

/// The score of packed components, as numeric(5,2).
pub(super) fn risk_score(model: &Arc<RiskModel>) -> Expr {
    let weights = model.weights;
    let inputs = [col("risk_components")];
    elementwise("noisy_or", &inputs, DataType::Decimal(5, 2), move |series| {
        let scores: Vec<i128> = series[0]
            .i64()?
            .iter()
            .map(|packed| i128::from(10 * score_tenths(&unpack(packed.unwrap_or(0)), &weights)))
            .collect();
        let scores = Int128Chunked::from_vec("risk_score".into(), scores);
        Ok(scores.into_decimal_unchecked(5, 2).into_series())
    })
    .alias("risk_score")
}
