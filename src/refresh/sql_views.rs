//! Refreshes materialized views sequentially.
//!
//! All views are checked first, so that an invalid view does not leave the group half refreshed.

use super::fan_out::counted;
use super::job::Job;
use super::outcome::{Done, Failure};
use super::target::Target;
use super::target_info::{TargetInfo, off};
use crate::config::Settings;
use crate::warehouse::sql;
use crate::warehouse::sql::quote_identifier;

const CONTEXT: &str = "checking the materialized views";

/// The configured targets.
pub(super) fn targets(settings: &Settings) -> Vec<Box<dyn Target>> {
    let refresh = &settings.refresh;
    let target = |(name, views): (&String, &crate::config::SqlViews)| -> Box<dyn Target> {
        Box::new(Views {
            info: TargetInfo {
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
    info: TargetInfo,
    all: Vec<View>,
    concurrently: bool,
}

struct View {
    schema: String,
    name: String,
}

impl View {
    /// Parses `schema.view`, which was validated with the settings.
    fn parse(text: &str) -> Option<Self> {
        let (schema, name) = text.split_once('.')?;
        Some(Self { schema: schema.to_owned(), name: name.to_owned() })
    }

    fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    fn quoted(&self) -> String {
        format!("{}.{}", quote_identifier(&self.schema), quote_identifier(&self.name))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// `CONCURRENTLY`: does not block readers.
    Concurrently,
    /// Blocks readers.
    Plainly,
    /// Blocks readers, because a view without data cannot be refreshed concurrently.
    First,
}

impl Views {
    /// How to refresh each view.
    ///
    /// # Errors
    /// Why the first invalid view cannot be refreshed.
    fn plan(&self, job: &mut Job<'_>) -> Result<Vec<How>, Failure> {
        let names: Vec<String> = self
            .all
            .iter()
            .enumerate()
            .map(|(index, view)| {
                format!("({index}, {}, {})", literal(&view.schema), literal(&view.name))
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
        let is = |column: &str, row: usize| sql::boolean(&found, column, row) == Some(true);
        let how = |(row, view): (usize, &View)| {
            let name = view.shown();
            if !is("is_view", row) {
                return Err(Failure::failed(format!(
                    "there is no materialized view {name}: create it, or correct \
                     refresh.{}.views",
                    self.info.name
                )));
            }
            if !is("is_ours", row) {
                let role = sql::text(&found, "role", row).unwrap_or_default();
                return Err(Failure::failed(format!(
                    "the role {role} may not refresh {name}: make it the view's owner, or from \
                     PostgreSQL 17 on grant it MAINTAIN"
                )));
            }
            if !self.concurrently {
                return Ok(How::Plainly);
            }
            if !is("has_key", row) {
                return Err(Failure::failed(format!(
                    "{name} has no unique index on plain columns of all its rows, which a \
                     concurrent refresh needs: create one, or set \
                     refresh.{}.concurrently = false",
                    self.info.name
                )));
            }
            Ok(if is("is_filled", row) { How::Concurrently } else { How::First })
        };
        self.all.iter().enumerate().map(how).collect()
    }
}

/// Quotes a string literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Target for Views {
    fn info(&self) -> &TargetInfo {
        &self.info
    }

    fn check(&self, job: &mut Job<'_>) -> Result<String, Failure> {
        self.plan(job).map(|views| counted(views.len(), "view"))
    }

    fn refresh(&self, job: &mut Job<'_>) -> Result<Done, Failure> {
        let ways = self.plan(job)?;
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
    fn names_are_quoted() {
        let view = View::parse("Re'ports.by \"day\"").expect("a name");
        assert_eq!(view.quoted(), r#""Re'ports"."by ""day""""#);
        assert_eq!(literal(&view.schema), "'Re''ports'");
        assert!(View::parse("daily").is_none());
    }
}
