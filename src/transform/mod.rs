//! Transforms text columns to scored, pseudonymised rows: expressions only, no I/O.
//!
//! Plans are executed by the caller, except for the directory, which is collected here once.
//!
//! A score compares a claim with all others, so there are two passes. In the first,
//! [`Claims::rows`] validates a block's rows, joins them to the provider directory, computes tokens
//! and applies the [`Release`]; a [`Counter`] collects statistics. In the second, [`scored`] adds
//! the score and the provider's columns. Raw identifiers and all other unreleased data end in the
//! first pass.

mod actions;
mod amount;
pub(crate) mod column_access;
mod date;
mod date_suggestion;
mod directory;
mod expression;
mod identifiers;
mod identity;
mod npi;
pub(crate) mod procedure_code;
mod provider_keys;
mod pseudonymize;
pub(crate) mod quality_flags;
mod reject;
pub(crate) mod risk;
pub(crate) mod rule_set;
mod text;
pub(crate) mod token_map;
mod validate;

use std::sync::Arc;

pub use actions::Release;
pub(crate) use amount::decimal_marks;
pub use date::DateFormats;
pub(crate) use date_suggestion::{DateSample, DateSuggestion};
pub use directory::{Directory, Refused, provider_rows};
use polars::prelude::{
    DataType, Expr, Int32Chunked, Int128Chunked, IntoSeries, JoinArgs, JoinType, LazyFrame, NULL,
    NewChunkedArray, col, lit,
};
pub use provider_keys::ProviderKeys;
pub use risk::{Counter, Scorer};

use self::directory::FalseNpis;
use self::expression::elementwise;
use self::validate::LINE;
use crate::rule::{Severities, Severity};
use crate::schema::{
    AMOUNT_MAX_CENTS, AMOUNT_PRECISION, AMOUNT_SCALE, CENTS, CLAIM_CHECK, ORIGIN, PATIENT_CHECK,
    PROVIDER_ROW, REJECT, ROW_FINGERPRINT, SOURCE_LINE, UNKNOWN_PROVIDER, fact_columns,
    keyless_columns,
};
use crate::transform::column_access::values;
pub(crate) use crate::transform::procedure_code::belongs;
pub use crate::transform::rule_set::{CheckedIdentifier, RuleSet};
pub(crate) use crate::transform::token_map::{identifiers, token_pairs};

/// The first pass over claims.
pub struct Claims {
    lookup: LazyFrame,
    false_npis: FalseNpis,
    formats: Arc<DateFormats>,
    checks: Arc<RuleSet>,
    release: Arc<Release>,
    seed: identity::Seed,
}

impl Claims {
    /// The first pass with this directory, date formats, rules and release.
    #[must_use]
    pub fn new(
        directory: &Directory,
        formats: &Arc<DateFormats>,
        checks: &Arc<RuleSet>,
        release: &Arc<Release>,
    ) -> Self {
        Self {
            lookup: directory.lookup(),
            false_npis: directory.false_npis(),
            formats: Arc::clone(formats),
            checks: Arc::clone(checks),
            release: Arc::clone(release),
            seed: identity::Seed::default(),
        }
    }

    /// Typed and joined to the directory; the join never multiplies rows.
    fn typed(&self, claims: LazyFrame) -> LazyFrame {
        let typed = validate::typed(claims, &self.formats, &self.checks);
        // `Directory` guarantees unique keys. Only the provider's index is joined here; its other
        // columns are added in the second pass.
        typed.join(
            self.lookup.clone(),
            [col("provider_id")],
            [col("provider_id")],
            JoinArgs::new(JoinType::Left),
        )
    }

    /// Typed, joined to the directory and validated. Contains raw identifiers: for benchmarks and
    /// tests only, never for loading.
    pub fn joined(&self, claims: LazyFrame) -> LazyFrame {
        self.typed(claims)
            .with_columns([quality_flags::flags(&self.checks, self.false_npis.clone())])
            .with_columns([reject::reject(&self.checks, &self.formats)])
            .with_columns([reject::fingerprint(self.release.record())])
    }

    /// The rows of the first pass: tokens, released values, directory index of the provider (null
    /// if absent), flags, origin, rejecting rule, and fingerprint of rejected records. Rejected
    /// rows are kept, so that read = accepted + rejected holds within one plan.
    pub fn rows(&self, claims: LazyFrame) -> LazyFrame {
        self.released(self.joined(claims))
    }

    /// The rows of the first pass without validation, to measure its cost. For benchmarks only.
    pub fn unjudged(&self, claims: LazyFrame) -> LazyFrame {
        let none = |name: &str, of| lit(NULL).cast(of).alias(name);
        self.released(self.typed(claims).with_columns([
            lit(0).cast(DataType::Int32).alias("dq_flags"),
            none(REJECT, DataType::Int32),
            none(ROW_FINGERPRINT, DataType::Int128),
        ]))
    }

    /// Applies the release to validated rows.
    fn released(&self, judged: LazyFrame) -> LazyFrame {
        let release = &self.release;
        let mut columns = vec![
            release.claim().alias("claim_token"),
            col(LINE).alias("line_number"),
            release.patient().alias("patient_token"),
            col(PROVIDER_ROW),
            release.provider().alias("provider_id"),
            release.procedure().alias("procedure_code"),
            release.date(self.checks.run_day).alias("date_of_service"),
            col("dq_flags"),
            col(ORIGIN),
            col(SOURCE_LINE),
            col(REJECT),
            col(ROW_FINGERPRINT),
            identity::check("claim_id", &self.seed).alias(CLAIM_CHECK),
            identity::check("patient_id", &self.seed).alias(PATIENT_CHECK),
        ];
        columns.extend(release.amount());
        judged.select(columns)
    }
}

/// The second pass: fact columns from rows of the first. Stores only the bits of flagging rules.
/// Without a scorer all scores and components are 0.
pub fn scored(
    rows: LazyFrame,
    directory: &Directory,
    scorer: Option<&Arc<Scorer>>,
    severities: &Severities,
    keys: Option<&ProviderKeys>,
) -> LazyFrame {
    let shape = directory.shape();
    let (provider, columns) = if let Some(keys) = keys {
        (keys.column(), fact_columns(shape))
    } else {
        let known = directory.attribute("provider_id").fill_null(col("provider_id"));
        let provider = known.fill_null(lit(UNKNOWN_PROVIDER)).alias("provider_id");
        (provider, keyless_columns(shape))
    };
    rows.with_columns([provider])
        .with_columns([risk::risk_components(scorer)])
        .with_columns([
            amount(),
            risk::risk_score(scorer),
            stored_flags(severities.mask(Severity::Flag)),
        ])
        .select(columns.iter().map(|column| col(column.name)).collect::<Vec<_>>())
}

/// The bits of flagging rules.
fn stored_flags(mask: i32) -> Expr {
    elementwise("stored_flags", &[col("dq_flags")], DataType::Int32, move |series| {
        let flags = values(series[0].i32()?).iter().map(|flags| flags & mask);
        Ok(Int32Chunked::from_vec("dq_flags".into(), flags.collect()).into_series())
    })
    .alias("dq_flags")
}

/// Cents as numeric(12,2); null if out of range.
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
