//! A wire on which the tests listen: passes every connection on to a server and notes how it began.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// How one connection began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// A request for TLS, then a TLS handshake.
    Encrypted,
    /// A request for TLS, then something else.
    Downgraded,
    /// No request for TLS.
    Clear,
}

/// The wire; it ends with the test's process.
pub(crate) struct Wiretap {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    heard: Arc<Mutex<Vec<Beginning>>>,
}

impl Wiretap {
    /// A wire to a port on 127.0.0.1.
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heard);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let notes = Arc::clone(&notes);
                thread::spawn(move || pass_on(client, server, &notes));
            }
        });
        Self { port, heard }
    }

    /// How the connections so far began.
    pub(crate) fn heard(&self) -> Vec<Beginning> {
        self.heard.lock().expect("no panic").clone()
    }
}

/// The length and the code of a request for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 22;

fn pass_on(mut client: TcpStream, port: u16, notes: &Mutex<Vec<Beginning>>) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut first = [0; 8];
    client.read_exact(&mut first).ok()?;
    server.write_all(&first).ok()?;
    let mut next = [0];
    let beginning = if first == SSL_REQUEST {
        server.read_exact(&mut next).ok()?;
        client.write_all(&next).ok()?;
        client.read_exact(&mut next).ok()?;
        server.write_all(&next).ok()?;
        if next[0] == HANDSHAKE { Beginning::Encrypted } else { Beginning::Downgraded }
    } else {
        Beginning::Clear
    };
    notes.lock().ok()?.push(beginning);
    let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let answers = thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(Shutdown::Write);
    answers.join().ok()
}
