//! Sums over all published claim lines: what the dashboard reads.
//!
//! A first load and a `replace` count their lines on the way into staging ([`LineTotals`]). A merge compares
//! the lines of the claims that it changes before and after.

mod line_totals;
mod provider_rows;
mod replace;
mod top_lines;
mod update;

pub(crate) use line_totals::LineTotals;
pub(crate) use provider_rows::ProviderRows;
pub(super) use replace::replace;
pub(super) use top_lines::rename_claims;
pub(super) use update::{Update, rebuild};
