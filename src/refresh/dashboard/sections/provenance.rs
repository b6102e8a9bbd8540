//! Where the numbers come from.

use maud::{Markup, html};

use super::section::{NOT_STATED, section};
use crate::refresh::dashboard::format::count;
use crate::refresh::dashboard::snapshot::{Run, Snapshot};

/// The run, the key and the privacy profile behind the numbers.
pub(in super::super) fn provenance(snapshot: &Snapshot, run: &Run) -> Markup {
    let (runs, published) = (count(snapshot.runs), count(snapshot.published_runs));
    let facts = [
        ("Published", run.published_at.clone()),
        ("Run", run.id.clone()),
        ("Program", format!("claims-etl {}", run.tool_version)),
        ("Load mode", run.mode.clone()),
        ("Privacy profile", run.privacy_profile.clone()),
        ("Key", run.key_id.clone()),
        ("Risk model", run.risk_model.clone().unwrap_or_else(|| NOT_STATED.to_owned())),
        ("Runs so far", format!("{runs}, of which {published} published")),
    ];
    let intro = html! {
        "All counts are rows and all sums are exact dollars of "
        code { "healthcare_analytics.claims_fact" }
        "; the last load is a row of "
        code { "claims_etl.runs" }
        "."
    };
    let body = html! {
        dl class="facts" {
            @for (name, value) in facts {
                div { dt { (name) } dd { (value) } }
            }
        }
    };
    section("provenance", "Where these numbers come from", intro, body)
}
