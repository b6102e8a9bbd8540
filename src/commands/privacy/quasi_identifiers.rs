//! Quasi-identifiers: parsed from the command line and matched with the published columns.

use crate::commands::privacy::exposure::Quasi;
use crate::error::{Error, Result};
use crate::privacy::settings::{Action, Level};
use crate::schema::Shape;

/// Columns allowed in a quasi-identifier.
const COLUMNS: [&str; 7] = [
    "provider_id",
    "provider_name",
    "specialty",
    "location",
    "procedure_code",
    "amount",
    "date_of_service",
];

const DATE: &str = "date_of_service";

/// Date granularity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grain {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

const GRAINS: [(&str, Grain); 5] = [
    ("day", Grain::Day),
    ("week", Grain::Week),
    ("month", Grain::Month),
    ("quarter", Grain::Quarter),
    ("year", Grain::Year),
];

/// A quasi-identifier in the form `provider_id,date_of_service:month`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuasiSet(Vec<(&'static str, Option<Grain>)>);

impl QuasiSet {
    /// Default quasi-identifiers.
    #[must_use]
    pub(crate) fn defaults() -> Vec<Self> {
        let (provider, procedure) = ("provider_id", "procedure_code");
        [
            (&[provider, procedure][..], Grain::Day),
            (&[provider], Grain::Day),
            (&[procedure], Grain::Day),
            (&[provider, procedure], Grain::Month),
            (&[provider], Grain::Month),
            (&[procedure], Grain::Year),
        ]
        .into_iter()
        .map(|(columns, grain)| {
            let columns = columns.iter().map(|&column| (column, None));
            Self(columns.chain([(DATE, Some(grain))]).collect())
        })
        .collect()
    }

    /// Parses `column,column,date_of_service:month`.
    ///
    /// # Errors
    /// `Config` for an unknown column or granularity, and for a repeated column.
    pub fn parse(text: &str) -> Result<Self> {
        let mut set: Vec<(&'static str, Option<Grain>)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (name, grain) = part.split_once(':').map_or((part, None), |(n, g)| (n, Some(g)));
            let Some(&column) = COLUMNS.iter().find(|&&column| column == name) else {
                return Err(Error::config(format!(
                    "there is no column {name:?} to find people by"
                ))
                .hint(format!("the columns are: {}", COLUMNS.join(", "))));
            };
            let grain = grain.map(|grain| of_name(column, grain)).transpose()?;
            if set.iter().any(|(named, _)| *named == column) {
                return Err(Error::config(format!("{column} is twice in a set")));
            }
            set.push((column, grain));
        }
        Ok(Self(set))
    }

    /// The column names, dates with their granularity.
    #[must_use]
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |&(column, grain): &(&str, Option<Grain>)| match grain {
            Some(grain) => format!("{column}:{}", name_of(grain)),
            None => column.to_owned(),
        };
        self.0.iter().map(name).collect()
    }

    /// The columns to group by in tables of this shape, with the action `dates` on dates; or why
    /// the set cannot be measured.
    ///
    /// # Errors
    /// The reason, for display.
    pub(crate) fn measurable(&self, shape: Shape, dates: &Action) -> Result<Vec<Quasi>, String> {
        if let Some((column, _)) = self.0.iter().find(|(column, _)| !shape.has(column)) {
            return Err(format!("{column} is not released"));
        }
        let released = match dates {
            Action::Generalize(Level::Week) => Grain::Week,
            Action::Generalize(Level::Month) => Grain::Month,
            Action::Generalize(Level::Quarter) => Grain::Quarter,
            Action::Generalize(Level::Year) => Grain::Year,
            _ => Grain::Day,
        };
        if let Some(finer) = self.0.iter().find_map(|(_, grain)| grain.filter(|g| *g < released)) {
            let (finer, released) = (name_of(finer), name_of(released));
            return Err(format!("dates are released by {released}, not by {finer}"));
        }
        let quasi = |&(column, grain): &(&'static str, Option<Grain>)| Quasi {
            column,
            level: grain.and_then(level),
        };
        Ok(self.0.iter().map(quasi).collect())
    }
}

fn of_name(column: &str, name: &str) -> Result<Grain> {
    if column != DATE {
        return Err(Error::config(format!("{column} has no grain: only {DATE} has one")));
    }
    let found = GRAINS.iter().find(|(known, _)| *known == name).map(|(_, grain)| *grain);
    found.ok_or_else(|| {
        let known = GRAINS.map(|(known, _)| known).join(", ");
        Error::config(format!("dates have no grain {name:?}")).hint(format!("there are: {known}"))
    })
}

fn name_of(grain: Grain) -> &'static str {
    GRAINS.iter().find(|(_, known)| *known == grain).map_or("", |(name, _)| name)
}

fn level(grain: Grain) -> Option<Level> {
    match grain {
        Grain::Day => None,
        Grain::Week => Some(Level::Week),
        Grain::Month => Some(Level::Month),
        Grain::Quarter => Some(Level::Quarter),
        Grain::Year => Some(Level::Year),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_and_named_alike() {
        let text = "provider_id,procedure_code,date_of_service:month";
        let set = QuasiSet::parse(text).expect("a set");
        assert_eq!(set.names().join(","), text);
        assert!(QuasiSet::defaults().contains(&set));
        let quasi = set.measurable(Shape::WHOLE, &Action::Keep).expect("measurable");
        assert_eq!(quasi[2], Quasi { column: DATE, level: Some(Level::Month) });
    }

    #[test]
    fn invalid_questions_are_refused() {
        for (text, expected) in [
            ("patient_id", "there is no column \"patient_id\""),
            ("", "there is no column \"\""),
            ("amount,amount", "amount is twice"),
            ("amount:month", "amount has no grain"),
            ("date_of_service:hour", "dates have no grain \"hour\""),
        ] {
            let error = QuasiSet::parse(text).expect_err(text);
            assert!(error.message().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_set_of_what_is_not_released_is_left_out() {
        let year = Action::Generalize(Level::Year);
        let why = |text: &str, shape, dates: &Action| {
            QuasiSet::parse(text).expect("a set").measurable(shape, dates).err()
        };
        let no_code = Shape::without(["procedure_code"]);
        let sentence = Some("procedure_code is not released".to_owned());
        assert_eq!(why("procedure_code", no_code, &Action::Keep), sentence);
        let sentence = Some("dates are released by year, not by month".to_owned());
        assert_eq!(why("date_of_service:month", Shape::WHOLE, &year), sentence);
        assert_eq!(why("date_of_service:year", Shape::WHOLE, &year), None);
        assert_eq!(why("date_of_service", Shape::WHOLE, &year), None);
        assert_eq!(why("date_of_service:day", Shape::WHOLE, &Action::DateShift(7)), None);
    }
}
