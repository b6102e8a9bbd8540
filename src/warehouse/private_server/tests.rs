//! The private server against the installed PostgreSQL: these tests start and stop real servers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::*;
use crate::event::NullObserver;
use crate::warehouse::private_server::data_dir::Place;

/// A folder with a server, stopped and removed at the end whatever happens.
struct Site {
    root: tempfile::TempDir,
    dir: PathBuf,
}

impl Site {
    /// A server's folder named `name` below a folder of mode `mode`.
    fn new(mode: u32, name: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).expect("chmod");
        let dir = root.path().join(name);
        fs::create_dir_all(&dir).expect("the server's folder");
        Self { root, dir }
    }

    fn server(&self) -> LocalPostgres {
        LocalPostgres::new(&self.dir)
    }

    fn place(&self) -> Place {
        Place::of(&self.dir).expect("a place")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let stopped = self.server().stop();
        let place = self.place();
        if place.elsewhere {
            fs::remove_dir_all(place.home()).ok();
        }
        if Path::new(&place.sockets) != place.cluster {
            fs::remove_dir_all(&place.sockets).ok();
        }
        if !std::thread::panicking() {
            stopped.expect("the server stops");
        }
    }
}

fn ask(url: &str, query: &str) -> String {
    let mut client = postgres::Client::connect(url, postgres::NoTls).expect("a connection");
    client.query_one(query, &[]).expect("an answer").get(0)
}

/// The process of the running server.
fn pid(server: &LocalPostgres) -> i32 {
    match server.status().expect("a status") {
        Status::Running { pid } => pid.try_into().expect("a process id"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_is_made_found_again_and_stopped() {
    let site = Site::new(0o755, "data dir/ware'house \"$HOME\" 100%");
    let server = site.server();
    assert_eq!(server.status(), Ok(Status::Absent));
    assert_eq!(server.url().expect_err("nothing there").kind(), ErrorKind::Config);
    assert_eq!(server.stop(), Ok(false));

    let running = server.start(&NullObserver).expect("a server");
    assert!(running.started);
    assert_eq!(running.url(), server.url().expect("an address"));
    assert_eq!(ask(running.url(), "SELECT current_database()::text"), "claims");
    for (setting, value) in [
        ("listen_addresses", ""),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("lc_collate", "C"),
        ("synchronous_commit", "on"),
        ("wal_level", "minimal"),
        ("log_min_messages", "fatal"),
    ] {
        let query = format!("SELECT current_setting('{setting}')");
        assert_eq!(ask(running.url(), &query), value, "{setting}");
    }

    let first = pid(&server);
    let again = server.start(&NullObserver).expect("the same server");
    assert!(!again.started);
    assert_eq!(again.url(), running.url());
    assert_eq!(pid(&server), first);

    assert_eq!(server.stop(), Ok(true));
    assert_eq!(server.status(), Ok(Status::Stopped));
    assert_eq!(server.stop(), Ok(false));
}

#[test]
fn an_unreachable_folder_moves_the_cluster() {
    let site = Site::new(0o700, "checkout/data/warehouse");
    let events = Notes::default();
    let running = site.server().start(&events).expect("a server");
    assert_eq!(ask(running.url(), "SELECT current_user::text"), "claims_etl");
    let place = site.place();
    let owner = fs::metadata(&place.cluster).expect("the cluster").uid();
    assert_eq!(place.elsewhere, geteuid().is_root());
    assert_ne!(owner, 0);
    if place.elsewhere {
        let location = fs::read_to_string(site.dir.join("location")).expect("the note");
        assert_eq!(location.trim_end(), place.home().display().to_string());
        let notes = events.0.lock().expect("the notes").join("\n");
        assert!(notes.contains("may not enter"), "{notes}");
        // The folder opens later: the cluster stays where it is.
        fs::set_permissions(site.root.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        assert_eq!(site.place(), place);
    }
}

#[test]
fn a_very_long_path_moves_the_socket() {
    let site = Site::new(0o755, &format!("{}/{}", "long".repeat(40), "path".repeat(40)));
    let running = site.server().start(&NullObserver).expect("a server");
    assert_eq!(ask(running.url(), "SELECT current_database()::text"), "claims");
    let sockets = site.place().sockets;
    assert!(sockets.starts_with("/tmp/claims-etl-"), "{sockets}");
    assert_eq!(fs::metadata(&sockets).expect("the folder").mode() & 0o777, 0o700);
}

#[test]
fn a_killed_server_starts_again_although_its_process_id_was_given_away() {
    let site = Site::new(0o755, "warehouse");
    let server = site.server();
    let running = server.start(&NullObserver).expect("a server");
    let mut client = postgres::Client::connect(running.url(), postgres::NoTls).expect("connects");
    client.batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").expect("SQL");
    drop(client);

    // As a power cut or `docker kill` would leave it; its backends notice and end.
    kill(Pid::from_raw(pid(&server)), Signal::SIGKILL).expect("our own server");
    let place = site.place();
    // The worst stranger is one of the server's own account: PostgreSQL takes it for a server.
    let mut stranger = place
        .owner
        .command(Path::new("/bin/sleep"), Path::new("/"))
        .arg("600")
        .spawn()
        .expect("a stranger");
    let lock_files =
        [place.data().join("postmaster.pid"), place.socket().with_extension("5432.lock")];
    for path in lock_files {
        let text = fs::read_to_string(&path).expect("what the server left behind");
        let (_, rest) = text.split_once('\n').expect("several lines");
        fs::write(&path, format!("{}\n{rest}", stranger.id())).expect("a stranger's id");
    }
    assert_eq!(server.status(), Ok(Status::Stopped));
    assert_eq!(server.stop(), Ok(false), "a stranger must not be signalled");

    // Orphaned backends may hold the shared memory for a moment.
    let mut again = server.start(&NullObserver);
    for _ in 0..50 {
        if again.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        again = server.start(&NullObserver);
    }
    let alive = stranger.try_wait().expect("a state").is_none();
    stranger.kill().expect("our own process");
    stranger.wait().expect("its end");
    assert!(alive, "the stranger was left alone");
    assert!(again.as_ref().is_ok_and(|running| running.started), "{again:?}");
    assert_eq!(ask(running.url(), "SELECT n::text FROM kept"), "7");
}

#[test]
fn of_two_starts_at_once_one_starts() {
    let site = Site::new(0o755, "warehouse");
    let started: Vec<bool> = std::thread::scope(|scope| {
        let start = || site.server().start(&NullObserver).expect("a server").started;
        let callers = [scope.spawn(start), scope.spawn(start), scope.spawn(start)];
        callers.into_iter().map(|caller| caller.join().expect("no panic")).collect()
    });
    assert_eq!(started.into_iter().filter(|started| *started).count(), 1);
}

#[test]
fn a_half_made_cluster_is_made_again_and_a_broken_one_names_its_log() {
    let site = Site::new(0o755, "warehouse");
    let place = site.place();
    drop(place.prepare_and_lock().expect("the folders"));
    fs::create_dir(place.cluster.join("data.new")).expect("a leftover");
    fs::write(place.cluster.join("data.new/PG_VERSION"), "15\n").expect("a leftover");
    let server = site.server();
    server.start(&NullObserver).expect("a server");
    assert!(!place.cluster.join("data.new").exists());

    server.stop().expect("a stop");
    fs::rename(place.data().join("global"), place.data().join("lost")).expect("damage");
    let error = server.start(&NullObserver).expect_err("a broken cluster");
    assert_eq!(error.kind(), ErrorKind::Warehouse { transient: false });
    assert!(error.message().contains("pg_control"), "{error}");
    assert!(error.way_out().is_some_and(|hint| hint.ends_with("server.log")), "{error}");
}

#[test]
fn no_row_reaches_the_log() {
    let site = Site::new(0o755, "warehouse");
    let running = site.server().start(&NullObserver).expect("a server");
    let mut client = postgres::Client::connect(running.url(), postgres::NoTls).expect("connects");
    client.batch_execute("CREATE TABLE t (id text PRIMARY KEY)").expect("SQL");
    for _ in 0..2 {
        client.execute("INSERT INTO t VALUES ($1)", &[&"PATIENT-4711"]).ok();
    }
    client.batch_execute("INSERT INTO t VALUES ('PATIENT-4711')").expect_err("a repeat");
    drop(client);
    site.server().stop().expect("a stop");
    let log = fs::read_to_string(site.place().log()).expect("the log");
    assert!(!log.contains("PATIENT"), "{log}");
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn observe(&self, event: &RunEvent) {
        if let (RunEvent::Note(text), Ok(mut notes)) = (event, self.0.lock()) {
            notes.push(text.clone());
        }
    }
}
