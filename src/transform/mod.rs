//! From text columns to scored, pseudonymised rows: expressions only, no I/O.
//!
//! A module of its own because the plans can be printed, tested on five rows and benched without a
//! database. Nothing here executes a plan; the caller does so.
//!
//! A score compares a claim with all others, so rows pass twice. In the first pass
//! [`Claims::rows`] validates a block's rows, joins them to the provider directory and makes their
//! tokens; [`PeerCounts`] counts them. In the second, [`scored`] gives the rows their score and what
//! the directory says of their provider. Raw identifiers end in the first pass.

mod amount;
mod date;
mod directory;
mod expression;
mod pseudonymize;
pub mod risk;
mod text;
mod validate;

use std::sync::Arc;

use polars::prelude::{
    DataType, Expr, Int128Chunked, IntoSeries, JoinArgs, JoinType, LazyFrame, NewChunkedArray, col,
    lit,
};

pub use date::DateFormats;
pub use directory::{Directory, provider_rows};
pub use risk::{PeerCounts, RiskModel};

use self::expression::elementwise;
use self::validate::{DAY, LINE};
use crate::key::{Domain, MasterKey, Tokenizer};
use crate::schema::{
    AMOUNT_MAX_CENTS, AMOUNT_PRECISION, AMOUNT_SCALE, CENTS, ORIGIN, PROVIDER_ROW, REJECT,
    ROW_FINGERPRINT, UNKNOWN_PROVIDER,
};

/// The first pass over claims.
pub struct Claims {
    lookup: LazyFrame,
    formats: Arc<DateFormats>,
    claim: Arc<Tokenizer>,
    patient: Arc<Tokenizer>,
    record: Arc<Tokenizer>,
}

impl Claims {
    /// What is joined, how dates are read, and whose tokens are made.
    #[must_use]
    pub fn new(directory: &Directory, formats: &Arc<DateFormats>, key: &MasterKey) -> Self {
        let tokenizer = |domain| Arc::new(key.tokenizer(domain));
        Self {
            lookup: directory.lookup(),
            formats: Arc::clone(formats),
            claim: tokenizer(Domain::Claim),
            patient: tokenizer(Domain::Patient),
            record: tokenizer(Domain::Record),
        }
    }

    /// Validated and joined to the directory, which never multiplies a row. Identifiers are raw
    /// here, so this is for measuring and testing, never for loading.
    pub fn joined(&self, claims: LazyFrame) -> LazyFrame {
        let valid = validate::validate(claims, &self.formats, &self.record);
        // Keys are unique by construction of `Directory`; only the place of the provider is taken
        // along, what the directory says of it comes when the row leaves.
        valid.join(
            self.lookup.clone(),
            [col("provider_id")],
            [col("provider_id")],
            JoinArgs::new(JoinType::Left),
        )
    }

    /// The rows of the first pass: tokens, typed values, the provider's place in the directory
    /// (null where it has none), flags, the origin, the reject reason and the fingerprint of
    /// rejected records. Rejected rows are kept, so that read = accepted + rejected holds within
    /// one plan.
    pub fn rows(&self, claims: LazyFrame) -> LazyFrame {
        self.joined(claims).with_columns([validate::flags(PROVIDER_ROW)]).select([
            pseudonymize::token("claim_id", &self.claim).alias("claim_token"),
            col(LINE).alias("line_number"),
            pseudonymize::token("patient_id", &self.patient).alias("patient_token"),
            col(PROVIDER_ROW),
            col("provider_id"),
            col("procedure_code"),
            col(CENTS),
            col(DAY).alias("date_of_service"),
            col("dq_flags"),
            col(ORIGIN),
            col(REJECT),
            col(ROW_FINGERPRINT),
        ])
    }
}

/// The second pass: the fact's columns from rows of the first.
pub fn scored(rows: LazyFrame, directory: &Directory, model: &Arc<RiskModel>) -> LazyFrame {
    let known = directory.attribute("provider_id");
    rows.with_columns([
        directory.specialty_number(),
        directory.attribute("specialty"),
        directory.attribute("location"),
        known.fill_null(col("provider_id")).fill_null(lit(UNKNOWN_PROVIDER)).alias("provider_id"),
    ])
    .with_columns([risk::risk_components(model)])
    .select([
        col("claim_token"),
        col("line_number"),
        col("patient_token"),
        col("provider_id"),
        col("procedure_code"),
        amount(),
        col("date_of_service"),
        col("specialty"),
        col("location"),
        risk::risk_score(model),
        col("risk_components"),
        col(CENTS).lt(lit(0_i64)).alias("is_reversal"),
        col("dq_flags"),
    ])
}

/// Cents as numeric(12,2); null where they do not fit.
fn amount() -> Expr {
    let decimal = DataType::Decimal(AMOUNT_PRECISION.into(), AMOUNT_SCALE.unsigned_abs().into());
    elementwise("amount", &[col(CENTS)], decimal, |series| {
        let fits = |cents: &i64| cents.unsigned_abs() <= AMOUNT_MAX_CENTS.unsigned_abs();
        let cents = series[0].i64()?.iter().map(|cents| cents.filter(fits).map(i128::from));
        let cents = Int128Chunked::from_iter_options("amount".into(), cents);
        let decimal = cents
            .into_decimal_unchecked(AMOUNT_PRECISION.into(), AMOUNT_SCALE.unsigned_abs().into());
        Ok(decimal.into_series())
    })
    .alias("amount")
}
