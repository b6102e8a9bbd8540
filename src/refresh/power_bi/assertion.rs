//! Client assertion for certificate authentication: a JWT signed with the private key.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::secret::value::Secret;

/// Validity in seconds.
const VALID_FOR: i64 = 600;

/// Builds the assertion of `client` for `audience` at `now` (Unix seconds).
pub(super) fn assertion(
    certificate: &str,
    key: &Secret,
    audience: &str,
    client: &str,
    now: i64,
) -> Result<Secret> {
    let certificate = block(certificate, "CERTIFICATE")
        .ok_or_else(|| Error::config("refresh.power_bi.certificate: it has no PEM certificate"))?;
    let key = block(key.expose(), "PRIVATE KEY").ok_or_else(|| {
        Error::config("refresh.power_bi.private_key: it has no PKCS #8 PEM key")
            .hint("openssl pkcs8 -topk8 -nodes -in key.pem -out key8.pem makes one")
    })?;
    let key = RsaKeyPair::from_pkcs8(&key).map_err(|_| {
        Error::config("refresh.power_bi.private_key: it is not an RSA key of 2048 to 4096 bits")
    })?;
    let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate));
    let head = json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint });
    let claims = json!({
        "aud": audience,
        "iss": client,
        "sub": client,
        "jti": Uuid::now_v7().to_string(),
        "iat": now,
        "nbf": now,
        "exp": now + VALID_FOR,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&head), part(&claims));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .map_err(|_| Error::internal("the certificate's key could not sign"))?;
    Ok(Secret::new(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// The first PEM block with this label.
fn block(pem: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).ok().filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
#[path = "assertion_tests.rs"]
mod tests;
