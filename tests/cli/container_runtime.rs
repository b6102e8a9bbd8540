//! The built program in a root file system like the image's, without a container engine: read-only,
//! with the program, its libraries and nothing else, no shell, no /etc/passwd, an unprivileged user,
//! one place to write to, process number 1. The namespaces are made by `unshare`, which only root may
//! do: elsewhere these tests say that they are skipped.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::container::{PLACE, USER, skipped};
use crate::support::process::{KEY, until};
use crate::support::program::Program;
use crate::support::secure_server::{DATABASE, SecureServer};
use crate::warehouse::tls::{PASSWORD, with_loader};

/// A root file system like the image's, and beside it a folder that is mounted as /data.
struct Image {
    folder: TempDir,
}

impl Image {
    /// None, visibly, where this machine does not let us make one.
    fn build() -> Option<Self> {
        if !geteuid().is_root() {
            skipped("only root can make a container without an engine");
            return None;
        }
        let probe = ["--mount", "--pid", "--fork", "sh", "-c", "mount --bind / /"];
        let able = Command::new("unshare").args(probe).output();
        if !able.is_ok_and(|output| output.status.success()) {
            skipped("this machine makes no mount and process namespaces");
            return None;
        }
        let listed = Command::new("ldd").arg(Program::BINARY).output().ok()?;
        let listed = String::from_utf8(listed.stdout).ok()?;
        let libraries: Vec<&str> = listed
            .split_whitespace()
            .filter(|word| word.starts_with('/') && Path::new(word).is_file())
            .collect();
        assert!(libraries.len() >= 3, "{listed}");
        let image = Self { folder: tempfile::tempdir().expect("a folder") };
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(image.folder.path(), open).expect("chmod");
        for folder in ["root/data", "root/proc", "root/run/secrets", "root/etc", "root/dev", "data"]
        {
            fs::create_dir_all(image.folder.path().join(folder)).expect("a folder");
        }
        // Bound, not copied: the program is large.
        image.place(PLACE);
        for library in libraries {
            image.put(library, Path::new(library));
        }
        image.place("/dev/null");
        chown(&image.data());
        Some(image)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// What is /data inside.
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// An empty file inside.
    fn place(&self, place: &str) -> PathBuf {
        let inside = self.root().join(place.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().expect("a folder")).expect("a folder");
        fs::write(&inside, "").expect("written");
        inside
    }

    /// Copies a file to a place inside.
    fn put(&self, place: &str, from: &Path) {
        fs::copy(from, self.place(place)).expect("copied");
    }

    /// A secret as Kubernetes mounts it: root's, and for the group of the pod.
    fn secret(&self, name: &str, text: &str) {
        let path = self.root().join("run/secrets").join(name);
        fs::write(&path, text).expect("written");
        std::os::unix::fs::chown(&path, Some(0), Some(USER)).expect("chown");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).expect("chmod");
    }

    /// The program as process 1, as the image runs it but for its environment, which is all here.
    fn command(&self, arguments: &[&str]) -> Command {
        let script = "mount --bind \"$IMAGE_ROOT\" \"$IMAGE_ROOT\"
            mount --bind \"$IMAGE_PROGRAM\" \"$IMAGE_ROOT$IMAGE_PLACE\"
            mount --bind \"$IMAGE_DATA\" \"$IMAGE_ROOT/data\"
            mount --bind /dev/null \"$IMAGE_ROOT/dev/null\"
            mount -t proc proc \"$IMAGE_ROOT/proc\"
            mount -o remount,bind,ro \"$IMAGE_ROOT\"
            unset IMAGE_DATA IMAGE_PROGRAM PATH PWD OLDPWD
            set -- \"$IMAGE_PLACE\" \"$@\"
            place=$IMAGE_ROOT user=$IMAGE_USER; unset IMAGE_PLACE IMAGE_ROOT IMAGE_USER
            exec /usr/sbin/chroot --userspec=\"$user:$user\" --groups= \"$place\" \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", script, "sh"])
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("IMAGE_ROOT", self.root())
            .env("IMAGE_DATA", self.data())
            .env("IMAGE_PROGRAM", Program::BINARY)
            .env("IMAGE_PLACE", PLACE)
            .env("IMAGE_USER", USER.to_string())
            .env("CLAIMS_ETL_DATA_DIR", "/data")
            .env("CLAIMS_ETL_LOG_FORMAT", "json")
            .env("CLAIMS_ETL_RETRY_DELAY_SECS", "0")
            .stdin(Stdio::null());
        command
    }

    fn call(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("unshare")
    }

    /// Everything below /data.
    fn written(&self) -> Vec<PathBuf> {
        let (mut folders, mut found) = (vec![self.data()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path.clone());
                }
                found.push(path);
            }
        }
        found
    }
}

fn chown(path: &Path) {
    std::os::unix::fs::chown(path, Some(USER), Some(USER)).expect("chown");
}

/// Standard error of a container: one JSON object a line, and nothing else.
fn log_lines(output: &Output) -> Vec<Value> {
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    printed
        .lines()
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}\n{printed}"))
        })
        .collect()
}

/// A server, an image with a key, a password and an input, and the arguments of a run on them.
struct Pod {
    server: SecureServer,
    image: Image,
}

impl Pod {
    fn new(image: Image) -> Self {
        let server = SecureServer::start();
        with_loader(&server);
        image.put("/etc/ca.crt", &server.file("ca.crt"));
        image.secret("key", KEY);
        image.secret("password", PASSWORD);
        let claims = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service\n\
                      C1,P1,V1,99213,10.00,2024-01-01\nC2,P2,V1,99214,x,2024-01-02\n";
        fs::write(image.root().join("claims.csv"), claims).expect("written");
        let providers = "provider_id,provider_name,specialty,location\nV1,Ann,Cardiology,Boston\n";
        fs::write(image.root().join("providers.csv"), providers).expect("written");
        Self { server, image }
    }

    fn url(&self) -> String {
        let port = self.server.port;
        format!(
            "postgres://loader@127.0.0.1:{port}/{DATABASE}?sslmode=verify-ca&sslrootcert=/etc/ca.crt"
        )
    }

    fn run(&self, arguments: &[&str]) -> Command {
        let own =
            ["run", "--format", "json", "--claims", "/claims.csv", "--providers", "/providers.csv"];
        let mut command = self.image.command(&[&own, arguments].concat());
        command
            .env("CLAIMS_ETL_WAREHOUSE", self.url())
            .env("CLAIMS_ETL_KEY_FILE", "/run/secrets/key")
            .env("CLAIMS_ETL_PASSWORD_FILE", "/run/secrets/password")
            .env("CLAIMS_ETL_RUN_DATE", "2024-12-31")
            .env("CLAIMS_ETL_MAX_REJECT_RATIO", "1");
        command
    }
}

#[test]
fn a_run_works_in_a_root_that_has_nothing_and_cannot_be_written() {
    let Some(image) = Image::build() else { return };
    let pod = Pod::new(image);
    let output = pod.run(&[]).output().expect("unshare");
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{printed}");
    // One JSON object a line on standard error, and the result alone on standard output.
    assert!(log_lines(&output).iter().any(|line| line["level"] == "INFO"), "{printed}");
    let result = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(result.lines().count(), 1, "{result}");
    let report: Value = serde_json::from_str(&result).expect("JSON");
    assert_eq!(
        (&report["claims"]["loaded"], &report["claims"]["rejected"]),
        (&1.into(), &1.into())
    );
    // Quarantine and dashboard are there, and they are the user's.
    let written = pod.image.written();
    let names: Vec<&OsStr> = written.iter().filter_map(|path| path.file_name()).collect();
    assert!(names.contains(&OsStr::new("dashboard.html")), "{names:?}");
    assert!(
        written.iter().any(|path| path.extension() == Some(OsStr::new("parquet"))),
        "{names:?}"
    );
    for path in written {
        assert_eq!(fs::metadata(&path).expect("metadata").uid(), USER, "{}", path.display());
    }
}

#[test]
fn exit_codes_come_out_of_a_container() {
    let Some(image) = Image::build() else { return };
    let pod = Pod::new(image);
    let code = |change: &dyn Fn(&mut Command) -> &mut Command| {
        let mut command = pod.run(&[]);
        change(&mut command);
        let output = command.output().expect("unshare");
        let lines = log_lines(&output);
        let error = lines.iter().find(|line| line["level"] == "ERROR");
        let kind = error.map_or_else(String::new, |error| error["kind"].to_string());
        (output.status.code(), kind.trim_matches('"').to_owned())
    };
    let is = |code, kind: &str| (Some(code), kind.to_owned());
    assert_eq!(code(&|run| run.env("CLAIMS_ETL_KEY_FILE", "/nowhere")), is(2, "config"));
    assert_eq!(code(&|run| run.args(["--claims", "/nowhere.csv"])), is(3, "source"));
    assert_eq!(code(&|run| run.env("CLAIMS_ETL_MAX_REJECT_RATIO", "0")), is(4, "quality"));
    let nobody = "postgres://loader@127.0.0.1:1/claims?sslmode=disable";
    assert_eq!(code(&|run| run.env("CLAIMS_ETL_WAREHOUSE", nobody)), is(5, "warehouse"));
    // The image has no PostgreSQL of its own.
    assert_eq!(code(&|run| run.env_remove("CLAIMS_ETL_WAREHOUSE")), is(2, "config"));
    // A place to write that cannot be written to is an error of configuration.
    let (wrong, kind) = code(&|run| run.env("CLAIMS_ETL_DATA_DIR", "/etc"));
    assert!(wrong.is_some_and(|code| (1..=6).contains(&code)), "{wrong:?}");
    assert!(!kind.is_empty());
    assert_eq!(code(&|run| run), is(0, ""));
    // Help needs nothing at all: no home, no account's name, no terminal.
    let help = pod.image.call(&["--help"]);
    assert_eq!((help.status.code(), help.stderr.len()), (Some(0), 0));
}

/// The process inside: `unshare`'s only child.
fn inside(outer: &Child) -> Option<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", outer.id());
    let children = fs::read_to_string(path).ok()?;
    children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
}

#[test]
fn process_1_ends_with_143_on_sigterm() {
    let Some(image) = Image::build() else { return };
    let pod = Pod::new(image);
    assert!(pod.run(&[]).output().expect("unshare").status.success());
    // Another session holds the table that the publish needs: the run waits there.
    let mut admin = pod.server.administrator(DATABASE);
    let lock = "BEGIN; LOCK TABLE healthcare_analytics.claims_fact IN SHARE MODE";
    admin.batch_execute(lock).expect("locked");
    let mut command = pod.run(&["--force", "--mode", "replace"]);
    let mut outer = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("unshare");
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    until("the run to wait for the lock", || {
        assert!(outer.try_wait().expect("a child").is_none(), "it has ended before");
        admin.query_one(waiting, &[]).expect("an answer").get::<_, i64>(0) > 0
    });
    let inner = inside(&outer).expect("a process inside");
    let status = fs::read_to_string(format!("/proc/{inner}/status")).expect("a status");
    let own = status.lines().find(|line| line.starts_with("NSpid:")).expect("NSpid");
    assert_eq!(own.split_whitespace().last(), Some("1"), "{own}");
    let capabilities = status.lines().find(|line| line.starts_with("CapEff:")).expect("CapEff");
    assert!(capabilities.ends_with("0000000000000000"), "{capabilities}");
    kill(inner, Signal::SIGTERM).expect("it is there");
    until("its end", || outer.try_wait().expect("a child").is_some());
    let mut printed = String::new();
    outer.stderr.take().expect("piped").read_to_string(&mut printed).expect("text");
    assert_eq!(outer.wait().expect("a child").code(), Some(143), "{printed}");
    assert!(printed.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{printed}");
    admin.batch_execute("ROLLBACK").expect("unlocked");
    // It has left nothing behind, and the next one does the work.
    assert!(pod.run(&["--force"]).output().expect("unshare").status.success());
}
