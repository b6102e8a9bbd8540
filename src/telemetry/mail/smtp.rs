//! The SMTP client.

use std::error::Error as _;
use std::fs;
use std::io::ErrorKind as Io;
use std::time::{Duration, Instant};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::Error as LettreError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as From, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Code;
use lettre::{Address, Message as Email};

use super::message::Message;
use crate::config::{Mail, MailEncryption};
use crate::error::{Error, ErrorKind, Result};

/// A mail server and the recipients.
pub(super) struct SmtpClient {
    host: String,
    port: u16,
    encryption: MailEncryption,
    tls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    timeout: Duration,
    from: Address,
    to: Vec<Address>,
}

/// An accepted mail.
pub(super) struct Delivery {
    /// Number of recipients rejected by the server.
    pub(super) refused: usize,
}

/// Why a mail was not accepted.
pub(super) struct SendError {
    /// Contains no text from the server.
    pub(super) message: String,
    /// Whether a retry may succeed.
    pub(super) transient: bool,
}

impl SmtpClient {
    /// Reads the password and the certificates; does not connect.
    ///
    /// # Errors
    /// `Config` when one of them cannot be read, or the password would be sent unencrypted.
    pub(super) fn new(mail: &Mail) -> Result<Self> {
        let credentials = match &mail.username {
            Some(_) if !mail.may_sign_in() => {
                return Err(Error::config(
                    "mail: a password is only sent over TLS or to this machine: set mail.encryption",
                ));
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
            text.parse().map_err(|_| Error::config(format!("{setting} is not a mail address")))
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

    /// Formats a mail with headers; its message id is the same for every attempt.
    ///
    /// # Errors
    /// `Internal` when it cannot be formatted.
    pub(super) fn format(&self, message: &Message) -> Result<Vec<u8>> {
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let builder = Email::builder()
            .from(Mailbox::new(None, self.from.clone()))
            .subject(message.subject.clone())
            .message_id(None)
            .date_now()
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
        let builder =
            self.to.iter().fold(builder, |builder, to| builder.to(Mailbox::new(None, to.clone())));
        builder
            .singlepart(SinglePart::plain(message.text.clone()))
            .map(|email| email.formatted())
            .map_err(|_| Error::internal("the mail could not be formatted"))
    }

    /// Sends a formatted mail, at most until `until`.
    pub(super) fn send(
        &self,
        message: &[u8],
        until: Option<Instant>,
    ) -> Result<Delivery, SendError> {
        let mut open = self.open(until)?;
        let sent = self.transmit(&mut open, message, until);
        // The mail is already accepted, whatever the reply to QUIT.
        open.abort();
        sent
    }

    /// Signs in and disconnects.
    ///
    /// # Errors
    /// `Config` when the server cannot be reached or rejects the credentials.
    pub(super) fn check(&self, until: Instant) -> Result<String> {
        let mut open = self.open(Some(until)).map_err(|error| Error::config(error.message))?;
        let protected = if open.is_encrypted() { "TLS" } else { "in the clear" };
        let account = if self.credentials.is_some() { "signed in" } else { "no account" };
        open.abort();
        Ok(format!("{}:{}, {protected}, {account}; no mail was sent", self.host, self.port))
    }

    /// An authenticated connection.
    fn open(&self, until: Option<Instant>) -> Result<SmtpConnection, SendError> {
        let hello = ClientId::default();
        let wrapper = self.tls.as_ref().filter(|_| self.encryption == MailEncryption::Tls);
        let timeout = Some(self.time_left(until)?);
        let server = (self.host.as_str(), self.port);
        let mut open = SmtpConnection::connect(server, timeout, &hello, wrapper, None)
            .map_err(|error| self.send_error(&error, wrapper.is_some()))?;
        if let Some(tls) = self.tls.as_ref().filter(|_| wrapper.is_none()) {
            if !open.can_starttls() {
                open.abort();
                return Err(SendError::permanent(
                    "the mail server does not offer STARTTLS, which mail.encryption requires",
                ));
            }
            self.set_timeout(&mut open, until)?;
            open.starttls(tls, &hello).map_err(|error| self.send_error(&error, true))?;
        }
        if let Some(credentials) = &self.credentials {
            self.set_timeout(&mut open, until)?;
            let known = [Mechanism::Plain, Mechanism::Login];
            if open.server_info().get_auth_mechanism(&known).is_none() {
                open.abort();
                return Err(SendError::permanent(
                    "the mail server offers neither AUTH PLAIN nor AUTH LOGIN",
                ));
            }
            open.auth(&known, credentials).map_err(|error| {
                let error = self.send_error(&error, false);
                SendError { message: format!("signing in: {}", error.message), ..error }
            })?;
        }
        Ok(open)
    }

    fn transmit(
        &self,
        open: &mut SmtpConnection,
        message: &[u8],
        until: Option<Instant>,
    ) -> Result<Delivery, SendError> {
        let failed = |error: LettreError| self.send_error(&error, false);
        self.set_timeout(open, until)?;
        open.command(From::new(Some(self.from.clone()), Vec::new())).map_err(failed)?;
        let (mut taken, mut refused, mut reason) = (0, 0, None);
        for to in &self.to {
            self.set_timeout(open, until)?;
            match open.command(Rcpt::new(to.clone(), Vec::new())) {
                Ok(_) => taken += 1,
                Err(error) if error.status().is_some() => {
                    refused += 1;
                    // A transient rejection takes precedence: a retry may reach a recipient.
                    if reason.as_ref().is_none_or(|known: &LettreError| !known.is_transient()) {
                        reason = Some(error);
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
        match reason {
            Some(reason) if taken == 0 => {
                let error = failed(reason);
                let message = format!("no address in mail.to was accepted: {}", error.message);
                return Err(SendError { message, ..error });
            }
            _ => {}
        }
        self.set_timeout(open, until)?;
        open.command(Data).map_err(failed)?;
        self.set_timeout(open, until)?;
        open.message(message).map_err(failed)?;
        Ok(Delivery { refused })
    }

    /// Remaining time for the next reply.
    fn time_left(&self, until: Option<Instant>) -> Result<Duration, SendError> {
        let left = until.map_or(self.timeout, |until| {
            until.saturating_duration_since(Instant::now()).min(self.timeout)
        });
        if left.is_zero() {
            return Err(SendError::permanent("the mail server was too slow"));
        }
        Ok(left)
    }

    fn set_timeout(
        &self,
        open: &mut SmtpConnection,
        until: Option<Instant>,
    ) -> Result<(), SendError> {
        let left = self.time_left(until)?;
        open.set_timeout(Some(left)).map_err(|_| SendError::permanent("the connection was lost"))
    }

    /// Classifies an error; keeps only the code of the server's reply.
    fn send_error(&self, error: &LettreError, shaking_hands: bool) -> SendError {
        if let Some(code) = error.status() {
            return SendError { message: refusal(code), transient: error.is_transient() };
        }
        let kind = error
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>())
            .map(std::io::Error::kind);
        let endpoint = format!("{}:{}", self.host, self.port);
        match kind {
            Some(Io::TimedOut | Io::WouldBlock) => {
                SendError::transient(format!("the mail server {endpoint} did not answer in time"))
            }
            // rustls reports a rejected certificate as InvalidData.
            Some(Io::InvalidData) if shaking_hands => SendError::permanent(format!(
                "TLS with {endpoint} failed: its certificate must be for this name and from an authority \
                 trusted by this machine or in mail.ca_file"
            )),
            _ if error.is_response() => SendError::transient(format!(
                "{endpoint} closed the connection, or is not a mail server"
            )),
            Some(
                Io::UnexpectedEof | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe,
            ) => SendError::transient(format!(
                "the connection to the mail server {endpoint} was lost"
            )),
            _ => SendError::transient(format!("no connection to the mail server {endpoint}")),
        }
    }
}

impl SendError {
    fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false }
    }

    fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: true }
    }
}

fn refusal(code: Code) -> String {
    let code = code.to_string();
    let why = match code.as_str() {
        "421" | "450" | "451" | "452" => " (temporary: try again later)",
        "530" => " (a password or TLS is required)",
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
            .ok_or_else(|| Error::config("mail.ca_file contains no PEM certificate"))?;
        parameters = parameters.add_root_certificate(certificate);
    }
    parameters.build_rustls().map_err(|_| refused())
}
