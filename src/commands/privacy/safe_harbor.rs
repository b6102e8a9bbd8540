//! Each published column under the list of 45 CFR 164.514(b)(2)(i): its class, what Safe Harbor
//! would need of it, and whether what was done to it is enough.

use serde::Serialize;

use crate::privacy::settings::{Action, Level};
use crate::schema::{CLAIMS_FACT, PROVIDERS_DIM};

/// What a column can do to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// It names the person or an account.
    Direct,
    /// Together with others it can find the person.
    Quasi,
    /// It is private information about the person, and can help to identify them.
    Sensitive,
    /// It is computed from other columns, or is about the load.
    Derived,
    /// Nobody here knows it.
    Unknown,
}

impl Kind {
    /// The name in the report.
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

/// Whether a column is what Safe Harbor needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// It is, as far as a program can judge.
    Yes,
    No,
    /// A human must look at it.
    Judge,
}

impl Met {
    /// The name in the report.
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
    /// The letters of the list under which it falls; none where it is not listed.
    pub(crate) listed: &'static [&'static str],
    /// What it can do.
    pub(crate) kind: Kind,
    /// What was done to it; none where it is computed.
    pub action: Option<&'static str>,
    /// What Safe Harbor needs.
    pub(crate) needs: &'static str,
    /// Whether that is met.
    pub met: Met,
}

/// The column of the contract that a published column comes from, if it comes from one.
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

/// A published column, judged; `action` is what was done to the column that it comes from.
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
            // The provider's place is the patient's by proxy.
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
