//! The views that dashboards read, as the shape of the tables and the bands of the score want them.
//!
//! A module of its own because views are not migrated but made anew: what they show follows the
//! privacy profile.

use crate::schema::Shape;

/// Who may read a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Analysts: it shows rows of single claims, or cells of few patients.
    Analyst,
    /// Everybody who reads dashboards.
    Public,
}

/// A view.
#[derive(Debug, Clone)]
pub struct View {
    /// The name in the published schema.
    pub name: &'static str,
    /// Whether its rows are stored.
    pub materialized: bool,
    /// Who may read it.
    pub audience: Audience,
    /// The query.
    pub query: String,
    /// What it shows.
    pub comment: &'static str,
    /// What makes its indexes.
    pub indexes: String,
}

/// All views, each after those that it reads.
#[must_use]
pub fn all(_shape: Shape) -> Vec<View> {
    Vec::new()
}
