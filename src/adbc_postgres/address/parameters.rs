//! libpq parameters that control connection security.

/// libpq parameters removed from an address, because the client's parser does not know them. `None`
/// if absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::adbc_postgres) struct Parameters {
    /// `disable`, `prefer`, `require`, `verify-ca` or `verify-full`.
    pub(in crate::adbc_postgres) sslmode: Option<String>,
    /// File of trusted certificates, or `system`.
    pub(in crate::adbc_postgres) sslrootcert: Option<String>,
    /// File of the client certificate.
    pub(in crate::adbc_postgres) sslcert: Option<String>,
    /// File of the client key.
    pub(in crate::adbc_postgres) sslkey: Option<String>,
    /// Password file, like libpq's `~/.pgpass`.
    pub(in crate::adbc_postgres) passfile: Option<String>,
}

/// Unsupported libpq parameters that would change the security of a connection.
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
    /// The field of the parameter `name`, if it is one of these.
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

    /// These values, with `defaults` for absent ones.
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

    /// All parameters by name.
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
