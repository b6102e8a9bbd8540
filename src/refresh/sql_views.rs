//! Refreshes materialized views, one after the other.
//!
//! All views are looked at before the first one is refreshed: a view that cannot be is no reason to
//! leave the others half done.

use super::{Done, Failure, Job, Target};
use crate::config::Settings;
use crate::refresh::fan_out::counted;
use crate::refresh::target_info::{About, off};
use crate::warehouse::sql;
use crate::warehouse::sql::quote_identifier;

const CONTEXT: &str = "looking at the materialized views";

/// The targets that the settings name.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let refresh = &settings.refresh;
    let target = |(name, views): (&String, &crate::config::SqlViews)| -> Box<dyn Target> {
        Box::new(Views {
            about: About {
                name: format!("sql.{name}"),
                provider: "sql",
                parallel: refresh.parallel(None),
                required: views.required,
                deadline: refresh.deadline(views.deadline_secs),
                skipped: off(views.enabled, &format!("refresh.sql.{name}")),
            },
            all: views.views.iter().filter_map(|view| View::parse(view)).collect(),
            concurrently: views.concurrently,
        })
    };
    refresh.sql.iter().map(target).collect()
}

/// A group of views.
struct Views {
    about: About,
    all: Vec<View>,
    concurrently: bool,
}

/// A view's name.
struct View {
    schema: String,
    name: String,
}

impl View {
    /// Reads `schema.view`. The settings were refused where it is not that.
    fn parse(text: &str) -> Option<Self> {
        let (schema, name) = text.split_once('.')?;
        Some(Self { schema: schema.to_owned(), name: name.to_owned() })
    }

    /// For people.
    fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// For a statement.
    fn quoted(&self) -> String {
        format!("{}.{}", quote_identifier(&self.schema), quote_identifier(&self.name))
    }
}

/// How a view is refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Readers go on meanwhile.
    Concurrently,
    /// Readers wait.
    Plainly,
    /// As above, because a view that was never filled cannot be refreshed otherwise.
    First,
}

impl Views {
    /// What every view is like, or the first reason why one of them cannot be refreshed.
    fn look(&self, job: &mut Job<'_>) -> Result<Vec<How>, Failure> {
        let names: Vec<String> = self
            .all
            .iter()
            .enumerate()
            .map(|(place, view)| {
                format!("({place}, {}, {})", literal(&view.schema), literal(&view.name))
            })
            .collect();
        let found = job.query(
            CONTEXT,
            &format!(
                "SELECT c.relkind = 'm' AS is_view, c.relispopulated AS is_filled,
                     pg_has_role(c.relowner, 'USAGE')
                     OR CASE WHEN current_setting('server_version_num')::integer >= 170000
                        THEN has_table_privilege(c.oid, 'MAINTAIN') ELSE false END AS is_ours,
                     EXISTS (SELECT FROM pg_index i
                             WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
                               AND i.indpred IS NULL AND i.indexprs IS NULL) AS has_key,
                     current_user::text AS role
                 FROM (VALUES {}) AS v(place, schema, name)
                 LEFT JOIN pg_namespace n ON n.nspname = v.schema
                 LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.name
                 ORDER BY v.place",
                names.join(", ")
            ),
        )?;
        let told = |column: &str, row: usize| sql::boolean(&found, column, row) == Some(true);
        let look = |(row, view): (usize, &View)| {
            let name = view.shown();
            if !told("is_view", row) {
                return Err(Failure::failed(format!(
                    "there is no materialized view {name}: create it, or correct \
                     refresh.{}.views",
                    self.about.name
                )));
            }
            if !told("is_ours", row) {
                let role = sql::text(&found, "role", row).unwrap_or_default();
                return Err(Failure::failed(format!(
                    "the role {role} may not refresh {name}: make it the view's owner, or from \
                     PostgreSQL 17 on grant it MAINTAIN"
                )));
            }
            if !self.concurrently {
                return Ok(How::Plainly);
            }
            if !told("has_key", row) {
                return Err(Failure::failed(format!(
                    "{name} has no unique index on plain columns of all its rows, without which \
                     it cannot be refreshed while people read it: create one, or set \
                     refresh.{}.concurrently = false",
                    self.about.name
                )));
            }
            Ok(if told("is_filled", row) { How::Concurrently } else { How::First })
        };
        self.all.iter().enumerate().map(look).collect()
    }
}

/// A text in a statement.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Target for Views {
    fn about(&self) -> &About {
        &self.about
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        self.look(job).map(|views| counted(views.len(), "view"))
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let ways = self.look(job)?;
        let mut first = Vec::new();
        for (view, how) in self.all.iter().zip(&ways) {
            job.check()?;
            job.count_attempt();
            let concurrently = if *how == How::Concurrently { "CONCURRENTLY " } else { "" };
            job.execute(
                &format!("refreshing {}", view.shown()),
                &format!("REFRESH MATERIALIZED VIEW {concurrently}{}", view.quoted()),
            )?;
            if *how == How::First {
                first.push(view.shown());
            }
        }
        let mut detail = vec![counted(ways.len(), "view")];
        if !first.is_empty() {
            let first = first.join(", ");
            detail.push(format!("filled for the first time, not concurrently: {first}"));
        }
        Ok(Done::succeeded(detail.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_whatever_they_hold() {
        let view = View::parse("Re'ports.by \"day\"").expect("a name");
        assert_eq!(view.quoted(), r#""Re'ports"."by ""day""""#);
        assert_eq!(literal(&view.schema), "'Re''ports'");
        assert!(View::parse("daily").is_none());
    }
}
