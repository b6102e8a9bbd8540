//! The sections of the page, one function each.

mod ledger;
mod risk;
mod volume;

pub(super) use ledger::{accounting, provenance, quality};
pub(super) use risk::{claims, providers, scores};
pub(super) use volume::{months, specialties};

/// What stands where the warehouse holds a null.
const NOT_STATED: &str = "Not stated";

/// A section under its heading; `intro` and `body` are markup.
pub(super) fn section(id: &str, title: &str, intro: &str, body: &str) -> String {
    format!(
        "<section aria-labelledby=\"{id}\"><h2 id=\"{id}\">{title}</h2>\n\
         <p class=\"intro\">{intro}</p>\n{body}\n</section>\n"
    )
}
