//! The parameters of libpq that decide how a connection is protected.

/// The parameters of libpq that are taken out of an address before the client's parser, which does
/// not know them, sees it. Each is nothing where the address is silent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::adbc_postgres) struct Parameters {
    /// `disable`, `prefer`, `require`, `verify-ca` or `verify-full`.
    pub(in crate::adbc_postgres) sslmode: Option<String>,
    /// A file of trusted certificates, or `system`.
    pub(in crate::adbc_postgres) sslrootcert: Option<String>,
    /// A file with the client's certificate.
    pub(in crate::adbc_postgres) sslcert: Option<String>,
    /// A file with the client's key.
    pub(in crate::adbc_postgres) sslkey: Option<String>,
    /// A file of passwords, as libpq's `~/.pgpass`.
    pub(in crate::adbc_postgres) passfile: Option<String>,
}

/// Parameters of libpq that would change the security of a connection and cannot be honoured.
pub(super) const REFUSED: [&str; 9] = [
    "service",
    "requiressl",
    "require_auth",
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "gssencmode",
];

impl Parameters {
    /// Where the parameter `name` is kept, if it is one of these.
    pub(in crate::adbc_postgres) fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "sslmode" => Some(&mut self.sslmode),
            "sslrootcert" => Some(&mut self.sslrootcert),
            "sslcert" => Some(&mut self.sslcert),
            "sslkey" => Some(&mut self.sslkey),
            "passfile" => Some(&mut self.passfile),
            _ => None,
        }
    }

    /// These, and `defaults` where they are silent.
    pub(in crate::adbc_postgres) fn or(&self, defaults: &Self) -> Self {
        let either = |own: &Option<String>, other: &Option<String>| own.clone().or(other.clone());
        Self {
            sslmode: either(&self.sslmode, &defaults.sslmode),
            sslrootcert: either(&self.sslrootcert, &defaults.sslrootcert),
            sslcert: either(&self.sslcert, &defaults.sslcert),
            sslkey: either(&self.sslkey, &defaults.sslkey),
            passfile: either(&self.passfile, &defaults.passfile),
        }
    }

    /// All of them by name.
    pub(in crate::adbc_postgres) fn named(&self) -> [(&'static str, &Option<String>); 5] {
        [
            ("sslmode", &self.sslmode),
            ("sslrootcert", &self.sslrootcert),
            ("sslcert", &self.sslcert),
            ("sslkey", &self.sslkey),
            ("passfile", &self.passfile),
        ]
    }
}
