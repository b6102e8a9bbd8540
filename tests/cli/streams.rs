//! Standard error and standard output that nobody reads, that are full, or closed: what a command does
//! and its exit code do not depend on them.

use std::fs::{self, File, Permissions};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;

#[cfg(feature = "failpoints")]
use crate::support::failpoints::Failpoints as _;
use crate::support::process::{self, Running};
use crate::support::test_env::TestEnv;

/// What becomes of what is written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stream {
    /// The reader is gone.
    Closed,
    /// The disk is full.
    Full,
    /// The pipe is full, and nobody reads.
    Unread,
    /// The program was started without it.
    Absent,
}

const ALL: [Stream; 4] = [Stream::Closed, Stream::Full, Stream::Unread, Stream::Absent];

/// One end of a pipe that has to live as long as the program.
type Kept = Option<(PipeReader, PipeWriter)>;

impl Stream {
    fn open(self) -> (Stdio, Kept) {
        match self {
            Self::Closed => (io::pipe().expect("a pipe").1.into(), None),
            Self::Full => {
                (File::options().write(true).open("/dev/full").expect("a file").into(), None)
            }
            Self::Unread => {
                let (reader, writer) = io::pipe().expect("a pipe");
                fill(&writer);
                let end = writer.try_clone().expect("an end").into();
                (end, Some((reader, writer)))
            }
            Self::Absent => (Stdio::null(), None),
        }
    }
}

/// Fills a pipe to the last byte.
fn fill(pipe: &PipeWriter) {
    let set = |flags| fcntl(pipe, FcntlArg::F_SETFL(flags)).expect("flags");
    set(OFlag::O_NONBLOCK);
    for size in [4096, 1] {
        let mut end = pipe;
        while end.write(&vec![b'.'; size]).is_ok() {}
    }
    set(OFlag::empty());
}

/// Runs a command to its end with such a stream.
fn run(
    command: &mut Command,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
) -> (ExitStatus, Duration) {
    let closing: String = [(stdout, " 1>&-"), (stderr, " 2>&-")]
        .into_iter()
        .filter_map(|(stream, text)| (stream == Some(Stream::Absent)).then_some(text))
        .collect();
    // A shell closes them, because only what starts a program can.
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("exec \"$0\" \"$@\"{closing}")).arg(command.get_program());
    shell.args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    let (out, _kept) = stdout.map_or_else(|| (Stdio::null(), None), Stream::open);
    let (err, _kept_too) = stderr.map_or_else(|| (Stdio::null(), None), Stream::open);
    let mut child = shell
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
        .expect("started");
    let began = Instant::now();
    process::until(&format!("the end with {stdout:?} and {stderr:?}"), || {
        let ended = child.try_wait().expect("a child").is_some();
        if !ended && began.elapsed() > Duration::from_secs(50) {
            let _ = child.kill();
        }
        ended
    });
    (child.wait().expect("a child"), began.elapsed())
}

fn env() -> TestEnv {
    TestEnv::new()
        .claims(&[
            "A,P,V1,99213,1.25,2024-01-01",
            "B,P,V1,99213,2.00,2024-01-02",
            "C,P,V1,99213,x,2024-01-02",
        ])
        .providers(&["V1,Ann,Cardiology,Boston"])
}

const LOADED: &str = "SELECT count(*) || ' ' || sum(amount) FROM healthcare_analytics.claims_fact";
const HELD: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

#[test]
fn no_stderr_keeps_a_run_from_its_end() {
    for stream in ALL {
        for form in ["text", "json"] {
            let env = env();
            let mut command = process::reading(&env, &["run", "-vv", "--log-format", form]);
            let (status, _) = run(&mut command, None, Some(stream));
            assert_eq!(status.code(), Some(0), "{stream:?} {form}");
            assert_eq!(env.rows(LOADED), ["2 3.25"], "{stream:?} {form}");
            // An error is a message too.
            let mut command = process::reading(&env, &["run", "--log-format", form]);
            command.args(["--force", "--max-reject-ratio", "0.1"]);
            let (status, _) = run(&mut command, None, Some(stream));
            assert_eq!(status.code(), Some(4), "{stream:?} {form}");
            process::until("the lock to be free", || env.rows(HELD) == ["0"]);
        }
    }
}

#[test]
fn no_stream_keeps_another_command_from_its_end() {
    let env = env();
    assert!(process::output(&mut process::reading(&env, &["run"])).status.success());
    let commands: [&[&str]; 8] = [
        &["runs"],
        &["runs", "last"],
        &["verify", "last"],
        &["quarantine", "last"],
        &["refresh", "--due"],
        &["risk", "rescore"],
        &["config", "show"],
        &["check"],
    ];
    for arguments in commands {
        for form in ["text", "json"] {
            let command = || {
                let mut command = if matches!(arguments[0], "verify" | "check") {
                    process::reading(&env, arguments)
                } else {
                    let mut command = process::command(&env);
                    command.args(arguments);
                    command
                };
                command.args(["--log-format", form]);
                command
            };
            let (plain, _) = run(&mut command(), None, None);
            for stream in ALL {
                let (status, _) = run(&mut command(), None, Some(stream));
                assert_eq!(status.code(), plain.code(), "{arguments:?} {form}, stderr {stream:?}");
            }
            // Results are what a command is for: a full disk is its failure, a reader who has gone is not.
            for stream in [Stream::Closed, Stream::Absent] {
                let (status, _) = run(&mut command(), Some(stream), None);
                assert_eq!(status.code(), plain.code(), "{arguments:?} {form}, stdout {stream:?}");
            }
            let (status, _) = run(&mut command(), Some(Stream::Full), None);
            let expected = if plain.success() { Some(1) } else { plain.code() };
            assert_eq!(status.code(), expected, "{arguments:?} {form}, full stdout");
        }
    }
}

#[test]
fn a_result_that_nobody_takes_undoes_no_load() {
    for (stream, code) in [(Stream::Closed, 0), (Stream::Absent, 0), (Stream::Full, 1)] {
        for form in ["text", "json"] {
            let env = env();
            let mut command = process::reading(&env, &["run", "--format", form]);
            let (status, _) = run(&mut command, Some(stream), None);
            assert_eq!(status.code(), Some(code), "{stream:?} {form}");
            assert_eq!(env.rows(LOADED), ["2 3.25"], "{stream:?} {form}");
            let mut again = process::reading(&env, &["run", "--format", "json"]);
            let again = process::output(&mut again);
            assert!(String::from_utf8_lossy(&again.stdout).contains("already_loaded"));
        }
    }
}

#[test]
fn a_full_stdout_is_reported() {
    let env = env();
    let mut command = process::reading(&env, &["run"]);
    let full = File::options().write(true).open("/dev/full").expect("a file");
    let ended = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn();
    let ended = ended.expect("started").wait_with_output().expect("ended");
    let printed = String::from_utf8_lossy(&ended.stderr);
    assert!(
        printed.contains("error: stdout: no storage space\n  hint: the command has done its work"),
        "{printed}"
    );
}

/// A signal ends what only waits for a reader.
#[test]
fn a_signal_is_heard_while_nobody_reads_the_result() {
    let env = env();
    let (out, _kept) = Stream::Unread.open();
    let mut command = process::reading(&env, &["run", "--format", "json"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null()).spawn().expect("started");
    let published =
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'claims_etl' AND tablename = 'runs'";
    process::until("the tables", || env.rows(published) == ["1"]);
    let done = "SELECT count(*) FROM claims_etl.runs WHERE published_at IS NOT NULL";
    process::until("the publish", || env.rows(done) == ["1"]);
    process::until("the lock to be free", || env.rows(HELD) == ["0"]);
    assert!(child.try_wait().expect("a child").is_none(), "it waits for its reader");
    std::thread::sleep(Duration::from_millis(300));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("an id"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("sent");
    process::until("its end", || child.try_wait().expect("a child").is_some());
    assert_eq!(child.wait().expect("a child").code(), Some(143));
    assert_eq!(env.rows(LOADED), ["2 3.25"]);
}

#[cfg(feature = "failpoints")]
#[test]
fn nobody_who_reads_a_schedule_holds_up_its_next_interval() {
    use crate::schedule::scheduler;
    for stream in ALL {
        let env = scheduler::env();
        let mut command = scheduler::program(&env, &["schedule", "--once", "--catchup"]);
        command.with_value("clock", "2024-01-04T00:10:00Z/2024-01-04T12:00:00Z");
        let (status, _) = run(&mut command, Some(stream), Some(stream));
        assert_eq!(status.code(), Some(0), "{stream:?}");
        assert_eq!(scheduler::each_once(&env), [] as [&str; 0], "{stream:?}");
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn a_panic_in_any_thread_ends_the_run() {
    let env = env();
    for place in [
        "stage.begin",
        "stage.created",
        "copy.done",
        "key.built",
        "publish.before",
        "publish.locked",
    ] {
        let mut command = process::reading(&env, &["run", "--format", "json", "--retries", "3"]);
        command.once_at(place, "panic");
        let output = process::output(&mut command);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{place}: {printed}");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains("broke off in a panic"), "{place}: {report}");
        process::until("the lock to be free", || env.rows(HELD) == ["0"]);
        let claims = "SELECT count(*) FROM healthcare_analytics.claims_fact";
        assert_eq!(env.rows(claims), ["0"], "{place}");
    }
    assert!(process::output(&mut process::reading(&env, &["run"])).status.success());
    assert_eq!(env.rows(LOADED), ["2 3.25"]);
    let left = "SELECT relname FROM pg_class WHERE relname ~ '_stage_'";
    assert_eq!(env.rows(left), [] as [&str; 0]);
}

/// No file descriptors: an error, in time, whatever cannot be opened.
#[test]
fn few_file_descriptors_end_a_run_with_an_error() {
    let env = env();
    assert!(
        process::output(&mut process::reading(&env, &["warehouse", "migrate"])).status.success()
            || process::output(process::command(&env).args(["warehouse", "migrate"]))
                .status
                .success()
    );
    let mut codes = Vec::new();
    for limit in 6..40 {
        let reading = process::reading(&env, &["run", "--force", "--retries", "0"]);
        let mut shell = Command::new("/bin/sh");
        shell
            .arg("-c")
            .arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""))
            .arg(reading.get_program());
        shell.args(reading.get_args()).env_clear().current_dir(env.folder.path());
        for (name, value) in reading.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        let running = Running::start(&mut shell);
        let (status, printed) = running.end();
        let code = status.code().unwrap_or_else(|| panic!("{limit}: {status}: {printed}"));
        assert!(matches!(code, 0..=5 | 127), "{limit}: {code}: {printed}");
        assert!(code == 0 || !printed.is_empty(), "{limit}: {code}");
        codes.push(code);
    }
    assert_eq!(codes.last(), Some(&0), "{codes:?}");
    assert_eq!(env.rows(LOADED), ["2 3.25"]);
}

/// No threads: an error, in time, whichever cannot be started. The limit is that of a user, so it takes
/// root to have a user who has no other process.
#[test]
fn few_threads_end_a_run_with_an_error() {
    const USER: u32 = 64_321;
    if !nix::unistd::geteuid().is_root() || !Path::new("/bin/bash").exists() {
        return;
    }
    let env = env();
    let migrated = process::output(process::command(&env).args(["warehouse", "migrate"]));
    assert!(migrated.status.success());
    let all = |mode| Permissions::from_mode(mode);
    fs::set_permissions(env.folder.path(), all(0o777)).expect("chmod");
    fs::create_dir_all(&env.settings.run.data_dir).expect("a folder");
    fs::set_permissions(&env.settings.run.data_dir, all(0o777)).expect("chmod");
    let program = env.path("claims-etl");
    fs::copy(env!("CARGO_BIN_EXE_claims-etl"), &program).expect("copied");
    fs::set_permissions(&program, all(0o755)).expect("chmod");
    for limit in 1..=12 {
        let reading = process::reading(&env, &["run", "--force", "--retries", "0"]);
        let mut shell = Command::new("/bin/bash");
        shell.arg("-c").arg(format!("ulimit -u {limit}; exec \"$0\" \"$@\"")).arg(&program);
        shell.args(reading.get_args()).env_clear().current_dir(env.folder.path()).uid(USER);
        for (name, value) in reading.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        let (status, printed) = Running::start(&mut shell).end();
        let code = status.code().unwrap_or_else(|| panic!("{limit}: {status}: {printed}"));
        assert!(matches!(code, 0..=5), "{limit}: {code}: {printed}");
        assert!(!printed.contains("panic"), "{limit}: {code}: {printed}");
    }
}

/// What is handed on to an orchestrator cannot be written: the run is done, and says so.
#[test]
fn a_hand_over_that_fails_hides_no_report() {
    let env = env();
    // A folder is in the way of the file.
    fs::create_dir_all(env.path("return.json").join("x")).expect("a folder");
    let mut command = process::reading(&env, &["run", "--format", "json"]);
    let output = process::output(command.arg("--xcom-file").arg(env.path("return.json")));
    let (report, printed) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(report.contains("\"status\":\"success\""), "{report}");
    assert!(printed.contains("return.json"), "{printed}");
    assert_eq!(env.rows(LOADED), ["2 3.25"]);
}

/// A key that cannot be written leaves nothing that would be taken for one.
#[test]
fn half_a_key_is_not_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("claims.key");
    // As on a full disk: no file may grow.
    let generate = |limit: &str| {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("{limit} exec \"$0\" key generate --key-file \"$1\""));
        shell.arg(env!("CARGO_BIN_EXE_claims-etl")).arg(&path).env_clear();
        process::output(shell.current_dir(folder.path())).status.code()
    };
    assert_eq!(generate("trap '' XFSZ; ulimit -f 0;"), Some(2));
    assert!(!path.exists());
    assert_eq!(generate(""), Some(0));
}
