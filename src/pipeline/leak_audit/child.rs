//! A run of the program as a process of its own, and what can be seen of it while it lives.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::places::{Eyes, files};
use crate::error::{Error, Result};
use crate::event::Cancellation;

/// How often a process is looked at.
const STEP: Duration = Duration::from_millis(3);

/// How long one may live; only a broken one needs it.
const PATIENCE: Duration = Duration::from_mins(3);

/// A started program.
pub(super) struct Running<'a> {
    child: Child,
    said: [Option<JoinHandle<Vec<u8>>>; 2],
    eyes: &'a Eyes,
    /// Folders in which files may appear for a moment.
    folders: Vec<PathBuf>,
    /// Files that were seen, by device and number, with their length then.
    seen: HashMap<(u64, u64), u64>,
    /// How findings name it.
    name: String,
}

/// How a program ended.
pub(super) struct Ended {
    /// Its exit code; none after a signal.
    pub(super) code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl<'a> Running<'a> {
    pub(super) fn start(
        mut command: Command,
        name: String,
        folders: Vec<PathBuf>,
        eyes: &'a Eyes,
    ) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            Error::internal(format!("the program cannot be started: {}", error.kind()))
        })?;
        let out = child.stdout.take().map(read);
        let err = child.stderr.take().map(read);
        eyes.tally.ran();
        Ok(Self { child, said: [out, err], eyes, folders, seen: HashMap::new(), name })
    }

    /// Whether it has not ended yet.
    pub(super) fn goes_on(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it at once, with no chance to clean up.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }

    /// Asks it to stop.
    pub(super) fn terminate(&self) {
        if let Ok(process) = i32::try_from(self.child.id()) {
            // It may have ended by itself; its number is not given away before it is waited for.
            let _ = kill(Pid::from_raw(process), Signal::SIGTERM);
        }
    }

    /// Looks at its unnamed files and its temporary ones.
    pub(super) fn look(&mut self) {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        for entry in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            if target.to_string_lossy().ends_with(" (deleted)") {
                self.look_at("unnamed files", &entry.path());
            }
        }
        for folder in self.folders.clone() {
            for path in files(&folder) {
                self.look_at("temporary files", &path);
            }
        }
    }

    /// Looks through a file, if it is another one than before.
    fn look_at(&mut self, place: &'static str, path: &std::path::Path) {
        let Ok(found) = fs::metadata(path) else { return };
        let length = found.len();
        let before = self.seen.insert((found.dev(), found.ino()), length);
        if !found.is_file() || length == 0 || before == Some(length) {
            return;
        }
        // An opened link of /proc begins at the file's beginning, whatever the program does.
        let Ok(file) = File::open(path) else { return };
        if let Ok((bytes, hits)) = self.eyes.search.reader(file) {
            self.eyes.tally.looked(place, &self.name, (0, bytes), &hits);
        }
    }

    /// Waits for its end, and looks at it all the time.
    ///
    /// # Errors
    /// `Interrupted` when the audit is to stop, `Internal` when the program does not end.
    pub(super) fn end(mut self, cancel: &Cancellation) -> Result<Ended> {
        let line = fs::read(format!("/proc/{}/cmdline", self.child.id())).unwrap_or_default();
        self.eyes.bytes("command lines", &self.name, &line);
        let begin = Instant::now();
        while self.goes_on() {
            cancel.check()?;
            if begin.elapsed() > PATIENCE {
                return Err(Error::internal(format!("{}: the program does not end", self.name)));
            }
            self.look();
            thread::sleep(STEP);
        }
        let status = self.child.wait().map_err(|_| Error::internal("a child is lost"))?;
        let mut said = |which: usize| {
            let reader = self.said[which].take();
            reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
        };
        Ok(Ended { code: status.code(), stdout: said(0), stderr: said(1) })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.goes_on() {
            self.kill();
        }
        let _ = self.child.wait();
    }
}

/// Reads a pipe to its end.
fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before a failure is searched.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
