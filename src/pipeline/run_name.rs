//! An orchestrator's run name, and the run id derived from it.

use uuid::{Builder, Uuid};

use crate::error::{Error, Result};
use crate::event::RunId;

/// Separates these ids from other digests of the same text.
const DOMAIN: &str = "claims-etl 2024-01-01 run id of an orchestrator's name";
/// Maximum length in characters; the same as Airflow's.
const MAX_CHARS: usize = 250;

/// A run by its id or by an orchestrator's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunName {
    id: RunId,
    text: Option<String>,
}

impl RunName {
    /// Parses a UUID as the run id; any other text is hashed to a version 8 UUID,
    /// deterministically.
    ///
    /// # Errors
    /// `Config` when the text is empty, longer than 250 characters or contains control characters.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Ok(id) = Uuid::try_parse(text) {
            return Ok(Self { id: RunId::parse(&id.to_string())?, text: None });
        }
        if text.is_empty() || text.chars().count() > MAX_CHARS || text.chars().any(char::is_control)
        {
            return Err(Error::config(format!(
                "a run's name has 1 to {MAX_CHARS} characters, none of them a control character"
            ))
            .hint("give a UUID, or what the orchestrator calls the run"));
        }
        let digest = blake3::derive_key(DOMAIN, text.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let id = Builder::from_custom_bytes(bytes).into_uuid();
        Ok(Self { id: RunId::parse(&id.to_string())?, text: Some(text.to_owned()) })
    }

    /// The name of a run by its id.
    #[must_use]
    pub(crate) fn of(id: RunId) -> Self {
        Self { id, text: None }
    }

    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The name, unless it is the id.
    #[must_use]
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_the_same_id_everywhere() {
        let of = |text: &str| RunName::parse(text).expect("a name").id().to_string();
        let scheduled = of("scheduled__2024-01-01T00:00:00+00:00");
        assert_eq!(scheduled, of(" scheduled__2024-01-01T00:00:00+00:00\n"));
        assert_ne!(scheduled, of("scheduled__2024-01-02T00:00:00+00:00"));
        assert_eq!(scheduled, "45a17a87-fbfe-8ed4-b3bb-0307e011160c", "ids are in ledgers");
        let version = Uuid::parse_str(&scheduled).expect("a UUID").get_version_num();
        assert_eq!(version, 8);
    }

    #[test]
    fn a_uuid_is_the_id_itself() {
        let id = RunId::now();
        let name = RunName::parse(&id.to_string()).expect("a name");
        assert_eq!((name.id(), name.text()), (id, None));
        assert_eq!(name, RunName::of(id));
    }

    #[test]
    fn names_have_a_size_and_no_control_characters() {
        for wrong in ["", "  ", "a\nb", "a\u{7}", &"x".repeat(251)] {
            assert!(RunName::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(RunName::parse(&"ä".repeat(250)).is_ok());
    }
}
