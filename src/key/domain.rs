//! What identifiers name: one subkey a domain.

use std::borrow::Cow;

use crate::identifier;

/// What an identifier names. The same text in two domains gives two unrelated tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// A claim id.
    Claim,
    /// A patient id.
    Patient,
    /// A provider id.
    Provider,
    /// The raw fields of a rejected record.
    Record,
    ProviderName,
    /// A specialty in canonical spelling.
    Specialty,
    Location,
    /// A patient id, for the days by which the patient's dates move.
    DateShift,
}

/// Brings a text into the form that is hashed.
pub(super) type Form = fn(&str) -> Cow<'_, str>;

impl Domain {
    /// The form of its texts: identifiers lose what exports have done to them, texts for people do not.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Claim | Self::Patient | Self::Provider | Self::DateShift => identifier::canonical,
            Self::Record | Self::ProviderName | Self::Specialty | Self::Location => {
                identifier::trimmed
            }
        }
    }

    /// The context string of BLAKE3's `derive_key`: fixed forever, one a domain.
    pub(super) fn context(self) -> &'static str {
        match self {
            Self::Claim => "claims-etl 2026-11-22 claim token v2",
            Self::Patient => "claims-etl 2026-11-22 patient token v2",
            Self::Provider => "claims-etl 2026-11-22 provider token v2",
            Self::Record => "claims-etl 2026-11-22 record token v2",
            Self::ProviderName => "claims-etl 2026-11-23 provider name token v1",
            Self::Specialty => "claims-etl 2026-11-23 specialty token v1",
            Self::Location => "claims-etl 2026-11-23 location token v1",
            Self::DateShift => "claims-etl 2026-11-23 date shift v1",
        }
    }

    /// The context of the further keys of a chain: fixed forever, one a domain.
    pub(super) fn chain_context(self) -> &'static str {
        match self {
            Self::Claim => "claims-etl 2026-11-23 claim chain v1",
            Self::Patient => "claims-etl 2026-11-23 patient chain v1",
            Self::Provider => "claims-etl 2026-11-23 provider chain v1",
            Self::Record => "claims-etl 2026-11-23 record chain v1",
            Self::ProviderName => "claims-etl 2026-11-23 provider name chain v1",
            Self::Specialty => "claims-etl 2026-11-23 specialty chain v1",
            Self::Location => "claims-etl 2026-11-23 location chain v1",
            Self::DateShift => "claims-etl 2026-11-23 date shift chain v1",
        }
    }
}
