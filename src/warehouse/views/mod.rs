//! The views that dashboards read, as the shape of the tables wants them.

mod change;
mod claims;
mod dependants;
mod grants;
mod provider_month;

pub(crate) use change::{Digests, Kept, bring_up, fill_anew, forget_months, locks, make, unmake};
pub(crate) use dependants::refuse_dependants;

use crate::schema::{PUBLISHED, Shape};

/// The refresh target that keeps the stored months up to date.
pub(crate) const MONTHS: &str = "provider_month";

/// Who may read a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Analysts: it shows rows of single claims, or cells of few patients.
    Analyst,
    /// Everybody who reads dashboards.
    Public,
}

#[derive(Debug, Clone)]
pub struct View {
    /// The name in the published schema.
    pub name: &'static str,
    /// Whether its rows are stored.
    pub materialized: bool,
    /// Who may read it.
    pub audience: Audience,
    pub query: String,
    /// What it shows.
    pub comment: &'static str,
    /// What makes its indexes: whole statements, separated by semicolons; empty for none.
    pub indexes: String,
}

/// All views, each after those that it reads.
#[must_use]
pub fn all(shape: Shape) -> Vec<View> {
    vec![
        claims::claims(shape),
        claims::flags(),
        provider_month::by_month(shape),
        provider_month::stored(shape),
        provider_month::public(shape),
    ]
}

impl View {
    /// The name with its schema, as SQL.
    fn place(&self) -> String {
        format!("{PUBLISHED}.{}", self.name)
    }

    /// What it is, in SQL's words.
    fn kind(&self) -> &'static str {
        if self.materialized { "MATERIALIZED VIEW" } else { "VIEW" }
    }

    /// What makes it, comment and indexes included.
    fn script(&self, create: &str) -> String {
        let (kind, place) = (self.kind(), self.place());
        format!(
            "{create} {kind} {place} AS\n{};\nCOMMENT ON {kind} {place} IS '{}';\n{}",
            self.query,
            self.comment.replace('\'', "''"),
            self.indexes
        )
    }

    /// Tells whether it would be made as it was.
    fn digest(&self) -> String {
        blake3::hash(self.script("CREATE").as_bytes()).to_hex()[..32].to_owned()
    }
}

/// The digest of each view, as the warehouse keeps them.
pub(crate) fn digests(views: &[View]) -> Digests {
    views.iter().map(|view| (view.name.to_owned(), view.digest())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_shows_no_column_that_is_dropped() {
        for column in ["provider_name", "specialty", "location", "procedure_code"] {
            for view in all(Shape::without([column])) {
                assert!(!view.query.contains(column), "{}: {}", view.name, view.query);
            }
            assert!(all(Shape::WHOLE).iter().any(|view| view.query.contains(column)), "{column}");
        }
    }

    #[test]
    fn what_is_made_has_a_digest_of_its_own() {
        let whole = digests(&all(Shape::WHOLE));
        let less = digests(&all(Shape::without(["provider_name"])));
        assert_ne!(whole["v_claims"], less["v_claims"]);
        assert_eq!(whole["v_claim_flags"], less["v_claim_flags"]);
    }
}
