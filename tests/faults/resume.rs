//! Runs that ended too early are finished: the refresh of one that has published, from the ledger
//! and the tables alone; the whole work of one that has not.

use std::fs;

use claims_etl::error::ErrorKind;
use claims_etl::event::{Cancellation, NullObserver, RunId};
use claims_etl::pipeline::{self, RunOptions, RunReport, RunSelector, Status};
use claims_etl::secret::value::Secret;

use crate::support::process;
use crate::support::test_env::{TestEnv, succeeded};

const CLAIMS: [&str; 3] =
    ["A,P,V1,1,1.25,2024-01-01", "B,P,V1,1,2.00,2024-01-02", "C,P,V1,1,much,2024-01-03"];

/// The tries of a run's refresh.
const TRIES: &str = "SELECT try_number || ' ' || state FROM claims_etl.task_runs
    WHERE task_id = 'load.refresh_bi' ORDER BY started_at";

/// An environment whose dashboard cannot be written: where its folder should be, there is a file.
fn barred(required: bool) -> TestEnv {
    let mut env = TestEnv::new().claims(&CLAIMS).providers(&["V1,Ada,Cardiology,Here"]);
    fs::write(env.path("pages"), "in the way").expect("written");
    env.settings.refresh.dashboard.path = Some(env.path("pages").join("dashboard.html"));
    env.settings.refresh.dashboard.required = required;
    env
}

fn lift(env: &TestEnv) {
    fs::remove_file(env.path("pages")).expect("removed");
    fs::create_dir(env.path("pages")).expect("a folder");
}

fn resume(env: &TestEnv, which: &str) -> RunReport {
    let which = RunSelector::parse(which).expect("a run");
    let options = RunOptions::default();
    pipeline::resume(&env.settings, &options, which, &NullObserver, &Cancellation::default())
}

/// Nothing is left of the run's settings: no sources, no key, other rules.
fn forget(env: &mut TestEnv) {
    for file in
        env.settings.claims.sources.drain(..).chain(env.settings.providers.sources.drain(..))
    {
        fs::remove_file(file).expect("removed");
    }
    fs::remove_file(env.settings.key_path()).expect("removed");
    env.settings.claims.delimiter = ";".into();
}

#[test]
fn a_failed_refresh_is_resumed_without_sources_or_key() {
    let mut env = barred(true);
    let failed = env.run();
    assert_eq!((failed.status, failed.exit_code), (Status::Failed, 6), "{:?}", failed.error);
    let hint = failed.error.as_ref().and_then(|error| error.hint.clone()).expect("a hint");
    assert!(hint.contains(&format!("--resume {}", failed.run_id)), "{hint}");
    forget(&mut env);

    let again = resume(&env, &failed.run_id);
    assert_eq!((again.status, again.exit_code), (Status::Failed, 6), "nothing was mended");
    assert_eq!(env.rows(TRIES), ["1 failed", "2 failed"]);

    lift(&env);
    let resumed = resume(&env, "last");
    succeeded(&resumed);
    assert_eq!(env.rows(TRIES), ["1 failed", "2 failed", "3 success"]);
    assert_eq!(env.rows("SELECT status FROM claims_etl.runs"), ["success"], "no other run");
    assert!(env.path("pages/dashboard.html").exists());
    assert_eq!(resumed.run_id, failed.run_id);
    assert_eq!(resumed.resumed.as_ref(), Some(&failed.run_id));
    assert_eq!((resumed.key_id, resumed.fingerprint), (failed.key_id, failed.fingerprint));
    assert_eq!((resumed.claims, resumed.amount), (failed.claims, failed.amount));
    assert_eq!((resumed.claims.inserted, resumed.claims.rejected), (2, 1));
    assert_eq!(
        (resumed.providers, resumed.reject_reasons),
        (failed.providers, failed.reject_reasons)
    );
    assert_eq!(resumed.tasks.len(), 1);
    assert_eq!((resumed.tasks[0].state, resumed.tasks[0].tries), ("success", 3));

    let complete = resume(&env, "last");
    assert_eq!((complete.status, complete.exit_code), (Status::AlreadyLoaded, 0));
    assert_eq!(complete.loaded_by.as_ref(), Some(&failed.run_id));
    assert!(complete.tasks.is_empty());
    assert_eq!(env.rows(TRIES).len(), 3, "nothing was done");
    env.settings.run.already_loaded_exit_code = 99;
    assert_eq!(resume(&env, &failed.run_id).exit_code, 99);
}

#[test]
fn a_run_that_was_cut_off_after_its_commit_is_refreshed() {
    // Killed before the refresh began, or while it was at work.
    for (left, tries) in [
        ("DELETE FROM claims_etl.task_runs WHERE task_id = 'load.refresh_bi'", &["1 success"][..]),
        (
            "UPDATE claims_etl.task_runs SET state = 'running', result = NULL
             WHERE task_id = 'load.refresh_bi'",
            &["1 failed", "2 success"][..],
        ),
    ] {
        let env = TestEnv::new().claims(&CLAIMS);
        let run = env.run();
        succeeded(&run);
        let page = env.settings.dashboard_path();
        fs::remove_file(&page).expect("removed");
        let due = "UPDATE claims_etl.refresh_outbox SET refreshed_run_no = NULL, outcome = NULL";
        let left = format!("{left}; {due}");
        env.database.connect().batch_execute(&left).expect("as a killed run leaves it");
        succeeded(&resume(&env, &run.run_id));
        assert_eq!(env.rows(TRIES), tries);
        assert!(page.exists());
    }
}

#[test]
fn an_optional_page_is_resumed_too_also_by_the_run_that_found_its_input_loaded() {
    let env = barred(false);
    let first = env.run();
    succeeded(&first);
    assert_eq!(first.refresh[1].outcome, "failed");
    let second = env.run();
    assert_eq!(second.status, Status::AlreadyLoaded);
    lift(&env);
    let resumed = resume(&env, "last");
    succeeded(&resumed);
    assert_eq!(resumed.run_id, first.run_id, "the last one has nothing of its own to resume");
    assert_eq!(resumed.refresh[1].outcome, "succeeded");
}

#[test]
fn what_was_not_published_starts_again() {
    let mut env = barred(true);
    lift(&env);
    env.settings.quality.max_reject_ratio = 0.1;
    let failed = env.run();
    assert_eq!(failed.exit_code, 4, "{:?}", failed.error);
    let again = resume(&env, "last");
    assert_eq!(again.exit_code, 4, "the same settings, the same end");
    env.settings.quality.max_reject_ratio = 1.0;
    let resumed = resume(&env, &failed.run_id);
    succeeded(&resumed);
    assert_ne!(resumed.run_id, failed.run_id);
    assert_eq!(resumed.resumed.as_ref(), Some(&failed.run_id));
    assert_eq!(resumed.tasks.len(), 5);
    let runs = "SELECT status FROM claims_etl.runs ORDER BY run_no";
    assert_eq!(env.rows(runs), ["failed", "failed", "success"], "the old ones stay as they were");

    // Of a killed run the ledger says that it goes on.
    env.database
        .connect()
        .batch_execute("UPDATE claims_etl.runs SET status = 'running' WHERE run_no = 1")
        .expect("as a killed run leaves it");
    let resumed = resume(&env, &failed.run_id);
    assert_eq!(resumed.status, Status::AlreadyLoaded, "{:?}", resumed.error);
    assert_eq!(env.rows(runs), ["failed", "failed", "success", "already_loaded"]);
}

#[test]
fn a_run_that_nobody_knows_is_refused() {
    let env = TestEnv::new().claims(&CLAIMS);
    let nobody = RunId::now().to_string();
    for which in ["last", nobody.as_str()] {
        let report = resume(&env, which);
        assert_eq!((report.status, report.exit_code), (Status::Failed, 2), "{which}");
        assert_eq!(report.error.expect("an error").kind, ErrorKind::Config.name());
    }
    succeeded(&env.run());
    assert_eq!(resume(&env, &nobody).exit_code, 2);
    let which = RunSelector::parse("last").expect("the last");
    let dry = RunOptions { dry_run: true, ..RunOptions::default() };
    let dry = pipeline::resume(&env.settings, &dry, which, &NullObserver, &Cancellation::default());
    assert_eq!(dry.exit_code, 2, "a dry run resumes nothing");
}

#[test]
fn resume_reports_as_text_and_json() {
    let env = barred(true);
    let dashboard = env.path("pages").join("dashboard.html");
    let file =
        format!("[refresh.dashboard]\nrequired = true\npath = \"{}\"\n", dashboard.display());
    fs::write(env.path("claims-etl.toml"), file).expect("written");
    let failed = process::output(&mut process::reading(&env, &["run"]));
    assert_eq!(failed.status.code(), Some(6));
    lift(&env);
    let call = |which: &str, code: i32| {
        let mut command = process::command(&env);
        command.args(["run", "--resume", which]).env_remove("CLAIMS_ETL_KEY");
        let output = process::output(&mut command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, printed) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{out}{printed}");
        (out, printed)
    };
    let (out, printed) = call("last", 0);
    assert!(printed.contains("only its dashboards are refreshed"), "{printed}");
    assert!(out.starts_with("Refreshed in "), "{out}");
    assert!(out.contains("the run had loaded its 2 claims before."), "{out}");
    assert!(out.contains("✓ every row and every cent is accounted for"), "{out}");
    let (out, printed) = call("last", 0);
    assert!(printed.contains("there is nothing to resume"), "{printed}");
    assert!(out.starts_with("Nothing to do: this run is complete"), "{out}");
    let (_, printed) = call("00000000-0000-7000-8000-000000000000", 2);
    assert!(printed.contains("the ledger knows no run"), "{printed}");
    assert!(call("yesterday", 2).1.contains("claims-etl runs"));
}

/// A warehouse at which nobody listens.
const NOWHERE: &str = "postgres://127.0.0.1:1/none";

fn nothing_was_done(env: &TestEnv, report: &RunReport, why: &str) {
    assert_eq!((report.status, report.exit_code), (Status::Failed, 2), "{:?}", report.error);
    let error = report.error.as_ref().expect("an error");
    assert!(error.message.contains(why) && error.message.contains("nothing was done"), "{error:?}");
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("without --resume")), "{error:?}");
    let running = "SELECT count(*) FROM claims_etl.runs WHERE status = 'running'";
    assert_eq!(env.rows(running), ["0"]);
}

#[test]
fn the_last_run_is_one_of_the_input_that_is_named() {
    let env = TestEnv::new().claims(&CLAIMS);
    let first = env.run();
    succeeded(&first);
    // A run that never gets to the ledger, and whoever wants it finished.
    let mut env = env.claims(&["D,P,V1,1,7.00,2024-01-04"]);
    let server = env.settings.warehouse.url.replace(Secret::new(NOWHERE));
    env.settings.run.retries = 0;
    assert_eq!(env.run().exit_code, 5);
    env.settings.warehouse.url = server;
    let resumed = resume(&env, "last");
    nothing_was_done(&env, &resumed, &format!("the last run is {} (success)", first.run_id));
    let loaded = "SELECT count(*) FROM healthcare_analytics.claims_fact";
    assert_eq!(env.rows(loaded), ["2"]);
    let second = env.run();
    succeeded(&second);
    let complete = resume(&env, "last");
    assert_eq!(complete.status, Status::AlreadyLoaded, "{:?}", complete.error);
    assert_eq!(complete.loaded_by, Some(second.run_id.clone()));
    // Of the first input the last run is the first one, and it still holds.
    let env = env.claims(&CLAIMS);
    let complete = resume(&env, "last");
    assert_eq!(complete.loaded_by, Some(first.run_id), "{:?}", complete.error);
    // Other settings would load something else.
    let mut env = env.claims(&["D,P,V1,1,7.00,2024-01-04"]);
    env.settings.rules.amount_limit = "1.00".into();
    nothing_was_done(&env, &resume(&env, "last"), "with these settings");
    // By its id a run needs no input at all.
    let by_id = resume(&env, &second.run_id);
    assert_eq!(by_id.status, Status::AlreadyLoaded, "{:?}", by_id.error);
}

#[test]
fn a_run_whose_rows_were_changed_since_is_not_complete() {
    let env = TestEnv::new().claims(&CLAIMS);
    let first = env.run();
    succeeded(&first);
    let env = env.claims(&["A,P,V1,1,9.00,2024-01-01"]);
    let second = env.run();
    succeeded(&second);
    let env = env.claims(&CLAIMS);
    let resumed = resume(&env, "last");
    let why = format!("run {} has changed what is published since", second.run_id);
    nothing_was_done(&env, &resumed, &why);
    succeeded(&env.run());
}

#[test]
fn standard_input_is_not_taken_for_what_was_loaded_before() {
    let mut env = TestEnv::new().claims(&CLAIMS);
    succeeded(&env.run());
    env.settings.claims.sources = vec!["-".into()];
    nothing_was_done(&env, &resume(&env, "last"), "standard input cannot be compared");
}
