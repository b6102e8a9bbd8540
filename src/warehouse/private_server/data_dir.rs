//! The folders of the private server: cluster, data, socket.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind as Io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::error::{Error, ErrorKind, Result};
use crate::warehouse::private_server::service_user::{Owner, name_of};

/// Clusters of data directories that the service user may not enter.
const SYSTEM_HOME: &str = "/var/lib/claims-etl";

/// The file name of the socket; it contains the port although nothing listens on TCP.
pub(crate) const SOCKET: &str = ".s.PGSQL.5432";

/// Longest socket path in bytes (Linux allows 107, macOS 103).
const SOCKET_PATH_LIMIT: usize = 103;

/// File errors are permanent: they need a person.
const KIND: ErrorKind = ErrorKind::Warehouse { transient: false };

/// The folders of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) owner: Owner,
    /// All files of the server; mode 0700, owned by the service user.
    pub(crate) cluster: PathBuf,
    /// The folder of the socket: `cluster`, unless its path is too long.
    pub(crate) sockets: String,
    /// Whether the cluster is not in the requested folder.
    pub(crate) elsewhere: bool,
}

impl Place {
    /// The folders of the server for `dir`, which must exist.
    pub(crate) fn of(dir: &Path) -> Result<Self> {
        let dir = dir.canonicalize().map_err(|error| Error::io(KIND, dir, &error))?;
        let requested = dir.join("cluster");
        let home = Path::new(SYSTEM_HOME).join(short_hash(&dir));
        let moved = home.join("cluster");

        let owner = Owner::of(&requested)?;
        let enters = owner.may_enter(&dir);
        if requested.exists() && !enters {
            // Never create a second, empty warehouse beside an unreachable one.
            return Err(Error::config(format!(
                "{} contains a warehouse, but its owner {} may not enter the folder",
                dir.display(),
                owner.name
            ))
            .hint("make the folders above it searchable with `chmod a+x`"));
        }
        let elsewhere = !requested.exists() && (moved.exists() || !enters);
        let (owner, cluster) =
            if elsewhere { (Owner::of(&moved)?, moved) } else { (owner, requested) };
        let sockets = socket_folder(&cluster, owner.uid);
        Ok(Self { owner, cluster, sockets, elsewhere })
    }

    /// `PGDATA`.
    pub(crate) fn data(&self) -> PathBuf {
        self.cluster.join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.cluster.join("server.log")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        Path::new(&self.sockets).join(SOCKET)
    }

    /// Creates missing folders and takes an exclusive lock until the returned file is dropped. The lock
    /// is on the folder itself: no lock file can be left behind or have the wrong owner.
    pub(crate) fn prepare_and_lock(&self) -> Result<File> {
        if self.elsewhere {
            for folder in [Path::new(SYSTEM_HOME), self.home()] {
                make(folder, 0o755)?;
            }
        }
        make(&self.cluster, 0o700)?;
        let lock = self.lock()?;
        self.hand_over(&lock, &self.cluster)?;
        if Path::new(&self.sockets) != self.cluster {
            let sockets = Path::new(&self.sockets);
            make(sockets, 0o700)?;
            self.hand_over(&open_folder(sockets)?, sockets)?;
        }
        Ok(lock)
    }

    /// Locks an existing cluster.
    pub(crate) fn lock(&self) -> Result<File> {
        let folder = open_folder(&self.cluster)?;
        folder.lock().map_err(|error| Error::io(KIND, &self.cluster, &error))?;
        Ok(folder)
    }

    /// The folder above the cluster.
    pub(crate) fn home(&self) -> &Path {
        self.cluster.parent().unwrap_or(&self.cluster)
    }

    /// Gives a folder that root has just created to the service user; refuses one with another owner or
    /// open to others, because whoever reaches the socket needs no password.
    fn hand_over(&self, folder: &File, path: &Path) -> Result<()> {
        let found = || folder.metadata().map_err(|error| Error::io(KIND, path, &error));
        if self.owner.takes_over(found()?.uid()) {
            fchown(folder, Some(self.owner.uid), Some(self.owner.gid))
                .map_err(|error| Error::io(KIND, path, &error))?;
        }
        let (uid, mode) = (found()?.uid(), found()?.mode());
        if uid != self.owner.uid {
            return Err(Error::config(format!(
                "{} belongs to {}, not to {}",
                path.display(),
                name_of(uid),
                self.owner.name
            ))
            .hint("run as its owner or as root, or choose another data directory"));
        }
        if mode & 0o077 != 0 {
            return Err(Error::config(format!("{} is open to other users", path.display()))
                .hint(format!("close it with `chmod 700 '{}'`", path.display())));
        }
        Ok(())
    }
}

/// `cluster`, or a short folder under /tmp if the socket path would be too long or cannot be written in
/// an address (a comma separates hosts there).
fn socket_folder(cluster: &Path, uid: u32) -> String {
    let fits = |path: &&str| {
        path.len() + 1 + SOCKET.len() <= SOCKET_PATH_LIMIT && !path.contains([',', '\n', '\r'])
    };
    cluster
        .to_str()
        .filter(fits)
        .map_or_else(|| format!("/tmp/claims-etl-{uid}-{}", short_hash(cluster)), Into::into)
}

/// Sixteen hexadecimal digits derived from a path.
fn short_hash(path: &Path) -> String {
    let mut hex = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex().to_string();
    hex.truncate(16);
    hex
}

/// Creates a missing folder with this mode, whatever the umask.
fn make(folder: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == Io::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(|error| Error::io(KIND, folder, &error))
}

/// Opens a folder, but not through a symbolic link.
fn open_folder(folder: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits())
        .open(folder)
        .map_err(|error| Error::io(KIND, folder, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_socket_moves_only_when_its_path_does_not_fit() {
        let short = Path::new("/srv/claims data/cluster");
        assert_eq!(socket_folder(short, 7), "/srv/claims data/cluster");
        let long = PathBuf::from("/srv").join("x".repeat(90));
        let moved = socket_folder(&long, 7);
        assert!(moved.starts_with("/tmp/claims-etl-7-"), "{moved}");
        assert!(moved.len() + 1 + SOCKET.len() <= SOCKET_PATH_LIMIT, "{moved}");
        assert_ne!(moved, socket_folder(&long.join("y"), 7));
        assert!(socket_folder(Path::new("/srv/a,b"), 7).starts_with("/tmp/"));
    }

    #[test]
    fn a_folder_of_another_owner_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut place = Place::of(folder.path()).expect("a place");
        place.cluster = folder.path().join("cluster");
        place.elsewhere = false;
        place.sockets = place.cluster.to_str().expect("text").to_owned();
        drop(place.prepare_and_lock().expect("a fresh folder"));

        fs::set_permissions(&place.cluster, fs::Permissions::from_mode(0o755)).expect("chmod");
        let error = place.prepare_and_lock().expect_err("open to others");
        assert!(error.message().contains("open to other users"), "{error}");

        fs::set_permissions(&place.cluster, fs::Permissions::from_mode(0o700)).expect("chmod");
        place.owner.uid += 1;
        let error = place.prepare_and_lock().expect_err("somebody else's");
        assert!(error.message().contains("belongs to"), "{error}");
    }

    #[test]
    fn a_symbolic_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let link = folder.path().join("link");
        symlink("/tmp", &link).expect("a link");
        assert!(open_folder(&link).is_err());
    }
}
