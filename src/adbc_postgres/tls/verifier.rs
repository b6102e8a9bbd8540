//! Server verification: none, by certificate authority, or by host name.

use adbc_core::error::Result as AdbcResult;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::adbc_postgres::error::invalid;

/// Verifies a server's certificate as required by the mode.
///
/// In every mode, the server must sign the handshake with the certificate's key: SCRAM channel
/// binding depends on it.
#[derive(Debug)]
pub(super) struct Verifier {
    /// Trusted certificates; `None` accepts any certificate.
    pub(super) trust: Option<Trust>,
    /// Whether the certificate must match the host name.
    pub(super) names: bool,
    /// Supported signature algorithms.
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
pub(super) struct Trust {
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// Trusts `certificates`. Explicitly `named` ones must all be usable; the machine's own list
    /// may contain unusable old ones.
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>, named: bool) -> AdbcResult<Self> {
        let mut roots = RootCertStore::empty();
        let (usable, unusable) = roots.add_parsable_certificates(certificates.iter().cloned());
        if usable == 0 || (named && unusable > 0) {
            return Err(invalid("sslrootcert holds a certificate that is no X.509 version 3"));
        }
        Ok(Self { roots, certificates })
    }

    /// Whether the certificate is signed by a trusted authority, or trusted itself.
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let verdict = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms.all,
        );
        match verdict {
            // A self-signed server certificate is usually also marked as a CA certificate, which is
            // otherwise invalid for a server. The validity period has already been checked.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.certificates.contains(end_entity) =>
            {
                Ok(())
            }
            verdict => verdict,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trust) = &self.trust {
            trust.check(end_entity, intermediates, now, &self.algorithms)?;
        }
        if self.names {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    fn now() -> UnixTime {
        UnixTime::now()
    }

    fn parameters(names: &[&str]) -> CertificateParams {
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
            .expect("names")
    }

    fn authority() -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().expect("a key");
        let mut authority = parameters(&[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&key).expect("signed").der().clone();
        (certificate, Issuer::new(authority, key))
    }

    fn verify(
        trust: Option<&CertificateDer<'static>>,
        names: bool,
        shown: &CertificateDer<'_>,
        host: &str,
    ) -> Result<(), Error> {
        let verifier = Verifier {
            trust: trust.map(|root| Trust::new(vec![root.clone()], true).expect("a root")),
            names,
            algorithms: rustls::crypto::ring::default_provider().signature_verification_algorithms,
        };
        let name = ServerName::try_from(host).expect("a name");
        verifier.verify_server_cert(shown, &[], &name, &[], now()).map(drop)
    }

    #[test]
    fn authority_and_name_are_two_questions() {
        let ((root, issuer), (other, _)) = (authority(), authority());
        let key = KeyPair::generate().expect("a key");
        let server = parameters(&["db.example", "127.0.0.1"]).signed_by(&key, &issuer);
        let server = server.expect("signed").der().clone();
        assert_eq!(verify(None, false, &server, "elsewhere"), Ok(()));
        assert_eq!(verify(Some(&root), false, &server, "elsewhere"), Ok(()));
        assert!(verify(Some(&other), false, &server, "db.example").is_err());
        assert_eq!(verify(Some(&root), true, &server, "db.example"), Ok(()));
        assert_eq!(verify(Some(&root), true, &server, "127.0.0.1"), Ok(()));
        assert!(verify(Some(&root), true, &server, "elsewhere").is_err());
        assert!(verify(Some(&root), true, &server, "127.0.0.2").is_err());
        assert!(verify(Some(&other), true, &server, "db.example").is_err());
    }

    #[test]
    fn a_self_signed_certificate_can_be_trusted_itself_until_it_expires() {
        for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
            let key = KeyPair::generate().expect("a key");
            let mut server = parameters(&["db.example"]);
            server.is_ca = is_ca;
            let shown = server.self_signed(&key).expect("signed").der().clone();
            assert_eq!(verify(Some(&shown), true, &shown, "db.example"), Ok(()));
            assert!(verify(Some(&shown), true, &shown, "elsewhere").is_err());
            assert!(verify(Some(&authority().0), false, &shown, "db.example").is_err());
            server.not_after = date_time_ymd(2001, 1, 1);
            let expired = server.self_signed(&key).expect("signed").der().clone();
            assert!(verify(Some(&expired), false, &expired, "db.example").is_err());
            // A different certificate with the same name and key.
            let mut twin = parameters(&["db.example"]);
            twin.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let twin = twin.self_signed(&KeyPair::generate().expect("a key")).expect("signed");
            assert!(verify(Some(&shown), false, twin.der(), "db.example").is_err());
        }
    }
}
