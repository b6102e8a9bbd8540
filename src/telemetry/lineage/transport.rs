//! Transports of lineage events: file and server.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use backon::{BlockingRetryable, ConstantBuilder};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::event::{Cancellation, rest};
use crate::http::{Client, Request};
use crate::secret::value::Secret;

/// Timeout of one request, as in OpenLineage's Python client.
const TIMEOUT: Duration = Duration::from_secs(5);
const RETRIES: usize = 4;
/// Delay before each retry.
const DELAY: Duration = Duration::from_millis(300);

const LINK: &str = "it is a symbolic link, which is not followed";

pub(crate) trait Transport: Send + 'static {
    /// Name in warnings.
    fn name(&self) -> String;

    /// Delivers an event; returns soon after `stop`.
    ///
    /// # Errors
    /// Why it was not delivered.
    fn deliver(&mut self, line: &[u8], stop: &Cancellation) -> Result<(), String>;
}

pub(crate) struct FileTransport {
    path: PathBuf,
    file: Option<File>,
}

impl FileTransport {
    /// A file opened or created with the first event.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }
}

impl Transport for FileTransport {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Writes each line in one call, because several programs may append to the file.
    fn deliver(&mut self, line: &[u8], _: &Cancellation) -> Result<(), String> {
        let reason = |error: std::io::Error| match error.raw_os_error() {
            Some(code) if code == Errno::ELOOP as i32 => LINK.into(),
            _ => error.kind().to_string(),
        };
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut options = OpenOptions::new();
                options.append(true).create(true);
                // Users with write access to the folder must not redirect the events by a link;
                // /dev/stdout is a system link.
                if !self.path.starts_with("/dev") {
                    options.custom_flags(OFlag::O_NOFOLLOW.bits());
                }
                let opened = options.open(&self.path);
                none.insert(opened.map_err(reason)?)
            }
        };
        let mut text = Vec::with_capacity(line.len() + 1);
        text.extend_from_slice(line);
        text.push(b'\n');
        file.write_all(&text).map_err(reason)
    }
}

pub(crate) struct HttpTransport {
    url: String,
    key: Option<Secret>,
    /// Whether the last event was lost: no retries while the server is down.
    is_down: bool,
}

impl HttpTransport {
    /// Posts to `endpoint` below `url`.
    pub(crate) fn new(url: &str, endpoint: &str, key: Option<Secret>) -> Self {
        let url = format!("{}/{}", url.trim_end_matches('/'), endpoint.trim_start_matches('/'));
        Self { url, key, is_down: false }
    }

    fn attempt(&self, line: &[u8], stop: &Cancellation) -> Result<(), Failed> {
        let mut request = Request::post(&self.url).body("application/json", line);
        if let Some(key) = &self.key {
            request = request.bearer(key.expose());
        }
        // Built lazily: reading the certificate authorities takes time.
        let client = Client::shared()
            .map_err(|error| Failed { is_transient: false, reason: error.message().to_owned() })?;
        match client.send_blocking(&request, Instant::now() + TIMEOUT, stop) {
            Ok(answer) if answer.is_success() => Ok(()),
            Ok(answer) => Err(Failed {
                is_transient: matches!(answer.status(), 500 | 502 | 503 | 504),
                reason: format!("the server answers {}", answer.status()),
            }),
            Err(lost) => Err(Failed { is_transient: false, reason: lost.to_string() }),
        }
    }
}

struct Failed {
    is_transient: bool,
    reason: String,
}

impl Transport for HttpTransport {
    fn name(&self) -> String {
        "the lineage server".into()
    }

    fn deliver(&mut self, line: &[u8], stop: &Cancellation) -> Result<(), String> {
        let retries = if self.is_down { 0 } else { RETRIES };
        let asleep = stop.clone();
        let delivered = (|| self.attempt(line, stop))
            .retry(ConstantBuilder::new().with_delay(DELAY).with_max_times(retries))
            .when(|failed| failed.is_transient && !stop.is_cancelled())
            // A signal ends the wait, and the next attempt immediately.
            .sleep(move |delay| drop(rest(delay, || asleep.check())))
            .call();
        self.is_down = delivered.is_err();
        delivered.map_err(|failed| failed.reason)
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
