//! What is done to the columns of what is published, and which of them are there.

use adbc_core::sync::Connection;

use super::comments;
use super::table_lock::Attempt;
use super::views::{self, Digests};
use crate::config::Mode;
use crate::error::{Error, Result};
use crate::event::Cancellation;
use crate::privacy::settings::Privacy;
use crate::risk::settings::Risk;
use crate::schema::{PUBLISHED, Shape};
use crate::warehouse::layout::TableLayout;
use crate::warehouse::load_strategy::{LoadStrategy, strategy};
use crate::warehouse::sql;

const CONTEXT: &str = "the shape of what is published";
/// What the warehouse holds.
pub(crate) struct Stored {
    /// What was done to its columns.
    pub(crate) layout: TableLayout,
    pub(crate) views: Digests,
}

/// What is published; without an entry, of a version that had one profile.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn stored(connection: &mut impl Connection) -> Result<Stored> {
    let rows = sql::query(
        connection,
        CONTEXT,
        "SELECT profile, actions::text AS actions, array_to_json(dropped)::text AS dropped, views::text AS views
         FROM claims_etl.table_layout",
    )?;
    if rows.num_rows() == 0 {
        return Ok(Stored { layout: TableLayout::of(&Privacy::default()), views: Digests::new() });
    }
    let text = |name: &str| sql::text(&rows, name, 0).unwrap_or_default();
    let unreadable = |_| Error::internal("claims_etl.table_layout cannot be read");
    let dropped: Vec<String> = serde_json::from_str(&text("dropped")).map_err(unreadable)?;
    Ok(Stored {
        layout: TableLayout {
            profile: text("profile"),
            actions: serde_json::from_str(&text("actions")).map_err(unreadable)?,
            shape: Shape::without(dropped.iter().map(String::as_str)),
        },
        views: serde_json::from_str(&text("views")).map_err(unreadable)?,
    })
}

/// Whether the views are as this version makes them.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn is_current(connection: &mut impl Connection) -> Result<bool> {
    let stored = stored(connection)?;
    Ok(stored.views == digests(&stored.layout))
}

/// The digests of the views and comments that a layout has.
pub(crate) fn digests(layout: &TableLayout) -> Digests {
    let mut digests = views::digests(&views::all(layout.shape));
    let comments = blake3::hash(comments::script(layout).as_bytes());
    digests.insert(comments::NAME.to_owned(), comments.to_hex()[..32].to_owned());
    digests
}

/// The views that are there, each after those that it reads.
pub(crate) fn view_names(stored: &Stored) -> Vec<String> {
    let names = views::all(stored.layout.shape).into_iter().map(|view| view.name.to_owned());
    names.collect()
}

/// Makes the views as this version makes them, for what is published. Within a transaction.
///
/// # Errors
/// As [`views::update`]; `Interrupted` on cancellation.
pub(crate) fn update_views(connection: &mut impl Connection, cancel: &Cancellation) -> Result<()> {
    let Stored { layout, views } = stored(connection)?;
    let wanted = digests(&layout);
    let commented = views.get(comments::NAME) == wanted.get(comments::NAME);
    let mut known = views;
    known.remove(comments::NAME);
    let attempt = Attempt {
        context: CONTEXT,
        busy: "a view of the warehouse",
        undone: "the views stay as they were",
    };
    let mut script = views::locks(connection, layout.shape, &known)?;
    if !commented {
        script = format!("{script};\n{}", comments::script(&layout));
    }
    attempt.make(connection, &script, cancel)?;
    views::update(connection, layout.shape, &known)?;
    note(connection, &layout, &wanted)
}

/// Refuses a run that would mix rows to which different things were done, or that would take a
/// column away that others have built on. Nothing is read before.
///
/// # Errors
/// `Config`, with the columns and the hint.
pub(crate) fn check(
    connection: &mut impl Connection,
    layout: &TableLayout,
    mode: Mode,
) -> Result<()> {
    let stored = stored(connection)?;
    if strategy(connection, mode)? == LoadStrategy::Attach {
        if stored.layout.shape == layout.shape {
            return Ok(());
        }
        let leaving: Vec<&str> =
            layout.shape.dropped().filter(|column| stored.layout.shape.has(column)).collect();
        return views::refuse_dependants(connection, &view_names(&stored), &leaving);
    }
    let unlike = stored.layout.unlike(layout);
    if unlike.is_empty() {
        return Ok(());
    }
    Err(Error::config(format!(
        "the warehouse holds rows under the privacy profile {}, this run has {}; what is done to {} is not the same",
        stored.layout.profile,
        layout.profile,
        unlike.join(", ")
    ))
    .hint("keep the profile and its columns as they were, load all files with --mode replace, or load into another database"))
}

/// Lets the bands of scores follow the settings.
///
/// # Errors
/// `Warehouse` when a statement fails.
pub(crate) fn set_bands(connection: &mut impl Connection, risk: &Risk) -> Result<bool> {
    let body = format!(
        " SELECT CASE WHEN score >= {}::real THEN 'high' WHEN score >= {}::real THEN 'medium' ELSE 'low' END ",
        risk.high_from, risk.medium_from
    );
    let there = sql::query_with(
        connection,
        CONTEXT,
        &format!(
            "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'risk_band' AND prosrc = $1
                 AND pronamespace = '{PUBLISHED}'::regnamespace) AS there"
        ),
        sql::texts(&[Some(&body)]),
    )?;
    if sql::boolean(&there, "there", 0) == Some(true) {
        return Ok(false);
    }
    sql::execute(
        connection,
        CONTEXT,
        &format!(
            "CREATE OR REPLACE FUNCTION {PUBLISHED}.risk_band(score real) RETURNS text
             LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $band${body}$band$"
        ),
    )?;
    Ok(true)
}

/// Notes what is published now.
pub(crate) fn note(
    connection: &mut impl Connection,
    layout: &TableLayout,
    views: &Digests,
) -> Result<()> {
    let json = |value: Result<String, serde_json::Error>| {
        value.map_err(|_| Error::internal("names have a form in JSON"))
    };
    sql::execute_with(
        connection,
        CONTEXT,
        "INSERT INTO claims_etl.table_layout (profile, actions, dropped, views)
         VALUES ($1, $2::text::jsonb, ARRAY(SELECT jsonb_array_elements_text($3::text::jsonb)), $4::text::jsonb)
         ON CONFLICT (singleton) DO UPDATE
         SET profile = excluded.profile, actions = excluded.actions, dropped = excluded.dropped,
             views = excluded.views, changed_at = now()",
        sql::texts(&[
            Some(&layout.profile),
            Some(&json(serde_json::to_string(&layout.actions))?),
            Some(&json(serde_json::to_string(&layout.shape.dropped().collect::<Vec<_>>()))?),
            Some(&json(serde_json::to_string(views))?),
        ]),
    )
    .map(drop)
}

/// Whether the published tables have the columns of a shape.
///
/// # Errors
/// `Warehouse` when the query fails.
pub(crate) fn is_shaped(connection: &mut impl Connection, shape: Shape) -> Result<bool> {
    Ok(stored(connection)?.layout.shape == shape)
}
