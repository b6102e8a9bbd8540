//! A checksum of rows that does not depend on their order.

use std::fmt;

use serde::{Serialize, Serializer};

/// The sum over the rows so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksum(u128);

impl Checksum {
    /// The checksum of one row.
    pub(crate) fn of(row: &[u8]) -> Self {
        let mut first = [0; 16];
        first.copy_from_slice(&blake3::hash(row).as_bytes()[..16]);
        Self(u128::from_le_bytes(first))
    }

    /// Adds another row's.
    pub(crate) fn add(&mut self, row: Self) {
        self.0 = self.0.wrapping_add(row.0);
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_count_and_a_repeat_does() {
        let sum = |rows: &[&str]| {
            let mut sum = Checksum::default();
            for row in rows {
                sum.add(Checksum::of(row.as_bytes()));
            }
            sum
        };
        assert_eq!(sum(&["a", "b", "c"]), sum(&["c", "a", "b"]));
        assert_ne!(sum(&["a", "b"]), sum(&["a", "a", "b"]));
        assert_ne!(sum(&["a", "a"]), sum(&[]), "two equal rows do not cancel out");
        assert_eq!(sum(&[]).to_string(), "0".repeat(32));
    }
}
