//! A connection pooler on the way to the warehouse: one in transaction mode is refused before anything is
//! done, alone or among others; one in session mode is a server like any other.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::{Client, NoTls};

use crate::support::process::until;
use crate::support::program::{Call, Program};
use crate::support::secure_server::{self, DATABASE, SecureServer};
use crate::support::server;
use crate::support::transaction_pooler::TransactionPooler;

/// Longer than this would be a wait for something.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A call with the warehouse at `url`.
fn call(program: &Program, url: &str, arguments: &str) -> Call {
    let began = Instant::now();
    let call = Call::of(program.command(arguments).env("DATABASE_URL", url));
    assert!(began.elapsed() < AT_ONCE, "{arguments} took {:?}", began.elapsed());
    call
}

fn is_refused(program: &Program, url: &str, arguments: &str) {
    let call = call(program, url, arguments);
    let all = format!("{}{}", call.stdout, call.stderr);
    assert_eq!(call.code, Some(2), "{arguments}: {all}");
    assert!(all.contains("connection pooler in transaction mode"), "{arguments}: {all}");
    assert!(all.contains("connect to the server itself"), "{arguments}: {all}");
}

const COMMANDS: [&str; 5] = [
    "check",
    "run --retries 2 --retry-delay-secs 60",
    "warehouse migrate",
    "refresh",
    "risk rescore",
];

#[test]
fn a_pooler_in_transaction_mode_is_refused_before_anything_is_done() {
    let database = server::database();
    let program = Program::with_claims();
    for size in [1, 8] {
        let pooler = TransactionPooler::before(database.url(), size);
        for arguments in COMMANDS {
            is_refused(&program, &pooler.url(), arguments);
        }
    }
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'claims_etl'";
    assert_eq!(database.connect().query_one(made, &[]).expect("a count").get::<_, i64>(0), 0);
}

#[test]
fn it_is_recognised_also_where_others_are_at_work() {
    let database = server::database();
    let program = Program::with_claims();
    let pooler = TransactionPooler::before(database.url(), 6);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(&pooler.url(), NoTls).expect("the pooler");
                while !ended.load(Ordering::SeqCst) {
                    client.batch_execute("SELECT pg_sleep(0.001)").expect("an answer");
                }
            });
        }
        for _ in 0..10 {
            is_refused(&program, &pooler.url(), "warehouse migrate");
        }
        ended.store(true, Ordering::SeqCst);
    });
}

/// pgbouncer before a server; stopped when the test ends.
struct PgBouncer {
    process: Child,
    port: u16,
}

impl PgBouncer {
    const PROGRAM: &str = "/usr/sbin/pgbouncer";

    fn start(server: &SecureServer, role: &str, mode: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        // The server's account can enter that folder, and signs in there without a password.
        let folder = server.file("server");
        let settings = format!(
            "[databases]\n{DATABASE} = host={folder} port={} dbname={DATABASE}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {folder}/{mode}.users\npool_mode = {mode}\n\
             default_pool_size = 8\nlogfile = {folder}/{mode}.log\n",
            server.port,
            folder = folder.display(),
        );
        write(&folder.join(format!("{mode}.users")), &format!("\"{role}\" \"\"\n"));
        let file = folder.join(format!("{mode}.ini"));
        write(&file, &settings);
        let mut command = Command::new(Self::PROGRAM);
        command.arg(&file).current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(user) = secure_server::account() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let bouncer = Self { process: command.spawn().expect("pgbouncer starts"), port };
        until("pgbouncer", || Client::connect(&bouncer.url(role), NoTls).is_ok());
        bouncer
    }

    fn url(&self, role: &str) -> String {
        format!("postgresql://{role}@127.0.0.1:{}/{DATABASE}?sslmode=disable", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.process.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.process.wait();
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    secure_server::give(path);
}

#[test]
fn pgbouncer_is_refused_in_transaction_mode_and_used_in_session_mode() {
    if !Path::new(PgBouncer::PROGRAM).exists() {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: no {}", PgBouncer::PROGRAM);
        }
        return;
    }
    let server = SecureServer::start_without_tls();
    server.admin(
        DATABASE,
        &format!("CREATE ROLE pooled LOGIN; GRANT ALL ON DATABASE {DATABASE} TO pooled"),
    );
    let program = Program::with_claims();
    let bouncer = PgBouncer::start(&server, "pooled", "transaction");
    for arguments in COMMANDS {
        is_refused(&program, &bouncer.url("pooled"), arguments);
    }
    let bouncer = PgBouncer::start(&server, "pooled", "session");
    call(&program, &bouncer.url("pooled"), "check").done();
    call(&program, &bouncer.url("pooled"), "run --retries 0").done();
    let rows = "SELECT count(*) FROM healthcare_analytics.claims_fact";
    let rows: i64 = server.administrator(DATABASE).query_one(rows, &[]).expect("rows").get(0);
    assert_eq!(rows, 2);
}
