//! Generalises amounts: rounding, buckets, top-coding.
//!
//! Integer arithmetic only.

use polars::prelude::{DataType, Expr, Int64Chunked, IntoSeries, NewChunkedArray, col};

use crate::privacy::settings::Action;
use crate::schema::{AMOUNT_MAX_CENTS, CENTS, GENERALIZED};
use crate::transform::column_access::values;
use crate::transform::expression::elementwise;

/// Generalisation of an amount. All magnitudes are positive cents within numeric(12,2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Coarse {
    /// Rounds to a multiple, half to even.
    Round(i64),
    /// Replaces by the lower edge of the bucket; edges ascend from 0.
    Bucket(Vec<i64>),
    /// Caps at this value.
    TopCode(i64),
}

impl Coarse {
    /// The generalisation of an action; `None` if it keeps the amount.
    pub(super) fn of(action: &Action) -> Option<Self> {
        let size = |cents: i128| i64::try_from(cents).unwrap_or(AMOUNT_MAX_CENTS).max(1);
        match action {
            Action::Round(step) => Some(Self::Round(size(step.0))),
            Action::TopCode(top) => Some(Self::TopCode(size(top.0))),
            Action::Bucket(edges) => {
                let edges = edges.iter().skip(1).map(|edge| size(edge.0));
                Some(Self::Bucket(std::iter::once(0).chain(edges).collect()))
            }
            _ => None,
        }
    }

    /// The generalised cents. An amount outside numeric(12,2) is unchanged: its row is rejected.
    fn released(&self, cents: i64) -> i64 {
        let size = match i64::try_from(cents.unsigned_abs()) {
            Ok(size) if size <= AMOUNT_MAX_CENTS => size,
            _ => return cents,
        };
        let coarse = match self {
            Self::Round(step) => rounded(size, *step),
            Self::Bucket(edges) => {
                edges[edges.partition_point(|&edge| edge <= size).saturating_sub(1)]
            }
            Self::TopCode(top) => size.min(*top),
        };
        if cents < 0 { -coarse } else { coarse }
    }
}

/// The nearest multiple of a step, half to even; rounds down if the result would exceed the largest
/// amount.
fn rounded(size: i64, step: i64) -> i64 {
    let (multiple, rest) = (size / step, size % step);
    let up = match rest.cmp(&(step - rest)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => multiple % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    let below = multiple * step;
    if up && below + step <= AMOUNT_MAX_CENTS { below + step } else { below }
}

/// The generalised cents, and the difference to the original.
pub(super) fn released(coarse: &Coarse) -> [Expr; 2] {
    let (cents, rest) = (coarse.clone(), coarse.clone());
    [
        each(move |raw| cents.released(raw)).alias(CENTS),
        each(move |raw| raw - rest.released(raw)).alias(GENERALIZED),
    ]
}

fn each(of: impl Fn(i64) -> i64 + Send + Sync + 'static) -> Expr {
    elementwise("generalize_amount", &[col(CENTS)], DataType::Int64, move |series| {
        let cents = series[0].i64()?;
        let name = cents.name().clone();
        if cents.null_count() == 0 {
            let released = values(cents).iter().map(|&cents| of(cents)).collect();
            return Ok(Int64Chunked::from_vec(name, released).into_series());
        }
        let released = cents.iter().map(|cents| cents.map(&of));
        Ok(Int64Chunked::from_iter_options(name, released).into_series())
    })
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Column, DataFrame, IntoColumn, IntoLazy};
    use proptest::prelude::*;

    use super::*;
    use crate::totals::Cents;

    fn coarse(action: &Action) -> Coarse {
        Coarse::of(action).expect("a change")
    }

    fn bucket(edges: &[i128]) -> Coarse {
        coarse(&Action::Bucket(edges.iter().map(|&edge| Cents(edge)).collect()))
    }

    #[test]
    fn half_a_step_is_rounded_to_the_even_multiple() {
        let dollar = coarse(&Action::Round(Cents(100)));
        for (raw, released) in [
            (0, 0),
            (49, 0),
            (50, 0),
            (51, 100),
            (149, 100),
            (150, 200),
            (250, 200),
            (-50, 0),
            (-150, -200),
            (-151, -200),
            (999_999_999_949, 999_999_999_900),
            // The next dollar exceeds numeric(12,2).
            (999_999_999_999, 999_999_999_900),
        ] {
            assert_eq!(dollar.released(raw), released, "{raw}");
        }
        assert_eq!(coarse(&Action::Round(Cents(7))).released(10), 7);
        assert_eq!(coarse(&Action::Round(Cents(7))).released(11), 14);
    }

    #[test]
    fn a_bucket_is_told_by_its_lower_edge_and_the_sign() {
        let buckets = bucket(&[0, 10_000, 100_000]);
        for (raw, released) in [
            (0, 0),
            (9_999, 0),
            (10_000, 10_000),
            (99_999, 10_000),
            (100_000, 100_000),
            (999_999_999_999, 100_000),
            (-9_999, 0),
            (-10_000, -10_000),
            (-5_000_000, -100_000),
        ] {
            assert_eq!(buckets.released(raw), released, "{raw}");
        }
        assert_eq!(bucket(&[0]).released(-77), 0);
    }

    #[test]
    fn what_is_above_the_top_becomes_the_top() {
        let top = coarse(&Action::TopCode(Cents(100_000)));
        for (raw, released) in
            [(99_999, 99_999), (100_001, 100_000), (-1, -1), (-250_000, -100_000), (0, 0)]
        {
            assert_eq!(top.released(raw), released, "{raw}");
        }
    }

    #[test]
    fn kept_amounts_need_no_expression() {
        assert_eq!(Coarse::of(&Action::Keep), None);
    }

    #[test]
    fn the_rest_stands_beside_and_null_stays_null() {
        let raw = [Some(149), None, Some(-151), Some(i64::MAX)];
        let cents = Int64Chunked::from_slice_options(CENTS.into(), &raw);
        let frame = DataFrame::new(4, vec![cents.into_column()]).expect("a frame");
        let dollar = coarse(&Action::Round(Cents(100)));
        let frame = frame.lazy().select(released(&dollar)).collect().expect("runs");
        let numbers = |name: &str| -> Vec<Option<i64>> {
            frame.column(name).and_then(Column::i64).expect("numbers").iter().collect()
        };
        assert_eq!(numbers(CENTS), [Some(100), None, Some(-200), Some(i64::MAX)]);
        assert_eq!(numbers(GENERALIZED), [Some(49), None, Some(49), Some(0)]);
    }

    proptest! {
        #[test]
        fn the_sums_add_up_to_the_cent(
            raw in prop::collection::vec(-AMOUNT_MAX_CENTS..=AMOUNT_MAX_CENTS, 1..50),
            size in 1..=AMOUNT_MAX_CENTS,
        ) {
            let sum = |cents: &[i64]| cents.iter().map(|&cents| i128::from(cents)).sum::<i128>();
            for coarse in [Coarse::Round(size), Coarse::TopCode(size), Coarse::Bucket(vec![0, size])] {
                let cents = Int64Chunked::from_vec(CENTS.into(), raw.clone());
                let frame = DataFrame::new(raw.len(), vec![cents.into_column()]).expect("a frame");
                let frame = frame.lazy().select(released(&coarse)).collect().expect("runs");
                let of = |name: &str| {
                    let cents = frame.column(name).and_then(Column::i64).expect("cents");
                    sum(cents.cont_slice().expect("no null"))
                };
                prop_assert_eq!(sum(&raw), of(CENTS) + of(GENERALIZED));
            }
        }

        #[test]
        fn released_amounts_fit_and_keep_their_sign(
            raw in -AMOUNT_MAX_CENTS..=AMOUNT_MAX_CENTS,
            size in 1..=AMOUNT_MAX_CENTS,
            edges in prop::collection::btree_set(1..=1_000_000_i64, 0..6),
        ) {
            let edges = std::iter::once(0).chain(edges).collect();
            for coarse in [Coarse::Round(size), Coarse::TopCode(size), Coarse::Bucket(edges)] {
                let released = coarse.released(raw);
                prop_assert!(released.abs() <= AMOUNT_MAX_CENTS);
                prop_assert!(released == 0 || (released < 0) == (raw < 0), "{coarse:?}");
                prop_assert_eq!(coarse.released(released), released, "a second time is no change");
                match coarse {
                    Coarse::Round(step) => {
                        prop_assert_eq!(released % step, 0);
                        prop_assert!((raw - released).abs() <= step);
                    }
                    Coarse::TopCode(_) | Coarse::Bucket(_) => {
                        prop_assert!(released.abs() <= raw.abs());
                    }
                }
            }
        }
    }
}
