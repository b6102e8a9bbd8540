//! How well a connection is protected.

/// How much a connection keeps from whoever is on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// No network lies on the way.
    Local,
    /// Nothing is encrypted.
    None,
    /// Encrypted where the server offers it; who it is is not verified.
    IfOffered,
    /// Encrypted; who the server is is not verified.
    Encrypted,
    /// Encrypted; a trusted authority has signed the server's certificate, whatever its name.
    Signed,
    /// Encrypted, and the server is the one that the address names.
    Verified,
}
