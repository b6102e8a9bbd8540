//! A run is killed at every step there is: what is published stays whole, the next run finishes,
//! and nothing is left of the dead one.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::{fs, thread};

use crate::faults::released_program;
use crate::support::failpoints::Failpoints as _;
use crate::support::input_versions::{Published, Version, broken_promises, tables};
use crate::support::own_server::OwnServer;
use crate::support::process::{self, gone};
use crate::support::server::{self, Database};
use crate::support::test_env::TestEnv;

/// What the tables hold after a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Before,
    After,
}
use Then::{After, Before};

/// Which loads come by a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loads {
    All,
    /// First loads and replaces.
    Attaches,
    /// Merges into published rows.
    Merges,
}
use Loads::{All, Attaches, Merges};

/// Lets few rows go through the file, as many would.
const SPILL: &str = "20000";

/// Places at which loads are killed, in the order in which a run comes by, and which loads do.
const POINTS: &[(&str, Loads, Then)] = &[
    ("session.migrated", All, Before),
    ("session.locked", All, Before),
    ("session.begun", All, Before),
    ("ledger.task", All, Before),
    ("extract.done", All, Before),
    ("extract.done:2", All, Before),
    ("first_pass.block", All, Before),
    ("shuffle.spill", All, Before),
    ("shuffle.spill:100", All, Before),
    ("first_pass.done", All, Before),
    ("transform.done", All, Before),
    ("stage.begin", All, Before),
    ("stage.providers", All, Before),
    ("stage.created", All, Before),
    ("stage.created:2", All, Before),
    ("copy.batch", All, Before),
    ("copy.batch:4", All, Before),
    ("copy.end", All, Before),
    ("copy.end:2", All, Before),
    ("copy.done", All, Before),
    ("key.built", All, Before),
    ("stage.commit", All, Before),
    // The other connection has committed its table.
    ("stage.commit:2", All, Before),
    ("stage.done", All, Before),
    ("risk.indexed", Merges, Before),
    ("risk.counted", Merges, Before),
    ("risk.batch", Merges, Before),
    ("risk.batch:2", Merges, Before),
    ("risk.scored", Merges, Before),
    ("publish.before", All, Before),
    ("publish.providers", All, Before),
    ("publish.statistics", All, Before),
    ("publish.applied", Merges, Before),
    ("publish.applied:2", Merges, Before),
    ("publish.aggregates", All, Before),
    ("publish.ledger", All, Before),
    ("publish.locked", Attaches, Before),
    ("publish.detached", Attaches, Before),
    ("publish.commit", All, Before),
    ("publish.committed", All, After),
    // The entries of three tasks and of the load before; this one says that the load is done.
    ("ledger.task:8", All, After),
    ("refresh.begin", All, After),
    ("refresh.started", All, After),
    ("refresh.query", All, After),
    ("refresh.query:2", All, After),
    ("refresh.written", All, After),
    // The target shows it, but nobody has noted that.
    ("refresh.ended", All, After),
];

/// A way to load: what is published before, and the mode.
struct Scene {
    mode: &'static str,
    // Dropped in this order: the databases before their server.
    /// The state before, to be copied.
    before: Database,
    published_before: Published,
    published_after: Published,
    tables_after: BTreeSet<String>,
    _server: OwnServer,
}

impl Scene {
    fn new(mode: &'static str, published: Option<Version>) -> Self {
        let server = OwnServer::start();
        let mut env = server.env();
        if let Some(version) = published {
            version.lay_on(&mut env);
            finishes(&env, mode);
        }
        let before = env.database;
        let published_before = Published::read(&mut before.connect());
        gone(&before);
        let undisturbed = env_of(&before);
        finishes(&undisturbed, mode);
        let mut client = undisturbed.database.connect();
        let published_after = Published::read(&mut client);
        assert_ne!(published_before, published_after);
        let tables_after = tables(&mut client);
        Self { mode, before, published_before, published_after, tables_after, _server: server }
    }

    /// Kills a run at one point and looks at what is left. Says what is wrong.
    fn killed_at(&self, point: &str, then: Then) -> Vec<String> {
        let env = env_of(&self.before);
        let mut wrong = Vec::new();
        let mut run = run(&env, self.mode);
        let output = process::output(run.with_value("shuffle.memory", SPILL).kill_at(point));
        if output.status.signal() != Some(9) {
            return vec![format!("the run never came by: {:?}", output.status)];
        }
        gone(&env.database);
        let mut client = env.database.connect();
        let expected = if then == Before { &self.published_before } else { &self.published_after };
        let found = Published::read(&mut client);
        if found != *expected {
            wrong.push(format!("{found:?} is published, not {expected:?}"));
        }
        wrong.extend(broken_promises(&mut client));

        let output = process::output(&mut self::run(&env, self.mode));
        if output.status.code() != Some(0) {
            let printed = String::from_utf8_lossy(&output.stderr);
            wrong.push(format!("the next run ended with {:?}: {printed}", output.status));
        }
        let found = Published::read(&mut client);
        if found != self.published_after {
            wrong.push(format!("in the end: {found:?}, not {:?}", self.published_after));
        }
        wrong.extend(broken_promises(&mut client));
        let found = tables(&mut client);
        if found != self.tables_after {
            wrong.push(format!("tables: {found:?}, not {:?}", self.tables_after));
        }
        wrong.extend(self.ledger(&env, then));
        if !env.settings.dashboard_path().exists() {
            wrong.push("nobody has written the dashboard".into());
        }
        let files = strange_files(env.folder.path());
        if !files.is_empty() {
            wrong.push(format!("files are left: {files:?}"));
        }
        wrong
    }

    /// The killed run is closed as what it was, and its tasks with it.
    fn ledger(&self, env: &TestEnv, then: Then) -> Option<String> {
        let query = "SELECT coalesce(string_agg(status, ' ' ORDER BY run_no), '')
            FROM claims_etl.runs";
        let earlier = if self.published_before.claims == "0|0|0" { "" } else { "success " };
        let statuses = env.rows(query).concat();
        let killed = statuses.strip_prefix(earlier).unwrap_or(&statuses);
        let fine = match then {
            // Before it is in the ledger there is nothing to close.
            Before => ["failed success", "success"].contains(&killed),
            After => killed == "success already_loaded",
        };
        let open = "SELECT count(*) FROM claims_etl.task_runs WHERE state = 'running'";
        let open = env.rows(open).concat();
        (!fine || open != "0").then(|| format!("the ledger says: {statuses}, {open} tasks run"))
    }
}

/// An environment at a copy of a database, with the second version to be loaded.
fn env_of(original: &Database) -> TestEnv {
    let mut env = TestEnv::at(server::copy_of(original));
    Version::Second.lay_on(&mut env);
    env
}

fn run(env: &TestEnv, mode: &str) -> Command {
    let temporary = env.path("tmp");
    fs::create_dir_all(&temporary).expect("a folder");
    let mut run = process::reading(env, &["run", "--mode", mode, "--connections", "2"]);
    run.env("TMPDIR", temporary);
    run
}

fn finishes(env: &TestEnv, mode: &str) {
    let output = process::output(&mut run(env, mode));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Files that no finished run leaves.
fn strange_files(folder: &Path) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut strange = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let kept = ["dashboard.html", "claims-etl.key", "claims-etl.toml"]
                .contains(&name.as_str())
                || [".csv", ".parquet"].iter().any(|end| name.ends_with(end));
            if !kept {
                strange.push(path);
            }
        }
    }
    strange
}

/// Kills runs at all points, two at a time.
fn matrix(mode: &'static str, published: Option<Version>, loads: Loads) {
    let scene = Scene::new(mode, published);
    let points = POINTS.iter().filter(|(_, which, _)| [All, loads].contains(which));
    let left = Mutex::new(points);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("the points").next();
                    let Some(&(point, _, then)) = next else { break };
                    let found = scene.killed_at(point, then);
                    let found = found.into_iter().map(|what| format!("{point}: {what}"));
                    wrong.lock().expect("the list").extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("the list");
    assert!(wrong.is_empty(), "{mode}:\n{}", wrong.join("\n"));
}

#[test]
fn a_first_load_can_be_killed_anywhere() {
    matrix("merge", None, Attaches);
}

#[test]
fn a_replace_can_be_killed_anywhere() {
    matrix("replace", Some(Version::First), Attaches);
}

#[test]
fn a_merge_can_be_killed_anywhere() {
    matrix("merge", Some(Version::First), Merges);
}

#[test]
fn a_missed_refresh_is_made_up_for_once() {
    let mut env = TestEnv::new();
    Version::First.lay_on(&mut env);
    let output = process::output(run(&env, "merge").kill_at("publish.committed"));
    assert_eq!(output.status.signal(), Some(9));
    gone(&env.database);
    let page = env.settings.dashboard_path();
    assert!(!page.exists());
    finishes(&env, "merge");
    assert!(page.exists(), "the next run finds nothing else to do");
    fs::remove_file(&page).expect("the page");
    finishes(&env, "merge");
    assert!(!page.exists(), "and the one after it finds nothing at all");
}

#[test]
fn every_place_in_the_code_is_in_the_table() {
    let names: BTreeSet<&str> =
        POINTS.iter().map(|(point, ..)| point.split(':').next().unwrap_or(point)).collect();
    let places = released_program::failpoints();
    // A load comes neither by the places of the schedule, of a rescore and of a rotation, which have
    // tables of their own, nor, without a change of profile, by that of `privacy_profiles`.
    let others = ["schedule.", "rescore.", "rotate.", "publish.reshaped"];
    let of_a_load = places.iter().filter(|place| !others.iter().any(|of| place.starts_with(of)));
    let missing: Vec<_> = of_a_load.filter(|place| !names.contains(place.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
