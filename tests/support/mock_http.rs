//! A web server whose answers a function makes, and which keeps every request: the ground under the
//! mock of each provider. It can be slow, cut connections before or after it has heard the request,
//! and answer nonsense.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A server on a port of its own; it ends with the process.
pub(crate) struct MockHttp {
    address: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Heard {
    /// The first header of this name (lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it is `method` on a path that holds `part`.
    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
    cut: bool,
}

impl Reply {
    /// A status without a body.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), delay: Duration::ZERO, cut: false }
    }

    /// A body of this type.
    pub(crate) fn with(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(status) }.header("Content-Type", content_type)
    }

    /// A JSON body.
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::with(status, "application/json", body)
    }

    /// The connection is cut where the answer should come: the request was heard.
    pub(crate) fn cut() -> Self {
        Self { cut: true, ..Self::status(0) }
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// After a wait.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

impl MockHttp {
    /// Starts a server on a free port of 127.0.0.1; each request is answered on a thread of its own.
    pub(crate) fn start(answer: impl Fn(&Heard) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answer)
    }

    /// The same on this address.
    pub(crate) fn start_at(
        address: &str,
        answer: impl Fn(&Heard) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (list, answer) = (Arc::clone(&heard), Arc::new(answer));
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (list, answer) = (Arc::clone(&list), Arc::clone(&answer));
                thread::spawn(move || {
                    let Some(request) = hear(&socket) else { return };
                    list.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                    let reply = answer(&request);
                    thread::sleep(reply.delay);
                    if !reply.cut {
                        // A client that has gone is none of our business.
                        let _ = say(&socket, &reply);
                    }
                });
            }
        });
        Self { address, heard }
    }

    /// `http://127.0.0.1:…`
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// All requests so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests were `method` on a path that holds `part`.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.heard().iter().filter(|heard| heard.is(method, part)).count()
    }
}

fn hear(socket: &TcpStream) -> Option<Heard> {
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Heard { method, path, headers, body })
}

fn say(mut socket: &TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = Vec::new();
    write!(head, "HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status)?;
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n")?;
    }
    write!(head, "Content-Length: {}\r\n\r\n", reply.body.len())?;
    socket.write_all(&head)?;
    socket.write_all(&reply.body)?;
    socket.flush()
}
