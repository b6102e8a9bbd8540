//! Collects lazy frames. Drops the text of Polars errors, which can quote cells.

use polars::prelude::{DataFrame, LazyFrame, PolarsError};

use crate::error::{Error, Result};

pub(crate) fn collect(plan: LazyFrame) -> Result<DataFrame> {
    plan.collect().map_err(|error| plan_error(&error))
}

pub(crate) fn plan_error(error: &PolarsError) -> Error {
    match error {
        PolarsError::IO { error, .. } => Error::source(format!("reading failed: {}", error.kind())),
        PolarsError::ComputeError(_) | PolarsError::SchemaMismatch(_) => {
            Error::source("a source is malformed").hint("is the file complete?")
        }
        _ => Error::internal("the query plan failed"),
    }
}
