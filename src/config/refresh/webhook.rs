//! Settings of one webhook.

use serde::{Deserialize, Serialize};

use super::{check_deadline, check_name, check_url};
use crate::error::{Error, Result};
use crate::secret::source::SecretSource;

/// Maximum number of retries; longer retries need a queue, not a batch job.
const MAX_RETRIES: usize = 10;

/// A URL notified of the result of the run and of the other targets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// Whether it is notified.
    pub enabled: bool,
    /// Whether a failure ends the run with exit code 6.
    pub required: bool,
    /// Timeout in seconds; `refresh.deadline_secs` by default.
    pub deadline_secs: Option<u64>,
    /// Redirects are not followed.
    pub url: String,
    /// Signature scheme: `standard` (Standard Webhooks 1.0.0), `github`, `stripe` or `slack`.
    pub style: WebhookStyle,
    /// Signing secrets; two during a secret rotation. `standard`: `whsec_` and the base64 of 24 to
    /// 64 random bytes; others: at least 16 characters, and only one for `github` and `slack`.
    pub secrets: Vec<SecretSource>,
    /// Delay in seconds before each retry; the length of the list is the number of retries.
    pub retry_delays_secs: Vec<u64>,
    /// Timeout of each response in seconds, 1 to 120.
    pub timeout_secs: u64,
}

/// Signature scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookStyle {
    /// Standard Webhooks 1.0.0: `webhook-signature: v1,…`.
    #[default]
    Standard,
    /// GitHub: `X-Hub-Signature-256: sha256=…`.
    Github,
    /// Stripe: `Stripe-Signature: t=…,v1=…`.
    Stripe,
    /// Slack: `X-Slack-Signature: v0=…`.
    Slack,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            enabled: true,
            required: false,
            deadline_secs: None,
            url: String::new(),
            style: WebhookStyle::default(),
            secrets: Vec::new(),
            retry_delays_secs: vec![5, 30],
            timeout_secs: 20,
        }
    }
}

impl Webhook {
    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretSource> {
        self.secrets.iter_mut().collect()
    }

    pub(super) fn validate(&self, name: &str) -> Result<()> {
        check_name("refresh.webhook", name)?;
        let setting = format!("refresh.webhook.{name}");
        check_deadline(&setting, self.deadline_secs)?;
        check_url(&format!("{setting}.url"), &self.url)?;
        if !(1..=120).contains(&self.timeout_secs) {
            return Err(Error::config(format!("{setting}.timeout_secs must be from 1 to 120")));
        }
        let too_long = self.retry_delays_secs.iter().any(|&seconds| seconds > 3600);
        if too_long || self.retry_delays_secs.len() > MAX_RETRIES {
            return Err(Error::config(format!(
                "{setting}.retry_delays_secs: at most {MAX_RETRIES} waits of at most 3,600 seconds"
            )));
        }
        match (self.style, self.secrets.len()) {
            (_, 0) => Err(Error::config(format!("{setting} needs a secret to sign with"))
                .hint("secrets = [{ env = \"NAME\" }] or [{ file = \"path\" }]")),
            (WebhookStyle::Github | WebhookStyle::Slack, 2..) => Err(Error::config(format!(
                "{setting}.secrets: this style has room for one signature"
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Option<String> {
        let hook: Webhook = toml::from_str(text).expect("the keys are known");
        hook.validate("ops").err().map(|error| error.message().to_owned())
    }

    #[test]
    fn ranges_hold() {
        let fine = "url = \"https://h/hook\"\nsecrets = [{ env = \"A\" }, { env = \"B\" }]\n";
        assert_eq!(refusal(fine), None);
        assert_eq!(refusal(&format!("{fine}style = \"stripe\"\nretry_delays_secs = []")), None);
        for (more, wanted) in [
            ("style = \"github\"", "refresh.webhook.ops.secrets: this style"),
            ("style = \"slack\"", "refresh.webhook.ops.secrets: this style"),
            ("timeout_secs = 0", "refresh.webhook.ops.timeout_secs"),
            ("retry_delays_secs = [3601]", "refresh.webhook.ops.retry_delays_secs"),
            ("retry_delays_secs = [1,1,1,1,1,1,1,1,1,1,1]", "refresh.webhook.ops.retry_delays"),
            ("deadline_secs = 0", "refresh.webhook.ops.deadline_secs"),
        ] {
            let message = refusal(&format!("{fine}{more}")).expect(more);
            assert!(message.starts_with(wanted), "{message}");
        }
        assert!(refusal("url = \"https://h/hook\"").expect("no secret").contains("a secret"));
        assert!(refusal("url = \"https://u:p@h/\"").expect("a password").contains("web address"));
    }
}
