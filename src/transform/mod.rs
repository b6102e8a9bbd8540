//! From text columns to scored, pseudonymised rows: one lazy plan, expressions only, no I/O.
//!
//! A module of its own because the plan can be printed, tested on five rows and benched without
//! a database. Nothing here executes a plan; the caller does so between the steps: it collects the
//! provider directory, and streams the observations of the first pass into [`PeerCounts`].
//!
//! The way of a row: [`Claims::joined`] validates it and looks its provider up,
//! [`Claims::observations`] shows it to the first pass, [`Claims::plan`] scores and tokenises it
//! in the second.

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

use self::directory::SPECIALTY_NO;
use self::expression::elementwise;
use self::validate::{CENTS, DAY, LINE};
use crate::key::{Domain, MasterKey};
use crate::schema::{
    AMOUNT_MAX_CENTS, AMOUNT_PRECISION, AMOUNT_SCALE, ORIGIN, REJECT, ROW_FINGERPRINT,
    UNKNOWN_PROVIDER,
};

/// The claims of a run on their way through the stage.
#[derive(Clone)]
pub struct Claims {
    joined: LazyFrame,
}

impl Claims {
    /// Validates the claims and joins them to the directory, which never multiplies a row.
    #[must_use]
    pub fn joined(
        claims: LazyFrame,
        directory: &Directory,
        formats: &Arc<DateFormats>,
        key: &MasterKey,
    ) -> Self {
        let valid = validate::validate(claims, formats, key.tokenizer(Domain::Record));
        // No join validation: it would leave the streaming engine. Keys are unique by
        // construction of `Directory`.
        let joined = valid.join(
            directory.lookup(),
            [col("provider_id")],
            [col("provider_id")],
            JoinArgs::new(JoinType::Left),
        );
        Self { joined }
    }

    /// The validated and joined rows as they are, neither hashed nor scored: identifiers are raw
    /// here, so this is for measuring and testing, never for loading.
    pub fn unscored(&self) -> LazyFrame {
        self.joined.clone()
    }

    /// The plan of the first pass: what [`PeerCounts`] counts, to fit a [`RiskModel`] to.
    pub fn observations(&self) -> LazyFrame {
        risk::observations(self.joined.clone())
    }

    /// The plan of the second pass: the fact's columns, the origin, the reject reason and the
    /// fingerprint of rejected records. Rejected rows are kept, so that read = accepted +
    /// rejected holds within one plan.
    pub fn plan(&self, model: &Arc<RiskModel>, key: &MasterKey) -> LazyFrame {
        self.joined
            .clone()
            .with_columns([validate::flags(SPECIALTY_NO), risk::risk_components(model)])
            .select([
                pseudonymize::token("claim_id", key.tokenizer(Domain::Claim)).alias("claim_token"),
                col(LINE).alias("line_number"),
                pseudonymize::token("patient_id", key.tokenizer(Domain::Patient))
                    .alias("patient_token"),
                col("provider_id").fill_null(lit(UNKNOWN_PROVIDER)),
                col("procedure_code"),
                amount(),
                col(DAY).alias("date_of_service"),
                col("specialty"),
                col("location"),
                risk::risk_score(model),
                col("risk_components"),
                col(CENTS).lt(lit(0_i64)).fill_null(lit(false)).alias("is_reversal"),
                col("dq_flags"),
                col(ORIGIN),
                col(REJECT),
                col(ROW_FINGERPRINT),
            ])
    }
}

/// Cents as numeric(12,2); null where the amount could not be read or does not fit.
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
