//! A PostgreSQL server of one test's own, which may be crashed, stopped and started again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use claims_etl::event::NullObserver;
use claims_etl::warehouse::private_server::{LocalPostgres, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};

use crate::support::process::until;
use crate::support::server;
use crate::support::test_env::TestEnv;

/// The server; stopped and removed when the test ends. Environments on it must be dropped before.
pub(crate) struct OwnServer {
    folder: tempfile::TempDir,
    server: LocalPostgres,
}

impl OwnServer {
    /// Makes a cluster and starts its server.
    pub(crate) fn start() -> Self {
        // In memory where there is such a place: a restart after a crash syncs every file.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder");
        // The server's account must be able to enter it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let own = Self { server: LocalPostgres::new(&folder.path().join("w")), folder };
        own.start_again();
        own
    }

    /// A folder that the server's account can enter.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the cluster is.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("w/cluster/data")
    }

    /// Starts it, or finds it running.
    pub(crate) fn start_again(&self) {
        self.server.start(&NullObserver).expect("a server");
    }

    /// An environment at an empty database of this server.
    pub(crate) fn env(&self) -> TestEnv {
        let url = self.server.url().expect("an address");
        let url = format!("{url}&connect_timeout=5");
        TestEnv::at(server::database_of(&url, "template1"))
    }

    /// Ends the server as a crash does (`pg_ctl stop -m immediate`): nothing is written any more.
    pub(crate) fn crash(&self) {
        let Ok(Status::Running { pid }) = self.server.status() else { panic!("no server") };
        signal(i32::try_from(pid).expect("a process id"), Signal::SIGQUIT);
        until("the server to end", || self.server.status() == Ok(Status::Stopped));
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // Its data go with the folder, so it need not write them.
        if let Ok(Status::Running { .. }) = self.server.status() {
            self.crash();
        }
    }
}

/// Sends a signal to a process of the server.
pub(crate) fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("the process is there");
}

/// Connects as soon as the server lets anybody in.
pub(crate) fn patient_client(env: &TestEnv) -> Client {
    let mut client = None;
    until("the server to take connections", || {
        client = Client::connect(env.database.url(), NoTls).ok();
        client.is_some()
    });
    client.expect("connected")
}
