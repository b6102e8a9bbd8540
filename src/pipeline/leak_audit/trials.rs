//! The trials: what the program is put through.

use std::fs::OpenOptions;
use std::io::Write as _;

use super::canary::Kind;
use super::damages::DAMAGES;
use super::desk::{Desk, text};
use super::server::Gate;
use crate::error::Result;
use crate::rule::Rule;

/// A series of runs on a desk of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    pub(super) name: &'static str,
    /// The settings of the table `[privacy]`.
    pub(super) privacy: &'static str,
    /// Whether provider ids are canaries, too.
    pub(super) providers: bool,
    /// Whether provider names are.
    pub(super) names: bool,
    /// At how many levels it is tried, the loudest first.
    pub(super) levels: usize,
    pub(super) run: fn(&Desk<'_>) -> Result<()>,
}

pub(super) const TRIALS: [Trial; 10] = [
    Trial { levels: 10, ..plain("loads", loads) },
    Trial { levels: 3, ..plain("refused runs", refused) },
    Trial { levels: 2, ..plain("database errors", database_errors) },
    Trial { levels: 2, ..plain("killed runs", killed) },
    Trial { levels: 2, ..plain("damaged files", damaged) },
    Trial { levels: 2, ..plain("a database as the source", database_source) },
    Trial { names: true, ..profile("limited data set", "profile = 'limited_data_set'") },
    Trial {
        names: true,
        providers: true,
        ..profile("safe harbor", "profile = 'safe_harbor_assist'")
    },
    Trial {
        providers: true,
        ..profile("provider tokens", "[privacy.columns]\nprovider_id = 'token'")
    },
    Trial {
        names: true,
        ..profile(
            "other actions",
            "[privacy.columns]\nprovider_name = { redact = '-' }\nlocation = 'drop'\n\
             amount = { round = '10.00' }\ndate_of_service = { generalize = 'month' }",
        )
    },
];

const fn plain(name: &'static str, run: fn(&Desk<'_>) -> Result<()>) -> Trial {
    Trial { name, privacy: "", providers: false, names: false, levels: 1, run }
}

const fn profile(name: &'static str, privacy: &'static str) -> Trial {
    Trial { name, privacy, providers: false, names: false, levels: 2, run: released }
}

/// By which rules records of the first run are to be rejected: each has its own way to be told.
const REASONS: [Rule; 20] = [
    Rule::TooFewFields,
    Rule::TooManyFields,
    Rule::QuoteUnclosed,
    Rule::QuoteMalformed,
    Rule::NulCharacter,
    Rule::ClaimIdInvalid,
    Rule::PatientIdInvalid,
    Rule::ClaimWithTwoPatients,
    Rule::ProviderIdInvalid,
    Rule::ProcedureCodeInvalid,
    Rule::ClaimIdMissing,
    Rule::LineNumberInvalid,
    Rule::PatientIdMissing,
    Rule::PatientIdPlaceholder,
    Rule::AmountMissing,
    Rule::AmountUnparseable,
    Rule::AmountOutOfRange,
    Rule::DateMissing,
    Rule::DateUnparseable,
    Rule::DateInFuture,
];

/// Whatever the program can do with input that can be loaded.
fn loads(desk: &Desk<'_>) -> Result<()> {
    let inputs = desk.inputs();
    let files = desk.inputs.claims(&inputs)?;
    let directory = desk.inputs.directory(&inputs)?;
    let corrections = desk.inputs.corrections(&inputs)?;
    desk.step("check", &["check"], &[0])?;
    desk.step("explain", &["explain"], &[0])?;
    desk.step("config show", &["config", "show"], &[0])?;
    desk.step("key id", &["key", "id"], &[0])?;
    let named: Vec<&str> = files.iter().map(|path| text(path)).collect();
    desk.step("check FILE", &[&["check", text(&directory)], &named[..]].concat(), &[])?;
    desk.step("dry run", &["run", "--dry-run"], &[0])?;
    desk.step("run", &["run"], &[0])?;
    let reasons = "SELECT max(reject_reasons::text) AS answer FROM claims_etl.runs";
    let reasons = desk.ask(reasons)?;
    for rule in REASONS.iter().filter(|rule| !reasons.contains(rule.name())) {
        let without = format!("{}: no record was rejected by {}", desk.name, rule.name());
        desk.audit.eyes.tally.unexpected(without);
    }
    desk.step("run again", &["run"], &[0])?;
    let correct = ["run", "--claims", text(&corrections)];
    desk.step("run with corrections", &correct, &[0])?;
    desk.step("verify", &["verify", "last"], &[0])?;
    reads(desk)?;
    for policy in ["first", "reject"] {
        let run = ["run", "--force", "--mode", "replace", "--on-duplicate", policy];
        desk.step(&format!("replace, {policy}"), &run, &[0])?;
    }
    desk.step("append", &["run", "--force", "--mode", "append"], &[4])?;
    desk.shown("quarantine --source", &["quarantine", "last", "--source"])?;
    let mended = desk.path("shown/rejects.csv");
    let written = ["quarantine", "last", "--source", "--format", "csv", "--output", text(&mended)];
    desk.shown("quarantine --source", &written)?;
    desk.audit.eyes.file("quarantine --source", "rejects.csv", &mended);
    Ok(())
}

/// Whatever only reads.
fn reads(desk: &Desk<'_>) -> Result<()> {
    let run = desk.ask("SELECT max(run_id::text) AS answer FROM claims_etl.runs")?;
    let claim = "SELECT max(claim_token::text) AS answer FROM healthcare_analytics.claims_fact";
    let claim = desk.ask(claim)?;
    desk.step("runs", &["runs"], &[0])?;
    desk.step("runs RUN", &["runs", &run], &[0])?;
    desk.step("quarantine", &["quarantine", "last"], &[0])?;
    desk.step("quarantine list", &["quarantine", "list"], &[0])?;
    desk.step("refresh", &["refresh"], &[0])?;
    desk.step("refresh --list", &["refresh", "--list"], &[0])?;
    desk.step("privacy report", &["privacy", "report"], &[0])?;
    desk.step("risk explain", &["risk", "explain", &claim], &[0])?;
    desk.step("risk rescore", &["risk", "rescore"], &[0])?;
    desk.step("key check", &["key", "check"], &[0])?;
    desk.step("key rotate status", &["key", "rotate", "status"], &[0])?;
    Ok(())
}

/// A profile, or other actions, from the first load on.
fn released(desk: &Desk<'_>) -> Result<()> {
    let inputs = desk.inputs();
    desk.inputs.claims(&inputs)?;
    desk.inputs.directory(&inputs)?;
    let corrections = desk.inputs.corrections(&inputs)?;
    desk.step("run", &["run"], &[0])?;
    desk.step("run with corrections", &["run", "--claims", text(&corrections)], &[0])?;
    desk.step("verify", &["verify", "last"], &[0])?;
    desk.step("replace", &["run", "--force", "--mode", "replace"], &[0])?;
    reads(desk)?;
    desk.step("run in vain", &["run", "--force", "--max-reject-rows", "0"], &[4])?;
    desk.step("check", &["check"], &[0])?;
    Ok(())
}

/// Runs that are refused before anything is published.
fn refused(desk: &Desk<'_>) -> Result<()> {
    let inputs = desk.inputs();
    desk.inputs.claims(&inputs)?;
    desk.inputs.directory(&inputs)?;
    desk.step("too many rejects", &["run", "--max-reject-ratio", "0.001"], &[4])?;
    desk.step("any reject", &["run", "--max-reject-rows", "0"], &[4])?;
    let nowhere = desk.path("inputs/nowhere.csv");
    desk.step("no file", &["run", "--claims", text(&nowhere)], &[3])?;
    desk.step("a folder without files", &["run", "--claims", text(&desk.path("shown"))], &[3])?;
    let providers = desk.path("inputs/providers.csv");
    desk.step("another file", &["run", "--claims", text(&providers)], &[2, 3])?;
    let claims = desk.path("inputs/odd.csv");
    desk.step("another directory", &["run", "--providers", text(&claims)], &[2, 3])?;
    desk.step("run", &["run"], &[0])?;
    let other = desk.key("other.key", &"5ca1ab1e".repeat(8))?;
    desk.step("another key", &["run", "--force", "--key-file", text(&other)], &[2])?;
    let short = desk.key("short.key", &desk.audit.canaries.key()[..62])?;
    desk.step("half a key", &["run", "--key-file", text(&short)], &[2])?;
    let one = desk.inputs.one(&inputs)?;
    let mut run =
        desk.start("a file that changes", &["run", "--claims", text(&claims), text(&one)])?;
    let row = desk.inputs.corrections(&inputs).and_then(|path| {
        std::fs::read(&path).map_err(|error| super::inputs::failed(&path, &error))
    })?;
    while run.goes_on() {
        let file = OpenOptions::new().append(true).open(&one);
        let grown = file.and_then(|mut file| file.write_all(&row));
        grown.map_err(|error| super::inputs::failed(&one, &error))?;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let ended = run.end(desk.audit.cancel)?;
    // It may have been read between two changes.
    desk.after("a file that changes", &ended, &[0, 3]);
    desk.look()
}

/// The server's own errors, which quote rows.
fn database_errors(desk: &Desk<'_>) -> Result<()> {
    let inputs = desk.inputs();
    let one = desk.inputs.one(&inputs)?;
    desk.inputs.claims(&inputs)?;
    desk.inputs.directory(&inputs)?;
    let directory = desk.path("inputs/nobody.csv");
    super::inputs::write(&directory, b"provider_id,provider_name,specialty,location\nV1,A,B,C\n")?;
    let begin = ["run", "--claims", text(&one), "--providers", text(&directory)];
    desk.step("a first claim", &begin, &[0])?;
    for (name, damage, repair) in DAMAGES {
        desk.sql(damage)?;
        // Rows that only disappear are missed when they are counted.
        desk.step(name, &["run", "--force"], &[4, 5])?;
        if !repair.is_empty() {
            desk.sql(repair)?;
        }
    }
    Ok(())
}

/// Runs that are stopped where most of their work is done, and what comes after them.
fn killed(desk: &Desk<'_>) -> Result<()> {
    let inputs = desk.inputs();
    desk.inputs.claims(&inputs)?;
    desk.inputs.directory(&inputs)?;
    let one = desk.inputs.one(&inputs)?;
    desk.step("a first claim", &["run", "--claims", text(&one)], &[0])?;
    let gate = |statements| {
        let holder = desk.audit.server.connect(Some(&desk.database))?;
        Gate::close(holder, statements, desk.audit.cancel)
    };
    for (step, statements, end, code) in [
        // All rows are between the passes.
        ("seen halfway", ("CREATE TABLE", "%"), End::Alone, Some(0)),
        // All rows are copied, and not yet committed.
        ("killed", ("ALTER TABLE", "%PRIMARY KEY%"), End::Killed, None),
        ("stopped", ("ALTER TABLE", "%PRIMARY KEY%"), End::Stopped, Some(143)),
    ] {
        let mut gate = gate(statements)?;
        let mut run = desk.start(step, &["run", "--mode", "replace", "--force"])?;
        if !gate.reached(|| run.goes_on())? {
            let at = format!("{}: {step}", desk.name);
            desk.audit.eyes.tally.unexpected(format!("{at}: it went on where it was to wait"));
        }
        run.look();
        desk.look()?;
        match end {
            End::Alone => {}
            End::Killed => run.kill(),
            End::Stopped => run.terminate(),
        }
        if end == End::Alone {
            gate.open()?;
            let ended = run.end(desk.audit.cancel)?;
            desk.after(step, &ended, &[0]);
        } else {
            let ended = run.end(desk.audit.cancel)?;
            gate.open()?;
            desk.after(step, &ended, code.as_slice());
        }
        desk.alone()?;
        desk.look()?;
    }
    desk.step("the next run", &["run", "--force"], &[0])?;
    desk.step("runs", &["runs"], &[0])?;
    Ok(())
}

/// How a run that waits at the gate is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Alone,
    Killed,
    Stopped,
}

/// Files that are damaged as a whole: loaded, refused, or examined.
fn damaged(desk: &Desk<'_>) -> Result<()> {
    let inputs = desk.inputs();
    desk.inputs.directory(&inputs)?;
    for (number, (what, bytes)) in desk.inputs.damaged().into_iter().enumerate() {
        let path = inputs.join(format!("damaged-{number}.csv"));
        super::inputs::write(&path, &bytes)?;
        desk.step(what, &["run", "--claims", text(&path)], &[0, 2, 3, 4])?;
        desk.step(what, &["check", text(&path)], &[])?;
    }
    Ok(())
}

/// Claims that come from a database, whose errors quote values.
fn database_source(desk: &Desk<'_>) -> Result<()> {
    desk.inputs.directory(&desk.inputs())?;
    if cfg!(not(feature = "database")) {
        let without = "a database as the source: this program was built without it";
        desk.audit.eyes.tally.not_tried(without.into());
        return Ok(());
    }
    let id = |kind| desk.audit.canaries.sql(kind, "n::text");
    let query = |last: u32| {
        format!(
            "query = '''SELECT {claim} AS claim_id, {patient} AS patient_id, 'V1' AS provider_id,
                 '99213' AS procedure_code, DATE '2024-01-02' AS date_of_service,
                 CASE WHEN n = 600 THEN {claim}::numeric ELSE 1.5 END AS amount
             FROM generate_series(501, {last}) n'''",
            claim = id(Kind::Claim),
            patient = id(Kind::Patient),
        )
    };
    let address = desk.audit.server.url(None);
    for (step, last, codes) in [("good rows", 599, [0, 0]), ("a broken row", 600, [3, 5])] {
        let settings = desk.configured("[claims]", &query(last))?;
        let run = ["run", "--config", text(&settings), "--claims", &address];
        desk.step(step, &run, &codes)?;
        desk.step(step, &["check", "--config", text(&settings), "--claims", &address], &[])?;
    }
    Ok(())
}
