//! The private PostgreSQL server: used when no warehouse is configured, and by the tests.
//!
//! It listens on a Unix socket only, with `trust` authentication: the socket is in a folder of mode
//! 0700, so only the owner and root reach it, who can read the files of the cluster anyway. A password
//! would be stored beside them and protect nothing.
//!
//! Its log contains no row: statements, parameters and error details are switched off; what remains are
//! failures to start or to sign in.

mod binaries;
pub(crate) mod data_dir;
mod postmaster;
pub(crate) mod service_user;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use binaries::Binaries;
use postmaster::{Postmaster, clear_remains, socket_setting};

use crate::atomic_file::{READABLE, replace};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Observer, RunEvent};
use crate::warehouse::private_server::data_dir::Place;

const DATABASE: &str = "claims";

/// The only user, a superuser.
const USER: &str = "claims_etl";

/// Limit for a start or a stop: crash recovery reads up to `max_wal_size`.
const TIMEOUT: Duration = Duration::from_mins(5);

/// The server settings, on the command line rather than in files so that a newer version of this
/// program brings its own.
const SETTINGS: [(&str, &str); 24] = [
    ("listen_addresses", ""),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    ("max_connections", "50"),
    ("timezone", "UTC"),
    // A loader's memory and log: few checkpoints during a COPY, no log for standbys.
    ("shared_buffers", "256MB"),
    ("maintenance_work_mem", "256MB"),
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "30min"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("jit", "off"),
    // Commits survive a power failure.
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    // No row values in the log.
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("log_timezone", "UTC"),
    ("log_min_messages", "fatal"),
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
    ("log_statement", "none"),
    ("log_min_duration_statement", "-1"),
    ("log_parameter_max_length_on_error", "0"),
];

/// The private server of one data directory.
#[derive(Debug, Clone)]
pub struct LocalPostgres {
    dir: PathBuf,
}

/// A server that accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    url: String,
    started: bool,
}

impl Running {
    /// The address of its database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Absent,
    /// There is a cluster without a server.
    Stopped,
    Running {
        /// The postmaster.
        pid: u32,
    },
}

impl LocalPostgres {
    /// The server whose cluster is in `dir`, for example `data/warehouse`.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Starts the server unless it is running; creates the cluster and its database the first time.
    /// Of several concurrent callers one starts it and the others find it running.
    ///
    /// # Errors
    /// `Config` when no PostgreSQL server is installed or the folder has another owner,
    /// `Warehouse` when the server does not start; the message then names its log.
    pub fn start(&self, observer: &dyn Observer) -> Result<Running> {
        fs::create_dir_all(&self.dir).map_err(|error| Error::io(KIND, &self.dir, &error))?;
        let place = Place::of(&self.dir)?;
        let lock = place.prepare_and_lock()?;
        let started = if let Some(server) = Postmaster::of(&place) {
            wait_until_ready(&place, server)?;
            false
        } else {
            let made_by = fs::read_to_string(place.data().join("PG_VERSION")).ok();
            let binaries = Binaries::find(made_by.as_deref().map(str::trim))?;
            if made_by.is_none() {
                self.report_location(&place, observer)?;
                make_cluster(&place, &binaries, &lock)?;
            }
            clear_remains(&place)?;
            launch(&place, &binaries)?;
            true
        };
        Ok(Running { url: address(&place), started })
    }

    /// Stops the server and rolls back running statements; `false` when it was not running.
    ///
    /// # Errors
    /// `Warehouse` when the server does not stop in time.
    pub fn stop(&self) -> Result<bool> {
        let Some(place) = self.existing()? else { return Ok(false) };
        let _lock = place.lock()?;
        if Postmaster::of(&place).is_none() {
            return Ok(false);
        }
        let made_by = fs::read_to_string(place.data().join("PG_VERSION")).ok();
        let binaries = Binaries::find(made_by.as_deref().map(str::trim))?;
        let output = run(pg_ctl(&place, &binaries, "stop").args(["-m", "fast"]))?;
        if output.status.success() {
            Ok(true)
        } else {
            Err(Error::warehouse(format!(
                "the private warehouse in {} did not stop: {}",
                place.cluster.display(),
                last_line(&output.stderr)
            )))
        }
    }

    /// Stops the server and removes its cluster with all data.
    ///
    /// # Errors
    /// `Warehouse` when it does not stop or cannot be removed.
    pub fn remove(&self) -> Result<()> {
        let Some(place) = self.existing()? else { return Ok(()) };
        self.stop()?;
        let cluster = if place.elsewhere { place.home() } else { &place.cluster };
        for folder in [cluster, Path::new(&place.sockets)] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(KIND, folder, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A program of the version of the server, such as `pg_dump`, if it is installed.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let place = self.existing().ok()??;
        let made_by = fs::read_to_string(place.data().join("PG_VERSION")).ok()?;
        let path = Binaries::find(Some(made_by.trim())).ok()?.program(name);
        path.is_file().then_some(path)
    }

    /// Whether there is a cluster and a server for it.
    ///
    /// # Errors
    /// `Config` when the cluster is out of reach of its owner.
    pub fn status(&self) -> Result<Status> {
        Ok(match self.existing()? {
            None => Status::Absent,
            Some(place) => Postmaster::of(&place)
                .map_or(Status::Stopped, |server| Status::Running { pid: server.pid }),
        })
    }

    /// The address of the database, whether the server runs or not.
    ///
    /// # Errors
    /// `Config` when there is no cluster yet.
    pub fn url(&self) -> Result<String> {
        let place = self.existing()?.ok_or_else(|| {
            Error::config(format!("there is no warehouse in {} yet", self.dir.display()))
                .hint("`claims-etl warehouse start` or the first run creates one")
        })?;
        Ok(address(&place))
    }

    /// The shell command that opens the database.
    ///
    /// # Errors
    /// `Config` when there is no cluster yet.
    pub(crate) fn psql(&self) -> Result<String> {
        self.url().map(|url| format!("psql \"{url}\""))
    }

    /// The data directory, if there is a cluster.
    fn existing(&self) -> Result<Option<Place>> {
        if !self.dir.exists() {
            return Ok(None);
        }
        let place = Place::of(&self.dir)?;
        Ok(place.data().exists().then_some(place))
    }

    /// Reports where a new cluster is created; leaves a file in the folder if that is elsewhere.
    fn report_location(&self, place: &Place, observer: &dyn Observer) -> Result<()> {
        let home = place.home().display();
        let mut note = format!("created a private warehouse in {home}");
        if place.elsewhere {
            let file = self.dir.join("location");
            replace(&file, format!("{home}\n").as_bytes(), READABLE)
                .map_err(|error| Error::io(KIND, &file, &error))?;
            let (owner, dir) = (&place.owner.name, self.dir.display());
            note = format!("{note}, because {owner} may not enter {dir}");
        }
        observer.observe(&RunEvent::Note(note));
        Ok(())
    }
}

/// File errors are permanent: they need a person.
const KIND: ErrorKind = ErrorKind::Warehouse { transient: false };

/// Creates the cluster and its database beside the final folder and renames it: a kill in between
/// leaves nothing that looks finished.
fn make_cluster(place: &Place, binaries: &Binaries, folder: &File) -> Result<()> {
    let draft = place.cluster.join("data.new");
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(|error| Error::io(KIND, &draft, &error))?;
    }
    let mut initdb = place.owner.command(&binaries.program("initdb"), &place.cluster);
    initdb.arg("-D").arg(&draft).args(["-U", USER, "-A", "trust"]);
    initdb.args(["--no-locale", "--encoding=UTF8", "--data-checksums"]);
    let output = run(&mut initdb)?;
    if !output.status.success() {
        return Err(Error::warehouse(format!(
            "initdb could not create the private warehouse in {}: {}",
            place.cluster.display(),
            last_line(&output.stderr)
        )));
    }

    let mut single = place.owner.command(&binaries.program("postgres"), &place.cluster);
    single.args(["--single", "-D"]).arg(&draft).arg("postgres");
    single.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed = |error| Error::io(KIND, &binaries.program("postgres"), &error);
    let mut child = single.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        writeln!(input, "CREATE DATABASE {DATABASE}").map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    // A single-user server exits with 0 even after a failed statement.
    if !output.status.success() || String::from_utf8_lossy(&output.stderr).contains("ERROR:") {
        return Err(Error::warehouse(format!(
            "could not create the database {DATABASE}: {}",
            last_line(&output.stderr)
        )));
    }
    fs::rename(&draft, place.data())
        .and_then(|()| folder.sync_all())
        .map_err(|error| Error::io(KIND, &place.data(), &error))
}

/// Starts the server and waits until it accepts queries.
fn launch(place: &Place, binaries: &Binaries) -> Result<()> {
    let log_begin = fs::metadata(place.log()).map_or(0, |found| found.len());
    // `pg_ctl` hands the options to a shell.
    let settings = SETTINGS.map(|(name, value)| format!("{name}={value}"));
    let options: Vec<String> = [socket_setting(&place.sockets)]
        .iter()
        .chain(&settings)
        .map(|setting| format!("-c {}", quoted(setting)))
        .collect();
    // A log name relative to the working directory needs no quoting for the shell.
    let output =
        run(pg_ctl(place, binaries, "start").args(["-l", "server.log", "-o", &options.join(" ")]))?;
    if output.status.success() {
        return Ok(());
    }
    let log = fs::read(place.log()).unwrap_or_default();
    let news = usize::try_from(log_begin).ok().and_then(|begin| log.get(begin..));
    let reason = match news.map(last_line) {
        Some(line) if !line.is_empty() => line,
        _ => last_line(&output.stderr),
    };
    Err(Error::warehouse(format!("the private warehouse did not start: {reason}"))
        .hint(format!("see {}", place.log().display())))
}

/// Waits for a server that another process started and that may still be recovering.
fn wait_until_ready(place: &Place, mut server: Postmaster) -> Result<()> {
    let begin = Instant::now();
    while !server.ready && begin.elapsed() < TIMEOUT {
        thread::sleep(Duration::from_millis(100));
        server = Postmaster::of(place).ok_or_else(|| {
            Error::new(
                ErrorKind::Warehouse { transient: true },
                "the private warehouse ended while it was starting",
            )
            .hint(format!("see {}", place.log().display()))
        })?;
    }
    UnixStream::connect(place.socket()).map(drop).map_err(|error| {
        Error::io(KIND, &place.socket(), &error)
            .context(format!("the private warehouse (process {}) does not answer", server.pid))
            .hint("`claims-etl warehouse stop`, then try again")
    })
}

/// A `pg_ctl` command that waits. The folder is passed in the environment: `pg_ctl` would pass an
/// argument to a shell in double quotes, where a `$` in a path is not safe.
fn pg_ctl(place: &Place, binaries: &Binaries, verb: &str) -> Command {
    let mut command = place.owner.command(&binaries.program("pg_ctl"), &place.cluster);
    command.env("PGDATA", place.data());
    command.args([verb, "--silent", "--wait", "--timeout", &TIMEOUT.as_secs().to_string()]);
    command
}

fn run(command: &mut Command) -> Result<Output> {
    let program = PathBuf::from(command.get_program());
    command.output().map_err(|error| Error::io(KIND, &program, &error))
}

/// The last line of a program's output that is not empty.
fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

/// Text as one word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The address of the database.
fn address(place: &Place) -> String {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut host = String::new();
    for byte in place.sockets.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                host.push(char::from(byte));
            }
            other => {
                host.push('%');
                host.extend([other >> 4, other & 15].map(|half| HEX[usize::from(half)]));
            }
        }
    }
    format!("postgresql:///{DATABASE}?host={host}&user={USER}")
}
