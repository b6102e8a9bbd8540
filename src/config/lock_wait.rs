//! How long a run waits for another one: not at all, for some seconds, or until it ends.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Accepted values of `run.wait`.
const FORMS: &str = "true, false or a number of seconds";

/// How long a run waits for the warehouse lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// No wait, except for the time the server needs to notice a killed run.
    #[default]
    No,
    /// At most this many seconds.
    Seconds(u32),
    /// Until the lock is free.
    Forever,
}

impl Wait {
    /// The maximum wait, if limited; `grace` when not waiting.
    #[must_use]
    pub(crate) fn limit(self, grace: Duration) -> Option<Duration> {
        match self {
            Self::No => Some(grace),
            Self::Seconds(seconds) => Some(Duration::from_secs(seconds.into())),
            Self::Forever => None,
        }
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(Self::Forever),
            "false" | "no" | "off" => Ok(Self::No),
            number => number.parse().map(Self::Seconds).map_err(|_| format!("expected {FORMS}")),
        }
    }
}

impl Serialize for Wait {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::No => serializer.serialize_bool(false),
            Self::Seconds(seconds) => serializer.serialize_u32(*seconds),
            Self::Forever => serializer.serialize_bool(true),
        }
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Form)
    }
}

/// Deserialises the accepted TOML values.
struct Form;

impl Visitor<'_> for Form {
    type Value = Wait;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMS)
    }

    fn visit_bool<E: serde::de::Error>(self, wait: bool) -> Result<Wait, E> {
        Ok(if wait { Wait::Forever } else { Wait::No })
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Wait, E> {
        u32::try_from(seconds)
            .map(Wait::Seconds)
            .map_err(|_| E::invalid_value(Unexpected::Signed(seconds), &self))
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Wait, E> {
        u32::try_from(seconds)
            .map(Wait::Seconds)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(seconds), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Table {
        wait: Wait,
    }

    #[test]
    fn each_form_is_written_as_it_is_read() {
        for (text, wait) in
            [("false", Wait::No), ("60", Wait::Seconds(60)), ("true", Wait::Forever)]
        {
            assert_eq!(text.parse(), Ok(wait));
            let toml = format!("wait = {text}\n");
            let table: Table = toml::from_str(&toml).expect("TOML");
            assert_eq!(table, Table { wait });
            assert_eq!(toml::to_string(&table).expect("TOML"), toml);
            let json = serde_json::to_string(&table).expect("JSON");
            assert_eq!(serde_json::from_str::<Table>(&json).expect("JSON"), table);
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "soon", "-1", "1.5", "4294967296"] {
            assert!(text.parse::<Wait>().is_err(), "{text}");
        }
        for value in ["-1", "4294967296", "1.5", "\"soon\"", "[]"] {
            let refused = toml::from_str::<Table>(&format!("wait = {value}")).expect_err(value);
            assert!(refused.message().contains(FORMS), "{refused}");
        }
    }

    #[test]
    fn no_wait_is_still_a_moment_of_grace() {
        assert_eq!(Wait::No.limit(GRACE), Some(GRACE));
        assert_eq!(Wait::Seconds(0).limit(GRACE), Some(Duration::ZERO));
        assert_eq!(Wait::Forever.limit(GRACE), None);
    }
}
