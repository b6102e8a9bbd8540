//! Settings of failure notifications by e-mail.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::secret::source::SecretSource;

/// Recipients and server of notifications.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// Whether a failed run is reported.
    pub on_failure: bool,
    /// Whether a task retry is reported.
    pub on_retry: bool,
    /// Recipient addresses.
    pub to: Vec<String>,
    /// Sender address.
    pub from: String,
    /// SMTP host.
    pub host: String,
    /// SMTP port; by default 587 for `starttls`, 465 for `tls`, 25 for `none`.
    pub port: Option<u16>,
    /// `starttls` (required, no plain-text fallback), `tls` (implicit TLS) or `none`.
    pub encryption: MailEncryption,
    /// Additional trusted certificate authorities (PEM).
    pub ca_file: Option<PathBuf>,
    /// User name, if the server requires authentication.
    pub username: Option<String>,
    pub password: SecretSource,
    /// Timeout of each server response in seconds, 1 to 120.
    pub timeout_secs: u64,
    /// Delay in seconds before each retry when the server is unreachable or reports a temporary
    /// failure.
    pub retry_delays_secs: Vec<u64>,
}

/// Encryption of the connection to the mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailEncryption {
    /// TLS before mail or password are sent; servers without it are rejected.
    #[default]
    Starttls,
    /// Implicit TLS.
    Tls,
    /// No encryption; a password is then allowed only for a local server.
    None,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            on_failure: false,
            on_retry: false,
            to: Vec::new(),
            from: String::new(),
            host: String::new(),
            port: None,
            encryption: MailEncryption::default(),
            ca_file: None,
            username: None,
            password: SecretSource::default(),
            timeout_secs: 20,
            retry_delays_secs: vec![5, 30],
        }
    }
}

impl Mail {
    pub(super) fn secrets_mut(&mut self) -> Vec<&mut SecretSource> {
        vec![&mut self.password]
    }

    /// Whether any mail is sent.
    #[must_use]
    pub(crate) fn is_on(&self) -> bool {
        self.on_failure || self.on_retry
    }

    #[must_use]
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(match self.encryption {
            MailEncryption::Starttls => 587,
            MailEncryption::Tls => 465,
            MailEncryption::None => 25,
        })
    }

    /// Whether a password may be sent to this server: over TLS, or locally.
    #[must_use]
    pub(crate) fn may_sign_in(&self) -> bool {
        let host = self.host.as_str();
        let here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        here || self.encryption != MailEncryption::None
    }

    /// Validates constraints that the types do not enforce.
    pub(super) fn validate(&self) -> Result<()> {
        if !self.is_on() {
            return Ok(());
        }
        if self.to.is_empty() {
            return Err(Error::config("mail.to needs an address")
                .hint("or set mail.on_failure and mail.on_retry to false"));
        }
        for (setting, address) in
            self.to.iter().map(|to| ("mail.to", to)).chain([("mail.from", &self.from)])
        {
            if !is_address(address) {
                return Err(Error::config(format!("{setting} must be a mail address"))
                    .hint("for example data-team@example.org, without a name before it"));
            }
        }
        let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        if self.host.is_empty() || !self.host.chars().all(host) {
            return Err(Error::config("mail.host must be the mail server's name"));
        }
        if self.port == Some(0) {
            return Err(Error::config("mail.port must be from 1 to 65,535"));
        }
        if !(1..=120).contains(&self.timeout_secs) {
            return Err(Error::config("mail.timeout_secs must be from 1 to 120"));
        }
        let waits = &self.retry_delays_secs;
        if waits.len() > 10 || waits.iter().any(|&seconds| seconds > 3600) {
            return Err(Error::config(
                "mail.retry_delays_secs: at most 10 waits of at most 3,600 seconds",
            ));
        }
        if self.ca_file.is_some() && self.encryption == MailEncryption::None {
            return Err(Error::config("mail.ca_file has no meaning where mail.encryption is none"));
        }
        match (&self.username, self.password.is_named()) {
            (Some(_), false) => Err(Error::config("mail.password is missing").hint(
                "{ env = \"NAME\" } or { file = \"path\" } names it; without mail.username \
                 none is needed",
            )),
            (None, true) => Err(Error::config("mail.username is missing")),
            (Some(_), true) if !self.may_sign_in() => Err(Error::config(
                "mail.encryption is none: the password would go over the network in the clear",
            )
            .hint("use starttls or tls; only a server on this machine may do without")),
            _ => Ok(()),
        }
    }
}

/// Catches typing errors only; the mail server validates addresses.
fn is_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"<>(),;:\"\\".contains(c);
    match text.split_once('@') {
        Some((name, host)) => {
            !name.is_empty() && !host.is_empty() && !host.contains('@') && text.chars().all(plain)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = "on_failure = true\nto = [\"ops@example.org\"]\nfrom = \"etl@example.org\"\n\
        host = \"mail.example.org\"\n";

    fn refusal(text: &str) -> Option<String> {
        let mail: Mail = toml::from_str(text).expect("the keys are known");
        mail.validate().err().map(|error| error.message().to_owned())
    }

    #[test]
    fn it_is_off_by_default_and_then_asks_for_nothing() {
        assert!(!Mail::default().is_on());
        assert_eq!(refusal(""), None);
        assert_eq!(refusal(FINE), None);
        assert_eq!(refusal("on_failure = true").expect("no address"), "mail.to needs an address");
    }

    #[test]
    fn ports_follow_the_encryption() {
        let port = |text: &str| toml::from_str::<Mail>(text).expect("TOML").port();
        assert_eq!(port(""), 587);
        assert_eq!(port("encryption = \"tls\""), 465);
        assert_eq!(port("encryption = \"none\""), 25);
        assert_eq!(port("encryption = \"tls\"\nport = 2465"), 2465);
        assert!(toml::from_str::<Mail>("encryption = \"maybe\"").is_err());
    }

    #[test]
    fn a_password_does_not_go_over_a_network_in_the_clear() {
        let with = |host: &str, more: &str| {
            let account = "username = \"etl\"\npassword = { env = \"P\" }\n";
            refusal(&format!("{}{account}{more}", FINE.replace("mail.example.org", host)))
        };
        assert_eq!(with("mail.example.org", ""), None);
        assert_eq!(with("mail.example.org", "encryption = \"tls\""), None);
        for host in ["localhost", "127.0.0.1", "::1"] {
            assert_eq!(with(host, "encryption = \"none\""), None, "{host}");
        }
        for host in ["mail.example.org", "10.0.0.1", "localhost.example.org"] {
            let message = with(host, "encryption = \"none\"").expect(host);
            assert!(message.contains("in the clear"), "{message}");
        }
        assert_eq!(refusal(&format!("{FINE}encryption = \"none\"")), None, "no password, no harm");
    }

    #[test]
    fn ranges_hold() {
        for (more, wanted) in [
            ("username = \"etl\"", "mail.password is missing"),
            ("password = { env = \"P\" }", "mail.username is missing"),
            ("port = 0", "mail.port"),
            ("timeout_secs = 0", "mail.timeout_secs"),
            ("retry_delays_secs = [3601]", "mail.retry_delays_secs"),
            ("encryption = \"none\"\nca_file = \"ca.crt\"", "mail.ca_file"),
        ] {
            let message = refusal(&format!("{FINE}{more}")).expect(more);
            assert!(message.starts_with(wanted), "{message}");
        }
        for bad in ["ops", "@h", "ops@", "a b@h", "Ops <ops@h>", "a@b@c", "ops@h\\r\\nBcc: x@y"] {
            let text = FINE.replace("ops@example.org", bad);
            assert_eq!(refusal(&text).as_deref(), Some("mail.to must be a mail address"), "{bad}");
        }
        let text = FINE.replace("mail.example.org", "mail example");
        assert!(refusal(&text).expect("blank").starts_with("mail.host"));
    }
}
