//! What all sections share.

use maud::{Markup, html};

/// Shown where the warehouse has a null.
pub(super) const NOT_STATED: &str = "Not stated";

/// A section under its heading.
pub(super) fn section(
    id: &str,
    title: &str,
    intro: impl maud::Render,
    body: impl maud::Render,
) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            p class="intro" { (intro) }
            (body)
        }
    }
}
