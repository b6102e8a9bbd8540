//! Where buckets lie: in memory up to a limit, then in an unlinked temporary file.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::{Error, Result};
use crate::failpoint;

/// Bytes that a writer collects for a bucket before the store takes them.
const CHUNK_BYTES: usize = 16 << 10;

/// A piece of a bucket.
enum Piece {
    Memory(Box<[u8]>),
    File { offset: u64, length: usize },
}

/// The pieces of all buckets.
pub(super) struct Store {
    folder: PathBuf,
    limit: usize,
    held: AtomicUsize,
    written: AtomicU64,
    file: OnceLock<File>,
    opening: Mutex<()>,
    buckets: Vec<Mutex<Vec<Piece>>>,
}

impl Store {
    /// An empty store of so many buckets, which keeps up to `limit` bytes in memory.
    pub(super) fn new(folder: &Path, limit: usize, buckets: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            limit,
            held: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            file: OnceLock::new(),
            opening: Mutex::new(()),
            buckets: (0..buckets).map(|_| Mutex::default()).collect(),
        }
    }

    /// Bytes in memory and in the file.
    pub(super) fn bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed) as u64 + self.written.load(Ordering::Relaxed)
    }

    /// A writer for one thread.
    pub(super) fn writer(&self) -> Chunks<'_> {
        Chunks { store: self, chunks: vec![Vec::new(); self.buckets.len()] }
    }

    /// Takes a piece of a bucket and leaves `chunk` empty.
    fn take(&self, bucket: usize, chunk: &mut Vec<u8>) -> Result<()> {
        let length = chunk.len();
        let held = self.held.fetch_add(length, Ordering::Relaxed);
        let piece = if held + length <= self.limit {
            Piece::Memory(chunk.as_slice().into())
        } else {
            self.held.fetch_sub(length, Ordering::Relaxed);
            failpoint::hit("shuffle.spill")?;
            let offset = self.written.fetch_add(length as u64, Ordering::Relaxed);
            self.file()?.write_all_at(chunk, offset).map_err(|error| self.unusable(&error))?;
            Piece::File { offset, length }
        };
        chunk.clear();
        self.pieces(bucket).push(piece);
        Ok(())
    }

    /// Bytes of a bucket.
    pub(super) fn length(&self, bucket: usize) -> usize {
        let length = |piece: &Piece| match piece {
            Piece::Memory(bytes) => bytes.len(),
            Piece::File { length, .. } => *length,
        };
        self.pieces(bucket).iter().map(length).sum()
    }

    /// Appends a bucket's bytes to `bytes`.
    pub(super) fn read(&self, bucket: usize, bytes: &mut Vec<u8>) -> Result<()> {
        for piece in self.pieces(bucket).iter() {
            match piece {
                Piece::Memory(held) => bytes.extend_from_slice(held),
                Piece::File { offset, length } => {
                    let start = bytes.len();
                    bytes.resize(start + length, 0);
                    self.file()?
                        .read_exact_at(&mut bytes[start..], *offset)
                        .map_err(|error| self.unusable(&error))?;
                }
            }
        }
        Ok(())
    }

    fn pieces(&self, bucket: usize) -> MutexGuard<'_, Vec<Piece>> {
        self.buckets[bucket].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, which has no name from the beginning where the system can do that.
    fn file(&self) -> Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        fs::create_dir_all(&self.folder).map_err(|error| self.unusable(&error))?;
        let file = tempfile::tempfile_in(&self.folder).map_err(|error| self.unusable(&error))?;
        Ok(self.file.get_or_init(|| file))
    }

    fn unusable(&self, error: &std::io::Error) -> Error {
        let folder = self.folder.display();
        Error::config(format!("rows cannot be kept in {folder}: {}", error.kind())).hint(
            "it takes about as much space as the claim files; `run.spill_dir` names another folder",
        )
    }
}

/// What one thread has collected for each bucket.
pub(super) struct Chunks<'a> {
    store: &'a Store,
    chunks: Vec<Vec<u8>>,
}

impl Chunks<'_> {
    /// Appends a record to a bucket: what `write` appends to the bytes that it is given.
    pub(super) fn append(&mut self, bucket: usize, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let chunk = &mut self.chunks[bucket];
        write(chunk);
        if chunk.len() >= CHUNK_BYTES {
            self.store.take(bucket, chunk)?;
        }
        Ok(())
    }

    /// Hands on what is left.
    pub(super) fn finish(mut self) -> Result<()> {
        for (bucket, chunk) in self.chunks.iter_mut().enumerate() {
            if !chunk.is_empty() {
                self.store.take(bucket, chunk)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_read_back_from_memory_and_file_and_leave_no_name() {
        let folder = tempfile::tempdir().expect("a folder");
        for limit in [0, 5, 100] {
            let store = Store::new(folder.path(), limit, 8);
            for (bucket, text) in [(3, "abc"), (7, "defg"), (3, "hi")] {
                let mut chunk = text.as_bytes().to_vec();
                store.take(bucket, &mut chunk).expect("taken");
                assert!(chunk.is_empty());
            }
            let mut bytes = Vec::new();
            store.read(3, &mut bytes).expect("read");
            store.read(7, &mut bytes).expect("read");
            assert_eq!(bytes, b"abchidefg", "{limit}");
            assert_eq!((store.length(3), store.length(0), store.bytes()), (5, 0, 9), "{limit}");
            assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0, "{limit}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_told() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let store = Store::new(file.path(), 0, 1);
        let error = store.take(0, &mut vec![1]).expect_err("no folder");
        assert!(error.way_out().is_some_and(|hint| hint.contains("spill_dir")));
    }
}
