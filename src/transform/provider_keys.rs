//! The keys under which the warehouse knows the providers of a run.

use std::collections::HashMap;
use std::sync::Arc;

use polars::prelude::{DataType, Expr, Int32Chunked, IntoSeries, col};

use super::expression::{broken, elementwise};
use crate::schema::{PROVIDER_ROW, UNKNOWN_PROVIDER_KEY};

/// Provider keys of a run.
#[derive(Debug, Clone, Default)]
pub struct ProviderKeys {
    by_row: Arc<[i32]>,
    others: Arc<HashMap<String, i32>>,
}

impl ProviderKeys {
    /// `by_row` has the keys of the directory's rows, `others` those of the ids that only claims have.
    #[must_use]
    pub fn new(by_row: Vec<i32>, others: HashMap<String, i32>) -> Self {
        Self { by_row: by_row.into(), others: Arc::new(others) }
    }

    /// The key of each row's provider.
    pub(super) fn column(&self) -> Expr {
        let Self { by_row, others } = self.clone();
        let inputs = [col(PROVIDER_ROW), col("provider_id")];
        elementwise("provider_key", &inputs, DataType::Int32, move |series| {
            let (rows, ids) = (series[0].u32()?, series[1].str()?);
            let key = |(row, id): (Option<u32>, Option<&str>)| match (row, id) {
                (Some(row), _) => by_row.get(row as usize).copied(),
                (None, None) => Some(UNKNOWN_PROVIDER_KEY),
                (None, Some(id)) => others.get(id).copied(),
            };
            let keys: Option<Vec<i32>> = rows.iter().zip(ids.iter()).map(key).collect();
            let keys = keys.ok_or_else(|| broken("a provider without a key"))?;
            Ok(Int32Chunked::from_vec("provider_key".into(), keys).into_series())
        })
        .alias("provider_key")
    }
}
