//! Actions on columns before anything is counted, scored or stored.
//!
//! A kept column has no expression and costs nothing.

mod amount;
mod date;
mod location;
mod text;

use std::collections::BTreeSet;
use std::sync::Arc;

use polars::prelude::{ChunkFullNull, DataType, Expr, IntoSeries, NULL, StringChunked, col, lit};

use super::expression::elementwise;
use super::pseudonymize::token;
use super::validate::{CODE, DAY};
use crate::error::Result;
use crate::key::{Domain, MasterKey, Tokenizer};
use crate::privacy::settings::{Action, Level, Privacy};
use crate::risk::canonical_specialty;
use crate::schema::{CENTS, PROVIDER_ROW, Shape};

/// The actions on each column, and the tokenizers they need.
pub struct Release {
    shape: Shape,
    provider_id: Action,
    provider_name: Action,
    specialty: Action,
    location: Action,
    procedure: Action,
    date: Action,
    amount: Option<amount::Coarse>,
    restricted: Arc<BTreeSet<String>>,
    tokenizers: Tokenizers,
}

/// Tokenizers by domain.
struct Tokenizers {
    claim: Arc<Tokenizer>,
    patient: Arc<Tokenizer>,
    record: Arc<Tokenizer>,
    provider: Arc<Tokenizer>,
    provider_name: Arc<Tokenizer>,
    specialty: Arc<Tokenizer>,
    location: Arc<Tokenizer>,
    shift: Arc<Tokenizer>,
}

impl Release {
    /// The actions of the settings, with tokenizers of a key.
    ///
    /// # Errors
    /// `Config` when the file of restricted ZIP prefixes cannot be read.
    pub fn new(privacy: &Privacy, key: &MasterKey) -> Result<Self> {
        let tokenizer = |domain| Arc::new(key.tokenizer(domain));
        Ok(Self {
            shape: privacy.shape(),
            provider_id: privacy.action("provider_id"),
            provider_name: privacy.action("provider_name"),
            specialty: privacy.action("specialty"),
            location: privacy.action("location"),
            procedure: privacy.action("procedure_code"),
            date: privacy.action("date_of_service"),
            amount: amount::Coarse::of(&privacy.action("amount")),
            restricted: Arc::new(privacy.restricted_zip3()?),
            tokenizers: Tokenizers {
                claim: tokenizer(Domain::Claim),
                patient: tokenizer(Domain::Patient),
                record: tokenizer(Domain::Record),
                provider: tokenizer(Domain::Provider),
                provider_name: tokenizer(Domain::ProviderName),
                specialty: tokenizer(Domain::Specialty),
                location: tokenizer(Domain::Location),
                shift: tokenizer(Domain::DateShift),
            },
        })
    }

    /// The remaining columns.
    #[must_use]
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Tokenizer for the fingerprints of rejected records.
    pub(super) fn record(&self) -> &Arc<Tokenizer> {
        &self.tokenizers.record
    }

    /// Token of the claim id.
    pub(super) fn claim(&self) -> Expr {
        token("claim_id", &self.tokenizers.claim)
    }

    /// Token of the patient id.
    pub(super) fn patient(&self) -> Expr {
        token("patient_id", &self.tokenizers.patient)
    }

    /// The claim's provider. A token is computed only if the provider is not in the directory,
    /// which has its own.
    pub(super) fn provider(&self) -> Expr {
        if self.provider_id != Action::Token {
            return col("provider_id");
        }
        let tokenizer = Arc::clone(&self.tokenizers.provider);
        let inputs = ["provider_id", PROVIDER_ROW].map(col);
        elementwise("provider_token", &inputs, DataType::String, move |series| {
            let (ids, indexes) = (series[0].str()?, series[1].u32()?);
            if indexes.null_count() == 0 {
                let none = StringChunked::full_null(ids.name().clone(), ids.len());
                return Ok(none.into_series());
            }
            let unknown: Vec<Option<&str>> = ids
                .iter()
                .zip(indexes.iter())
                .map(|(id, index)| id.filter(|_| index.is_none()))
                .collect();
            Ok(text::tokens(ids.name(), unknown.iter().copied(), &tokenizer).into_series())
        })
    }

    /// The claim's procedure code.
    pub(super) fn procedure(&self) -> Expr {
        if self.procedure == Action::Drop {
            return lit(NULL).cast(DataType::String);
        }
        text::released(CODE, &self.procedure, None).unwrap_or_else(|| col(CODE))
    }

    /// The claim's date of service; `run_day` is the latest day it can be shifted to.
    pub(super) fn date(&self, run_day: i32) -> Expr {
        match self.date {
            Action::Generalize(level) => date::generalized(DAY, level),
            Action::DateShift(most) => date::shifted(DAY, most, run_day, &self.tokenizers.shift),
            _ => col(DAY),
        }
    }

    /// The claim's amount; if generalised, also the difference to the original.
    pub(super) fn amount(&self) -> Vec<Expr> {
        self.amount
            .as_ref()
            .map_or_else(|| vec![col(CENTS)], |coarse| amount::released(coarse).into())
    }

    /// The directory's provider columns; `None` if all are unchanged.
    pub(super) fn directory_columns(&self) -> Option<Vec<Expr>> {
        let actions = [&self.provider_id, &self.provider_name, &self.specialty, &self.location];
        if actions.iter().all(|action| **action == Action::Keep) {
            return None;
        }
        let Tokenizers { provider, provider_name, specialty, location, .. } = &self.tokenizers;
        let columns = [
            self.directory_column("provider_id", &self.provider_id, provider),
            self.directory_column("provider_name", &self.provider_name, provider_name),
            self.directory_column("specialty", &self.specialty, specialty),
            self.directory_column("location", &self.location, location),
        ];
        Some(columns.into_iter().flatten().collect())
    }

    /// A directory column; `None` if dropped.
    fn directory_column(
        &self,
        column: &str,
        action: &Action,
        tokenizer: &Arc<Tokenizer>,
    ) -> Option<Expr> {
        match (column, action) {
            (_, Action::Drop) => None,
            (_, Action::Generalize(Level::State)) => Some(location::state(column)),
            (_, Action::Generalize(Level::Zip3)) => Some(location::zip3(column, &self.restricted)),
            // Two spellings are one peer group before and after.
            ("specialty", Action::Token) => {
                Some(text::token(column, tokenizer, canonical_specialty))
            }
            _ => text::released(column, action, Some(tokenizer)).or_else(|| Some(col(column))),
        }
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{
        Column, DataFrame, IntoColumn, IntoLazy, NewChunkedArray, UInt32Chunked,
    };

    use super::*;

    fn release(actions: &[(&str, Action)]) -> Release {
        let actions = actions.iter().map(|(column, action)| ((*column).to_owned(), action.clone()));
        let privacy = Privacy { columns: actions.collect(), ..Privacy::default() };
        Release::new(&privacy, &MasterKey::ephemeral().expect("a key")).expect("a release")
    }

    #[test]
    fn what_is_kept_costs_nothing() {
        let kept = release(&[]);
        assert_eq!(kept.provider(), col("provider_id"));
        assert_eq!(kept.procedure(), col(CODE));
        assert_eq!(kept.date(0), col(DAY));
        assert_eq!(kept.amount(), [col(CENTS)], "nothing is added to the frame");
        assert_eq!(kept.directory_columns(), None);
    }

    #[test]
    fn a_dropped_code_is_null_and_a_dropped_text_of_the_directory_absent() {
        let dropped = release(&[("procedure_code", Action::Drop), ("location", Action::Drop)]);
        let codes = StringChunked::from_slice(CODE.into(), &["99213", "J1100"]);
        let frame = DataFrame::new(2, vec![codes.into_column()]).expect("a frame");
        let frame = frame.lazy().with_columns([dropped.procedure().alias(CODE)]);
        let frame = frame.collect().expect("runs");
        let codes = frame.column(CODE).expect("codes");
        assert_eq!((codes.dtype(), codes.null_count()), (&DataType::String, 2));
        assert_eq!(dropped.directory_columns().expect("a change").len(), 3);
        assert_eq!(dropped.shape().dropped().count(), 2);
    }

    #[test]
    fn a_provider_that_the_directory_has_is_told_by_its_place_alone() {
        let release = release(&[("provider_id", Action::Token)]);
        let tokens = |indexes: [Option<u32>; 3]| {
            let ids = [Some("V1"), Some("V2"), None];
            let ids = StringChunked::from_slice_options("provider_id".into(), &ids);
            let indexes = UInt32Chunked::from_slice_options(PROVIDER_ROW.into(), &indexes);
            let columns = vec![ids.into_column(), indexes.into_column()];
            let frame = DataFrame::new(3, columns).expect("a frame");
            let frame = frame.lazy().select([release.provider()]).collect().expect("runs");
            let tokens = frame.column("provider_id").and_then(Column::str).expect("texts");
            tokens.iter().map(|token| token.map(ToOwned::to_owned)).collect::<Vec<_>>()
        };
        let known = tokens([Some(0), Some(1), Some(2)]);
        assert_eq!(known, [None, None, None]);
        let unknown = tokens([Some(0), None, None]);
        let expected = release.tokenizers.provider.token("V2").map(uuid::Uuid::from_bytes);
        assert_eq!(unknown, [None, expected.map(|token| token.to_string()), None]);
    }
}
