//! A view: its query, its comment, who may read it.

use crate::schema::PUBLISHED;

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

impl View {
    /// The name with its schema, as SQL.
    pub(super) fn place(&self) -> String {
        format!("{PUBLISHED}.{}", self.name)
    }

    /// What it is, in SQL's words.
    pub(super) fn kind(&self) -> &'static str {
        if self.materialized { "MATERIALIZED VIEW" } else { "VIEW" }
    }

    /// What makes it, comment and indexes included.
    pub(super) fn script(&self, create: &str) -> String {
        let (kind, place) = (self.kind(), self.place());
        format!(
            "{create} {kind} {place} AS\n{};\nCOMMENT ON {kind} {place} IS '{}';\n{}",
            self.query,
            self.comment.replace('\'', "''"),
            self.indexes
        )
    }

    /// Tells whether it would be made as it was.
    pub(super) fn digest(&self) -> String {
        blake3::hash(self.script("CREATE").as_bytes()).to_hex()[..32].to_owned()
    }
}
