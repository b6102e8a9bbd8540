//! The system account that the private server runs as.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, geteuid};

use crate::error::{Error, Result};

/// Accounts without rights, in order of preference. `nobody` may be shared with other services.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The account; `switch` if it is not that of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) name: String,
    switch: bool,
}

impl Owner {
    /// The owner of `cluster`, or of a new one there: the caller; for root the present owner, else an
    /// unprivileged account.
    pub(crate) fn of(cluster: &Path) -> Result<Self> {
        let caller = geteuid();
        if !caller.is_root() {
            return Ok(Self {
                uid: caller.as_raw(),
                gid: nix::unistd::getegid().as_raw(),
                name: name_of(caller.as_raw()),
                switch: false,
            });
        }
        let account = match fs::symlink_metadata(cluster).map(|found| found.uid()) {
            Ok(uid) if uid != 0 => User::from_uid(Uid::from_raw(uid)).ok().flatten(),
            _ => UNPRIVILEGED.into_iter().find_map(|name| User::from_name(name).ok().flatten()),
        };
        let user = account.ok_or_else(|| {
            Error::config("PostgreSQL refuses to run as root, and there is no account for it")
                .hint("create one with `useradd --system postgres`, or run as another user")
        })?;
        Ok(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name, switch: true })
    }

    /// A program of the server, run as this account in `folder` with an empty environment: the server
    /// outlives the run and must not inherit its key, and variables such as PGPORT would change it.
    pub(crate) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        if self.switch {
            // The standard library drops root's supplementary groups along with the uid.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Whether the account may enter `folder`, which must be absolute and free of symbolic links.
    pub(crate) fn may_enter(&self, folder: &Path) -> bool {
        !self.switch
            || folder.ancestors().all(|step| {
                fs::metadata(step).is_ok_and(|found| {
                    let search = if found.uid() == self.uid {
                        0o100
                    } else if found.gid() == self.gid {
                        0o010
                    } else {
                        0o001
                    };
                    found.mode() & search != 0
                })
            })
    }

    /// Whether a folder that root has just created must change its owner.
    pub(crate) fn takes_over(&self, uid: u32) -> bool {
        self.switch && uid == 0
    }
}

/// The name of the account, or its number if it has none.
pub(crate) fn name_of(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid))
        .ok()
        .flatten()
        .map_or_else(|| format!("uid {uid}"), |user| user.name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn stranger() -> Owner {
        Owner { uid: 54_321, gid: 54_321, name: "stranger".into(), switch: true }
    }

    #[test]
    fn a_closed_parent_folder_is_detected() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).expect("a folder");
        let inner = inner.canonicalize().expect("an absolute path");
        let mode = |bits| {
            fs::set_permissions(outer.path(), fs::Permissions::from_mode(bits)).expect("chmod");
        };
        mode(0o755);
        assert!(stranger().may_enter(&inner));
        mode(0o700);
        assert!(!stranger().may_enter(&inner));
    }

    #[test]
    fn the_server_never_runs_as_root() {
        let owner = Owner::of(Path::new("/nonexistent")).expect("an account");
        assert_ne!(owner.uid, 0);
    }

    #[test]
    fn the_environment_of_the_caller_is_not_inherited() {
        let owner = Owner::of(Path::new("/nonexistent")).expect("an account");
        let output = owner.command(Path::new("/usr/bin/env"), Path::new("/")).output();
        let text = String::from_utf8(output.expect("env runs").stdout).expect("text");
        assert!(!text.contains("CARGO"), "{text}");
        assert!(text.contains("LC_ALL=C"), "{text}");
    }
}
