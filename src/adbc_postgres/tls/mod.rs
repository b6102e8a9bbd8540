//! TLS with libpq's semantics: which `sslmode` encrypts, which verifies, and with which
//! certificates.
//!
//! Deviations from libpq are stricter: a failed handshake never falls back to a plain connection, a
//! configured root certificate file must exist, and host names are checked only against
//! subjectAltName, not the common name.

mod failure;
mod files;
mod verifier;

use std::path::Path;
use std::sync::Arc;

use adbc_core::error::Result;
pub(super) use failure::{Failure, failure};
use postgres::config::SslMode;
use postgres::{CancelToken, Client, Config, NoTls};
use rustls::ClientConfig;
use rustls::crypto::ring;
use tokio_postgres_rustls::MakeRustlsConnect;
use verifier::{Trust, Verifier};

use super::address::Parameters;
use super::error::invalid;
use super::protection::Protection;

/// TLS for all connections to one database.
#[derive(Clone)]
pub(super) enum Tls {
    Off,
    /// As configured, if the server offers TLS.
    On(MakeRustlsConnect),
}

impl Tls {
    pub(super) fn connect(&self, config: &Config) -> std::result::Result<Client, postgres::Error> {
        match self {
            Self::Off => config.connect(NoTls),
            Self::On(connector) => config.connect(connector.clone()),
        }
    }

    /// Sends a cancel request for `token`, over an equally protected connection.
    pub(super) fn cancel(&self, token: &CancelToken) -> std::result::Result<(), postgres::Error> {
        match self {
            Self::Off => token.cancel_query(NoTls),
            Self::On(connector) => token.cancel_query(connector.clone()),
        }
    }
}

/// libpq's modes except `allow`, which prefers no encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    fn of(parameters: &Parameters) -> Result<Self> {
        let system = parameters.sslrootcert.as_deref() == Some(SYSTEM);
        let mode = match parameters.sslmode.as_deref() {
            None if system => Self::VerifyFull,
            None | Some("prefer") => Self::Prefer,
            Some("disable") => Self::Disable,
            Some("require") => Self::Require,
            Some("verify-ca") => Self::VerifyCa,
            Some("verify-full") => Self::VerifyFull,
            Some("allow") => {
                return Err(invalid(
                    "sslmode=allow is not supported: it encrypts only a server that insists; \
                     use prefer, require or verify-full",
                ));
            }
            Some(_) => {
                return Err(invalid(
                    "sslmode must be disable, prefer, require, verify-ca or verify-full",
                ));
            }
        };
        if system && !matches!(mode, Self::Disable | Self::VerifyFull) {
            // Anyone can get a certificate from a public authority for another name.
            return Err(invalid("sslrootcert=system needs sslmode=verify-full"));
        }
        Ok(mode)
    }
}

/// Denotes the certificate authorities trusted by this machine.
const SYSTEM: &str = "system";

/// Resolves `parameters` for a server reached over the network. `home` contains libpq's default
/// files, in `.postgresql`.
///
/// # Errors
/// `InvalidArguments` for invalid values, for files that are missing, unreadable or without
/// certificates, and for a key that others can read.
pub(super) fn resolve(
    parameters: &Parameters,
    home: Option<&Path>,
) -> Result<(SslMode, Tls, Protection)> {
    let mode = Mode::of(parameters)?;
    if mode == Mode::Disable {
        return Ok((SslMode::Disable, Tls::Off, Protection::None));
    }
    let default = |name: &str| {
        home.map(|home| home.join(".postgresql").join(name)).filter(|path| path.exists())
    };
    let trusted = match parameters.sslrootcert.as_deref() {
        Some(SYSTEM) => Some(files::system()?),
        Some(path) => Some(files::certificates("root certificate", Path::new(path))?),
        None => match default("root.crt") {
            Some(path) => Some(files::certificates("root certificate", &path)?),
            None => None,
        },
    };
    if trusted.is_none() && matches!(mode, Mode::VerifyCa | Mode::VerifyFull) {
        return Err(invalid(
            "sslmode=verify-ca and verify-full need the certificate of an authority: \
             sslrootcert=FILE, sslrootcert=system, or the file ~/.postgresql/root.crt",
        ));
    }
    let protection = match (mode, trusted.is_some()) {
        (Mode::Disable, _) => Protection::None,
        (Mode::Prefer, _) => Protection::IfOffered,
        (Mode::VerifyFull, _) => Protection::Verified,
        (Mode::VerifyCa, _) | (Mode::Require, true) => Protection::Signed,
        (Mode::Require, false) => Protection::Encrypted,
    };
    let provider = Arc::new(ring::default_provider());
    // As in libpq, an existing root certificate is used in every mode.
    let trust = trusted.map(|certificates| {
        let is_named = parameters.sslrootcert.as_deref().is_some_and(|path| path != SYSTEM);
        Trust::new(certificates, is_named)
    });
    let verifier = Verifier {
        trust: trust.transpose()?,
        names: mode == Mode::VerifyFull,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| invalid("TLS cannot be set up"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let own = parameters.sslcert.as_ref().map(Into::into).or_else(|| default("postgresql.crt"));
    let mut config = match own {
        Some(certificate) => {
            let key = parameters.sslkey.as_ref().map(Into::into);
            let key = key.or_else(|| default("postgresql.key")).ok_or_else(|| {
                invalid("there is a client certificate (sslcert) but no key for it (sslkey)")
            })?;
            builder
                .with_client_auth_cert(
                    files::certificates("client certificate", &certificate)?,
                    files::key(&key)?,
                )
                .map_err(|_| invalid("the client certificate and its key do not fit together"))?
        }
        None if parameters.sslkey.is_some() => {
            return Err(invalid("there is a client key (sslkey) but no certificate (sslcert)"));
        }
        None => builder.with_no_client_auth(),
    };
    // Servers from version 17 on accept TLS without the preceding plaintext request.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let encrypted = if mode == Mode::Prefer { SslMode::Prefer } else { SslMode::Require };
    Ok((encrypted, Tls::On(MakeRustlsConnect::new(config)), protection))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(values: [Option<&str>; 4]) -> Parameters {
        let [sslmode, sslrootcert, sslcert, sslkey] = values.map(|value| value.map(Into::into));
        Parameters { sslmode, sslrootcert, sslcert, sslkey, passfile: None }
    }

    fn refused(values: [Option<&str>; 4]) -> String {
        resolve(&parameters(values), None).err().expect("must be refused").message
    }

    #[test]
    fn modes_are_libpqs() {
        for (mode, root, meant) in [
            (None, None, Mode::Prefer),
            (None, Some("system"), Mode::VerifyFull),
            (Some("disable"), Some("system"), Mode::Disable),
            (Some("require"), Some("/ca.crt"), Mode::Require),
            (Some("verify-ca"), None, Mode::VerifyCa),
        ] {
            assert_eq!(Mode::of(&parameters([mode, root, None, None])).expect("a mode"), meant);
        }
        assert!(refused([Some("allow"), None, None, None]).contains("prefer"));
        assert!(refused([Some("hunter2"), None, None, None]).contains("must be"));
        assert!(!refused([Some("hunter2"), None, None, None]).contains("hunter2"));
        assert!(refused([Some("require"), Some("system"), None, None]).contains("verify-full"));
    }

    #[test]
    fn what_is_missing_is_reported_before_connecting() {
        assert!(refused([Some("verify-full"), None, None, None]).contains("sslrootcert"));
        let message = refused([None, Some("/nowhere/ca.crt"), None, None]);
        assert!(message.contains("/nowhere/ca.crt"), "{message}");
        assert!(refused([None, None, Some("/nowhere/me.crt"), None]).contains("sslkey"));
        assert!(refused([None, None, None, Some("/nowhere/me.key")]).contains("sslcert"));
    }

    #[test]
    fn disabled_reads_no_file() {
        let parameters = parameters([Some("disable"), Some("/nowhere"), None, None]);
        let (mode, tls, protection) = resolve(&parameters, None).expect("nothing to read");
        assert_eq!(mode, SslMode::Disable);
        assert!(matches!(tls, Tls::Off) && protection == Protection::None);
    }
}
