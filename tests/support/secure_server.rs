//! A PostgreSQL server as an administrator would set it up: TCP, TLS with certificates of an
//! authority, SCRAM, no trust but for the administrator's own socket.
//!
//! Each test starts one and stops it at its end; whatever happens, it ends after a few minutes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use postgres::{Client, NoTls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::support::process::until;

/// The database of the claims.
pub(crate) const DATABASE: &str = "claims";

/// Who may sign in how. The first line that fits counts.
const HBA: &str = "\
local   all all                        trust
hostssl all certified     127.0.0.1/32 cert
host    all anyhow        127.0.0.1/32 scram-sha-256
hostssl all all           127.0.0.1/32 scram-sha-256
";

const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
password_encryption = 'scram-sha-256'
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
ssl_ca_file = 'ca.crt'
log_connections = on
log_line_prefix = ''
log_min_error_statement = 'panic'
fsync = off
shared_buffers = '64MB'
max_connections = 30
timezone = 'UTC'
";

/// A running server.
pub(crate) struct SecureServer {
    folder: TempDir,
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    process: Child,
}

impl SecureServer {
    /// A server with TLS. Its certificate is for `localhost`, not for 127.0.0.1.
    pub(crate) fn start() -> Self {
        Self::start_with("on")
    }

    /// A server without TLS.
    pub(crate) fn start_without_tls() -> Self {
        Self::start_with("off")
    }

    fn start_with(ssl: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        certificates(folder.path());
        let owned = folder.path().join("server");
        fs::create_dir(&owned).expect("a folder");
        give(&owned);
        let data = owned.join("data");
        let made = server_command("initdb", &owned)
            .args(["--no-sync", "--username=admin", "--auth=trust", "--encoding=UTF8", "--pgdata"])
            .arg(&data)
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for name in ["server.crt", "server.key", "ca.crt"] {
            let path = data.join(name);
            fs::copy(folder.path().join(name), &path).expect("copied");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
            give(&path);
        }
        fs::write(data.join("pg_hba.conf"), HBA).expect("written");
        let port = free_port();
        let own = format!(
            "port = {port}\nssl = {ssl}\nunix_socket_directories = '{}'\n",
            owned.display()
        );
        fs::write(data.join("postgresql.conf"), SETTINGS.to_owned() + &own).expect("written");
        let process = launch(folder.path());
        let server = Self { folder, port, process };
        until("the server", || server.try_admin("postgres").is_some());
        server.admin("postgres", &format!("CREATE DATABASE {DATABASE}"));
        server
    }

    /// Starts it again as a replica, which takes no changes.
    pub(crate) fn become_replica(&mut self) {
        self.stop();
        let signal = self.folder.path().join("server/data/standby.signal");
        fs::write(&signal, "").expect("written");
        give(&signal);
        self.process = launch(self.folder.path());
        until("the replica", || self.try_admin("postgres").is_some());
    }

    fn stop(&mut self) {
        // SIGINT is the fast shutdown; `timeout` passes it on.
        if let Ok(pid) = i32::try_from(self.process.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        let _ = self.process.wait();
    }

    /// A file that was made with the server: `ca.crt`, `other.crt`, `client.crt`, `client.key`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The address of a role on `localhost`, with parameters.
    pub(crate) fn url(&self, login: &str, parameters: &str) -> String {
        format!("postgresql://{login}@localhost:{}/{DATABASE}?{parameters}", self.port)
    }

    /// `sslmode=verify-full` with the authority of the server's certificate.
    pub(crate) fn verified(&self) -> String {
        format!("sslmode=verify-full&sslrootcert={}", self.file("ca.crt").display())
    }

    /// The address of a role by number, for which the certificate is not.
    pub(crate) fn verified_by_address(&self, login: &str) -> String {
        self.url(login, &self.verified()).replace("@localhost", "@127.0.0.1")
    }

    /// Where the administrator connects, as libpq wants it.
    pub(crate) fn admin_url(&self, database: &str) -> String {
        let folder = self.folder.path().join("server");
        format!("host={} port={} user=admin dbname={database}", folder.display(), self.port)
    }

    fn try_admin(&self, database: &str) -> Option<Client> {
        Client::connect(&self.admin_url(database), NoTls).ok()
    }

    /// The administrator's connection.
    pub(crate) fn administrator(&self, database: &str) -> Client {
        self.try_admin(database).expect("the administrator is let in")
    }

    /// Runs SQL as the administrator.
    pub(crate) fn admin(&self, database: &str, script: &str) {
        self.administrator(database).batch_execute(script).expect(script);
    }

    /// What the server has written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.file("log")).expect("the log")
    }
}

impl Drop for SecureServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts the server of a folder.
fn launch(folder: &Path) -> Child {
    let owned = folder.join("server");
    let log = fs::File::options().create(true).append(true).open(folder.join("log"));
    server_command("postgres", &owned)
        .arg("-D")
        .arg(owned.join("data"))
        .stdout(Stdio::null())
        .stderr(log.expect("a log"))
        .spawn()
        .expect("postgres starts")
}

/// A program of the server, as an account that is not root, ended after five minutes at the latest.
fn server_command(program: &str, folder: &Path) -> Command {
    let program = programs().join(program);
    let mut command = if Path::new("/usr/bin/timeout").exists() {
        let mut command = Command::new("/usr/bin/timeout");
        command.args(["--signal=INT", "--kill-after=10", "300"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    if let Some(user) = account() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// The account of the server, where the tests run as root, which PostgreSQL refuses.
pub(crate) fn account() -> Option<User> {
    let names = ["postgres", "nobody"];
    geteuid().is_root().then(|| {
        names.iter().find_map(|name| User::from_name(name).ok().flatten()).expect("an account")
    })
}

/// Gives a file to the server's account.
pub(crate) fn give(path: &Path) {
    if let Some(user) = account() {
        std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .expect("chown");
    }
}

/// Where initdb and postgres are.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
fn programs() -> PathBuf {
    let named = std::env::var_os("CLAIMS_ETL_PG_BIN").map(PathBuf::from);
    let mut places: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    places.sort();
    named
        .into_iter()
        .chain(places.into_iter().rev())
        .find(|place| place.join("postgres").is_file())
        .expect("PostgreSQL's programs; CLAIMS_ETL_PG_BIN names their folder")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Two authorities, a server's certificate and a client's, each with its key, as files.
fn certificates(folder: &Path) {
    let (authority, certificate) = authority("claims authority");
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).expect("written");
        let mode =
            if Path::new(name).extension().is_some_and(|end| end == "key") { 0o600 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    write("ca.crt", &certificate);
    write("other.crt", &self::authority("another authority").1);
    for (name, common, host) in
        [("server", "claims server", Some("localhost")), ("client", "certified", None)]
    {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = host.into_iter().map(ToOwned::to_owned).collect();
        let mut parameters = CertificateParams::new(names).expect("names");
        parameters.distinguished_name.push(DnType::CommonName, common);
        let signed = parameters.signed_by(&key, &authority).expect("signed");
        write(&format!("{name}.crt"), &signed.pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
}

/// An authority, and its certificate in PEM.
pub(crate) fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    let certificate = parameters.self_signed(&key).expect("signed").pem();
    (Issuer::new(parameters, key), certificate)
}
