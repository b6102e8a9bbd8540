//! `audit leak`: the proof that no identifier gets out, on this machine, with this program.

mod canary;
mod child;
mod damages;
mod desk;
mod inputs;
mod places;
mod report;
mod search;
mod server;
mod trials;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use std::{fs, thread};

use canary::Canaries;
use desk::{Desk, LEVELS, Level};
use inputs::Inputs;
use places::Eyes;
use report::{CONTROLS, Tally};
pub use report::{LeakFinding, LeakReport, PlaceReport};
use search::Search;
use server::Server;
use trials::{TRIALS, Trial};

use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer, RunEvent};

/// How an audit is done.
#[derive(Debug, Clone, Default)]
pub struct LeakOptions {
    /// This trial alone.
    pub only: Option<String>,
    /// Each trial at its loudest level alone, with fewer rows.
    pub quick: bool,
    /// Leave the folder with all inputs, outputs and the stopped server.
    pub keep: bool,
}

/// What all trials share.
struct Audit<'a> {
    /// This very program.
    program: PathBuf,
    folder: PathBuf,
    server: Server,
    canaries: Canaries,
    eyes: Eyes,
    cancel: &'a Cancellation,
    observer: &'a dyn Observer,
}

/// Loads canaries in every way and looks for them everywhere. Nothing of the user's is touched: all
/// happens in a temporary folder and in a server that is made and removed.
///
/// # Errors
/// `Config` when no server is installed or a file cannot be written, `Warehouse` when the server does
/// not work, `Interrupted` when somebody asked to stop, `Internal` when the search finds nothing
/// where it must.
pub fn audit_leak(
    options: &LeakOptions,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<LeakReport> {
    let begin = Instant::now();
    let holder = tempfile::Builder::new().prefix("claims-etl-audit-").tempdir();
    let holder = holder.map_err(|error| {
        Error::config(format!("no temporary folder can be made: {}", error.kind()))
    })?;
    let folder = holder.path().canonicalize();
    let folder = folder.map_err(|error| inputs::failed(holder.path(), &error))?;
    // The server may run under another account, which must come to its own folder in this one.
    set_mode(&folder, 0o711)?;
    let place = folder.join("server");
    fs::create_dir(&place).map_err(|error| inputs::failed(&place, &error))?;
    set_mode(&place, 0o711)?;
    let program = std::env::current_exe()
        .map_err(|error| Error::internal(format!("which program is this? {}", error.kind())))?;
    let canaries = Canaries::random()?;
    let search = Search::new(canaries.needles());
    let mut server = Server::start(&place, observer)?;
    server.keep = options.keep;
    let eyes = Eyes { search, tally: Tally::default() };
    let audit = Audit { program, folder, server, canaries, eyes, cancel, observer };
    audit.all(options)?;
    observer.observe(&RunEvent::Note("looking through the server's files".into()));
    audit.server.stop()?;
    audit.eyes.cluster(&audit.server);
    if !Path::new("/proc/self/fd").exists() {
        let without = "unnamed files: this system does not show the open files of a process";
        audit.eyes.tally.not_tried(without.into());
    }
    let kept = options.keep.then(|| holder.keep());
    let Audit { eyes: Eyes { search, tally }, .. } = audit;
    let report = tally.report(begin.elapsed().as_secs_f64(), search.spellings(), kept);
    // What may hold identifiers and is full of them was searched by the same search.
    let works = |place: &str| report.controls.iter().any(|c| c.place == place && c.found > 0);
    match CONTROLS.iter().find(|place| !works(place)) {
        Some(place) => Err(Error::internal(format!(
            "the search itself does not work: it finds no identifier in {place}, which hold many"
        ))),
        None => Ok(report),
    }
}

impl Audit<'_> {
    /// All trials at all their levels, as many at once as the machine has cores.
    fn all(&self, options: &LeakOptions) -> Result<()> {
        let levels = |trial: &Trial| if options.quick { 1 } else { trial.levels };
        let work: Vec<(&Trial, Level)> = TRIALS
            .iter()
            .filter(|trial| options.only.as_ref().is_none_or(|only| only == trial.name))
            .flat_map(|trial| LEVELS[..levels(trial)].iter().map(move |level| (trial, *level)))
            .collect();
        if work.is_empty() {
            let names = TRIALS.map(|trial| trial.name).join(", ");
            return Err(Error::config("there is no such trial").hint(format!("there are: {names}")));
        }
        let next = AtomicUsize::new(0);
        let worker = || -> Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((trial, level)) = work.get(number) else { return Ok(()) };
                let (count, all) = (number + 1, work.len());
                let told = format!("trial {count} of {all}: {} ({})", trial.name, level.name);
                self.observer.observe(&RunEvent::Note(told));
                let done = self.trial(number, trial, *level, options);
                if done.is_err() {
                    // The others end with what they have begun.
                    next.store(work.len(), Ordering::Relaxed);
                    return done.map_err(|e| e.context(format!("{} ({})", trial.name, level.name)));
                }
            }
        };
        let workers = thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
        thread::scope(|scope| {
            let started: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
            started.into_iter().try_for_each(|worker| {
                worker.join().unwrap_or_else(|_| Err(Error::internal("a trial has panicked")))
            })
        })
    }

    fn trial(
        &self,
        number: usize,
        trial: &Trial,
        level: Level,
        options: &LeakOptions,
    ) -> Result<()> {
        let inputs = Inputs {
            canaries: &self.canaries,
            providers: trial.providers,
            names: trial.names,
            many: if options.quick { 300 } else { 3_000 },
        };
        let desk = Desk::new(self, (number, trial.name), level, (trial.privacy, inputs))?;
        (trial.run)(&desk)?;
        desk.leave()
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let set = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set.map_err(|error| inputs::failed(path, &error))
}
