//! The spool: an unlinked temporary file for bytes that can be read only once.
//!
//! No other process can open it, and it disappears with this process.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::event::Cancellation;
use crate::worker::refused;

/// Buffer size in bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// Maximum buffers waiting to be written.
const MAX_CHUNKS: usize = 4;
/// Interval between cancellation checks while no data arrives.
const TICK: Duration = Duration::from_millis(100);

/// Complete spool.
#[derive(Debug, Clone)]
pub(super) struct Spool(Arc<File>);

pub(super) struct Writing {
    file: File,
    folder: PathBuf,
}

impl Writing {
    /// Creates an empty spool in `folder`, creating the folder if needed.
    ///
    /// # Errors
    /// `Config` when the folder is not writable.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let made = fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
        let file = made.map_err(|error| unusable(folder, &error))?;
        Ok(Self { file, folder: folder.to_owned() })
    }

    /// -
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| unusable(&self.folder, &error))
    }

    /// Bytes written so far.
    #[cfg(feature = "cloud")]
    pub(super) fn bytes(&mut self) -> u64 {
        self.file.stream_position().unwrap_or(0)
    }

    pub(super) fn finish(self) -> Spool {
        Spool(Arc::new(self.file))
    }
}

impl Spool {
    /// Spools all of `source`. A separate thread reads, so that a run can be cancelled while a pipe
    /// is idle; the thread ends with the process or the pipe.
    ///
    /// # Errors
    /// `Source` when it cannot be read, `Config` when the folder is not writable, `Interrupted` on
    /// cancellation.
    pub(super) fn fill(
        name: &str,
        mut source: impl Read + Send + 'static,
        folder: &Path,
        cancel: &Cancellation,
    ) -> Result<Self> {
        let mut writing = Writing::new(folder)?;
        let (give, take) = mpsc::sync_channel::<io::Result<Vec<u8>>>(MAX_CHUNKS);
        let read = move || {
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = source.read(&mut chunk).map(|count| {
                    chunk.truncate(count);
                    chunk
                });
                let again = matches!(&read, Err(e) if e.kind() == io::ErrorKind::Interrupted);
                let last = !matches!(&read, Ok(chunk) if !chunk.is_empty());
                if !again && (give.send(read).is_err() || last) {
                    return;
                }
            }
        };
        thread::Builder::new().name("spool".into()).spawn(read).map_err(|e| refused(&e))?;
        loop {
            cancel.check()?;
            match take.recv_timeout(TICK) {
                Ok(Ok(chunk)) if chunk.is_empty() => return Ok(writing.finish()),
                Ok(Ok(chunk)) => writing.append(&chunk)?,
                Ok(Err(error)) => return Err(Error::io(ErrorKind::Source, name.as_ref(), &error)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("the thread that reads a source has ended"));
                }
            }
        }
    }

    /// A path that only this process can open.
    pub(super) fn path(&self) -> PathBuf {
        let folder = ["/proc/self/fd", "/dev/fd"].into_iter().find(|path| Path::new(path).exists());
        Path::new(folder.unwrap_or("/dev/fd")).join(self.0.as_raw_fd().to_string())
    }

    /// Opens the spool at its start.
    pub(super) fn open(&self) -> io::Result<File> {
        let mut file = File::open(self.path())?;
        // /dev/fd may share the file offset, so rewind.
        file.rewind()?;
        Ok(file)
    }
}

fn unusable(folder: &Path, error: &io::Error) -> Error {
    Error::io(ErrorKind::Config, folder, error)
        .hint("standard input and remote files are kept here while they are read; run.spill_dir names another folder")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_spool_is_read_again_and_again_and_has_no_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let text: Vec<u8> = (0_u32..700_000).flat_map(u32::to_le_bytes).collect();
        let source = io::Cursor::new(text.clone());
        let spool = Spool::fill("it", source, folder.path(), &Cancellation::default());
        let spool = spool.expect("filled");
        let (mut first, mut second) = (spool.open().expect("open"), spool.open().expect("open"));
        let mut start = [0; 1000];
        first.read_exact(&mut start).expect("read");
        let mut read = Vec::new();
        second.read_to_end(&mut read).expect("read");
        assert!(read == text, "each handle has its own place");
        assert_eq!(first.stream_position().expect("a place"), 1000);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "no name");
    }

    #[test]
    fn a_silent_pipe_does_not_keep_anybody_from_stopping() {
        struct NullObserver;
        impl Read for NullObserver {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                thread::sleep(Duration::from_mins(5));
                Ok(0)
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        let cancel = Cancellation::default();
        let stopper = cancel.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            stopper.cancel(15);
        });
        let began = Instant::now();
        let refusal = Spool::fill("it", NullObserver, folder.path(), &cancel).expect_err("stopped");
        assert_eq!(refusal.kind(), ErrorKind::Interrupted(15));
        assert!(began.elapsed() < Duration::from_mins(1));
    }

    #[test]
    fn a_broken_pipe_is_the_sources_fault_and_a_missing_folder_is_not() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        let cancel = Cancellation::default();
        let error = Spool::fill("it", Broken, folder.path(), &cancel).expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::Source);
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let error = Spool::fill("it", io::empty(), &file, &cancel).expect_err("no folder");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
