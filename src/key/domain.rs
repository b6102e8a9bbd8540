//! Domains of identifiers, each with its own subkey.

use std::borrow::Cow;

use crate::identifier;

/// Kind of an identifier. The same text in two domains yields unrelated tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    Claim,
    Patient,
    Provider,
    /// Raw fields of a rejected record.
    Record,
    ProviderName,
    /// Specialty in canonical form.
    Specialty,
    Location,
    /// Patient id, from which the date shift is derived.
    DateShift,
}

/// Canonicalisation before hashing.
pub(super) type Form = fn(&str) -> Cow<'_, str>;

impl Domain {
    /// Canonicalisation of this domain: identifiers have export damage removed, display texts do
    /// not.
    pub(super) fn form(self) -> Form {
        match self {
            Self::Claim | Self::Patient | Self::Provider | Self::DateShift => identifier::canonical,
            Self::Record | Self::ProviderName | Self::Specialty | Self::Location => {
                identifier::trimmed
            }
        }
    }

    /// The context string for BLAKE3's `derive_key`: fixed forever, unique per domain.
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

    /// The context string for further keys of a chain: fixed forever, unique per domain.
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
