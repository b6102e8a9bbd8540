//! No identifier gets out: runs of every kind load canaries into a server that logs everything, and everything that is
//! written anywhere is searched for them. Leaks that are planted are found.
//!
//! The suite runs each trial at its most verbose log level; `just audit` runs all levels with more rows.

mod canary;
mod damages;
mod inputs;
mod places;
mod report;
mod running;
mod search;
mod server;
mod trial_env;
mod trials;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use canary::Canaries;
use inputs::Inputs;
use places::Places;
use report::Report;
use search::Search;
use server::Server;
use trial_env::{LEVELS, Level, TrialEnv};
use trials::{TRIALS, Trial};

/// What all trials share.
struct Audit {
    folder: tempfile::TempDir,
    server: Server,
    canaries: Canaries,
    places: Places,
    /// Makes a run leak an identifier.
    plant: fn(&mut Command, &str),
    /// Each trial at its most verbose level alone, with fewer rows.
    is_quick: bool,
}

impl Audit {
    fn new(is_quick: bool, plant: fn(&mut Command, &str)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // The server may run under another account, which must come to its own folder in this one.
        let server = folder.path().join("server");
        fs::create_dir(&server).expect("a folder");
        for path in [folder.path(), &server] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o711)).expect("chmod");
        }
        let canaries = Canaries::random();
        let places = Places { search: Search::new(canaries.needles()), report: <_>::default() };
        let server = Server::start(&server);
        Self { folder, server, canaries, places, plant, is_quick }
    }

    /// Runs the trials, as many at once as the machine has cores, and searches the server's files.
    fn run(self, is_wanted: impl Fn(&Trial) -> bool) -> Report {
        let levels = |trial: &Trial| if self.is_quick { 1 } else { trial.levels };
        let work: Vec<(&Trial, Level)> = TRIALS
            .iter()
            .filter(|trial| is_wanted(trial))
            .flat_map(|trial| LEVELS[..levels(trial)].iter().map(move |level| (trial, *level)))
            .collect();
        let next = AtomicUsize::new(0);
        let workers = thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some((trial, level)) = work.get(number) else { break };
                        self.trial(number, trial, *level);
                    }
                });
            }
        });
        self.server.stop();
        self.places.cluster(&self.server);
        if !Path::new("/proc/self/fd").exists() {
            self.places.report().not_tried("unnamed files: no /proc/self/fd here");
        }
        self.places.into_report()
    }

    fn trial(&self, number: usize, trial: &Trial, level: Level) {
        let inputs = Inputs {
            canaries: &self.canaries,
            providers: trial.providers,
            names: trial.names,
            many: if self.is_quick { 300 } else { 3_000 },
        };
        let env = TrialEnv::new(self, trial, (number, level), inputs);
        (trial.run)(&env);
        env.search_the_rest();
    }
}

/// No identifier was found, and the search looked everywhere and works.
fn assert_clean(report: &Report) {
    assert!(report.findings.is_empty(), "{report}");
    assert!(report.unexpected.is_empty(), "{report}");
    assert!(report.runs > 100, "{report}");
    for place in [
        "standard output",
        "standard error",
        "command lines",
        "tables",
        "sessions",
        "heap and index files",
        "write-ahead log",
        "server log",
        "quarantine rows",
        "data directory",
        "temporary files",
        "unnamed files",
    ] {
        let searched = report.places.get(place).copied().unwrap_or_default();
        assert!(searched.items > 0 && searched.bytes > 0, "{place}: {report}");
    }
    for control in report::CONTROLS {
        assert!(report.places.get(control).is_some_and(|c| c.found > 0), "{control}: {report}");
    }
}

#[test]
fn no_identifier_gets_out() {
    assert_clean(&Audit::new(true, |_, _| {}).run(|_| true));
}

#[test]
#[ignore = "takes a minute; `just audit` runs it"]
#[expect(clippy::print_stdout, reason = "the report is what the recipe is called for")]
fn no_identifier_gets_out_at_any_log_level() {
    let report = Audit::new(false, |_, _| {}).run(|_| true);
    println!("{report}");
    assert_clean(&report);
}

#[test]
#[cfg(feature = "failpoints")]
fn every_planted_leak_is_found_and_named() {
    use crate::support::failpoints::Failpoints as _;
    let plant = |command: &mut Command, id: &str| {
        command
            .once_at("first_pass.block", &format!("log={id}"))
            .once_at("publish.ledger", &format!("unlinked={id}"))
            .once_at("extract.done", &format!("file={id}"))
            .with_value("leak.quarantine", id)
            .with_value("leak.ledger", &canary::hex(id.as_bytes()));
    };
    let report = Audit::new(true, plant).run(|trial| trial.name == "loads");
    for (place, spelling, at) in [
        ("standard error", "text", ": run"),
        ("quarantine rows", "text", ".parquet"),
        ("tables", "hex", "claims_etl.task_runs.error"),
        ("dump", "hex", "audit_0"),
        ("heap and index files", "hex", "base/"),
        ("write-ahead log", "hex", "pg_wal/"),
        ("server log", "hex", "server.log"),
        ("temporary files", "text", ""),
        ("unnamed files", "text", ""),
    ] {
        let is_named = report.findings.iter().any(|found| {
            (found.place, found.kind, found.spelling.as_str()) == (place, "claim id", spelling)
                && found.at.contains(at)
        });
        assert!(is_named, "{place}, {spelling}, {at}: {report}");
    }
    // It is not found where it was not planted.
    for place in ["command lines", "sessions"] {
        assert!(report.findings.iter().all(|found| found.place != place), "{place}: {report}");
    }
}
