//! Classifies each published column under 45 CFR 164.514(b)(2)(i): its class, the Safe Harbor
//! requirement, and whether the action meets it.

use serde::Serialize;

use crate::privacy::settings::{Action, Level};
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM};

/// Disclosure class of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Direct identifier of a person or an account.
    Direct,
    /// Quasi-identifier: can identify a person in combination with others.
    Quasi,
    /// Sensitive information that can help to identify a person.
    Sensitive,
    /// Computed from other columns, or about the load.
    Derived,
    /// Not classified.
    Unknown,
}

impl Kind {
    /// Name in the report.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Quasi => "quasi",
            Self::Sensitive => "sensitive",
            Self::Derived => "derived",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether a column meets Safe Harbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// Yes, as far as a program can decide.
    Yes,
    No,
    /// Requires human review.
    Judge,
}

impl Met {
    /// Name in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Judge => "judge",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishedColumn {
    pub table: String,
    pub column: String,
    /// Applicable items of the list of identifiers; empty if not listed.
    pub(crate) listed: &'static [&'static str],
    /// Disclosure class.
    pub(crate) kind: Kind,
    /// The action; `None` if computed.
    pub action: Option<&'static str>,
    /// The Safe Harbor requirement.
    pub(crate) needs: &'static str,
    /// Whether it is met.
    pub met: Met,
}

/// The contract column behind a published column, if any.
#[must_use]
pub(crate) fn source(table: &str, column: &str) -> Option<&'static str> {
    let known = match column {
        "claim_token" => "claim_id",
        "patient_token" => "patient_id",
        "provider_id" => "provider_id",
        "provider_name" => "provider_name",
        "specialty" => "specialty",
        "location" => "location",
        "procedure_code" => "procedure_code",
        "amount" => "amount",
        "date_of_service" => "date_of_service",
        _ => return None,
    };
    matches!(table, CLAIMS_FACT | PROVIDERS_DIM).then_some(known)
}

/// Classifies a published column; `action` is that of its contract column.
#[must_use]
pub(crate) fn judge(table: &str, column: &str, action: Option<&Action>) -> PublishedColumn {
    let (listed, kind, needs, met) = of(column, action);
    PublishedColumn {
        table: table.to_owned(),
        column: column.to_owned(),
        listed,
        kind,
        action: action.map(Action::name),
        needs,
        met,
    }
}

type Judged = (&'static [&'static str], Kind, &'static str, Met);

fn of(column: &str, action: Option<&Action>) -> Judged {
    let hidden = matches!(action, Some(Action::Redact(_) | Action::Drop));
    match column {
        "claim_token" => {
            (&["J", "R"], Kind::Direct, "gone, or a code not made from the id", Met::No)
        }
        "patient_token" => {
            (&["H", "I", "R"], Kind::Direct, "gone, or a code not made from the id", Met::No)
        }
        "provider_id" | "specialty" => {
            (&[], Kind::Quasi, "nothing: it is not the patient's", Met::Yes)
        }
        "provider_name" => {
            let met =
                if hidden || matches!(action, Some(Action::Token)) { Met::Yes } else { Met::Judge };
            (&[], Kind::Quasi, "nothing, if it names no patient", met)
        }
        "location" => {
            let coarse = matches!(action, Some(Action::Generalize(Level::State | Level::Zip3)));
            // The provider's location is a proxy for the patient's.
            let met = if hidden || coarse { Met::Yes } else { Met::No };
            (&["B"], Kind::Quasi, "the state, or ZIP3 of over 20,000 people", met)
        }
        "date_of_service" => {
            let year = matches!(action, Some(Action::Generalize(Level::Year)));
            (&["C"], Kind::Quasi, "the year alone", if year { Met::Yes } else { Met::No })
        }
        "procedure_code" => {
            let met = if hidden { Met::Yes } else { Met::Judge };
            (&[], Kind::Sensitive, "nothing; rare codes are a risk", met)
        }
        "amount" => {
            let exact = matches!(action, None | Some(Action::Keep | Action::TopCode(_)));
            let met = if exact { Met::Judge } else { Met::Yes };
            (&[], Kind::Quasi, "nothing; exact cents are a fingerprint", met)
        }
        "line_number" | "risk_score" | "risk_components" | "dq_flags" | "run_no"
        | "provider_key" | "is_placeholder" | "is_current" | "row_hash" | "valid_from"
        | "valid_to" => (&[], Kind::Derived, "nothing", Met::Yes),
        _ => (&[], Kind::Unknown, "somebody who knows the column", Met::Judge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Shape, fact_columns, provider_columns};

    #[test]
    fn every_column_of_the_tables_is_known() {
        let facts = fact_columns(Shape::WHOLE).into_iter().map(|column| (CLAIMS_FACT, column.name));
        let providers = provider_columns(Shape::WHOLE);
        let providers = providers.into_iter().map(|column| (PROVIDERS_DIM, column.name));
        for (table, column) in facts.chain(providers) {
            assert_ne!(judge(table, column, None).kind, Kind::Unknown, "{column}");
        }
        assert_eq!(judge(CLAIMS_FACT, "birth_date", None).met, Met::Judge);
    }

    #[test]
    fn a_month_is_not_enough_and_a_year_is() {
        let met =
            |level| judge(CLAIMS_FACT, "date_of_service", Some(&Action::Generalize(level))).met;
        assert_eq!((met(Level::Month), met(Level::Year)), (Met::No, Met::Yes));
        let shifted = judge(CLAIMS_FACT, "date_of_service", Some(&Action::DateShift(28)));
        assert_eq!(shifted.met, Met::No, "shifted dates are dates");
        let town = judge(CLAIMS_FACT, "location", Some(&Action::Keep));
        assert_eq!((town.met, town.listed), (Met::No, &["B"][..]));
    }
}
