//! The check value by which a warehouse recognises its key.

/// Stored in the warehouse to recognise its key: 128 bits from which the key cannot be derived.
#[derive(Debug, Clone, Copy)]
pub struct CheckValue([u8; 16]);

impl CheckValue {
    /// A stored value.
    #[must_use]
    pub(crate) fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The value, to be stored.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl PartialEq for CheckValue {
    /// In constant time.
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
