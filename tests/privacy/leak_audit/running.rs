//! A run of the program as a process of its own, and what can be seen of it while it lives.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::places::{Places, files};

/// How often a process is looked at.
const STEP: Duration = Duration::from_millis(3);

/// How long one may live; only a broken one needs it.
const PATIENCE: Duration = Duration::from_mins(3);

/// A started program.
pub(super) struct Running<'a> {
    child: Child,
    output: [Option<JoinHandle<Vec<u8>>>; 2],
    places: &'a Places,
    /// Folders in which files may appear for a moment.
    folders: [PathBuf; 3],
    /// The length of each file that was searched, by device and number.
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
        folders: [PathBuf; 3],
        places: &'a Places,
    ) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = [child.stdout.take().map(read), child.stderr.take().map(read)];
        places.report().runs += 1;
        Self { child, output, places, folders, seen: HashMap::new(), name }
    }

    /// Whether it has not ended yet.
    pub(super) fn goes_on(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(super) fn signal(&self, signal: Signal) {
        let process = i32::try_from(self.child.id()).expect("a process id");
        // It may have ended; its number is not given away before it is waited for.
        let _ = kill(Pid::from_raw(process), signal);
    }

    /// Searches its unnamed files and its temporary ones.
    pub(super) fn search(&mut self) {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        for entry in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            if target.to_string_lossy().ends_with(" (deleted)") {
                self.search_file("unnamed files", &entry.path());
            }
        }
        for folder in self.folders.clone() {
            for path in files(&folder) {
                self.search_file("temporary files", &path);
            }
        }
    }

    /// Searches a file, if it has changed since the last time.
    fn search_file(&mut self, place: &'static str, path: &Path) {
        let Ok(found) = fs::metadata(path) else { return };
        let length = found.len();
        let before = self.seen.insert((found.dev(), found.ino()), length);
        if !found.is_file() || length == 0 || before == Some(length) {
            return;
        }
        // An opened link of /proc begins at the file's beginning, whatever the program does.
        let Ok(file) = File::open(path) else { return };
        if let Ok((bytes, hits)) = self.places.search.reader(file) {
            self.places.report().searched(place, &self.name, bytes, &hits);
        }
    }

    /// Waits for its end, searching all the time.
    pub(super) fn end(mut self) -> Ended {
        let line = fs::read(format!("/proc/{}/cmdline", self.child.id())).unwrap_or_default();
        self.places.bytes("command lines", &self.name, &line);
        let begin = Instant::now();
        while self.goes_on() {
            assert!(begin.elapsed() < PATIENCE, "{}: the program does not end", self.name);
            self.search();
            thread::sleep(STEP);
        }
        let code = self.child.wait().expect("a child").code();
        let [stdout, stderr] = self
            .output
            .each_mut()
            .map(|reader| reader.take().expect("piped").join().expect("read"));
        Ended { code, stdout, stderr }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It has ended unless the test failed.
        let _ = self.child.kill();
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
