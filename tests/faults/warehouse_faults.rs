//! The server refuses in the middle of a load: no space, no right, cancelled, ended, a deadlock.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, thread};

use crate::support::correction::{Correction, last_run, retries, run};
use crate::support::failpoints::Failpoints as _;
use crate::support::paused_run::Paused;
use crate::support::process;
use crate::support::test_env::TestEnv;

const CLAIMS: u32 = 3_000;

/// Runs that may try again, and must not.
fn refused(scene: &Correction, env: &TestEnv, mode: &str) -> String {
    let output = process::output(&mut run(env, mode, 2));
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{mode}: {printed}");
    assert_eq!(retries(env), 0, "{mode}: it cannot pass by itself: {printed}");
    scene.is_unchanged(env, mode);
    printed
}

fn as_admin(env: &TestEnv, script: &str) {
    env.database.connect().batch_execute(script).expect("the script");
}

fn name(env: &TestEnv) -> String {
    env.rows("SELECT current_database()").concat()
}

/// A file system of a few megabytes, gone when the test ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where the test may not mount anything.
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        fs::create_dir(folder).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

#[expect(clippy::print_stderr, reason = "who reads the test's output shall know")]
fn skipped() {
    eprintln!("skipped: only root may mount a small disk");
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because the server may still hold a file of it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_of_the_server_ends_the_run() {
    let scene = Correction::of(CLAIMS);
    let folder = scene.server.path().join("small");
    let Some(small) = SmallDisk::mount(&folder, "256k") else {
        return skipped();
    };
    let cluster = fs::metadata(scene.server.data()).expect("the cluster");
    chown(&small.0, Some(cluster.uid()), Some(cluster.gid())).expect("the server's own");
    for mode in ["replace", "merge"] {
        let env = scene.env();
        let space = format!("small_{mode}");
        let place = small.0.join(mode);
        fs::create_dir(&place).expect("a folder");
        chown(&place, Some(cluster.uid()), Some(cluster.gid())).expect("the server's own");
        as_admin(&env, &format!("CREATE TABLESPACE {space} LOCATION '{}'", place.display()));
        let name = name(&env);
        as_admin(&env, &format!("ALTER DATABASE {name} SET default_tablespace = '{space}'"));
        let printed = refused(&scene, &env, mode);
        assert!(printed.contains("53100"), "{printed}");
        assert!(printed.contains("free space"), "the way out is named: {printed}");
        as_admin(&env, &format!("ALTER DATABASE {name} RESET default_tablespace"));
        scene.is_finished_by_the_next_run(&env, mode, mode);
        as_admin(&env, &format!("DROP TABLESPACE {space}"));
    }
}

#[test]
fn a_full_disk_of_the_program_ends_the_run() {
    // Some hundred rejects, more than a page of them.
    let scene = Correction::of(20_000);
    let env = scene.env();
    let folder = env.path("small");
    let Some(small) = SmallDisk::mount(&folder, "4k") else {
        return skipped();
    };
    for (what, memory, expected) in [
        ("rejects", "100000000", "is the disk full"),
        ("rows between the passes", "1000", "rows cannot be kept"),
    ] {
        let mut command = run(&env, "merge", 2);
        command.env("CLAIMS_ETL_DATA_DIR", &small.0).with_value("shuffle.memory", memory);
        let output = process::output(&mut command);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{what}: {printed}");
        assert!(printed.contains(expected), "{what}: {printed}");
        scene.is_unchanged(&env, what);
    }
    scene.is_finished_by_the_next_run(&env, "merge", "space again");
}

#[test]
fn a_limit_of_the_server_ends_the_run() {
    let scene = Correction::of(20_000);
    let env = scene.env();
    let name = name(&env);
    // A replace sorts nothing in the server; a merge compares.
    as_admin(
        &env,
        &format!(
            "ALTER DATABASE {name} SET temp_file_limit = '1kB';
             ALTER DATABASE {name} SET enable_nestloop = off;
             ALTER DATABASE {name} SET work_mem = '64kB'"
        ),
    );
    let printed = refused(&scene, &env, "merge");
    assert!(printed.contains("53400"), "{printed}");
    as_admin(&env, &format!("ALTER DATABASE {name} RESET ALL"));
    scene.is_finished_by_the_next_run(&env, "merge", "no limit");
}

#[test]
fn a_role_without_rights_ends_the_run() {
    let scene = Correction::of(CLAIMS);
    let env = scene.env();
    as_admin(
        &env,
        "CREATE ROLE reader LOGIN;
         GRANT USAGE ON SCHEMA claims_etl, healthcare_analytics TO reader;
         GRANT SELECT ON ALL TABLES IN SCHEMA claims_etl, healthcare_analytics TO reader",
    );
    let reader = env.database.url().replace("user=claims_etl", "user=reader");
    assert_ne!(reader, env.database.url());
    let mut command = run(&env, "merge", 2);
    let output = process::output(command.env("CLAIMS_ETL_WAREHOUSE", reader));
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{printed}");
    assert!(
        printed.contains("may not") && printed.contains("GRANT"),
        "the way out is named: {printed}"
    );
    scene.is_unchanged(&env, "reader");
    scene.is_finished_by_the_next_run(&env, "merge", "with rights");
    as_admin(&env, "DROP OWNED BY reader; DROP ROLE reader");
}

/// The sessions of a run, as conditions.
const LOADER: &str = "query LIKE 'COPY%claims_stage%' AND state = 'active'";
const CONTROL: &str = "pid = (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";

/// Calls a function of the server for one session of the run; how many there were.
fn signal_backend(env: &TestEnv, function: &str, which: &str) -> i64 {
    let query = format!(
        "SELECT count({function}(pid)) FROM (SELECT pid FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND {which}
             LIMIT 1) one"
    );
    env.database.connect().query_one(&query, &[]).expect("an answer").get(0)
}

#[test]
fn a_cancelled_copy_ends_the_run() {
    let scene = Correction::of(CLAIMS);
    for mode in ["replace", "merge"] {
        let env = scene.env();
        let paused = Paused::at(&env, &mut run(&env, mode, 2), "copy.batch:2");
        assert_eq!(signal_backend(&env, "pg_cancel_backend", LOADER), 1);
        let (status, printed) = paused.go_on().end();
        assert_eq!(status.code(), Some(5), "{mode}: {printed}");
        assert!(printed.contains("57014"), "{printed}");
        assert_eq!(retries(&env), 0, "somebody meant it: {printed}");
        scene.is_unchanged(&env, mode);
        scene.is_finished_by_the_next_run(&env, mode, mode);
    }
}

#[test]
fn a_cancelled_publish_ends_the_run() {
    let scene = Correction::of(CLAIMS);
    for mode in ["replace", "merge"] {
        let env = scene.env();
        let mut writer = env.database.connect();
        // Keeps the publish in a statement that can be cancelled.
        writer
            .batch_execute("BEGIN; LOCK TABLE healthcare_analytics.providers_dim IN SHARE MODE")
            .expect("a lock");
        let mut running = Paused::at(&env, &mut run(&env, mode, 2), "publish.before").go_on();
        let waits = format!("{CONTROL} AND state = 'active' AND wait_event_type = 'Lock'");
        process::until("the publish to wait", || {
            assert!(running.goes_on());
            signal_backend(&env, "pg_cancel_backend", &waits) == 1
        });
        let (status, printed) = running.end();
        assert_eq!(status.code(), Some(5), "{mode}: {printed}");
        assert!(printed.contains("57014"), "{printed}");
        assert_eq!(last_run(&env), "failed warehouse");
        scene.is_unchanged(&env, mode);
        drop(writer);
        scene.is_finished_by_the_next_run(&env, mode, mode);
    }
}

#[test]
fn a_session_ended_by_an_administrator_costs_a_try() {
    let scene = Correction::of(CLAIMS);
    for (mode, point, which) in [
        ("replace", "copy.batch:2", LOADER),
        ("replace", "publish.commit", CONTROL),
        ("merge", "copy.batch:2", LOADER),
        ("merge", "publish.providers", CONTROL),
    ] {
        let what = format!("{mode} {point}");
        let env = scene.env();
        let paused = Paused::at(&env, &mut run(&env, mode, 2), point);
        assert_eq!(signal_backend(&env, "pg_terminate_backend", which), 1, "{what}");
        let (status, printed) = paused.go_on().end();
        assert_eq!(status.code(), Some(0), "{what}: {printed}");
        assert_eq!(retries(&env), 1, "{what}: {printed}");
        scene.is_whole(&env, mode, &what);
    }
}

#[test]
fn a_deadlock_costs_a_try() {
    let scene = Correction::of(CLAIMS);
    let env = scene.env();
    let mut other = env.database.connect();
    // The server ends whoever notices first; that shall be the run.
    other
        .batch_execute(
            "SET deadlock_timeout = '1min'; BEGIN;
             SELECT count(*) FROM (
                 SELECT FROM healthcare_analytics.claims_fact FOR UPDATE) AS locked",
        )
        .expect("a writer");
    let paused = Paused::at(&env, &mut run(&env, "merge", 2), "publish.providers");
    let crossing = thread::spawn(move || {
        other
            .batch_execute(
                "UPDATE healthcare_analytics.providers_dim SET location = location; ROLLBACK",
            )
            .expect("the run gave way");
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    process::until("the other to wait", || env.rows(waits) == ["1"]);
    let (status, printed) = paused.go_on().end();
    crossing.join().expect("the other one ends");
    assert_eq!(status.code(), Some(0), "{printed}");
    assert_eq!(retries(&env), 1, "{printed}");
    let error = "SELECT error FROM claims_etl.task_runs WHERE state = 'up_for_retry'";
    assert!(env.rows(error).concat().contains("40P01"), "{printed}");
    scene.is_whole(&env, "merge", "deadlock");
}
