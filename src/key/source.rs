//! Sources of a key: environment, open descriptor, or file.

use std::fmt;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox};

use super::material::{self, MAX_TEXT, Material};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::file_permissions::is_private;
use crate::secret::value::Secret;

#[derive(Debug, Clone)]
pub enum KeySource {
    /// The value of `CLAIMS_ETL_KEY`.
    Variable(Secret),
    /// A descriptor opened by the parent process.
    Descriptor(i32),
    /// A file of mode 0600.
    File(PathBuf),
}

/// Where a key was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyPlace {
    /// The variable `CLAIMS_ETL_KEY`.
    Environment,
    /// A descriptor opened by the parent process.
    Descriptor(i32),
    File {
        path: PathBuf,
        mode: u32,
        /// User id of the owner.
        owner: u32,
    },
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("the variable CLAIMS_ETL_KEY"),
            Self::Descriptor(number) => write!(f, "descriptor {number}"),
            Self::File { path, mode, owner } => {
                write!(f, "{} (mode {mode:04o}, owner {owner})", path.display())
            }
        }
    }
}

/// Reads the key or chain.
pub(super) fn read(source: &KeySource) -> Result<(Vec<Material>, KeyPlace)> {
    match source {
        KeySource::Variable(key) => {
            let key = material::parse(key.expose().as_bytes());
            Ok((key.map_err(|e| e.context("CLAIMS_ETL_KEY"))?, KeyPlace::Environment))
        }
        KeySource::Descriptor(number) => Ok((descriptor(*number)?, KeyPlace::Descriptor(*number))),
        KeySource::File(path) => file(path),
    }
}

/// Reads a key file.
pub(super) fn file(path: &Path) -> Result<(Vec<Material>, KeyPlace)> {
    let failed =
        |error: &std::io::Error| Error::io(ErrorKind::Config, path, error).context("key file");
    let mut file = File::open(path).map_err(|error| {
        failed(&error).hint(
            "`claims-etl key generate` makes one; keep it: tokens of another key do not match",
        )
    })?;
    // Metadata of the open file, not of the path.
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if !is_private(&metadata) {
        return Err(Error::config(format!(
            "key file {}: mode {mode:04o} lets others read it",
            path.display()
        ))
        .hint(format!("chmod 600 {}", path.display())));
    }
    let key = read_text(&mut file)
        .map_err(|error| failed(&error))
        .and_then(|text| text.key().map_err(|e| e.context(format!("key file {}", path.display()))));
    Ok((key?, KeyPlace::File { path: path.to_owned(), mode, owner: metadata.uid() }))
}

/// The text read from the key descriptor, or the error. A descriptor can be read only once, but a
/// process may need its key again (`schedule`).
static DESCRIPTOR: Mutex<Option<(i32, Result<Text>)>> = Mutex::new(None);

/// Reads the key's descriptor immediately, before the program opens anything that could get the
/// same number. Errors are reported when the key is used.
pub(crate) fn take_descriptor(number: i32) {
    let mut taken = DESCRIPTOR.lock().unwrap_or_else(PoisonError::into_inner);
    if taken.is_none() {
        *taken = Some((number, from_descriptor(number)));
    }
}

/// The key of a descriptor, which is read once per process.
fn descriptor(number: i32) -> Result<Vec<Material>> {
    take_descriptor(number);
    let taken = DESCRIPTOR.lock().unwrap_or_else(PoisonError::into_inner);
    let key = match taken.as_ref() {
        Some((taken, text)) if *taken == number => {
            text.as_ref().map_err(Clone::clone).and_then(Text::key)
        }
        _ => Err(Error::config("another descriptor has been read for the key already")),
    };
    key.map_err(|e| e.context(format!("key descriptor {number}")))
}

/// Reads a descriptor to the end and closes it.
fn from_descriptor(number: i32) -> Result<Text> {
    let hint = "open it for the program, for example `claims-etl run --key-fd 3 3< key.file`";
    if number <= 2 {
        return Err(Error::config("0, 1 and 2 are what the program talks through").hint(hint));
    }
    let closed = |error: &std::io::Error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "it is not open".to_owned(),
            kind => kind.to_string(),
        };
        Error::config(reason).hint(hint)
    };
    let mut file = File::open(format!("/dev/fd/{number}")).map_err(|error| closed(&error))?;
    if file.is_terminal() {
        return Err(Error::config("it is a terminal, where a key would be shown").hint(hint));
    }
    let metadata = file.metadata().map_err(|error| closed(&error))?;
    if metadata.is_file() && !is_private(&metadata) {
        let mode = metadata.permissions().mode() & 0o777;
        return Err(Error::config(format!("mode {mode:04o} lets others read its file"))
            .hint("chmod 600 the file"));
    }
    // The pipe or file was reopened: closing the original descriptor lets a pipe reach its end and
    // keeps it from child processes.
    nix::unistd::close(number).map_err(|error| closed(&error.into()))?;
    read_text(&mut file).map_err(|error| closed(&error))
}

/// Text of a key, wiped from memory on drop.
struct Text(SecretBox<[u8; MAX_TEXT + 1]>, usize);

impl Text {
    fn key(&self) -> Result<Vec<Material>> {
        let Self(buffer, length) = self;
        if *length > MAX_TEXT {
            return Err(Error::config(format!("not a key: more than {MAX_TEXT} bytes"))
                .hint("`claims-etl key generate` makes a key"));
        }
        material::parse(&buffer.expose_secret()[..*length])
    }
}

/// Reads to the end, or one byte more than the maximum.
fn read_text(file: &mut File) -> std::io::Result<Text> {
    let mut buffer = Zeroizing::new([0_u8; MAX_TEXT + 1]);
    let mut length = 0;
    while length <= MAX_TEXT {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut kept = Box::new([0_u8; MAX_TEXT + 1]);
    kept.copy_from_slice(buffer.as_slice());
    Ok(Text(SecretBox::new(kept), length))
}
