//! A small web server with a script: each request gets the next answer, the last one again and
//! again.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

/// A server that ends with the test.
pub(crate) struct WebServer {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// One answer.
#[derive(Clone)]
pub(crate) enum Answer {
    /// This body.
    Ok(Vec<u8>),
    /// A status without a body.
    Status(u16),
    /// A redirect.
    To(String),
    /// This body, but the connection is cut before its promised end.
    Cut(Vec<u8>),
}

impl WebServer {
    /// Starts a server with these answers.
    pub(crate) fn new(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        thread::spawn(move || {
            let mut answers = answers.into_iter().peekable();
            let mut last = Answer::Status(500);
            for socket in listener.incoming() {
                let Ok(mut socket) = socket else { return };
                let mut lines = BufReader::new(socket.try_clone().expect("a socket")).lines();
                let mut request = String::new();
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() {
                        break;
                    }
                    request += &line;
                    request += "\n";
                }
                heard.lock().expect("not poisoned").push(request);
                last = answers.next().unwrap_or(last);
                // A client that has seen enough is none of our business.
                let _ = socket.write_all(&last.bytes());
            }
        });
        Self { address, requests }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

impl Answer {
    fn bytes(&self) -> Vec<u8> {
        let head = |status: &str, length: usize, more: &str| {
            format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n"
            )
        };
        match self {
            Self::Ok(body) => [head("200 OK", body.len(), "").as_bytes(), body].concat(),
            Self::Status(code) => head(&format!("{code} X"), 0, "").into_bytes(),
            Self::To(place) => head("302 X", 0, &format!("Location: {place}\r\n")).into_bytes(),
            Self::Cut(body) => [head("200 OK", body.len() + 100_000, "").as_bytes(), body].concat(),
        }
    }
}
