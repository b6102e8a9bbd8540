//! Another shape for what is published: within the publish that leaves no published row.
//!
//! Between the old partitions and the new the tables are altered, the dimension is emptied, and
//! views, grants and comments follow; until the commit everybody sees the old shape, afterwards the
//! new one.

use adbc_core::sync::Connection;

use super::comments;
use super::views::{self, Kept};
use crate::error::Result;
use crate::schema::{
    CLAIMS_FACT, Column, PROVIDERS_DIM, PUBLISHED, Shape, UNKNOWN_PROVIDER, UNKNOWN_PROVIDER_KEY,
    fact_columns, provider_columns,
};
use crate::warehouse::layout::TableLayout;
use crate::warehouse::table_layout::{Stored, note, stored};
use crate::warehouse::{sql, table_layout};

const CONTEXT: &str = "giving what is published another shape";

/// What has to become other.
pub(crate) struct Relayout {
    to: TableLayout,
    stored: Stored,
    /// What is kept of the views, where columns come or go.
    kept: Option<Kept>,
    /// What drops these views.
    drops: String,
}

impl Relayout {
    /// What a layout needs to become other than what is published; none where it is the same.
    ///
    /// # Errors
    /// `Warehouse` when a query fails.
    pub(crate) fn to(
        connection: &mut impl Connection,
        layout: &TableLayout,
    ) -> Result<Option<Self>> {
        let stored = stored(connection)?;
        if stored.layout == *layout {
            return Ok(None);
        }
        let (mut kept, mut drops) = (None, String::new());
        if stored.layout.shape != layout.shape {
            let (views, script) = views::unmake(connection, &table_layout::view_names(&stored))?;
            kept = Some(views);
            drops = script;
        }
        Ok(Some(Self { to: layout.clone(), stored, kept, drops }))
    }

    /// The SQL that takes all that will be altered for oneself: views first, as their readers do.
    pub(crate) fn locks(&self) -> String {
        let tables = format!("{PUBLISHED}.{CLAIMS_FACT}, {PUBLISHED}.{PROVIDERS_DIM}");
        let semicolon = if self.drops.is_empty() { "" } else { ";" };
        format!("{}{semicolon} LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE", self.drops)
    }

    /// Alters the tables, of which the fact has no partition now, and empties the dimension: under other
    /// actions no name and no id of before may stay.
    ///
    /// # Errors
    /// `Warehouse` when a statement fails.
    pub(crate) fn alter(&self, connection: &mut impl Connection) -> Result<()> {
        let mut script =
            vec![format!("TRUNCATE {PUBLISHED}.{PROVIDERS_DIM}, claims_etl.provider_peers")];
        script.extend(alterations(CLAIMS_FACT, self.to.shape, fact_columns));
        script.extend(alterations(PROVIDERS_DIM, self.to.shape, provider_columns));
        script.push(if self.to.shape.has("provider_name") {
            format!(
                "INSERT INTO {PUBLISHED}.{PROVIDERS_DIM} (provider_key, provider_id, provider_name, run_no)
                 VALUES ({UNKNOWN_PROVIDER_KEY}, '{UNKNOWN_PROVIDER}', 'Unknown provider', 0)"
            )
        } else {
            format!(
                "INSERT INTO {PUBLISHED}.{PROVIDERS_DIM} (provider_key, provider_id, run_no)
                 VALUES ({UNKNOWN_PROVIDER_KEY}, '{UNKNOWN_PROVIDER}', 0)"
            )
        });
        script.push(format!(
            "INSERT INTO claims_etl.provider_peers (provider_key, durable_key, peer_key, specialty)
             VALUES ({UNKNOWN_PROVIDER_KEY}, {UNKNOWN_PROVIDER_KEY}, {UNKNOWN_PROVIDER_KEY}, '')"
        ));
        script.push(comments::script(&self.to));
        sql::execute(connection, CONTEXT, &script.join(";\n")).map(drop)
    }

    /// Makes the views again over the rows that are published now, and notes the new shape.
    ///
    /// # Errors
    /// `Warehouse` when a statement fails.
    pub(crate) fn complete(self, connection: &mut impl Connection) -> Result<()> {
        let Self { to, stored, kept, .. } = self;
        let mut digests = stored.views;
        if let Some(kept) = kept {
            views::make(connection, &views::all(to.shape), &kept)?;
            digests = table_layout::digests(&to);
        } else {
            // The rows of before are in them.
            views::fill_anew(connection, to.shape)?;
            digests.extend(table_layout::digests(&to).remove_entry(comments::NAME));
        }
        note(connection, &to, &digests)
    }
}

/// What gives a table the columns of a shape.
fn alterations(
    table: &str,
    shape: Shape,
    columns: fn(Shape) -> Vec<Column>,
) -> impl Iterator<Item = String> {
    let alter = format!("ALTER TABLE {PUBLISHED}.{table}");
    columns(Shape::WHOLE)
        .into_iter()
        .filter(|column| Shape::without([column.name]) != Shape::WHOLE)
        .map(move |Column { name, postgres, .. }| {
            if shape.has(name) {
                format!("{alter} ADD COLUMN IF NOT EXISTS {name} {postgres}")
            } else {
                format!("{alter} DROP COLUMN IF EXISTS {name}")
            }
        })
}
