//! A connection pooler in transaction mode: it hands each transaction of a client to whichever of its
//! connections to the server is free, the last one used first.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use postgres::Config;
use postgres::config::Host;

const SSL_REQUEST: u32 = 80_877_103;
const CANCEL_REQUEST: u32 = 80_877_102;
const VERSION: u32 = 196_608;

/// How long a client waits for a connection to the server, and a silent one for its next word.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pooler; ends with the test.
pub(crate) struct TransactionPooler {
    folder: tempfile::TempDir,
    ended: Arc<AtomicBool>,
    login: String,
}

/// The connections to the server.
struct Pool {
    socket: String,
    startup: Vec<u8>,
    /// What the server greets a client with, from the sign-in to `ReadyForQuery`.
    greeting: Vec<u8>,
    idle: Mutex<Idle>,
    freed: Condvar,
    size: usize,
}

struct Idle {
    connections: Vec<UnixStream>,
    open: usize,
}

impl TransactionPooler {
    /// A pooler of so many connections to the server of `url`, which lets everybody in by a Unix socket.
    pub(crate) fn before(url: &str, size: usize) -> Self {
        let config: Config = url.parse().expect("the address of the test's database");
        let Some(Host::Unix(sockets)) = config.get_hosts().first() else {
            panic!("the pooler of the tests needs a server with a Unix socket")
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let (user, name) =
            (config.get_user().expect("a user"), config.get_dbname().expect("a name"));
        let mut pool = Pool {
            socket: sockets.join(format!(".s.PGSQL.{port}")).display().to_string(),
            startup: startup(user, name),
            greeting: Vec::new(),
            idle: Mutex::new(Idle { connections: Vec::new(), open: 0 }),
            freed: Condvar::new(),
            size,
        };
        let (first, greeting) = pool.connect();
        pool.greeting = greeting;
        pool.idle = Mutex::new(Idle { connections: vec![first], open: 1 });
        let pool = Arc::new(pool);

        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(client), pool) = (client, Arc::clone(&pool)) else { continue };
                thread::spawn(move || serve(client, &pool).unwrap_or_default());
            }
        });
        let login = format!("/{name}?host={}&user={user}", folder.path().display());
        Self { folder, ended, login }
    }

    /// The address of the database by way of the pooler.
    pub(crate) fn url(&self) -> String {
        format!("postgresql://{}", self.login)
    }
}

impl Drop for TransactionPooler {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener; where that fails it has gone already.
        let _ = UnixStream::connect(self.folder.path().join(".s.PGSQL.5432"));
    }
}

fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = VERSION.to_be_bytes().to_vec();
    for (name, value) in [("user", user), ("database", database), ("client_encoding", "UTF8")] {
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).expect("short");
    [length.to_be_bytes().to_vec(), body].concat()
}

/// A message with its type and length, as it is; `None` at the end of the connection.
fn message(from: &mut UnixStream) -> Option<Vec<u8>> {
    let mut head = [0; 5];
    from.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize;
    let mut whole = head.to_vec();
    whole.resize(length + 1, 0);
    from.read_exact(&mut whole[5..]).ok()?;
    Some(whole)
}

impl Pool {
    fn connect(&self) -> (UnixStream, Vec<u8>) {
        let mut server = UnixStream::connect(&self.socket).expect("the server");
        server.write_all(&self.startup).expect("written");
        let mut greeting = Vec::new();
        loop {
            let message = message(&mut server).expect("the server lets everybody in");
            greeting.extend_from_slice(&message);
            if message[0] == b'Z' {
                return (server, greeting);
            }
        }
    }

    fn take(&self) -> Option<UnixStream> {
        let mut idle = self.idle.lock().expect("no panic");
        loop {
            if let Some(connection) = idle.connections.pop() {
                return Some(connection);
            }
            if idle.open < self.size {
                idle.open += 1;
                return Some(self.connect().0);
            }
            let (guard, waited) = self.freed.wait_timeout(idle, PATIENCE).expect("no panic");
            idle = guard;
            if waited.timed_out() {
                return None;
            }
        }
    }

    fn give_back(&self, connection: UnixStream) {
        self.idle.lock().expect("no panic").connections.push(connection);
        self.freed.notify_one();
    }

    fn close(&self, connection: UnixStream) {
        drop(connection);
        self.idle.lock().expect("no panic").open -= 1;
        self.freed.notify_one();
    }
}

/// Serves one client to its end.
fn serve(mut client: UnixStream, pool: &Pool) -> Option<()> {
    loop {
        let mut head = [0; 8];
        client.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes(head[..4].try_into().ok()?) as usize;
        match u32::from_be_bytes(head[4..].try_into().ok()?) {
            SSL_REQUEST => client.write_all(b"N").ok()?,
            CANCEL_REQUEST => return None,
            _ => {
                client.read_exact(&mut vec![0; length - 8]).ok()?;
                break;
            }
        }
    }
    client.write_all(&pool.greeting).ok()?;
    let mut held = None;
    let ended = transactions(&mut client, pool, &mut held);
    if let Some(connection) = held {
        // In the middle of a transaction: the server rolls it back.
        pool.close(connection);
    }
    ended
}

fn transactions(client: &mut UnixStream, pool: &Pool, held: &mut Option<UnixStream>) -> Option<()> {
    loop {
        let word = message(client)?;
        if word[0] == b'X' {
            return Some(());
        }
        if held.is_none() {
            *held = Some(pool.take()?);
        }
        let server = held.as_mut()?;
        server.write_all(&word).ok()?;
        let answered = match word[0] {
            b'Q' | b'S' => answer(server, client)?,
            _ => Answer::Pending,
        };
        if answered == Answer::Idle {
            pool.give_back(held.take()?);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Answer {
    /// The client has the next word.
    Pending,
    /// No transaction is open any more.
    Idle,
}

/// Passes on what the server says, until it waits for the client.
fn answer(server: &mut UnixStream, client: &mut UnixStream) -> Option<Answer> {
    loop {
        let word = message(server)?;
        client.write_all(&word).ok()?;
        match (word[0], word[5..].first()) {
            (b'Z', Some(b'I')) => return Some(Answer::Idle),
            // Rows are copied to the server: the client goes on.
            (b'Z' | b'G', _) => return Some(Answer::Pending),
            _ => {}
        }
    }
}
