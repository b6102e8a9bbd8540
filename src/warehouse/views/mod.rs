//! The views that dashboards read, as the shape of the tables wants them.

mod change;
mod claims;
mod dependants;
mod grants;
mod provider_month;
mod view;

pub(crate) use change::{Digests, Kept, fill_anew, forget_months, locks, make, unmake, update};
pub(crate) use dependants::refuse_dependants;
pub(crate) use view::View;

use crate::schema::Shape;

/// The refresh target that keeps the stored months up to date.
pub(crate) const MONTHS: &str = "provider_month";

/// All views, each after those that it reads.
#[must_use]
pub(crate) fn all(shape: Shape) -> Vec<View> {
    vec![
        claims::claims(shape),
        claims::flags(),
        provider_month::by_month(shape),
        provider_month::stored(shape),
        provider_month::public(shape),
    ]
}

/// The digest of each view, as the warehouse keeps them.
pub(crate) fn digests(views: &[View]) -> Digests {
    views.iter().map(|view| (view.name.to_owned(), view.digest())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_shows_no_column_that_is_dropped() {
        for column in ["provider_name", "specialty", "location", "procedure_code"] {
            for view in all(Shape::without([column])) {
                assert!(!view.query.contains(column), "{}: {}", view.name, view.query);
            }
            assert!(all(Shape::WHOLE).iter().any(|view| view.query.contains(column)), "{column}");
        }
    }

    #[test]
    fn what_is_made_has_a_digest_of_its_own() {
        let whole = digests(&all(Shape::WHOLE));
        let less = digests(&all(Shape::without(["provider_name"])));
        assert_ne!(whole["v_claims"], less["v_claims"]);
        assert_eq!(whole["v_claim_flags"], less["v_claim_flags"]);
    }
}
