//! The components of a score, packed into one integer, and the noisy-OR that combines them.

/// Number of components of `claim_anomaly_v1`.
pub const COMPONENTS: usize = 6;
/// Position of the amount component.
pub const AMOUNT: usize = 0;
/// Position of the duplicate component.
pub const DUPLICATE: usize = 1;
/// Position of the provider component.
pub const PROVIDER: usize = 2;
/// Position of the volume component.
pub const VOLUME: usize = 3;
/// Position of the mismatch component.
pub const MISMATCH: usize = 4;
/// Position of the weekend component.
pub const WEEKEND: usize = 5;

/// The names of the components, in their order.
pub const NAMES: [&str; COMPONENTS] =
    ["amount", "duplicate", "provider", "volume", "mismatch", "weekend"];

/// Bits of one packed component.
const BITS: usize = 10;
/// The packed form of "cannot be computed".
const ABSENT: i64 = 1023;
/// Where the reason begins.
const REASON_SHIFT: usize = BITS * COMPONENTS;

/// Components in thousandths, 0 to 1000; none where it cannot be computed.
pub type Components = [Option<u16>; COMPONENTS];

/// One integer: ten bits a component from the lowest, then the reason (1 to 6 for the component
/// with the largest contribution, 0 for none). Never negative.
#[must_use]
pub fn pack(components: &Components, weights: &[f64; COMPONENTS]) -> i64 {
    let mut packed = 0;
    let mut reason = (0, 0.0);
    for (place, (component, weight)) in components.iter().zip(weights).enumerate() {
        packed |= component.map_or(ABSENT, i64::from) << (BITS * place);
        let contribution = weight * f64::from(component.unwrap_or(0));
        if contribution > reason.1 {
            reason = (place + 1, contribution);
        }
    }
    packed | i64::try_from(reason.0).unwrap_or(0) << REASON_SHIFT
}

/// The components of a packed integer.
#[must_use]
pub fn unpack(packed: i64) -> Components {
    std::array::from_fn(|place| {
        let value = packed >> (BITS * place) & ABSENT;
        u16::try_from(value).ok().filter(|&value| i64::from(value) != ABSENT)
    })
}

/// `round(100 · (1 − Π (1 − weight · component)), 1)` in tenths: 0 to 1000. A component that
/// cannot be computed contributes nothing.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the result is between 0 and 1000")]
pub fn score_tenths(components: &Components, weights: &[f64; COMPONENTS]) -> i64 {
    let quiet: f64 = components
        .iter()
        .zip(weights)
        .map(|(component, weight)| 1.0 - weight * f64::from(component.unwrap_or(0)) / 1000.0)
        .product();
    // Half a tenth that the float misses by a bit rounds up, as it does in Postgres' numeric.
    (1000.0 * (1.0 - quiet) + 1e-9).round() as i64
}

/// A score in tenths as it is stored: the closest `real`.
#[must_use]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "at most 1000")]
pub fn score_of_tenths(tenths: i64) -> f32 {
    (tenths as f64 / 10.0) as f32
}

/// A stored score in tenths.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "0 to 1000")]
pub fn tenths_of_score(score: f32) -> i64 {
    (f64::from(score) * 10.0).round() as i64
}

/// A share from 0 to 1 in thousandths.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000")]
pub(crate) fn thousandths(share: f64) -> u16 {
    (share.clamp(0.0, 1.0) * 1000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WEIGHTS: [f64; COMPONENTS] = [0.60, 0.50, 0.30, 0.30, 0.25, 0.05];

    #[test]
    fn the_published_maximum_is_93() {
        assert_eq!(score_tenths(&[Some(1000); COMPONENTS], &WEIGHTS), 930);
        assert_eq!(score_tenths(&[None; COMPONENTS], &WEIGHTS), 0);
        let amount_alone = [Some(300), None, None, None, None, Some(0)];
        assert_eq!(score_tenths(&amount_alone, &WEIGHTS), 180, "z = 3.5: 100 · 0.6 · 0.3");
        let both = [Some(1000), None, None, None, None, Some(1000)];
        assert_eq!(score_tenths(&both, &WEIGHTS), 620, "1 − 0.4 · 0.95");
        let tie = [Some(950), None, None, None, None, Some(1000)];
        assert_eq!(score_tenths(&tie, &WEIGHTS), 592, "59.15, which floats make 59.1499…");
    }

    #[test]
    fn the_reason_is_the_largest_contribution() {
        let reason = |components: Components| pack(&components, &WEIGHTS) >> REASON_SHIFT;
        assert_eq!(reason([None; COMPONENTS]), 0);
        assert_eq!(reason([Some(0), None, None, None, None, Some(1000)]), 6);
        assert_eq!(reason([Some(100), None, None, None, None, Some(1000)]), 1);
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(components: [Option<u16>; COMPONENTS]) {
            let components = components.map(|c| c.map(|c| c % 1001));
            let packed = pack(&components, &WEIGHTS);
            prop_assert!(packed >= 0);
            prop_assert_eq!(unpack(packed), components);
            prop_assert!((0..=930).contains(&score_tenths(&components, &WEIGHTS)));
        }
    }
}
