//! Signs messages in four styles. ring's keys do not print their bytes.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{HMAC_SHA256, Key, Tag, sign};

use crate::config::{Webhook, WebhookStyle};
use crate::error::{Error, Result};

/// Prefix of a Standard Webhooks secret.
const PREFIX: &str = "whsec_";
/// Length of its decoded bytes (Standard Webhooks 1.0.0).
const STANDARD_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Minimum length of a plain-text secret, against guessing.
const MIN_TEXT_LENGTH: usize = 16;

/// Signs messages with one or more keys.
pub(super) struct Signer {
    style: WebhookStyle,
    keys: Vec<Key>,
}

impl Signer {
    /// Reads the configured secrets.
    ///
    /// # Errors `Config` when a secret is missing or invalid for its style.
    pub(super) fn read(setting: &str, hook: &Webhook) -> Result<Self> {
        let keys = hook.secrets.iter().enumerate().map(|(index, source)| {
            let what = format!("{setting}[{index}]");
            let secret = source.read(&what)?;
            let bytes = match hook.style {
                WebhookStyle::Standard => decoded(&what, secret.expose().trim())?,
                _ => text(&what, secret.expose())?,
            };
            Ok(Key::new(HMAC_SHA256, &bytes))
        });
        Ok(Self { style: hook.style, keys: keys.collect::<Result<_>>()? })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Headers of one attempt at `timestamp` (Unix seconds). Every style includes the event id, so
    /// that receivers can detect duplicates.
    pub(super) fn headers(
        &self,
        id: &str,
        timestamp: i64,
        body: &[u8],
    ) -> Vec<(&'static str, String)> {
        let stamp = timestamp.to_string();
        let mut headers = vec![("webhook-id", id.to_owned())];
        headers.extend(match self.style {
            WebhookStyle::Standard => {
                let signed =
                    self.each([id, ".", &stamp, "."], body, |tag| format!("v1,{}", base64(tag)));
                vec![("webhook-timestamp", stamp), ("webhook-signature", signed.join(" "))]
            }
            WebhookStyle::Github => {
                let signed = self.each([], body, |tag| format!("sha256={}", hex(tag)));
                vec![("x-hub-signature-256", signed.concat())]
            }
            WebhookStyle::Stripe => {
                let signed = self.each([&stamp, "."], body, |tag| format!(",v1={}", hex(tag)));
                vec![("stripe-signature", format!("t={stamp}{}", signed.concat()))]
            }
            WebhookStyle::Slack => {
                let signed =
                    self.each(["v0:", &stamp, ":"], body, |tag| format!("v0={}", hex(tag)));
                vec![("x-slack-request-timestamp", stamp), ("x-slack-signature", signed.concat())]
            }
        });
        headers
    }

    /// One signature per key over `head` and `body`.
    fn each<const N: usize>(
        &self,
        head: [&str; N],
        body: &[u8],
        write: impl Fn(&Tag) -> String,
    ) -> Vec<String> {
        let content = [head.concat().as_bytes(), body].concat();
        self.keys.iter().map(|key| write(&sign(key, &content))).collect()
    }
}

/// Decodes a Standard Webhooks secret.
fn decoded(what: &str, secret: &str) -> Result<Vec<u8>> {
    let refused = |why: &str| {
        Error::config(format!("{what}: {why}"))
            .hint("make one: echo \"whsec_$(openssl rand -base64 32)\"")
    };
    let encoded = secret.strip_prefix(PREFIX).ok_or_else(|| {
        refused(if secret.starts_with("whsk_") || secret.starts_with("whpk_") {
            "this is half of a key pair; only shared secrets (whsec_…) sign here"
        } else {
            "a secret begins with whsec_"
        })
    })?;
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_| refused("what follows whsec_ is not base64 (with its padding)"))?;
    if !STANDARD_BYTES.contains(&bytes.len()) {
        return Err(refused(&format!(
            "a secret has 24 to 64 bytes behind whsec_, this one has {}",
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// Bytes of a plain-text secret.
fn text(what: &str, secret: &str) -> Result<Vec<u8>> {
    if secret.len() < MIN_TEXT_LENGTH {
        return Err(Error::config(format!("{what}: shorter than {MIN_TEXT_LENGTH} characters"))
            .hint("make one: openssl rand -hex 32"));
    }
    Ok(secret.as_bytes().to_vec())
}

fn base64(tag: &Tag) -> String {
    STANDARD.encode(tag.as_ref())
}

fn hex(tag: &Tag) -> String {
    tag.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::source::SecretSource;

    fn signer(style: WebhookStyle, secrets: &[&str]) -> Result<Signer> {
        let secrets =
            secrets.iter().map(|secret| SecretSource::from_variable("HOOK", secret)).collect();
        Signer::read("secrets", &Webhook { style, secrets, ..Webhook::default() })
    }

    fn last(style: WebhookStyle, secret: &str, id: &str, stamp: i64, body: &str) -> String {
        let signer = signer(style, &[secret]).expect("a good secret");
        signer.headers(id, stamp, body.as_bytes()).pop().expect("a signature").1
    }

    /// Computed with `openssl dgst -sha256 -mac HMAC -macopt hexkey:…`.
    #[test]
    fn a_known_message_has_the_known_signature() {
        let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert_eq!(
            last(WebhookStyle::Standard, secret, "msg_0", 1_700_000_000, "{\"a\":1}"),
            "v1,2mdzHAbqcWZMBE3RQEroT32JE32iB56X+k1d07GnKNc="
        );
    }

    /// GitHub's is the example in its documentation ("Validating webhook deliveries"); the others
    /// were computed with Python's hmac.
    #[test]
    fn the_other_styles_have_theirs() {
        assert_eq!(
            last(WebhookStyle::Github, "It's a Secret to Everybody", "m", 0, "Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
        let secret = "an example secret";
        assert_eq!(
            last(WebhookStyle::Stripe, secret, "m", 1_700_000_000, "{\"a\":1}"),
            "t=1700000000,v1=1c60c18eacc783fea00d7db7fb453e1d54df349c5eb0c251a7633befbab2f656"
        );
        assert_eq!(
            last(WebhookStyle::Slack, secret, "m", 1_700_000_000, "{\"a\":1}"),
            "v0=b56fe4f0ee445925951abf59630c20cec4f34ec39bd873ea2ce6941e1c9e3396"
        );
    }

    #[test]
    fn each_secret_signs() {
        let secrets = [
            "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ];
        let both = signer(WebhookStyle::Standard, &secrets).expect("two secrets");
        assert_eq!(both.len(), 2);
        let headers = both.headers("msg_0", 1_700_000_000, b"{\"a\":1}");
        let signed: Vec<&str> = headers[2].1.split(' ').collect();
        assert_eq!(signed[0], "v1,2mdzHAbqcWZMBE3RQEroT32JE32iB56X+k1d07GnKNc=");
        assert_eq!(signed.len(), 2);
        assert_ne!(signed[0], signed[1]);
    }

    #[test]
    fn a_bad_secret_is_refused_and_not_repeated() {
        let bytes = |count: usize| format!("whsec_{}", STANDARD.encode(vec![7; count]));
        for count in [24, 64] {
            assert!(signer(WebhookStyle::Standard, &[&bytes(count)]).is_ok(), "{count}");
        }
        for (secret, wanted) in [
            (bytes(23), "this one has 23"),
            (bytes(65), "this one has 65"),
            ("whsec_hunter2hunter2*".into(), "not base64"),
            ("hunter2hunter2hunter2".into(), "begins with whsec_"),
            ("whsk_hunter2".into(), "key pair"),
        ] {
            let error = signer(WebhookStyle::Standard, &[&secret]).err().expect("refused");
            let text = error.to_string();
            assert!(text.contains(wanted) && text.starts_with("secrets[0]: "), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(signer(WebhookStyle::Github, &["fifteen letters"]).is_err());
        assert!(signer(WebhookStyle::Slack, &["sixteen letters!"]).is_ok());
    }
}
