//! A mail server: the whole conversation, in plaintext, after STARTTLS or in TLS from the first
//! byte, with passwords, refusals, silence and broken lines as a test wants them. It keeps
//! everything that it hears, and whether it heard it in plaintext.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::secure_server::authority;

/// How a server protects its conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// STARTTLS is offered.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// There is none.
    None,
}

/// What it does instead of what it should.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Replies with this.
    Reply(&'static str),
    /// Sends nothing more and keeps the connection open.
    Hang,
    /// Ends the connection.
    Drop,
}

/// A line that was heard.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) encrypted: bool,
}

/// A mail that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// As it was on the wire, with its dots as they were meant.
    pub(crate) text: String,
    pub(crate) signed_in: bool,
    /// Whether a line was stuffed with a dot on its way.
    pub(crate) stuffed: bool,
}

impl Taken {
    /// A header; continued lines are joined.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let head = self.text.split("\r\n\r\n").next()?.replace("\r\n ", " ");
        let start = format!("{}:", name.to_lowercase());
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&start))?;
        Some(line[start.len()..].trim().to_owned())
    }

    /// The text, with quoted-printable undone.
    pub(crate) fn body(&self) -> String {
        let body = self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        if self.header("content-transfer-encoding").as_deref() != Some("quoted-printable") {
            return body.replace("\r\n", "\n");
        }
        let joined = body.replace("=\r\n", "");
        let mut bytes = Vec::new();
        let mut rest = joined.as_bytes();
        while let Some((first, more)) = rest.split_first() {
            rest = more;
            if *first == b'=' && more.len() >= 2 {
                let digits = std::str::from_utf8(&more[..2]).expect("ASCII");
                bytes.push(u8::from_str_radix(digits, 16).expect("hex"));
                rest = &more[2..];
            } else {
                bytes.push(*first);
            }
        }
        String::from_utf8(bytes).expect("UTF-8").replace("\r\n", "\n")
    }
}

/// A server on its own port; it ends with the process. Its certificate is for `localhost`.
pub(crate) struct SmtpServer {
    pub(crate) port: u16,
    /// The certificate of its authority, in PEM.
    pub(crate) authority: String,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    connections: usize,
    lines: Vec<Line>,
    mails: Vec<Taken>,
}

/// What is done at a line, on a connection of this number.
type Script = dyn Fn(&str, usize) -> Option<Act> + Send + Sync;

/// What all its conversations share.
struct House {
    protection: Protection,
    mechanisms: &'static str,
    account: Option<(&'static str, &'static str)>,
    tls: Arc<ServerConfig>,
    act: Box<Script>,
    heard: Arc<Mutex<Heard>>,
}

impl SmtpServer {
    /// A server that does everything as it should. With an account, nobody may send without it.
    pub(crate) fn start(
        protection: Protection,
        account: Option<(&'static str, &'static str)>,
    ) -> Self {
        Self::start_with(protection, account, "PLAIN LOGIN", |_, _| None)
    }

    /// A server that offers these mechanisms, and may act differently: `act` is given each line and
    /// how many connections there have been (from 1); the greeting is the line "".
    pub(crate) fn start_with(
        protection: Protection,
        account: Option<(&'static str, &'static str)>,
        mechanisms: &'static str,
        act: impl Fn(&str, usize) -> Option<Act> + Send + Sync + 'static,
    ) -> Self {
        let (issuer, pem) = authority("mail authority");
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec!["localhost".into()]).expect("a name");
        let certificate = parameters.signed_by(&key, &issuer).expect("signed").der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let house = Arc::new(House {
            protection,
            mechanisms,
            account,
            tls: Arc::new(tls),
            act: Box::new(act),
            heard: Arc::clone(&heard),
        });
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let house = Arc::clone(&house);
                // A client that goes away in the middle is none of our business.
                thread::spawn(move || drop(Conversation::hold(&house, socket)));
            }
        });
        Self { port, authority: pem, heard }
    }

    fn look<T>(&self, at: impl FnOnce(&Heard) -> T) -> T {
        at(&self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.look(|heard| heard.connections)
    }

    /// Every line, passwords too, but those of the mails.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.look(|heard| heard.lines.clone())
    }

    /// How many lines began with this word.
    pub(crate) fn count(&self, word: &str) -> usize {
        self.lines().iter().filter(|line| line.text.starts_with(word)).count()
    }

    /// The mails that were taken.
    pub(crate) fn mails(&self) -> Vec<Taken> {
        self.look(|heard| heard.mails.clone())
    }
}

/// The two kinds of line.
enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    Gone,
}

/// One client.
struct Conversation<'a> {
    house: &'a House,
    wire: Wire,
    number: usize,
    signed_in: bool,
    from: String,
    to: Vec<String>,
}

impl<'a> Conversation<'a> {
    fn hold(house: &'a House, socket: TcpStream) -> std::io::Result<()> {
        // Whatever happens, the thread ends.
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let number = {
            let mut heard = house.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.connections += 1;
            heard.connections
        };
        let (from, to) = (String::new(), Vec::new());
        let wire = Wire::Plain(socket);
        let mut own = Self { house, wire, number, signed_in: false, from, to };
        if house.protection == Protection::Tls {
            own.encrypt()?;
        }
        if own.differently("")? {
            return Ok(());
        }
        own.reply("220 localhost ESMTP")?;
        while let Some(line) = own.hear()? {
            own.alone();
            if !own.answer(&line)? {
                break;
            }
        }
        Ok(())
    }

    /// One command; whether there may be another.
    fn answer(&mut self, line: &str) -> std::io::Result<bool> {
        if self.differently(line)? {
            return Ok(!matches!(self.wire, Wire::Gone));
        }
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let may_send = self.signed_in || self.house.account.is_none();
        match verb.as_str() {
            "EHLO" => self.greet()?,
            "STARTTLS" if self.house.protection == Protection::Starttls => {
                self.reply("220 go ahead")?;
                self.encrypt()?;
            }
            "AUTH" => self.sign_in(line)?,
            "MAIL" if !may_send => self.reply("530 5.7.0 authentication required")?,
            "MAIL" => {
                self.from = address(line);
                self.to.clear();
                self.reply("250 ok")?;
            }
            "RCPT" => {
                self.to.push(address(line));
                self.reply("250 ok")?;
            }
            "DATA" if self.to.is_empty() => self.reply("503 no recipients")?,
            "DATA" => {
                self.reply("354 go ahead")?;
                self.take()?;
            }
            "QUIT" => {
                self.reply("221 bye")?;
                return Ok(false);
            }
            _ => self.reply("502 what?")?,
        }
        Ok(true)
    }

    fn greet(&mut self) -> std::io::Result<()> {
        let mut lines = vec!["localhost".to_owned()];
        if self.house.protection == Protection::Starttls && !self.is_encrypted() {
            lines.push("STARTTLS".into());
        } else if self.house.account.is_some() {
            lines.push(format!("AUTH {}", self.house.mechanisms));
        }
        let last = lines.len() - 1;
        let reply: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(place, line)| format!("250{}{line}", if place == last { ' ' } else { '-' }))
            .collect();
        self.reply(&reply.join("\r\n"))
    }

    fn sign_in(&mut self, line: &str) -> std::io::Result<()> {
        let decoded = |text: &str| {
            String::from_utf8(STANDARD.decode(text.trim()).unwrap_or_default()).unwrap_or_default()
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let account = match words[..] {
            [_, "PLAIN", first] => {
                let text = decoded(first);
                let parts: Vec<&str> = text.split('\0').collect();
                (
                    parts.get(1).copied().unwrap_or_default().to_owned(),
                    parts[parts.len() - 1].into(),
                )
            }
            [_, "LOGIN"] => {
                self.reply("334 VXNlcm5hbWU6")?;
                let user = decoded(&self.hear()?.unwrap_or_default());
                self.reply("334 UGFzc3dvcmQ6")?;
                (user, decoded(&self.hear()?.unwrap_or_default()))
            }
            _ => (String::new(), String::new()),
        };
        let wanted = self.house.account.map(|(user, word)| (user.to_owned(), word.to_owned()));
        self.signed_in = wanted == Some(account);
        self.reply(if self.signed_in { "235 welcome" } else { "535 5.7.8 CANARY-server no" })
    }

    /// Reads a mail, and undoes the stuffing of its dots.
    fn take(&mut self) -> std::io::Result<()> {
        let (mut lines, mut stuffed) = (Vec::new(), false);
        loop {
            let Some(line) = self.line()? else { return Ok(()) };
            if line == "." {
                break;
            }
            stuffed |= line.starts_with("..");
            lines.push(line.strip_prefix('.').map_or(line.clone(), ToOwned::to_owned));
        }
        if self.differently(".")? {
            return Ok(());
        }
        let taken = Taken {
            from: self.from.clone(),
            to: self.to.clone(),
            text: lines.join("\r\n"),
            signed_in: self.signed_in,
            stuffed,
        };
        let mut heard = self.house.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.mails.push(taken);
        drop(heard);
        self.reply("250 queued")
    }

    /// Does what the script wants instead, where it wants something.
    fn differently(&mut self, line: &str) -> std::io::Result<bool> {
        let act = (self.house.act)(line, self.number);
        match act {
            None => return Ok(false),
            Some(Act::Reply(text)) => self.reply(text)?,
            Some(Act::Hang) => while self.line()?.is_some() {},
            Some(Act::Drop) => {
                // The connection ends; pending replies are dropped.
                self.wire = Wire::Gone;
            }
        }
        Ok(true)
    }

    /// Nobody sends a second command before the first is answered: pipelining was not offered.
    fn alone(&self) {
        if let Wire::Plain(socket) = &self.wire {
            socket.set_nonblocking(true).expect("a socket");
            let more = socket.peek(&mut [0]);
            socket.set_nonblocking(false).expect("a socket");
            let alone = more.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            // Seen by the tests as a line that no client sends.
            if !alone {
                self.keep("PIPELINED");
            }
        }
    }

    fn is_encrypted(&self) -> bool {
        matches!(self.wire, Wire::Tls(_))
    }

    fn encrypt(&mut self) -> std::io::Result<()> {
        let Wire::Plain(socket) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Ok(());
        };
        let connection = ServerConnection::new(Arc::clone(&self.house.tls))
            .map_err(|_| std::io::Error::from(ErrorKind::InvalidData))?;
        self.wire = Wire::Tls(Box::new(StreamOwned::new(connection, socket)));
        Ok(())
    }

    fn reply(&mut self, text: &str) -> std::io::Result<()> {
        let bytes = format!("{text}\r\n");
        match &mut self.wire {
            Wire::Plain(socket) => socket.write_all(bytes.as_bytes()),
            Wire::Tls(stream) => {
                stream.write_all(bytes.as_bytes())?;
                stream.flush()
            }
            Wire::Gone => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// A line that is kept.
    fn hear(&mut self) -> std::io::Result<Option<String>> {
        let line = self.line()?;
        if let Some(line) = &line {
            self.keep(line);
        }
        Ok(line)
    }

    fn keep(&self, line: &str) {
        let kept = Line { text: line.to_owned(), encrypted: self.is_encrypted() };
        self.house.heard.lock().unwrap_or_else(PoisonError::into_inner).lines.push(kept);
    }

    /// A line, byte by byte: nothing behind it is taken before its time.
    fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            let read = match &mut self.wire {
                Wire::Plain(socket) => socket.read(&mut byte)?,
                Wire::Tls(stream) => stream.read(&mut byte)?,
                Wire::Gone => 0,
            };
            if read == 0 {
                return Ok(None);
            }
            if byte[0] == b'\n' {
                let text = String::from_utf8_lossy(&line).into_owned();
                return Ok(Some(text.trim_end_matches('\r').to_owned()));
            }
            line.push(byte[0]);
        }
    }
}

/// The text in angle brackets.
fn address(line: &str) -> String {
    let start = line.find('<').map_or(0, |place| place + 1);
    let end = line.find('>').unwrap_or(line.len());
    line[start..end].to_owned()
}
