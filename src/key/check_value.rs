//! The check value that identifies a warehouse's key.

/// Stored in the warehouse to identify its key: 128 bits from which the key cannot be derived.
#[derive(Debug, Clone, Copy)]
pub struct CheckValue([u8; 16]);

impl CheckValue {
    #[must_use]
    pub(crate) fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The value for storage.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl PartialEq for CheckValue {
    /// Constant-time comparison.
    fn eq(&self, other: &Self) -> bool {
        let whole = |half: &[u8; 16]| {
            let mut whole = [0; 32];
            whole[..16].copy_from_slice(half);
            whole
        };
        blake3::Hash::from_bytes(whole(&self.0)) == whole(&other.0)
    }
}

impl Eq for CheckValue {}
