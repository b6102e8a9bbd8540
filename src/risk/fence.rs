//! Quartiles, and how far beyond them something lies.

use super::components::thousandths;

/// Quartiles of a specialty's providers or provider-days.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fence {
    /// How many are compared.
    pub(crate) count: u64,
    /// First quartile.
    pub(crate) q1: f64,
    /// Third quartile.
    pub(crate) q3: f64,
    /// The distance between them, at least the floor.
    pub(crate) iqr: f64,
}

impl Fence {
    /// The quartiles of values with counts, sorted by value; between two values they are
    /// interpolated, as `percentile_cont` does. None below `least` values.
    pub(super) fn of(values: &[(f64, u64)], least: u64, floor: f64) -> Option<Self> {
        let count: u64 = values.iter().map(|value| value.1).sum();
        if count < least.max(1) {
            return None;
        }
        let (q1, q3) = (quantile(values, count, 1)?, quantile(values, count, 3)?);
        Some(Self { count, q1, q3, iqr: (q3 - q1).max(floor) })
    }

    /// `clip(((x − Q3) / IQR − 1.5) / 1.5, 0, 1)` in thousandths.
    #[must_use]
    pub(crate) fn beyond(&self, x: f64) -> u16 {
        thousandths(((x - self.q3) / self.iqr - 1.5) / 1.5)
    }
}

/// The quantile at so many quarters of sorted values with counts.
#[expect(clippy::cast_precision_loss, reason = "quarters are 0 to 3")]
fn quantile(values: &[(f64, u64)], count: u64, quarters: u64) -> Option<f64> {
    let at = |position: u64| {
        let mut passed = 0;
        values.iter().find_map(|&(x, n)| {
            passed += n;
            (passed > position).then_some(x)
        })
    };
    let position = quarters * (count - 1);
    let lower = at(position / 4)?;
    let fraction = (position % 4) as f64 / 4.0;
    if fraction == 0.0 {
        return Some(lower);
    }
    let upper = at(position / 4 + 1)?;
    Some(lower + fraction * (upper - lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_interpolated() {
        let fence = Fence::of(&[(1.0, 1), (2.0, 1), (3.0, 1), (10.0, 1)], 4, 0.1);
        let expected = Fence { count: 4, q1: 1.75, q3: 4.75, iqr: 3.0 };
        assert_eq!(fence, Some(expected));
        assert_eq!(
            Fence::of(&[(1.0, 3), (5.0, 1)], 4, 1.0).map(|f| (f.q1, f.q3)),
            Some((1.0, 2.0))
        );
        assert_eq!(Fence::of(&[(7.0, 40)], 1, 1.0).map(|f| (f.q3, f.iqr)), Some((7.0, 1.0)));
        assert_eq!(Fence::of(&[(7.0, 3)], 4, 1.0), None);
        assert_eq!(Fence::of(&[], 0, 1.0), None);
    }

    #[test]
    fn between_the_fences_the_component_rises() {
        let fence = Fence { count: 9, q1: 1.0, q3: 3.0, iqr: 2.0 };
        let beyond = [3.0, 6.0, 7.5, 9.0, 99.0].map(|x| fence.beyond(x));
        assert_eq!(beyond, [0, 0, 500, 1000, 1000]);
    }
}
