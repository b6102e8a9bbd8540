//! Maps contract columns to a source's header: by name, template, list of alternatives, constant,
//! or not at all; and filters the rows that are claims.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A header name, or a template with header names in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    Name(String),
    /// `{CLAIMID}-{CHARGEID}`.
    Template(Vec<Part>),
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// Value of the column with this name.
    Field(String),
}

/// Source of a contract column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawMapping", into = "RawMapping")]
pub enum Mapping {
    /// One column, or a template of several.
    Is(Pattern),
    /// The first of these present in the header.
    FirstOf {
        /// In order of preference.
        patterns: Vec<Pattern>,
        /// Whether the column is null when none is present.
        or_absent: bool,
    },
    /// The same value in every row.
    Constant(String),
    /// Null in every row: the source has no such column.
    Absent,
}

/// Accepted values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RawValues")]
pub struct Values(pub Vec<String>);

/// Serialised form of a mapping.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a header name, a list of header names, or { constant = \"text\" }"
)]
enum RawMapping {
    One(String),
    Several(Vec<String>),
    Constant(Constant),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Constant {
    constant: String,
}

/// Serialised form of values.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum RawValues {
    One(String),
    More(Vec<String>),
}

impl Pattern {
    /// Parses a name or a template; `{{` and `}}` are literal braces.
    ///
    /// # Errors
    /// A description of the empty name or unbalanced brace.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("a header name cannot be empty".into());
        }
        let (mut parts, mut plain) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = after
                .split_once('}')
                .filter(|(name, _)| brace == "{" && !name.contains('{'))
                .ok_or("a brace has no partner; two of them stand for one")?;
            if name.trim().is_empty() {
                return Err("a header name cannot be empty".into());
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Field(name.trim().to_owned()));
            rest = after;
        }
        plain.push_str(rest);
        if parts.is_empty() {
            return Ok(Self::Name(plain));
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self::Template(parts))
    }

    /// Header names used.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let (name, parts) = match self {
            Self::Name(name) => (Some(name.as_str()), [].as_slice()),
            Self::Template(parts) => (None, parts.as_slice()),
        };
        let fields = parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) => None,
        });
        name.into_iter().chain(fields)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doubled = |text: &str| text.replace('{', "{{").replace('}', "}}");
        match self {
            Self::Name(name) => f.write_str(&doubled(name)),
            Self::Template(parts) => parts.iter().try_for_each(|part| match part {
                Part::Text(text) => f.write_str(&doubled(text)),
                Part::Field(name) => write!(f, "{{{name}}}"),
            }),
        }
    }
}

impl From<&str> for Mapping {
    /// The column with exactly this name.
    fn from(name: &str) -> Self {
        Self::Is(Pattern::Name(name.to_owned()))
    }
}

impl TryFrom<RawMapping> for Mapping {
    type Error = String;

    fn try_from(raw: RawMapping) -> Result<Self, String> {
        match raw {
            RawMapping::One(text) if text.trim().is_empty() => Ok(Self::Absent),
            RawMapping::One(text) => Pattern::parse(&text).map(Self::Is),
            RawMapping::Several(mut texts) => {
                let or_absent = texts.pop_if(|last| last.trim().is_empty()).is_some();
                if texts.is_empty() {
                    return Err("a list of header names cannot be empty".into());
                }
                let patterns = texts.iter().map(|text| Pattern::parse(text));
                Ok(Self::FirstOf { patterns: patterns.collect::<Result<_, _>>()?, or_absent })
            }
            RawMapping::Constant(Constant { constant }) if constant.trim().is_empty() => {
                Err("a constant cannot be empty; \"\" says that there is no such column".into())
            }
            RawMapping::Constant(Constant { constant }) => Ok(Self::Constant(constant)),
        }
    }
}

impl From<Mapping> for RawMapping {
    fn from(mapping: Mapping) -> Self {
        match mapping {
            Mapping::Is(pattern) => Self::One(pattern.to_string()),
            Mapping::FirstOf { patterns, or_absent } => {
                let absent = or_absent.then(String::new);
                Self::Several(patterns.iter().map(ToString::to_string).chain(absent).collect())
            }
            Mapping::Constant(constant) => Self::Constant(Constant { constant }),
            Mapping::Absent => Self::One(String::new()),
        }
    }
}

impl From<RawValues> for Values {
    fn from(raw: RawValues) -> Self {
        match raw {
            RawValues::One(text) => Self(vec![text]),
            RawValues::More(texts) => Self(texts),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(toml: &str) -> Result<Mapping, String> {
        let mut columns: BTreeMap<String, Mapping> =
            toml::from_str(&format!("it = {toml}")).map_err(|error| error.message().to_owned())?;
        Ok(columns.remove("it").expect("it"))
    }

    #[test]
    fn every_form_reads_and_writes_back() {
        let parts = vec![
            Part::Field("A b".into()),
            Part::Text("-{x".into()),
            Part::Field("C".into()),
            Part::Text("}".into()),
        ];
        for (toml, mapping) in [
            ("\"CLM_ID\"", Mapping::from("CLM_ID")),
            ("\"a{{b\"", Mapping::from("a{b")),
            ("\"{A b}-{{x{C}}}\"", Mapping::Is(Pattern::Template(parts))),
            ("{ constant = \"x\" }", Mapping::Constant("x".into())),
            ("\"\"", Mapping::Absent),
        ] {
            assert_eq!(read(toml).as_ref(), Ok(&mapping), "{toml}");
            let raw = BTreeMap::from([("it", mapping.clone())]);
            let again = toml::to_string(&raw).expect("TOML");
            let again: BTreeMap<String, Mapping> = toml::from_str(&again).expect("TOML");
            assert_eq!(again["it"], mapping, "{toml}");
        }
        let several = read("[\"A\", \"{B}/{C}\", \"\"]").expect("a list");
        let Mapping::FirstOf { patterns, or_absent: true } = several else { panic!("{several:?}") };
        let names: Vec<&str> = patterns.iter().flat_map(Pattern::names).collect();
        assert_eq!(names, ["A", "B", "C"]);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (toml, reason) in [
            ("\"{A\"", "no partner"),
            ("\"A}\"", "no partner"),
            ("\"{A{B}}\"", "no partner"),
            ("\"{ }\"", "cannot be empty"),
            ("[]", "cannot be empty"),
            ("[\"\", \"A\"]", "cannot be empty"),
            ("{ constant = \" \" }", "cannot be empty"),
            ("{ const = \"x\" }", "expected a header name"),
            ("7", "expected a header name"),
        ] {
            let refusal = read(toml).expect_err(toml);
            assert!(refusal.contains(reason), "{toml}: {refusal}");
        }
    }
}
