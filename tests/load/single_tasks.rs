//! The five tasks, each in a process of its own, as an orchestrator calls them: what they leave is
//! what one run leaves, and no order, repetition or death of them does harm.

use std::fs;
use std::process::{Command, Output};

use claims_etl::event::{Cancellation, NullObserver, RunId};
use claims_etl::pipeline::{self, RunName, RunOptions, RunSelector, Status};
use claims_etl::secret::value::Secret;
use claims_etl::warehouse::location;
use serde_json::Value;

use crate::support::process::{self, KEY};
use crate::support::test_env::{TestEnv, succeeded};

const TASKS: [&str; 5] = [
    "extract.extract_claims",
    "extract.extract_providers",
    "transform_join",
    "load.load_warehouse",
    "load.refresh_bi",
];

const CLAIMS: [&str; 5] = [
    "A,P,V1,99213,1.25,2024-01-01",
    "A,P,V1,99213,1.25,2024-01-01",
    "B,Q,V2,99214,2.00,2024-01-02",
    "C,P,V9,99215,30.00,2024-01-06",
    "D,P,V1,99213,much,2024-01-03",
];
const PROVIDERS: [&str; 2] = ["V1,Ada,Cardiology,Here", "V2,Bob,Urology,There"];

/// What an orchestrator calls a run.
const NAME: &str = "scheduled__2024-12-31T00:00:00+00:00";

/// All that is published, without what belongs to one run only.
const PUBLISHED: [&str; 4] = [
    "SELECT (to_jsonb(f) - 'run_no')::text FROM healthcare_analytics.claims_fact f
     ORDER BY claim_token, line_number",
    "SELECT (to_jsonb(d) - 'run_no' - 'valid_from' - 'valid_to')::text
     FROM healthcare_analytics.providers_dim d ORDER BY provider_id",
    "SELECT to_jsonb(s)::text FROM claims_etl.risk_statistics s
     ORDER BY procedure_code, specialty",
    "SELECT (to_jsonb(r) - 'run_id' - 'run_no' - 'started_at' - 'finished_at' - 'published_at'
         - 'orchestrator_run_id' - 'run_date' - 'last_task' - 'last_task_at' - 'sources'
         - 'reject_examples')::text
     FROM claims_etl.runs r WHERE published_at IS NOT NULL ORDER BY run_no",
];

/// Each try of each task, in the order of the data.
const TRIES: &str = "SELECT task_id || ' ' || try_number || ' ' || state FROM claims_etl.task_runs
    ORDER BY array_position(ARRAY['extract.extract_claims', 'extract.extract_providers',
        'transform_join', 'load.load_warehouse', 'load.refresh_bi'], task_id), try_number";
const STATUS: &str = "SELECT status FROM claims_etl.runs ORDER BY run_no";

fn env() -> TestEnv {
    let mut env = TestEnv::new().claims(&CLAIMS).providers(&PROVIDERS);
    // The key that the processes are given.
    env.settings.privacy.key = Some(Secret::new(KEY));
    env.settings.run.already_loaded_exit_code = 99;
    env
}

/// A call of one task under a name.
fn task(env: &TestEnv, task: &str, name: &str) -> Command {
    let mut command = process::reading(env, &["run", "--task", task, "--run-id", name]);
    command.env("CLAIMS_ETL_ALREADY_LOADED_EXIT_CODE", "99");
    command
}

/// The output of a call of a task, which must have ended with `code`.
fn call(env: &TestEnv, name: &str, which: &str, code: i32) -> String {
    ended(&process::output(&mut task(env, which, name)), code)
}

fn ended(output: &Output, code: i32) -> String {
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{out}{printed}");
    printed
}

fn calls(env: &TestEnv, name: &str, tasks: &[&str]) {
    for which in tasks {
        call(env, name, which, 0);
    }
}

fn published(env: &TestEnv) -> Vec<Vec<String>> {
    PUBLISHED.iter().map(|query| env.rows(query)).collect()
}

fn once_each() -> Vec<String> {
    TASKS.iter().map(|task| format!("{task} 1 success")).collect()
}

#[test]
fn five_processes_leave_what_one_run_leaves() {
    let whole = env();
    succeeded(&whole.run());
    let apart = env();
    for (position, which) in TASKS.iter().enumerate() {
        let printed = call(&apart, NAME, which, 0);
        assert!(printed.contains(NAME), "{printed}");
        let status = if position < 3 { "open" } else { "success" };
        assert_eq!(apart.rows(STATUS), [status], "{which}");
    }
    assert_eq!(published(&apart), published(&whole));
    assert_eq!(apart.rows(TRIES), once_each());
    assert!(apart.settings.dashboard_path().exists());
    let id = RunName::parse(NAME).expect("a name").id().to_string();
    // Its rejects are listed, and so will be thrown away one day, though its id has no time.
    let kept = process::output(process::command(&apart).args(["quarantine", "list"]));
    assert!(String::from_utf8_lossy(&kept.stdout).contains(&id));
    assert_eq!(apart.rows("SELECT run_id FROM claims_etl.runs"), [id]);
    assert_eq!(apart.rows("SELECT orchestrator_run_id FROM claims_etl.runs"), [NAME]);
    let states = "SELECT state FROM claims_etl.task_runs GROUP BY 1";
    assert_eq!(
        (apart.rows(states), whole.rows(states)),
        (vec!["success".into()], vec!["success".into()])
    );
}

#[test]
fn a_task_waits_for_nobody_but_refuses_to_come_first() {
    let env = env();
    let printed = call(&env, NAME, "transform_join", 2);
    assert!(printed.contains("extract.extract_claims, which is not done"), "{printed}");
    assert!(
        printed.contains(&format!("run --task extract.extract_claims --run-id '{NAME}'")),
        "{printed}"
    );
    calls(&env, NAME, &TASKS[..1]);
    let printed = call(&env, NAME, "transform_join", 2);
    assert!(printed.contains("extract.extract_providers, which is not done"), "{printed}");
    let printed = call(&env, NAME, "load.load_warehouse", 2);
    assert!(printed.contains("extract.extract_providers, which is not done"), "{printed}");
    calls(&env, NAME, &TASKS[1..2]);
    let printed = call(&env, NAME, "load.load_warehouse", 2);
    assert!(printed.contains("transform_join, which is not done"), "{printed}");
    let printed = call(&env, NAME, "load.refresh_bi", 2);
    assert!(printed.contains("load.load_warehouse, which is not done"), "{printed}");
    assert_eq!(env.rows(TRIES).len(), 2, "what was refused is no try");
    // Another name is another run.
    call(&env, "another", "transform_join", 2);
    assert!(call(&env, NAME, "load", 2).contains("possible values"));
    let mut unnamed = process::reading(&env, &["run", "--task", "transform_join"]);
    assert!(ended(&process::output(&mut unnamed), 2).contains("--run-id"));
}

#[test]
fn a_source_that_changed_between_two_tasks_is_refused() {
    let env = env();
    calls(&env, NAME, &TASKS[..2]);
    let before = fs::read_to_string(env.path("claims.csv")).expect("claims");
    fs::write(env.path("claims.csv"), before.replace("30.00", "31.00")).expect("written");
    let printed = call(&env, NAME, "transform_join", 3);
    assert!(printed.contains("extract.extract_claims has read another source"), "{printed}");
    assert!(printed.contains("claims.csv is not what the run has read"), "{printed}");
    assert_eq!(env.rows(STATUS), ["failed"]);
    // Extracted again, it is the input of the run.
    calls(&env, NAME, &["extract.extract_claims", "transform_join"]);
    fs::write(env.path("claims.csv"), &before).expect("written");
    call(&env, NAME, "load.load_warehouse", 3);
    // Extracted again after the transform, the transform is not that of this input.
    calls(&env, NAME, &["extract.extract_claims"]);
    let printed = call(&env, NAME, "load.load_warehouse", 2);
    assert!(printed.contains("call transform_join again"), "{printed}");
    calls(&env, NAME, &["transform_join", "load.load_warehouse", "load.refresh_bi"]);
    let amount = "SELECT sum(amount) FROM healthcare_analytics.claims_fact";
    assert_eq!(env.rows(amount), ["33.25"]);
    let tries =
        "SELECT max(try_number) FROM claims_etl.task_runs GROUP BY task_id ORDER BY task_id";
    assert_eq!(env.rows(tries), ["3", "1", "3", "1", "3"], "numbers go on");
}

#[test]
fn other_settings_than_those_of_the_transform_are_refused() {
    let env = env();
    calls(&env, NAME, &TASKS[..3]);
    let mut other = task(&env, "load.load_warehouse", NAME);
    other.args(["--mode", "replace"]);
    let printed = ended(&process::output(&mut other), 2);
    assert!(printed.contains("other settings"), "{printed}");
    calls(&env, NAME, &TASKS[3..]);
}

#[test]
fn a_complete_run_is_left_as_it_is() {
    let env = env();
    calls(&env, NAME, &TASKS);
    let then = published(&env);
    for which in TASKS {
        assert!(call(&env, NAME, which, 99).contains("is complete"), "{which}");
    }
    let mut whole = process::reading(&env, &["run", "--run-id", NAME]);
    whole.env("CLAIMS_ETL_ALREADY_LOADED_EXIT_CODE", "99");
    assert!(ended(&process::output(&mut whole), 99).contains("is complete"));
    assert_eq!(published(&env), then);
    assert_eq!(env.rows(TRIES), once_each());
    // Who calls it again for the sake of a new file must not get exit code 0.
    let text = fs::read_to_string(env.path("claims.csv")).expect("claims");
    fs::write(env.path("claims.csv"), text.replace("30.00", "31.00")).expect("written");
    let printed = call(&env, NAME, "extract.extract_claims", 3);
    assert!(printed.contains("under another name"), "{printed}");
    call(&env, NAME, "extract.extract_providers", 99);
    assert_eq!(published(&env), then);
}

#[test]
fn what_is_loaded_already_is_skipped_under_another_name() {
    let env = env();
    succeeded(&env.run());
    calls(&env, NAME, &TASKS[..2]);
    call(&env, NAME, "transform_join", 99);
    call(&env, NAME, "load.load_warehouse", 99);
    call(&env, NAME, "load.refresh_bi", 99);
    assert_eq!(env.rows(STATUS), ["success", "already_loaded"]);
    let skipped = "SELECT task_id FROM claims_etl.task_runs WHERE state = 'skipped' ORDER BY 1";
    assert_eq!(env.rows(skipped), ["load.load_warehouse", "load.refresh_bi"]);
    // With other input the same run has something to do after all.
    let text = fs::read_to_string(env.path("claims.csv")).expect("claims");
    fs::write(env.path("claims.csv"), text.replace("30.00", "31.00")).expect("written");
    calls(&env, NAME, &TASKS[..2]);
    call(&env, NAME, "load.load_warehouse", 2);
    calls(&env, NAME, &TASKS[2..]);
    assert_eq!(env.rows(STATUS), ["success", "success"]);
}

#[test]
fn what_is_loaded_no_more_is_not_skipped() {
    let mut env = env_with(&["Z,P,V1,99213,7.00,2024-01-01"]);
    let first = env.settings.claims.sources.clone();
    succeeded(&env.run());
    calls(&env, NAME, &TASKS[..2]);
    call(&env, NAME, "transform_join", 99);
    // Other claims replace what the run has found.
    env.settings.claims.sources =
        vec![env.write("more.csv", HEADER, &["Z,P,V1,99213,8.00,2024-01-01"])];
    succeeded(&env.run());
    env.settings.claims.sources = first;
    let printed = call(&env, NAME, "load.load_warehouse", 2);
    assert!(printed.contains("what was published since has changed that"), "{printed}");
    calls(&env, NAME, &TASKS[2..]);
    assert_eq!(env.rows("SELECT amount FROM healthcare_analytics.claims_fact"), ["7.00"]);
    // The same for the whole run under its name.
    let mut env = env_with(&["Z,P,V1,99213,7.00,2024-01-01"]);
    let first = env.settings.claims.sources.clone();
    succeeded(&env.run());
    let whole = |env: &TestEnv, code: i32| {
        let mut command = process::reading(env, &["run", "--run-id", NAME]);
        command.env("CLAIMS_ETL_ALREADY_LOADED_EXIT_CODE", "99");
        ended(&process::output(&mut command), code);
    };
    whole(&env, 99);
    env.settings.claims.sources =
        vec![env.write("more.csv", HEADER, &["Z,P,V1,99213,8.00,2024-01-01"])];
    succeeded(&env.run());
    env.settings.claims.sources = first;
    whole(&env, 0);
    assert_eq!(env.rows("SELECT amount FROM healthcare_analytics.claims_fact"), ["7.00"]);
}

#[test]
fn another_run_between_two_tasks_is_noticed() {
    let env = env();
    calls(&env, NAME, &TASKS[..3]);
    // The same input by somebody else.
    succeeded(&env.run());
    assert_eq!(env.rows(STATUS), ["open", "success"], "an open run is not taken for a dead one");
    call(&env, NAME, "load.load_warehouse", 99);
    call(&env, NAME, "load.refresh_bi", 99);
    assert_eq!(env.rows(STATUS), ["already_loaded", "success"]);

    // Other input by somebody else: this one is loaded over it.
    let mut env = env_with(&["Z,P,V1,99213,7.00,2024-01-01"]);
    let first = env.settings.claims.sources.clone();
    calls(&env, NAME, &TASKS[..3]);
    env.settings.claims.sources =
        vec![env.write("more.csv", HEADER, &["Z,P,V1,99213,8.00,2024-01-01"])];
    succeeded(&env.run());
    env.settings.claims.sources = first;
    calls(&env, NAME, &TASKS[3..]);
    assert_eq!(env.rows("SELECT amount FROM healthcare_analytics.claims_fact"), ["7.00"]);
    assert_eq!(env.rows("SELECT claims_updated FROM claims_etl.runs ORDER BY run_no"), ["1", "0"]);
}

const HEADER: &str = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";

fn env_with(claims: &[&str]) -> TestEnv {
    let env = env();
    env.write("claims.csv", HEADER, claims);
    env
}

#[test]
fn extracts_go_side_by_side_while_another_run_holds_the_warehouse() {
    let env = env();
    location::migrate(&env.settings, &NullObserver, &Cancellation::default()).expect("migrated");
    let mut holder = env.database.connect();
    holder.batch_execute("SELECT pg_advisory_lock(x'636c61696d65746c'::bigint)").expect("held");
    let started: Vec<_> = TASKS[..2]
        .iter()
        .map(|which| process::Running::start(&mut task(&env, which, NAME)))
        .collect();
    for running in started {
        let (status, printed) = running.end();
        assert!(status.success(), "{printed}");
    }
    // The others need it.
    let mut waiting = task(&env, "transform_join", NAME);
    let printed = ended(&process::output(waiting.env("CLAIMS_ETL_WAIT", "0")), 75);
    assert!(printed.contains("is loading this warehouse"), "{printed}");
    drop(holder);
    calls(&env, NAME, &TASKS[2..]);
    assert_eq!(env.rows(TRIES), once_each());
}

#[test]
fn the_last_line_is_the_result_and_so_is_the_file() {
    let env = env();
    let file = env.path("return.json");
    for which in TASKS {
        let mut command = task(&env, which, NAME);
        command.args(["--xcom", "--log-format", "json"]).env("AIRFLOW_CTX_TRY_NUMBER", "3");
        command.env("CLAIMS_ETL_XCOM_FILE", &file);
        let output = process::output(&mut command);
        let printed = ended(&output, 0);
        assert!(printed.contains("try 3 there"), "{printed}");
        let out = String::from_utf8(output.stdout).expect("text");
        let last: Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
        assert_eq!((&last["task"], &last["state"]), (&which.into(), &"success".into()));
        assert!(!last["result"].is_null());
        assert!(out.len() < 4_000, "small: {out}");
        let kept = fs::read_to_string(&file).expect("written");
        assert_eq!(out.lines().last(), kept.strip_suffix('\n'));
        for secret in ["Ada", "\"P\"", "V9", "99215"] {
            assert!(!kept.contains(secret), "{secret} in {kept}");
        }
    }
    // A failure has a last line too.
    let mut refused = task(&env, "transform_join", "another");
    let output = process::output(refused.arg("--xcom"));
    ended(&output, 2);
    let out = String::from_utf8(output.stdout).expect("text");
    assert!(out.lines().last().expect("a line").contains("\"state\":\"failed\""), "{out}");
    let mut nowhere = task(&env, "transform_join", "another");
    nowhere.args(["--xcom-file", "/nowhere/return.json"]);
    assert!(ended(&process::output(&mut nowhere), 2).contains("no such folder"));
    // And a whole run.
    let mut whole = process::reading(&env, &["run", "--xcom", "--force", "--run-id", "third"]);
    let output = process::output(&mut whole);
    ended(&output, 0);
    let out = String::from_utf8(output.stdout).expect("text");
    let last: Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["result"]["tasks"]["load.refresh_bi"], "success");
    assert_eq!(last["result"]["claims"]["loaded"], 3);
}

#[test]
fn too_many_rejects_fail_the_transform_already() {
    let mut env = env();
    env.settings.quality.max_reject_ratio = 0.1;
    calls(&env, NAME, &TASKS[..2]);
    let printed = call(&env, NAME, "transform_join", 4);
    assert!(printed.contains("1 of 5 claims were rejected"), "{printed}");
    assert_eq!(env.rows(STATUS), ["failed"]);
    env.settings.quality.max_reject_ratio = 1.0;
    calls(&env, NAME, &TASKS[2..]);
    assert_eq!(env.rows(STATUS), ["success"]);
}

#[test]
fn a_half_done_run_is_resumed_as_a_whole() {
    for done in [1, 3, 4, 5] {
        let env = env();
        calls(&env, NAME, &TASKS[..done]);
        let id = RunName::parse(NAME).expect("a name").id();
        let (options, cancel) = (RunOptions::default(), Cancellation::default());
        let resumed =
            pipeline::resume(&env.settings, &options, RunSelector::Run(id), &NullObserver, &cancel);
        if done == 5 {
            assert_eq!(resumed.status, Status::AlreadyLoaded);
        } else {
            succeeded(&resumed);
        }
        assert_eq!(resumed.run_id, id.to_string(), "{done}");
        assert_eq!(resumed.claims.loaded, 3);
        assert_eq!(env.rows(STATUS), ["success"], "{done}");
        let last = "SELECT DISTINCT ON (task_id) state FROM claims_etl.task_runs
            ORDER BY task_id, try_number DESC";
        assert_eq!(env.rows(last), ["success"; 5]);
        call(&env, NAME, "load.refresh_bi", 99);
    }
}

#[test]
fn a_whole_run_has_its_name_too() {
    let env = env();
    let mut whole =
        process::reading(&env, &["run", "--run-id", NAME, "--interval-end", "2024-12-31"]);
    whole.env_remove("CLAIMS_ETL_RUN_DATE");
    ended(&process::output(&mut whole), 0);
    assert_eq!(env.rows("SELECT run_date FROM claims_etl.runs"), ["2024-12-31"]);
    assert_eq!(env.rows("SELECT orchestrator_run_id FROM claims_etl.runs"), [NAME]);
    // Its verification has the day of the run.
    let mut verify = process::reading(&env, &["verify", "last"]);
    ended(&process::output(verify.env_remove("CLAIMS_ETL_RUN_DATE")), 0);
    // A UUID is the id itself.
    let id = RunId::now().to_string();
    let mut named = process::reading(&env, &["run", "--force", "--run-id", &id]);
    ended(&process::output(&mut named), 0);
    assert_eq!(env.rows("SELECT run_id FROM claims_etl.runs ORDER BY run_no DESC LIMIT 1"), [id]);
    assert_eq!(env.rows("SELECT count(run_date) FROM claims_etl.runs"), ["1"]);
}

#[test]
fn what_nobody_goes_on_with_is_closed_after_a_week() {
    let env = env();
    calls(&env, NAME, &TASKS[..2]);
    let listed = process::output(process::command(&env).args(["runs"]));
    let listed = String::from_utf8(listed.stdout).expect("text");
    for expected in ["open", "extract.extract_providers", NAME] {
        assert!(listed.contains(expected), "{listed}");
    }
    let ago = |days: u32| {
        format!("UPDATE claims_etl.runs SET last_task_at = now() - interval '{days} days'")
    };
    env.database.connect().batch_execute(&ago(6)).expect("aged");
    let other = pipeline::RunOptions { force: true, ..RunOptions::default() };
    succeeded(&env.run_with(&other));
    assert_eq!(env.rows(STATUS), ["open", "success"]);
    env.database.connect().batch_execute(&ago(8)).expect("aged");
    succeeded(&env.run_with(&other));
    assert_eq!(env.rows(STATUS), ["failed", "success", "success"]);
    // Who goes on with it after all may.
    let mut late = task(&env, "transform_join", NAME);
    ended(&process::output(late.arg("--force")), 0);
    assert_eq!(env.rows(STATUS)[0], "open");
}

#[test]
fn standard_input_cannot_be_handed_on() {
    let mut env = env();
    env.settings.claims.sources = vec!["-".into()];
    let printed = call(&env, NAME, "extract.extract_claims", 2);
    assert!(printed.contains("standard input"), "{printed}");
}

#[test]
fn a_task_whose_end_is_not_in_the_ledger_has_not_succeeded() {
    let env = env();
    location::migrate(&env.settings, &NullObserver, &Cancellation::default()).expect("migrated");
    // The session of whoever writes down that the task is done is ended, so often.
    let lose = |which: &str, times: u32| {
        let script = format!(
            "DROP TRIGGER IF EXISTS boom ON claims_etl.task_runs;
             DROP SEQUENCE IF EXISTS public.lost;
             CREATE SEQUENCE public.lost;
             CREATE OR REPLACE FUNCTION public.boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF new.state = 'success' AND new.task_id = '{which}'
                     AND pg_catalog.nextval('public.lost') <= {times} THEN
                     PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());
                 END IF;
                 RETURN new;
             END $$;
             CREATE TRIGGER boom BEFORE INSERT OR UPDATE ON claims_etl.task_runs
                 FOR EACH ROW EXECUTE FUNCTION public.boom()"
        );
        env.database.connect().batch_execute(&script).expect("a trigger");
    };
    for which in &TASKS[..3] {
        lose(which, 100);
        let printed = call(&env, NAME, which, 5);
        assert!(printed.contains("could not be written to the run log"), "{printed}");
        // Twice at once, and once at the end.
        lose(which, 3);
        call(&env, NAME, which, 0);
    }
    // What is published is published.
    lose(TASKS[3], 100);
    call(&env, NAME, TASKS[3], 0);
    lose("", 0);
    calls(&env, NAME, &TASKS[4..]);
    assert_eq!(env.rows(STATUS), ["success"]);
}

#[cfg(feature = "failpoints")]
mod killed {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;
    use crate::support::failpoints::Failpoints as _;
    use crate::support::process::gone;

    /// Kills a task at a place.
    fn kill(env: &TestEnv, which: &str, place: &str) {
        let mut command = task(env, which, NAME);
        command.kill_at(place);
        let output = process::output(&mut command);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(9), "{place}: {printed}");
        gone(&env.database);
    }

    #[test]
    fn a_task_that_was_killed_is_called_again() {
        let whole = env();
        succeeded(&whole.run());
        let expected = published(&whole);
        for (position, place) in [
            (0, "extract.done"),
            (2, "first_pass.done"),
            (3, "first_pass.done"),
            (3, "stage.done"),
            (3, "publish.commit"),
            (4, "refresh.begin"),
        ] {
            let env = env();
            calls(&env, NAME, &TASKS[..position]);
            kill(&env, TASKS[position], place);
            calls(&env, NAME, &TASKS[position..]);
            assert_eq!(published(&env), expected, "{place}");
            let tries = env.rows(TRIES);
            assert!(tries.contains(&format!("{} 1 failed", TASKS[position])), "{place}: {tries:?}");
            assert!(tries.contains(&format!("{} 2 success", TASKS[position])), "{tries:?}");
        }
    }

    #[test]
    fn a_load_that_was_killed_after_its_commit_is_done() {
        let env = env();
        calls(&env, NAME, &TASKS[..3]);
        kill(&env, TASKS[3], "publish.committed");
        let then = published(&env);
        let printed = call(&env, NAME, TASKS[3], 0);
        assert!(printed.contains("has published already"), "{printed}");
        call(&env, NAME, TASKS[4], 0);
        assert_eq!(published(&env), then);
        assert_eq!(env.rows(STATUS), ["success"]);
    }

    #[test]
    fn a_failure_that_passes_is_tried_again_within_the_call() {
        let env = env();
        calls(&env, NAME, &TASKS[..3]);
        let mut command = task(&env, TASKS[3], NAME);
        command.once_at("publish.before", "error");
        ended(&process::output(&mut command), 0);
        let tries = env.rows(TRIES);
        assert!(tries.contains(&"load.load_warehouse 1 up_for_retry".to_owned()), "{tries:?}");
        assert!(tries.contains(&"load.load_warehouse 2 success".to_owned()), "{tries:?}");
    }
}
