//! The server process: whether it is running and ready, and what a dead one left behind.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind as Io, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use nix::fcntl::OFlag;

use crate::error::{Error, ErrorKind, Result};
use crate::warehouse::private_server::data_dir::{Place, SOCKET};

/// `postmaster.pid` of a running server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Postmaster {
    pub(crate) pid: u32,
    /// Whether it accepts queries (crash recovery can take minutes).
    pub(crate) ready: bool,
}

impl Postmaster {
    /// The server of `place`, if it is running.
    pub(crate) fn of(place: &Place) -> Option<Self> {
        let text = fs::read_to_string(place.data().join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.trim().parse().ok()?;
        // The eighth line is the state; PostgreSQL pads it with blanks.
        let ready = text.lines().nth(7).is_some_and(|state| state.trim() == "ready");
        is_ours(pid, &place.sockets).then_some(Self { pid, ready })
    }
}

/// The setting that names the folder of the socket, as it is on the server's command line.
/// Quoted, because the value is a list.
pub(crate) fn socket_setting(sockets: &str) -> String {
    format!("unix_socket_directories=\"{}\"", sockets.replace('"', "\"\""))
}

/// Removes files of a dead server that keep PostgreSQL from starting. Call it only under the lock and
/// when [`Postmaster::of`] finds no server.
///
/// `postmaster.pid` is kept: it also names the shared memory by which PostgreSQL detects orphaned
/// backends of a killed server. Only the process id is replaced by that of this program, because the
/// server takes the id of its parent process as stale.
pub(crate) fn clear_remains(place: &Place) -> Result<()> {
    let kind = ErrorKind::Warehouse { transient: false };
    let pid_file = place.data().join("postmaster.pid");
    match fs::read_to_string(&pid_file) {
        Ok(text) => {
            let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
            OpenOptions::new()
                .write(true)
                .truncate(true)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(&pid_file)
                .and_then(|mut file| write!(file, "{}\n{rest}", std::process::id()))
                .map_err(|error| Error::io(kind, &pid_file, &error))?;
        }
        Err(error) if error.kind() == Io::NotFound => {}
        Err(error) => return Err(Error::io(kind, &pid_file, &error)),
    }
    for name in [SOCKET.to_owned(), format!("{SOCKET}.lock")] {
        let path = Path::new(&place.sockets).join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != Io::NotFound => {
                return Err(Error::io(kind, &path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether process `pid` is the server whose socket is in `sockets`: no other command line on
/// this machine names that folder as its own.
fn is_ours(pid: u32, sockets: &str) -> bool {
    command_line(pid).is_some_and(|line| {
        let wanted = socket_setting(sockets);
        line.windows(wanted.len()).any(|part| part == wanted.as_bytes())
    })
}

/// The command line of a process, from /proc or, where there is none (macOS), from `ps`.
fn command_line(pid: u32) -> Option<Vec<u8>> {
    if Path::new("/proc/self/cmdline").exists() {
        return fs::read(format!("/proc/{pid}/cmdline")).ok();
    }
    let output =
        Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output().ok()?;
    Some(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_not_taken_for_the_server() {
        assert!(!is_ours(std::process::id(), "/srv/claims/cluster"));
        assert!(!is_ours(u32::MAX, "/srv/claims/cluster"));
    }

    #[test]
    fn a_quotation_mark_in_the_path_is_doubled() {
        assert_eq!(socket_setting("/a\"b"), "unix_socket_directories=\"/a\"\"b\"");
    }
}
