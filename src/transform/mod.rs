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
mod cells;
mod checks;
mod code;
mod date;
mod directory;
mod expression;
mod findings;
mod npi;
mod pseudonymize;
mod reject;
pub mod risk;
mod text;
mod validate;

use std::sync::Arc;

use polars::prelude::{
    DataType, Expr, Int32Chunked, Int128Chunked, IntoSeries, JoinArgs, JoinType, LazyFrame, NULL,
    NewChunkedArray, col, lit,
};

pub use checks::Checks;
pub use code::belongs;
pub use date::DateFormats;
pub use directory::{Directory, Refused, provider_rows};
pub use risk::{PeerCounts, RiskModel};

use self::cells::values;
use self::directory::FalseNpis;
use self::expression::elementwise;
use self::validate::{CODE, DAY, LINE};
use crate::key::{Domain, MasterKey, Tokenizer};
use crate::rule::{Severities, Severity};
use crate::schema::{
    AMOUNT_MAX_CENTS, AMOUNT_PRECISION, AMOUNT_SCALE, CENTS, ORIGIN, PROVIDER_ROW, REJECT,
    ROW_FINGERPRINT, SOURCE_LINE, UNKNOWN_PROVIDER,
};

/// The first pass over claims.
pub struct Claims {
    lookup: LazyFrame,
    false_npis: FalseNpis,
    formats: Arc<DateFormats>,
    checks: Arc<Checks>,
    claim: Arc<Tokenizer>,
    patient: Arc<Tokenizer>,
    record: Arc<Tokenizer>,
}

impl Claims {
    /// What is joined, how dates are read, which rules hold, and whose tokens are made.
    #[must_use]
    pub fn new(
        directory: &Directory,
        formats: &Arc<DateFormats>,
        checks: &Arc<Checks>,
        key: &MasterKey,
    ) -> Self {
        let tokenizer = |domain| Arc::new(key.tokenizer(domain));
        Self {
            lookup: directory.lookup(),
            false_npis: directory.false_npis(),
            formats: Arc::clone(formats),
            checks: Arc::clone(checks),
            claim: tokenizer(Domain::Claim),
            patient: tokenizer(Domain::Patient),
            record: tokenizer(Domain::Record),
        }
    }

    /// Typed and joined to the directory, which never multiplies a row.
    fn typed(&self, claims: LazyFrame) -> LazyFrame {
        let typed = validate::typed(claims, &self.formats, &self.checks);
        // Keys are unique by construction of `Directory`; only the place of the provider is taken
        // along, what the directory says of it comes when the row leaves.
        typed.join(
            self.lookup.clone(),
            [col("provider_id")],
            [col("provider_id")],
            JoinArgs::new(JoinType::Left),
        )
    }

    /// Typed, joined to the directory, and judged by the rules. Identifiers are raw here, so this is
    /// for measuring and testing, never for loading.
    pub fn joined(&self, claims: LazyFrame) -> LazyFrame {
        self.typed(claims)
            .with_columns([findings::flags(&self.checks, self.false_npis.clone())])
            .with_columns([reject::reject(&self.checks, &self.formats)])
            .with_columns([reject::fingerprint(&self.record)])
    }

    /// The rows of the first pass: tokens, typed values, the provider's place in the directory
    /// (null where it has none), findings, the origin, the rule that rejects it and the fingerprint
    /// of rejected records. Rejected rows are kept, so that read = accepted + rejected holds within
    /// one plan.
    pub fn rows(&self, claims: LazyFrame) -> LazyFrame {
        self.hashed(self.joined(claims))
    }

    /// The rows of the first pass as if no rule were there: what judging costs is the difference.
    /// For measuring only.
    pub fn unjudged(&self, claims: LazyFrame) -> LazyFrame {
        let none = |name: &str, of| lit(NULL).cast(of).alias(name);
        self.hashed(self.typed(claims).with_columns([
            lit(0).cast(DataType::Int32).alias("dq_flags"),
            none(REJECT, DataType::Int32),
            none(ROW_FINGERPRINT, DataType::Int128),
        ]))
    }

    fn hashed(&self, judged: LazyFrame) -> LazyFrame {
        judged.select([
            pseudonymize::token("claim_id", &self.claim).alias("claim_token"),
            col(LINE).alias("line_number"),
            pseudonymize::token("patient_id", &self.patient).alias("patient_token"),
            col(PROVIDER_ROW),
            col("provider_id"),
            col(CODE).alias("procedure_code"),
            col(CENTS),
            col(DAY).alias("date_of_service"),
            col("dq_flags"),
            col(ORIGIN),
            col(SOURCE_LINE),
            col(REJECT),
            col(ROW_FINGERPRINT),
        ])
    }
}

/// The second pass: the fact's columns from rows of the first. Of the findings only those that flag
/// a row are stored.
pub fn scored(
    rows: LazyFrame,
    directory: &Directory,
    model: &Arc<RiskModel>,
    severities: &Severities,
) -> LazyFrame {
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
        stored_flags(severities.mask(Severity::Flag)),
    ])
}

/// The findings of the rules that flag.
fn stored_flags(mask: i32) -> Expr {
    elementwise("stored_flags", &[col("dq_flags")], DataType::Int32, move |series| {
        let flags = values(series[0].i32()?).iter().map(|flags| flags & mask);
        Ok(Int32Chunked::from_vec("dq_flags".into(), flags.collect()).into_series())
    })
    .alias("dq_flags")
}

/// Cents as numeric(12,2); null where they do not fit.
fn amount() -> Expr {
    let decimal = DataType::Decimal(AMOUNT_PRECISION.into(), AMOUNT_SCALE.unsigned_abs().into());
    elementwise("amount", &[col(CENTS)], decimal, |series| {
        let cents = series[0].i64()?;
        let fits = |cents: i64| cents.unsigned_abs() <= AMOUNT_MAX_CENTS.unsigned_abs();
        let whole = cents.null_count() == 0 && values(cents).iter().all(|&cents| fits(cents));
        let cents = if whole {
            let cents = values(cents).iter().map(|&cents| cents.into()).collect();
            Int128Chunked::from_vec("amount".into(), cents)
        } else {
            let cents =
                cents.iter().map(|cents| cents.filter(|&cents| fits(cents)).map(i128::from));
            Int128Chunked::from_iter_options("amount".into(), cents)
        };
        let decimal = cents
            .into_decimal_unchecked(AMOUNT_PRECISION.into(), AMOUNT_SCALE.unsigned_abs().into());
        Ok(decimal.into_series())
    })
    .alias("amount")
}
