//! Rows of a database source, held in memory.

use std::fmt;

use polars::prelude::{DataFrame, IntoLazy, LazyFrame};

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
