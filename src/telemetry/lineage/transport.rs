//! The ways out: a file, a server.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::event::{Cancellation, rest};
use crate::http::{Client, Request};
use crate::secret::value::Secret;

/// What one request may take: as OpenLineage's Python client has it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often an event is sent at most.
const TRIES: u32 = 5;
/// The wait before it is sent again.
const BACK_OFF: Duration = Duration::from_millis(300);

/// Why a file is not written to.
const LINK: &str = "it is a symbolic link, and none is followed";

/// Someone who takes events.
pub(crate) trait Transport: Send + 'static {
    /// What it is called in a warning.
    fn name(&self) -> String;

    /// Hands an event on; the reason where that failed. Ends soon after `stop`.
    fn deliver(&mut self, line: &[u8], stop: &Cancellation) -> Result<(), String>;
}

/// Appends to a file.
pub(crate) struct FileTransport {
    path: PathBuf,
    file: Option<File>,
}

impl FileTransport {
    /// A file that is opened with the first event, and made where there is none.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }
}

impl Transport for FileTransport {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// One line in one write: several programs may append to the same file.
    fn deliver(&mut self, line: &[u8], _: &Cancellation) -> Result<(), String> {
        let told = |error: std::io::Error| match error.raw_os_error() {
            Some(code) if code == Errno::ELOOP as i32 => LINK.into(),
            _ => error.kind().to_string(),
        };
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut options = OpenOptions::new();
                options.append(true).create(true);
                // Whoever may write to its folder must not lead the events elsewhere; /dev/stdout is
                // a link of the system's.
                if !self.path.starts_with("/dev") {
                    options.custom_flags(OFlag::O_NOFOLLOW.bits());
                }
                let opened = options.open(&self.path);
                none.insert(opened.map_err(told)?)
            }
        };
        let mut text = Vec::with_capacity(line.len() + 1);
        text.extend_from_slice(line);
        text.push(b'\n');
        file.write_all(&text).map_err(told)
    }
}

/// Posts to a server.
pub(crate) struct HttpTransport {
    url: String,
    key: Option<Secret>,
    /// Whether the last event was lost: a server that is down is not asked five times for each.
    down: bool,
}

impl HttpTransport {
    /// Posts to `endpoint` below `url`.
    pub(crate) fn new(url: &str, endpoint: &str, key: Option<Secret>) -> Self {
        let url = format!("{}/{}", url.trim_end_matches('/'), endpoint.trim_start_matches('/'));
        Self { url, key, down: false }
    }

    fn attempt(&self, line: &[u8], stop: &Cancellation) -> Result<(), Failed> {
        let mut request = Request::post(&self.url).body("application/json", line);
        if let Some(key) = &self.key {
            request = request.bearer(key.expose());
        }
        // Made here, on the thread that has time: certificate authorities are read for it.
        let client = Client::shared()
            .map_err(|error| Failed { again: false, reason: error.message().to_owned() })?;
        match client.send(&request, Instant::now() + TIMEOUT, stop) {
            Ok(answer) if answer.is_success() => Ok(()),
            Ok(answer) => Err(Failed {
                again: matches!(answer.status(), 500 | 502 | 503 | 504),
                reason: format!("the server answers {}", answer.status()),
            }),
            Err(lost) => Err(Failed { again: false, reason: lost.to_string() }),
        }
    }
}

struct Failed {
    again: bool,
    reason: String,
}

impl Transport for HttpTransport {
    fn name(&self) -> String {
        "the lineage server".into()
    }

    fn deliver(&mut self, line: &[u8], stop: &Cancellation) -> Result<(), String> {
        let most = if self.down { 1 } else { TRIES };
        let mut tries = 0;
        loop {
            tries += 1;
            let failed = match self.attempt(line, stop) {
                Ok(()) => {
                    self.down = false;
                    return Ok(());
                }
                Err(failed) => failed,
            };
            if !failed.again || tries >= most || stop.is_cancelled() {
                self.down = true;
                return Err(failed.reason);
            }
            // A request to stop is heard by the next sending.
            let _ = rest(BACK_OFF, || stop.check());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.ndjson");
        let stop = Cancellation::default();
        for line in ["{\"a\":1}", "{\"b\":2}"] {
            let mut file = FileTransport::new(path.clone());
            file.deliver(line.as_bytes(), &stop).expect("written");
        }
        let text = std::fs::read_to_string(&path).expect("a file");
        assert_eq!(text, "{\"a\":1}\n{\"b\":2}\n");
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (other, path) = (folder.path().join("other"), folder.path().join("events.ndjson"));
        std::fs::write(&other, "kept").expect("written");
        std::os::unix::fs::symlink(&other, &path).expect("a link");
        let mut file = FileTransport::new(path);
        let reason = file.deliver(b"{}", &Cancellation::default()).expect_err("a link");
        assert_eq!(reason, LINK);
        assert_eq!(std::fs::read_to_string(&other).expect("text"), "kept");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_a_reason() {
        let mut file = FileTransport::new("/nowhere/at/all.ndjson".into());
        let reason = file.deliver(b"{}", &Cancellation::default()).expect_err("no folder");
        assert_eq!(reason, "entity not found");
    }

    #[test]
    fn an_address_and_a_path_are_put_together() {
        for (url, endpoint) in
            [("http://h/base/", "/api/v1/lineage"), ("http://h/base", "api/v1/lineage")]
        {
            let transport = HttpTransport::new(url, endpoint, None);
            assert_eq!(transport.url, "http://h/base/api/v1/lineage");
        }
    }

    #[test]
    fn nobody_there_is_a_reason_at_once() {
        let mut transport = HttpTransport::new(
            "http://127.0.0.1:1",
            "api/v1/lineage",
            Some(Secret::new("hunter2")),
        );
        let reason = transport.deliver(b"{}", &Cancellation::default()).expect_err("nobody");
        assert_eq!(reason, "no connection could be made");
    }
}
