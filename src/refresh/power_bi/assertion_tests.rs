//! Tests that the signature verifies with the certificate's public key.

use ring::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};

use super::*;

/// Key created for these tests with `openssl req -x509 -newkey rsa:2048`; used nowhere else.
const KEY: &str = include_str!("../../../tests/support/power_bi_key.pem");

const CERTIFICATE: &str = include_str!("../../../tests/support/power_bi_certificate.pem");

/// The certificate's public key, from `openssl rsa -RSAPublicKey_out`.
const PUBLIC: &str = "MIIBCgKCAQEAt6sLkNQrtqKZN1prC/SwLVjVbz49ynMjV6pGdyhqonvL6n0ltwE6
xy0vtoOGg7Cz6wiKihhDKoYCuhbXWAhMYZb9U/uTKywge0w5KvQ30oxvGB8/bbGy
7P1gYV+fCf10vBDqJn10rAAiOpCLar90J6FS71JR4kLClbS7aAoHaUE+GAfrWi80
C/VXWnGqjEwO24aNyshMyIUYme5tYs+Zz20+Hps4OWF8wA7VGAEe+VjYMzKPD+j3
NVBP4KdDmMdmbHw9/aNHkrZE2r0trBGlcYVuxCGAvBCO2uhGU+QT6bK1b+EXuh/o
y3Y6Psgzo3R7lPw+Nd8AD4rkC+a1gLt1hwIDAQAB
";

/// The certificate's SHA-256 from `openssl dgst -sha256`, as base64url.
const THUMBPRINT: &str = "9iRZJv_Ixlswpb3D_5ClhWgjKxAEkdNzDA7KWkm6tG0";

fn signed(key: &str) -> Result<Secret> {
    assertion(CERTIFICATE, &Secret::new(key), "https://login.example/token", "app", 1_700_000_000)
}

#[test]
fn the_signature_is_the_certificates() {
    let token = signed(KEY).expect("signed");
    let (text, signature) = token.expose().rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let public: String = PUBLIC.split_whitespace().collect();
    let public = STANDARD.decode(public).expect("base64");
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public)
        .verify(text.as_bytes(), &signature)
        .expect("a good signature");

    let (head, claims) = text.split_once('.').expect("two parts");
    let read = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
    };
    assert_eq!(read(head), json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": THUMBPRINT }));
    let claims = read(claims);
    assert_eq!(claims["aud"], "https://login.example/token");
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("app"), &json!("app")));
    assert_eq!(claims["nbf"], 1_700_000_000);
    assert_eq!(claims["exp"], 1_700_000_600);
    assert_eq!(claims["jti"].as_str().map(str::len), Some(36));
}

#[test]
fn every_assertion_has_an_id_of_its_own() {
    assert_ne!(signed(KEY).expect("signed"), signed(KEY).expect("signed"));
}

#[test]
fn what_is_no_key_is_reported_without_quoting_it() {
    let label = KEY.replace("PRIVATE KEY", "RSA PRIVATE KEY");
    let other = "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----";
    for (key, reason) in
        [(label.as_str(), "PKCS #8"), ("hunter2", "PKCS #8"), (other, "not an RSA key")]
    {
        let error = signed(key).expect_err(reason).to_string();
        assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
    }
    let error = assertion("none", &Secret::new(KEY), "a", "c", 0).expect_err("no certificate");
    assert!(error.message().contains("no PEM certificate"), "{error}");
}
