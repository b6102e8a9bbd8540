//! What can be computed at all: of what the privacy profile leaves, and of what has a weight.

use super::components::{AMOUNT, DUPLICATE, MISMATCH, PROVIDER, VOLUME, WEEKEND};
use crate::privacy::settings::{Action, Privacy};
use crate::risk::settings::Risk;

/// Which values are exact enough to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exactness {
    /// Dates are days. Shifted dates are: a patient's keep their distances and days of the week.
    pub(crate) day: bool,
    /// Procedure codes are codes, not parts of them or one text for all.
    pub(crate) procedure: bool,
}

impl Exactness {
    /// All values are as they came.
    pub const WHOLE: Self = Self { day: true, procedure: true };

    /// What the actions of a profile leave.
    #[must_use]
    pub(crate) fn of(privacy: &Privacy) -> Self {
        Self {
            day: privacy.keeps_days(),
            procedure: privacy.action("procedure_code") == Action::Keep,
        }
    }
}

/// Which statistics are kept.
#[expect(clippy::struct_excessive_bools, reason = "each is kept or not, whatever the others are")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Amounts by procedure and specialty.
    pub(crate) amounts: bool,
    /// Weekends by specialty.
    pub(crate) weekends: bool,
    /// Totals by provider and procedure.
    pub(crate) provider_totals: bool,
    /// Provider-days by patients.
    pub(crate) provider_days: bool,
    /// Not a statistic that is stored: whether claims with the same content are looked for.
    pub(crate) twins: bool,
}

impl Kept {
    /// What the components with a weight need, as far as the values are exact.
    #[must_use]
    pub fn of(settings: &Risk, exact: Exactness) -> Self {
        let weights = settings.weights();
        let computed = |component: usize| weights[component] > 0.0;
        let priced = computed(AMOUNT) || computed(PROVIDER) || computed(MISMATCH);
        Self {
            amounts: exact.procedure && priced,
            weekends: exact.day && computed(WEEKEND),
            provider_totals: exact.procedure && computed(PROVIDER),
            provider_days: exact.day && computed(VOLUME),
            twins: exact.procedure && exact.day && computed(DUPLICATE),
        }
    }

    /// The names of the stored statistics that are kept, as `claims_etl.risk_state` has them.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("amounts", self.amounts),
            ("weekends", self.weekends),
            ("provider_totals", self.provider_totals),
            ("provider_days", self.provider_days),
        ];
        all.into_iter().filter(|&(_, kept)| kept).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::settings::Level;

    #[test]
    fn a_component_without_weight_keeps_nothing() {
        let kept = |settings: &Risk| Kept::of(settings, Exactness::WHOLE);
        let names = ["amounts", "weekends", "provider_totals", "provider_days"];
        assert!(kept(&Risk::default()).names().eq(names));
        let amount_alone = Risk {
            weight_duplicate: 0.0,
            weight_provider: 0.0,
            weight_volume: 0.0,
            weight_mismatch: 0.0,
            weight_weekend: 0.0,
            ..Risk::default()
        };
        assert_eq!(kept(&amount_alone), Kept { amounts: true, ..Kept::default() });
        let coarse = Kept::of(&Risk::default(), Exactness { day: false, procedure: true });
        assert!(coarse.names().eq(["amounts", "provider_totals"]) && !coarse.twins);
    }

    #[test]
    fn what_is_coarser_than_a_day_is_not_exact() {
        let exactness = |column: &str, action: Action| {
            let columns = [(column.to_owned(), action)].into();
            Exactness::of(&Privacy { columns, ..Privacy::default() })
        };
        assert_eq!(Exactness::of(&Privacy::default()), Exactness::WHOLE);
        assert_eq!(exactness("date_of_service", Action::DateShift(365)), Exactness::WHOLE);
        assert!(!exactness("date_of_service", Action::Generalize(Level::Week)).day);
        assert!(!exactness("procedure_code", Action::Truncate(2)).procedure);
    }
}
