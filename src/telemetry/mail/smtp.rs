//! The conversation with the mail server.

use std::error::Error as _;
use std::fs;
use std::io::ErrorKind as Io;
use std::time::{Duration, Instant};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::Error as Smtp;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as From, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Code;
use lettre::{Address, Message};

use crate::config::{Mail, MailEncryption};
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::mail::message::Letter;

/// The way to one mail server, and whom to write to.
pub(crate) struct Post {
    host: String,
    port: u16,
    encryption: MailEncryption,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    timeout: Duration,
    from: Address,
    to: Vec<Address>,
}

/// A letter that was taken.
pub(crate) struct Delivery {
    /// Addresses that the server did not want.
    pub(crate) refused: usize,
}

/// Why a letter was not taken.
pub(crate) struct Trouble {
    /// In words of this program.
    pub(crate) what: String,
    /// Whether another try can help.
    pub(crate) can_pass: bool,
}

impl Post {
    /// Reads password and authorities; opens no connection.
    ///
    /// # Errors
    /// `Config` when one of them cannot be read, or the settings would send the password in the
    /// clear.
    pub(crate) fn new(mail: &Mail) -> Result<Self> {
        let credentials = match &mail.username {
            Some(_) if !mail.may_sign_in() => {
                return Err(Error::config("no password goes over a network in the clear"));
            }
            Some(name) => {
                let password = mail.password.read("mail.password")?;
                Some(Credentials::new(name.clone(), password.expose().to_owned()))
            }
            None => None,
        };
        let tls = match mail.encryption {
            MailEncryption::None => None,
            MailEncryption::Starttls | MailEncryption::Tls => Some(tls(mail)?),
        };
        let address = |setting: &str, text: &str| {
            text.parse().map_err(|_| Error::config(format!("{setting} is no mail address")))
        };
        Ok(Self {
            host: mail.host.clone(),
            port: mail.port(),
            encryption: mail.encryption,
            tls,
            credentials,
            timeout: Duration::from_secs(mail.timeout_secs),
            from: address("mail.from", &mail.from)?,
            to: mail.to.iter().map(|to| address("mail.to", to)).collect::<Result<_>>()?,
        })
    }

    /// A letter with its headers. Its id stays the same however often it is sent.
    ///
    /// # Errors
    /// `Internal` when it cannot be put into the form of a mail.
    pub(crate) fn message(&self, letter: &Letter) -> Result<Vec<u8>> {
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let builder = Message::builder()
            .from(Mailbox::new(None, self.from.clone()))
            .subject(letter.subject.clone())
            .message_id(None)
            .date_now()
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
        let builder =
            self.to.iter().fold(builder, |builder, to| builder.to(Mailbox::new(None, to.clone())));
        builder
            .singlepart(SinglePart::plain(letter.text.clone()))
            .map(|message| message.formatted())
            .map_err(|_| Error::internal("the mail could not be put together"))
    }

    /// Hands a message over to the server, until `until` at the longest.
    pub(crate) fn send(&self, message: &[u8], until: Option<Instant>) -> Result<Delivery, Trouble> {
        let mut open = self.open(until)?;
        let sent = self.hand_over(&mut open, message, until);
        // What has been taken has been taken, whatever the server says to the farewell.
        open.abort();
        sent
    }

    /// Signs in and out again.
    ///
    /// # Errors
    /// `Config` when the server cannot be reached or does not let us in.
    pub(crate) fn check(&self, until: Instant) -> Result<String> {
        let mut open = self.open(Some(until)).map_err(|trouble| Error::config(trouble.what))?;
        let protected = if open.is_encrypted() { "TLS" } else { "in the clear" };
        let account = if self.credentials.is_some() { "signed in" } else { "no account" };
        open.abort();
        Ok(format!("{}:{}, {protected}, {account}; no mail was sent", self.host, self.port))
    }

    /// A connection on which mail may be sent.
    fn open(&self, until: Option<Instant>) -> Result<SmtpConnection, Trouble> {
        let hello = ClientId::default();
        let wrapper = self.tls.as_ref().filter(|_| self.encryption == MailEncryption::Tls);
        let timeout = Some(self.left(until)?);
        let server = (self.host.as_str(), self.port);
        let mut open = SmtpConnection::connect(server, timeout, &hello, wrapper, None)
            .map_err(|error| self.trouble(&error, wrapper.is_some()))?;
        if let Some(tls) = self.tls.as_ref().filter(|_| wrapper.is_none()) {
            if !open.can_starttls() {
                open.abort();
                return Err(Trouble::lasting(
                    "the mail server does not offer STARTTLS, and nothing is sent without",
                ));
            }
            self.limit(&mut open, until)?;
            open.starttls(tls, &hello).map_err(|error| self.trouble(&error, true))?;
        }
        if let Some(credentials) = &self.credentials {
            self.limit(&mut open, until)?;
            let known = [Mechanism::Plain, Mechanism::Login];
            if open.server_info().get_auth_mechanism(&known).is_none() {
                open.abort();
                return Err(Trouble::lasting(
                    "the mail server offers neither AUTH PLAIN nor AUTH LOGIN",
                ));
            }
            open.auth(&known, credentials).map_err(|error| {
                let trouble = self.trouble(&error, false);
                Trouble { what: format!("signing in: {}", trouble.what), ..trouble }
            })?;
        }
        Ok(open)
    }

    fn hand_over(
        &self,
        open: &mut SmtpConnection,
        message: &[u8],
        until: Option<Instant>,
    ) -> Result<Delivery, Trouble> {
        let trouble = |error: Smtp| self.trouble(&error, false);
        self.limit(open, until)?;
        open.command(From::new(Some(self.from.clone()), Vec::new())).map_err(trouble)?;
        let (mut taken, mut refused, mut reason) = (0, 0, None);
        for to in &self.to {
            self.limit(open, until)?;
            match open.command(Rcpt::new(to.clone(), Vec::new())) {
                Ok(_) => taken += 1,
                Err(error) if error.status().is_some() => {
                    refused += 1;
                    // A refusal that can pass counts: then another try can reach somebody.
                    if reason.as_ref().is_none_or(|known: &Smtp| !known.is_transient()) {
                        reason = Some(error);
                    }
                }
                Err(error) => return Err(trouble(error)),
            }
        }
        match reason {
            Some(reason) if taken == 0 => {
                let trouble = trouble(reason);
                let what = format!("no address in mail.to was accepted: {}", trouble.what);
                return Err(Trouble { what, ..trouble });
            }
            _ => {}
        }
        self.limit(open, until)?;
        open.command(Data).map_err(trouble)?;
        self.limit(open, until)?;
        open.message(message).map_err(trouble)?;
        Ok(Delivery { refused })
    }

    /// The time that the next answer has.
    fn left(&self, until: Option<Instant>) -> Result<Duration, Trouble> {
        let left = until.map_or(self.timeout, |until| {
            until.saturating_duration_since(Instant::now()).min(self.timeout)
        });
        if left.is_zero() {
            return Err(Trouble::lasting("the mail server was too slow"));
        }
        Ok(left)
    }

    fn limit(&self, open: &mut SmtpConnection, until: Option<Instant>) -> Result<(), Trouble> {
        let left = self.left(until)?;
        open.set_timeout(Some(left)).map_err(|_| Trouble::lasting("the connection broke"))
    }

    /// What an error means; nothing that the server said is in it but its code.
    fn trouble(&self, error: &Smtp, shaking_hands: bool) -> Trouble {
        if let Some(code) = error.status() {
            return Trouble { what: refusal(code), can_pass: error.is_transient() };
        }
        let kind = error
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>())
            .map(std::io::Error::kind);
        let place = format!("{}:{}", self.host, self.port);
        match kind {
            Some(Io::TimedOut | Io::WouldBlock) => {
                Trouble::passing(format!("the mail server {place} did not answer in time"))
            }
            // This is how rustls refuses a certificate.
            Some(Io::InvalidData) if shaking_hands => Trouble::lasting(format!(
                "TLS with {place} failed: is its certificate for this name, and of an authority \
                 of this machine or in mail.ca_file?"
            )),
            _ if error.is_response() => {
                Trouble::passing(format!("{place} broke off, or is no mail server"))
            }
            Some(
                Io::UnexpectedEof | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe,
            ) => Trouble::passing(format!("the connection to the mail server {place} broke")),
            _ => Trouble::passing(format!("no connection to the mail server {place}")),
        }
    }
}

impl Trouble {
    fn lasting(what: impl Into<String>) -> Self {
        Self { what: what.into(), can_pass: false }
    }

    fn passing(what: impl Into<String>) -> Self {
        Self { what: what.into(), can_pass: true }
    }
}

fn refusal(code: Code) -> String {
    let code = code.to_string();
    let why = match code.as_str() {
        "421" | "450" | "451" | "452" => " (come again later)",
        "530" => " (it wants a password, or TLS)",
        "535" => " (user or password is wrong)",
        "550" | "551" | "553" => " (no such address, or not allowed)",
        _ => "",
    };
    format!("the mail server answered {code}{why}")
}

fn tls(mail: &Mail) -> Result<TlsParameters> {
    let refused = || Error::config("mail: TLS cannot be used on this machine");
    let mut parameters = TlsParameters::builder(mail.host.clone());
    if let Some(path) = &mail.ca_file {
        let pem = fs::read(path)
            .map_err(|error| Error::io(ErrorKind::Config, path, &error).context("mail.ca_file"))?;
        let certificate = Certificate::from_pem(&pem)
            .ok()
            .filter(|_| pem.windows(11).any(|part| part == b"CERTIFICATE"))
            .ok_or_else(|| Error::config("mail.ca_file holds no certificate in PEM"))?;
        parameters = parameters.add_root_certificate(certificate);
    }
    parameters.build_rustls().map_err(|_| refused())
}
