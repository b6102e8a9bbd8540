//! A view: its query, its comment, what it shows.

use crate::schema::PUBLISHED;

#[derive(Debug, Clone)]
pub(crate) struct View {
    /// The name in the published schema.
    pub(crate) name: &'static str,
    /// Whether its rows are stored.
    pub(crate) materialized: bool,
    pub(crate) query: String,
    /// What it shows.
    pub(crate) comment: &'static str,
    /// What each column holds.
    pub(crate) columns: Vec<(&'static str, String)>,
    /// What makes its indexes: whole statements, separated by semicolons; empty for none.
    pub(crate) indexes: String,
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
        let quoted = |text: &str| text.replace('\'', "''");
        let comment = |(column, text): &(&str, String)| {
            format!("COMMENT ON COLUMN {place}.{column} IS '{}';\n", quoted(text))
        };
        let columns: String = self.columns.iter().map(comment).collect();
        format!(
            "{create} {kind} {place} AS\n{};\nCOMMENT ON {kind} {place} IS '{}';\n{columns}{}",
            self.query,
            quoted(self.comment),
            self.indexes
        )
    }

    /// Tells whether it would be made as it was.
    pub(super) fn digest(&self) -> String {
        blake3::hash(self.script("CREATE").as_bytes()).to_hex()[..32].to_owned()
    }
}
