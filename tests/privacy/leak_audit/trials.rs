//! The trials: what the program is put through.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::thread;
use std::time::Duration;

use claims_etl::rule::Rule;
use nix::sys::signal::Signal;

use super::canary::Kind;
use super::damages::DAMAGES;
use super::server::Gate;
use super::trial_env::{TrialEnv, text};

/// A series of runs in an environment of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    pub(super) name: &'static str,
    /// The settings of the table `[privacy]`.
    pub(super) privacy: &'static str,
    /// Whether provider ids are canaries, too.
    pub(super) providers: bool,
    /// Whether provider names are.
    pub(super) names: bool,
    /// At how many levels it is tried, the most verbose first.
    pub(super) levels: usize,
    pub(super) run: fn(&TrialEnv<'_>),
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

const fn plain(name: &'static str, run: fn(&TrialEnv<'_>)) -> Trial {
    Trial { name, privacy: "", providers: false, names: false, levels: 1, run }
}

const fn profile(name: &'static str, privacy: &'static str) -> Trial {
    Trial { name, privacy, providers: false, names: false, levels: 2, run: released }
}

/// By which rules records of the first run are to be rejected: each has its own message.
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
fn loads(env: &TrialEnv<'_>) {
    let inputs = env.inputs();
    let files = env.inputs.claims(&inputs);
    let directory = env.inputs.directory(&inputs);
    let corrections = env.inputs.corrections(&inputs);
    env.step("check", &["check"], &[0]);
    env.step("explain", &["explain"], &[0]);
    env.step("config show", &["config", "show"], &[0]);
    env.step("key id", &["key", "id"], &[0]);
    let named: Vec<&str> = files.iter().map(|path| text(path)).collect();
    env.step("check FILE", &[&["check", text(&directory)], &named[..]].concat(), &[]);
    env.step("dry run", &["run", "--dry-run"], &[0]);
    env.step("run", &["run"], &[0]);
    let reasons = env.query("SELECT max(reject_reasons::text) FROM claims_etl.runs");
    for rule in REASONS.iter().filter(|rule| !reasons.contains(rule.name())) {
        env.unexpected("run", &format!("no record was rejected by {}", rule.name()));
    }
    env.step("run again", &["run"], &[0]);
    let correct = ["run", "--claims", text(&corrections)];
    env.step("run with corrections", &correct, &[0]);
    env.step("verify", &["verify", "last"], &[0]);
    reads(env);
    for policy in ["first", "reject"] {
        let run = ["run", "--force", "--mode", "replace", "--on-duplicate", policy];
        env.step(&format!("replace, {policy}"), &run, &[0]);
    }
    env.step("append", &["run", "--force", "--mode", "append"], &[4]);
    env.shown("quarantine --source", &["quarantine", "last", "--source"]);
    let mended = env.path("shown/rejects.csv");
    let written = ["quarantine", "last", "--source", "--format", "csv", "--output", text(&mended)];
    env.shown("quarantine --source", &written);
    env.audit.places.file("quarantine --source", "rejects.csv", &mended);
}

/// Whatever only reads.
fn reads(env: &TrialEnv<'_>) {
    let run = env.query("SELECT max(run_id::text) FROM claims_etl.runs");
    let claim = "SELECT max(claim_token::text) FROM healthcare_analytics.claims_fact";
    let claim = env.query(claim);
    env.step("runs", &["runs"], &[0]);
    env.step("runs RUN", &["runs", &run], &[0]);
    env.step("quarantine", &["quarantine", "last"], &[0]);
    env.step("quarantine list", &["quarantine", "list"], &[0]);
    env.step("refresh", &["refresh"], &[0]);
    env.step("refresh --list", &["refresh", "--list"], &[0]);
    env.step("privacy report", &["privacy", "report"], &[0]);
    env.step("risk explain", &["risk", "explain", &claim], &[0]);
    env.step("risk rescore", &["risk", "rescore"], &[0]);
    env.step("key check", &["key", "check"], &[0]);
    env.step("key rotate status", &["key", "rotate", "status"], &[0]);
}

/// A profile, or other actions, from the first load on.
fn released(env: &TrialEnv<'_>) {
    let inputs = env.inputs();
    env.inputs.claims(&inputs);
    env.inputs.directory(&inputs);
    let corrections = env.inputs.corrections(&inputs);
    env.step("run", &["run"], &[0]);
    env.step("run with corrections", &["run", "--claims", text(&corrections)], &[0]);
    env.step("verify", &["verify", "last"], &[0]);
    env.step("replace", &["run", "--force", "--mode", "replace"], &[0]);
    reads(env);
    env.step("run in vain", &["run", "--force", "--max-reject-rows", "0"], &[4]);
    env.step("check", &["check"], &[0]);
}

/// Runs that are refused before anything is published.
fn refused(env: &TrialEnv<'_>) {
    let inputs = env.inputs();
    env.inputs.claims(&inputs);
    env.inputs.directory(&inputs);
    env.step("too many rejects", &["run", "--max-reject-ratio", "0.001"], &[4]);
    env.step("any reject", &["run", "--max-reject-rows", "0"], &[4]);
    let nowhere = env.path("inputs/nowhere.csv");
    env.step("no file", &["run", "--claims", text(&nowhere)], &[3]);
    env.step("a folder without files", &["run", "--claims", text(&env.path("shown"))], &[3]);
    let providers = env.path("inputs/providers.csv");
    env.step("another file", &["run", "--claims", text(&providers)], &[2, 3]);
    let claims = env.path("inputs/odd.csv");
    env.step("another directory", &["run", "--providers", text(&claims)], &[2, 3]);
    env.step("run", &["run"], &[0]);
    let other = env.key("other.key", &"5ca1ab1e".repeat(8));
    env.step("another key", &["run", "--force", "--key-file", text(&other)], &[2]);
    let short = env.key("short.key", &env.audit.canaries.key()[..62]);
    env.step("half a key", &["run", "--key-file", text(&short)], &[2]);
    let one = env.inputs.one(&inputs);
    let mut run = env.start("a file that changes", &["run", "--claims", text(&claims), text(&one)]);
    let rows = std::fs::read(env.inputs.corrections(&inputs)).expect("read");
    while run.goes_on() {
        let mut file = OpenOptions::new().append(true).open(&one).expect("opened");
        file.write_all(&rows).expect("written");
        thread::sleep(Duration::from_millis(5));
    }
    let ended = run.end();
    // It may have been read between two changes.
    env.after("a file that changes", &ended, &[0, 3]);
    env.search();
}

/// The server's own errors, which quote rows.
fn database_errors(env: &TrialEnv<'_>) {
    let inputs = env.inputs();
    let one = env.inputs.one(&inputs);
    env.inputs.claims(&inputs);
    env.inputs.directory(&inputs);
    let directory = env.path("inputs/nobody.csv");
    let rows = "provider_id,provider_name,specialty,location\nV1,A,B,C\n";
    std::fs::write(&directory, rows).expect("written");
    let begin = ["run", "--claims", text(&one), "--providers", text(&directory)];
    env.step("a first claim", &begin, &[0]);
    let mut client = env.connect();
    for (name, damage, repair) in DAMAGES {
        client.batch_execute(damage).expect("damaged");
        // Rows that only disappear are missed when they are counted.
        env.step(name, &["run", "--force"], &[4, 5]);
        client.batch_execute(repair).expect("repaired");
    }
}

/// Runs that are stopped where most of their work is done, and what comes after them.
fn killed(env: &TrialEnv<'_>) {
    let inputs = env.inputs();
    env.inputs.claims(&inputs);
    env.inputs.directory(&inputs);
    let one = env.inputs.one(&inputs);
    env.step("a first claim", &["run", "--claims", text(&one)], &[0]);
    for (step, (tag, pattern), signal, codes) in [
        // All rows are between the passes.
        ("seen halfway", ("CREATE TABLE", "%"), None, &[0][..]),
        // All rows are copied, and not yet committed.
        ("killed", ("ALTER TABLE", "%PRIMARY KEY%"), Some(Signal::SIGKILL), &[]),
        ("stopped", ("ALTER TABLE", "%PRIMARY KEY%"), Some(Signal::SIGTERM), &[143]),
    ] {
        let mut gate = Gate::close(env.connect(), tag, pattern);
        let mut run = env.start(step, &["run", "--mode", "replace", "--force"]);
        if !gate.is_reached(|| run.goes_on()) {
            env.unexpected(step, "did not wait at the gate");
        }
        run.search();
        env.search();
        let ended = if let Some(signal) = signal {
            run.signal(signal);
            let ended = run.end();
            gate.open();
            ended
        } else {
            gate.open();
            run.end()
        };
        env.after(step, &ended, codes);
        env.wait_for_its_sessions();
        env.search();
    }
    env.step("the next run", &["run", "--force"], &[0]);
    env.step("runs", &["runs"], &[0]);
}

/// Files that are damaged as a whole: loaded, refused, or examined.
fn damaged(env: &TrialEnv<'_>) {
    let inputs = env.inputs();
    env.inputs.directory(&inputs);
    for (number, (what, bytes)) in env.inputs.damaged().into_iter().enumerate() {
        let path = inputs.join(format!("damaged-{number}.csv"));
        std::fs::write(&path, &bytes).expect("written");
        env.step(what, &["run", "--claims", text(&path)], &[0, 2, 3, 4]);
        env.step(what, &["check", text(&path)], &[]);
    }
}

/// Claims that come from a database, whose errors quote values.
fn database_source(env: &TrialEnv<'_>) {
    env.inputs.directory(&env.inputs());
    if cfg!(not(feature = "database")) {
        env.audit.places.report().not_tried("a database as the source: built without it");
        return;
    }
    let id = |kind| env.audit.canaries.sql(kind, "n::text");
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
    let address = env.audit.server.url(None);
    for (step, last, codes) in [("good rows", 599, [0, 0]), ("a broken row", 600, [3, 5])] {
        let settings = env.configured("[claims]", &query(last));
        let run = ["run", "--config", text(&settings), "--claims", &address];
        env.step(step, &run, &codes);
        env.step(step, &["check", "--config", text(&settings), "--claims", &address], &[]);
    }
}
