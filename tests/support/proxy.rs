//! A proxy between the program and the server that breaks the connection at a chosen byte, or
//! holds it up.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use postgres::Config;
use postgres::config::Host;

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is cut after so many bytes from the program.
    Cut(u64),
    /// It stands still for a time after so many bytes from the program.
    Stall(u64, Duration),
    /// After so many bytes from the program nothing passes in either direction, and nothing ends.
    Silence(u64),
    /// Each piece of up to 64 KiB takes so long.
    Delay(Duration),
    /// The commit of a publish reaches the server, and its answer is lost.
    LoseTheCommit,
    /// The connection with this number, from 1, is cut at once.
    Refuse(u32),
}

/// The proxy; ends with the test.
pub(crate) struct Proxy {
    folder: tempfile::TempDir,
    ended: Arc<AtomicBool>,
    faults: Arc<AtomicU32>,
}

/// How often a fault happens; later connections are left alone.
const TIMES: u32 = 1;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_mins(30);

impl Proxy {
    /// A proxy before the server of `url`.
    pub(crate) fn new(url: &str, fault: Fault) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("a socket");
        let ended = Arc::new(AtomicBool::new(false));
        let faults = Arc::new(AtomicU32::new(0));
        let config: Config = url.parse().expect("the address of the test's database");
        let (stop, count) = (Arc::clone(&ended), Arc::clone(&faults));
        thread::spawn(move || {
            for (number, client) in (1..).zip(listener.incoming()) {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                if fault == Fault::Refuse(number) {
                    count.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                // The program sees an end where there is no server.
                let (Ok(client), Some(server)) = (client, upstream(&config)) else { continue };
                forward(Wire::Unix(client), server, fault, &count);
            }
        });
        Self { folder, ended, faults }
    }

    /// The address of a database by way of the proxy.
    pub(crate) fn url(&self, direct: &str) -> String {
        let config: Config = direct.parse().expect("the address of the test's database");
        let name = config.get_dbname().expect("a name");
        let user = config.get_user().expect("a user");
        let password = config.get_password().map_or_else(String::new, |password| {
            format!("&password={}", String::from_utf8_lossy(password))
        });
        format!("postgresql:///{name}?host={}&user={user}{password}", self.folder.path().display())
    }

    /// How often the fault has happened.
    pub(crate) fn faults(&self) -> u32 {
        self.faults.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener; where that fails it has gone already.
        let _ = UnixStream::connect(self.folder.path().join(".s.PGSQL.5432"));
    }
}

/// A connection of either kind.
enum Wire {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Wire {
    fn twin(&self) -> Self {
        match self {
            Self::Unix(wire) => Self::Unix(wire.try_clone().expect("a second handle")),
            Self::Tcp(wire) => Self::Tcp(wire.try_clone().expect("a second handle")),
        }
    }

    fn cut(&self) {
        // It may be cut by the other side already.
        let _ = match self {
            Self::Unix(wire) => wire.shutdown(Shutdown::Both),
            Self::Tcp(wire) => wire.shutdown(Shutdown::Both),
        };
    }

    fn read(&mut self, buffer: &mut [u8]) -> usize {
        match self {
            Self::Unix(wire) => wire.read(buffer),
            Self::Tcp(wire) => wire.read(buffer),
        }
        .unwrap_or(0)
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        match self {
            Self::Unix(wire) => wire.write_all(bytes),
            Self::Tcp(wire) => wire.write_all(bytes),
        }
        .is_ok()
    }
}

fn upstream(config: &Config) -> Option<Wire> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match config.get_hosts().first()? {
        Host::Tcp(host) => TcpStream::connect((host.as_str(), port)).ok().map(Wire::Tcp),
        Host::Unix(folder) => {
            let socket: PathBuf = folder.join(format!(".s.PGSQL.{port}"));
            UnixStream::connect(socket).ok().map(Wire::Unix)
        }
    }
}

/// Passes bytes on in both directions until one side ends.
fn forward(client: Wire, server: Wire, fault: Fault, count: &Arc<AtomicU32>) {
    // From now on nothing of the server's answers reaches the program.
    let deaf = Arc::new(AtomicBool::new(false));
    let mute = Arc::new(AtomicBool::new(false));
    let muted = Arc::clone(&mute);
    let (mut answers, mut back) = (server.twin(), client.twin());
    let silent = Arc::clone(&deaf);
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let bytes = answers.read(&mut buffer);
            // An answer that must be lost is waited for: the server has done the work.
            let lost = silent.load(Ordering::SeqCst);
            if muted.load(Ordering::SeqCst) {
                thread::sleep(FOR_EVER);
            }
            if bytes == 0 || lost || !back.write(&buffer[..bytes]) {
                break;
            }
        }
        back.cut();
        answers.cut();
    });
    let count = Arc::clone(count);
    thread::spawn(move || {
        let (mut client, mut server) = (client, server);
        let mut tracker = Tracker { fault, count, sent: 0, publishes: false };
        let mut buffer = vec![0; 1 << 16];
        loop {
            let bytes = client.read(&mut buffer);
            if bytes == 0 || !tracker.passes(&buffer[..bytes], &deaf, &mute) {
                break;
            }
            if !server.write(&buffer[..bytes]) {
                break;
            }
        }
        client.cut();
        server.cut();
    });
}

/// What one connection has sent so far.
struct Tracker {
    fault: Fault,
    count: Arc<AtomicU32>,
    sent: u64,
    publishes: bool,
}

impl Tracker {
    /// Whether these bytes may go on.
    fn passes(&mut self, bytes: &[u8], deaf: &AtomicBool, mute: &AtomicBool) -> bool {
        let before = self.sent;
        self.sent += bytes.len() as u64;
        let reaches = |place: u64| before < place && self.sent >= place;
        match self.fault {
            Fault::Cut(place) => !(reaches(place) && self.happens()),
            Fault::Stall(place, time) => {
                if reaches(place) && self.happens() {
                    thread::sleep(time);
                }
                true
            }
            Fault::Silence(place) => {
                if reaches(place) && self.happens() {
                    mute.store(true, Ordering::SeqCst);
                    thread::sleep(FOR_EVER);
                }
                true
            }
            Fault::Delay(time) => {
                self.count.fetch_add(1, Ordering::SeqCst);
                thread::sleep(time);
                true
            }
            Fault::Refuse(_) => true,
            Fault::LoseTheCommit => {
                let says = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
                self.publishes |= says(b"published_at = CASE");
                if self.publishes && says(b"COMMIT") && self.happens() {
                    deaf.store(true, Ordering::SeqCst);
                }
                true
            }
        }
    }

    /// Counts the fault; false when it has happened often enough.
    fn happens(&self) -> bool {
        let another = |times: u32| (times < TIMES).then_some(times + 1);
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, another).is_ok()
    }
}
