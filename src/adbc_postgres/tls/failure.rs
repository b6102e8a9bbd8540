//! Explains failed TLS handshakes, with hints.

use std::error::Error as StdError;
use std::io;

use adbc_core::error::Status;
use rustls::{CertificateError as Refused, Error as TlsError};

/// A failed handshake.
pub(in super::super) struct Failure {
    pub(in super::super) status: Status,
    pub(in super::super) reason: String,
    pub(in super::super) hint: Option<&'static str>,
}

/// The explanation of `cause`, the source of a client error.
pub(in super::super) fn failure(cause: &(dyn StdError + 'static)) -> Option<Failure> {
    let io = cause.downcast_ref::<io::Error>();
    let inner = io.and_then(io::Error::get_ref).map(|inner| inner as &(dyn StdError + 'static));
    if let Some(error) = inner.unwrap_or(cause).downcast_ref::<TlsError>() {
        let (reason, hint) = explained(error);
        return Some(Failure { status: Status::InvalidState, reason, hint });
    }
    // The client's own messages are fixed texts.
    let text = cause.to_string();
    if text == "server does not support TLS" {
        return Some(Failure {
            status: Status::InvalidState,
            reason: "the server does not offer TLS, which sslmode demands".into(),
            hint: Some(
                "turn ssl on in the server, or, where the way to it is safe, use sslmode=disable",
            ),
        });
    }
    (io.is_none() && text == "no hostname provided for TLS handshake").then(|| Failure {
        status: Status::InvalidArguments,
        reason: "TLS needs a host name or address, and the connection URI names none".into(),
        hint: None,
    })
}

fn explained(error: &TlsError) -> (String, Option<&'static str>) {
    let TlsError::InvalidCertificate(refused) = error else {
        // Alerts, versions, ciphers: contains no values.
        return (format!("TLS: {error}"), None);
    };
    match refused {
        Refused::UnknownIssuer => (
            "the server's certificate comes from an authority that is not trusted here".into(),
            Some("name the authority's certificate with sslrootcert; is this the right server?"),
        ),
        Refused::NotValidForName | Refused::NotValidForNameContext { .. } => (
            "the server's certificate is for another host name".into(),
            Some(
                "connect to a name in the certificate's subjectAltName; is this the right server?",
            ),
        ),
        Refused::Expired | Refused::ExpiredContext { .. } => (
            "the server's certificate has expired".into(),
            Some("renew the server's certificate; is the clock of this machine right?"),
        ),
        Refused::NotValidYet | Refused::NotValidYetContext { .. } => (
            "the server's certificate is not valid yet".into(),
            Some("is the clock of this machine right?"),
        ),
        other => (
            format!("the server's certificate is not accepted: {other}"),
            Some("give the server an X.509 version 3 certificate of an authority"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_refused_says_why() {
        let wrapped = |error: TlsError| io::Error::new(io::ErrorKind::InvalidData, error);
        for (refused, wanted) in [
            (Refused::UnknownIssuer, "not trusted"),
            (Refused::NotValidForName, "another host name"),
            (Refused::Expired, "expired"),
            (Refused::BadEncoding, "not accepted"),
        ] {
            let error = wrapped(TlsError::InvalidCertificate(refused));
            let failure = failure(&error).expect("a failure of TLS");
            assert!(failure.reason.contains(wanted), "{}", failure.reason);
            assert!(failure.hint.is_some());
        }
        let alert = wrapped(TlsError::PeerIncompatible(
            rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13,
        ));
        assert!(failure(&alert).is_some());
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(failure(&broken).is_none(), "what can pass by itself is not about TLS");
    }
}
