//! Protection level of a connection.

/// How a connection is protected against network attackers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Local connection.
    Local,
    /// Not encrypted.
    None,
    /// Encrypted if the server offers it; server identity not verified.
    IfOffered,
    /// Encrypted; server identity not verified.
    Encrypted,
    /// Encrypted; the certificate is signed by a trusted authority, the host name is not verified.
    Signed,
    /// Encrypted; certificate and host name verified.
    Verified,
}
