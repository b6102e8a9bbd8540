//! The rows of a database source, kept in memory.

use std::fmt;

use polars::prelude::{DataFrame, IntoLazy, LazyFrame};

/// The rows of a database source, as text.
#[derive(Clone)]
pub(super) struct Fetched(pub(super) DataFrame);

impl Fetched {
    pub(super) fn lazy(&self) -> LazyFrame {
        self.0.clone().lazy()
    }

    pub(super) fn rows(&self) -> u64 {
        self.0.height() as u64
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetched({} rows)", self.0.height())
    }
}
