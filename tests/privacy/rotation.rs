//! The change of the key with a real server: by files, by a chain, by a reload; killed anywhere; with
//! readers at work.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use claims_etl::commands::rotate;
use claims_etl::commands::rotate::RotationReport;
use claims_etl::commands::verify::recompute;
use claims_etl::config::Mode;
use claims_etl::error::{Error, ErrorKind};
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::key::{Domain, MasterKey};
use claims_etl::load::rotation::{Coverage, Phase};
use claims_etl::pipeline::{RunOptions, RunReport, RunSelector, Status, VerifyOptions};
use claims_etl::privacy::settings::Action;
use uuid::Uuid;

use crate::faults::released_program;
use crate::support::failpoints::Failpoints as _;
use crate::support::input_versions::{Published, Version, tables};
use crate::support::own_server::OwnServer;
use crate::support::process::{self, KEY, OTHER_KEY, gone};
use crate::support::server::{self, Database};
use crate::support::test_env::{TestEnv, succeeded};

const FACT: &str = "healthcare_analytics.v_claims";

/// All that must not change: rows without their tokens, and how claims hang together.
const CONTENT: &str = "SELECT concat_ws('|',
    (SELECT string_agg(r, ';' ORDER BY r) FROM (
         SELECT (to_jsonb(f) - '{claim_token,patient_token,run_no}'::text[])::text AS r
         FROM healthcare_analytics.claims_fact f) AS rows),
    (SELECT string_agg(n::text, ';' ORDER BY n) FROM (
         SELECT count(*) AS n FROM healthcare_analytics.claims_fact GROUP BY patient_token) AS p),
    (SELECT string_agg(n::text, ';' ORDER BY n) FROM (
         SELECT count(*) AS n FROM healthcare_analytics.claims_fact GROUP BY provider_key) AS p))";

fn begin(env: &TestEnv) -> Result<RotationReport, Error> {
    rotate::begin(&env.settings, false, &NullObserver, &Cancellation::default())
}

fn map(env: &TestEnv) -> Result<RotationReport, Error> {
    rotate::map(&env.settings, &NullObserver, &Cancellation::default())
}

fn chain(env: &TestEnv) -> Result<RotationReport, Error> {
    rotate::chain(&env.settings, &NullObserver, &Cancellation::default())
}

fn finish(env: &TestEnv) -> Result<RotationReport, Error> {
    rotate::finish(&env.settings, false, &NullObserver, &Cancellation::default())
}

fn forced(env: &TestEnv) -> RunReport {
    env.run_with(&RunOptions { force: true, dry_run: false })
}

fn refused(report: &RunReport) -> String {
    assert_eq!((report.status, report.exit_code), (Status::Failed, 2), "{:?}", report.error);
    report.error.as_ref().map(|error| error.message.clone()).unwrap_or_default()
}

/// A file with a key.
fn key_file(env: &TestEnv, name: &str, text: &str) -> PathBuf {
    let path = env.path(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    path
}

/// An environment with both keys: the old one configured, the other one named as the next.
pub(crate) fn env_with_keys() -> TestEnv {
    let mut env = TestEnv::new();
    env.settings.privacy.key_file = Some(key_file(&env, "old.key", KEY));
    env.settings.privacy.next_key_file = Some(key_file(&env, "new.key", OTHER_KEY));
    env.providers(&["V1,Ann,Cardiology,Boston", "V2,Ben,Oncology,Salem"])
}

/// The next key becomes the configured one.
fn change_over(env: &mut TestEnv) {
    env.settings.privacy.key_file = env.settings.privacy.next_key_file.take();
}

fn missing(report: &RotationReport) -> Vec<u64> {
    report.coverage.iter().map(Coverage::missing).collect()
}

/// The tokens of ids as they are in a table, in their order.
fn tokens(env: &TestEnv, domain: Domain, ids: &[&str]) -> Vec<String> {
    let tokenizer =
        MasterKey::resolve(&env.settings.key_source()).expect("the key").tokenizer(domain);
    let token = |id: &&str| Uuid::from_bytes(tokenizer.token(id).expect("not blank")).to_string();
    let mut tokens: Vec<String> = ids.iter().map(token).collect();
    tokens.sort();
    tokens
}

fn distinct(env: &TestEnv, column: &str) -> Vec<String> {
    env.rows(&format!("SELECT DISTINCT {column} FROM {FACT} ORDER BY 1"))
}

const FIRST: [&str; 3] = [
    "C1,P1,V1,99213,10.00,2024-01-01",
    "C2,P2,V1,99214,20.00,2024-01-02",
    "C3,P1,V2,99213,30.00,2024-01-03",
];
const SECOND: [&str; 2] = ["C4,P3,V2,99213,40.00,2024-01-04", "C5,P2,V9,99213,50.00,2024-01-05"];
const THIRD: [&str; 2] = ["C6,P4,V1,99213,60.00,2024-01-06", "C1,P1,V1,99213,11.00,2024-01-01"];

#[test]
fn the_files_change_the_key_step_by_step_while_loads_go_on() {
    let mut env = env_with_keys().claims(&FIRST);
    succeeded(&env.run());
    let first_run = env.rows("SELECT run_id FROM claims_etl.runs").concat();
    env = env.claims(&SECOND);
    succeeded(&env.run());

    let begun = begin(&env).expect("begins");
    assert_eq!(missing(&begun), [5, 3]);
    assert_eq!(begin(&env).expect("the same again").rotation, begun.rotation);
    let early = finish(&env).expect_err("nothing is mapped");
    assert_eq!(early.kind(), ErrorKind::Quality);
    assert!(early.message().contains("5 of 5 claim tokens"), "{early}");

    env = env.claims(&FIRST);
    assert_eq!(missing(&map(&env).expect("maps")), [2, 1]);
    assert_eq!(map(&env).expect("maps again").mapped, 0, "a file can be mapped twice");
    // A load of the window knows both keys.
    env = env.claims(&THIRD);
    let loaded = env.run();
    succeeded(&loaded);
    assert_eq!((loaded.claims.inserted, loaded.claims.updated), (1, 1));
    assert_eq!(missing(&rotate::status(&env.settings).expect("a status")), [2, 1]);
    // Of one that does not name the next key, the next step takes stock.
    let next = env.settings.privacy.next_key_file.take();
    env = env.claims(&["C7,P5,V1,99213,70.00,2024-01-07"]);
    succeeded(&env.run());
    env.settings.privacy.next_key_file = next;
    env = env.claims(&SECOND);
    assert_eq!(missing(&map(&env).expect("maps")), [1, 1]);
    assert!(finish(&env).expect_err("a file is missing").message().contains("1 of 7 claim"));
    env = env.claims(&["C7,P5,V1,99213,70.00,2024-01-07"]);
    assert_eq!(missing(&map(&env).expect("maps")), [0, 0]);

    let before = env.rows(CONTENT);
    let shown = "SELECT count(refreshed_run_no) FROM claims_etl.refresh_outbox";
    assert_eq!(env.rows(shown), ["1"], "the dashboard shows what is published");
    let ended = finish(&env).expect("finishes");
    assert_eq!(env.rows(shown), ["0"], "dashboards are due");
    assert_eq!(ended.rotation.map(|rotation| rotation.phase), Some(Phase::Attached));
    assert_eq!(env.rows(CONTENT), before, "only tokens have changed");
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.token_map"), ["0"]);
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.key_rotation"), ["0"]);

    // The old key is refused before a row is read: there is none to read.
    let sources = env.settings.claims.sources.clone();
    env.settings.claims.sources = vec!["/nowhere/claims.csv".into()];
    assert!(refused(&env.run()).contains("retired"));
    env.settings.claims.sources = sources;

    change_over(&mut env);
    fs::remove_file(env.path("old.key")).expect("destroyed");
    let patients = ["P1", "P2", "P3", "P4", "P5"];
    assert_eq!(distinct(&env, "patient_token"), tokens(&env, Domain::Patient, &patients));
    let claims = ["C1", "C2", "C3", "C4", "C5", "C6", "C7"];
    assert_eq!(distinct(&env, "claim_token"), tokens(&env, Domain::Claim, &claims));

    // A file that was loaded under the old key finds its own rows.
    env = env.claims(&THIRD);
    let again = env.run();
    succeeded(&again);
    let counts = &again.claims;
    assert_eq!((counts.unchanged, counts.inserted, counts.updated), (2, 0, 0));
    env = env.claims(&["C8,P1,V1,99213,80.00,2024-01-08"]);
    succeeded(&env.run());
    assert_eq!(distinct(&env, "patient_token").len(), 5, "the patient is known");

    // A run of the old key is verified with the new one.
    let mut first = env.claims(&FIRST);
    first.settings.warehouse.mode = Mode::Merge;
    let which = RunSelector::parse(&first_run).expect("an id");
    let options = VerifyOptions { claims_named: true, providers_named: true };
    let cancel = Cancellation::default();
    let verified = recompute::verify(&first.settings, options, which, &NullObserver, &cancel);
    assert!(verified.expect("verifies").equal);
}

#[test]
fn a_chain_changes_the_key_without_any_file() {
    let mut env = env_with_keys().claims(&FIRST);
    succeeded(&env.run());
    let chained = key_file(&env, "chain.key", &format!("{KEY}\n{OTHER_KEY}\n"));
    env.settings.privacy.next_key_file = Some(chained);
    fs::remove_file(&env.settings.claims.sources[0]).expect("removed");
    let before = env.rows(CONTENT);
    assert_eq!(missing(&begin(&env).expect("begins")), [3, 2]);
    let done = chain(&env).expect("chains");
    assert_eq!((missing(&done), done.mapped), (vec![0, 0], 5));
    finish(&env).expect("finishes");
    assert_eq!(env.rows(CONTENT), before);

    env = env.claims(&["C9,P1,V1,99213,90.00,2024-01-09"]);
    assert!(refused(&env.run()).contains("retired"), "the old key by itself is of no use");
    change_over(&mut env);
    fs::remove_file(env.path("old.key")).expect("destroyed");
    succeeded(&env.run());
    assert_eq!(distinct(&env, "patient_token"), tokens(&env, Domain::Patient, &["P1", "P2"]));
    env = env.claims(&FIRST);
    let again = forced(&env);
    succeeded(&again);
    assert_eq!(again.claims.unchanged, 3);

    // And once more.
    let longer = env.path("longer.key");
    MasterKey::extend(&env.settings.key_path(), &longer).expect("a longer chain");
    env.settings.privacy.next_key_file = Some(longer);
    begin(&env).expect("begins");
    chain(&env).expect("chains");
    finish(&env).expect("finishes");
    change_over(&mut env);
    assert_eq!(distinct(&env, "patient_token"), tokens(&env, Domain::Patient, &["P1", "P2"]));
    assert_eq!(
        env.rows("SELECT count(*) FROM claims_etl.keys WHERE retired_at IS NOT NULL"),
        ["2"]
    );
}

#[test]
fn provider_tokens_change_wherever_they_stand() {
    let mut env = env_with_keys().claims(&SECOND);
    let released = env.settings.privacy.columns.clone();
    env.settings.privacy.columns.insert("provider_id".into(), Action::Token);
    succeeded(&env.run());
    let mut client = env.database.connect();
    client
        .batch_execute(
            "DROP MATERIALIZED VIEW IF EXISTS healthcare_analytics.mv_of_tokens;
             CREATE MATERIALIZED VIEW healthcare_analytics.mv_of_tokens AS
             SELECT provider_id FROM healthcare_analytics.providers_dim
             WHERE provider_id <> '(unknown)'",
        )
        .expect("as it is");
    // The warehouse knows what was done to its columns, whatever the settings have become.
    env.settings.privacy.columns = released;
    let before = env.rows(CONTENT);
    assert_eq!(missing(&begin(&env).expect("begins")), [2, 2, 3]);
    env.settings.privacy.columns.insert("provider_id".into(), Action::Token);
    assert_eq!(missing(&map(&env).expect("maps")), [0, 0, 0], "V1 is in the directory only");
    finish(&env).expect("finishes");
    assert_eq!(env.rows(CONTENT), before);
    change_over(&mut env);
    let of_claims = tokens(&env, Domain::Provider, &["V2", "V9"]);
    assert_eq!(distinct(&env, "provider_id"), of_claims);
    let all = tokens(&env, Domain::Provider, &["V1", "V2", "V9"]);
    for table in ["healthcare_analytics.providers_dim", "healthcare_analytics.mv_of_tokens"] {
        let ids =
            format!("SELECT provider_id FROM {table} WHERE provider_id <> '(unknown)' ORDER BY 1");
        assert_eq!(env.rows(&ids), all, "{table}");
    }
    let again = forced(&env);
    succeeded(&again);
    assert_eq!(again.claims.unchanged, 2);
}

/// Ids of the form of a token, as Synthea and FHIR servers make them.
const ALIKE: [&str; 3] = [
    "0b2f5c0a-6c1e-4d38-9a61-0f5c1d2e3a41,5ca1ab1e-0000-4000-8000-000000000001,\
     7f3c9a52-1111-4222-8333-444455556666,99213,10.00,2024-01-01",
    "0b2f5c0a-6c1e-4d38-9a61-0f5c1d2e3a42,5ca1ab1e-0000-4000-8000-000000000002,\
     7f3c9a52-1111-4222-8333-444455556666,99214,20.00,2024-01-02",
    "0b2f5c0a-6c1e-4d38-9a61-0f5c1d2e3a43,5ca1ab1e-0000-4000-8000-000000000001,\
     7F3C9A52-1111-4222-8333-444455557777,99213,30.00,2024-01-03",
];

#[test]
fn ids_of_the_form_of_a_token_are_no_tokens() {
    let providers = "SELECT provider_id FROM healthcare_analytics.providers_dim
        WHERE provider_id <> '(unknown)' ORDER BY 1";
    let of_claims =
        "SELECT amount || ' ' || provider_id FROM healthcare_analytics.v_claims ORDER BY 1";
    let patients = ["5ca1ab1e-0000-4000-8000-000000000001", "5ca1ab1e-0000-4000-8000-000000000002"];
    for method in ["files", "chain", "reload"] {
        let directory = ["7f3c9a52-1111-4222-8333-444455556666,Ann,Cardiology,Boston"];
        let mut env = env_with_keys().claims(&ALIKE).providers(&directory);
        if method == "chain" {
            let chained = key_file(&env, "chain.key", &format!("{KEY}\n{OTHER_KEY}\n"));
            env.settings.privacy.next_key_file = Some(chained);
        }
        succeeded(&env.run());
        let (before, kept, claims) = (env.rows(CONTENT), env.rows(providers), env.rows(of_claims));
        assert_eq!(kept.len(), 2, "{kept:?}");
        match method {
            "files" => {
                assert_eq!(missing(&begin(&env).expect("begins")), [3, 2]);
                assert_eq!(missing(&map(&env).expect("maps")), [0, 0]);
            }
            "chain" => {
                begin(&env).expect("begins");
                assert_eq!(missing(&chain(&env).expect("chains")), [0, 0]);
            }
            _ => {
                let cancel = Cancellation::default();
                rotate::begin(&env.settings, true, &NullObserver, &cancel).expect("begins");
                change_over(&mut env);
                env.settings.warehouse.mode = Mode::Replace;
                succeeded(&forced(&env));
                env.settings.warehouse.mode = Mode::Merge;
            }
        }
        finish(&env).expect("finishes");
        assert_eq!(env.rows(CONTENT), before, "{method}");
        assert_eq!(env.rows(providers), kept, "{method}");
        assert_eq!(env.rows(of_claims), claims, "{method}");
        if method != "reload" {
            change_over(&mut env);
        }
        assert_eq!(
            distinct(&env, "patient_token"),
            tokens(&env, Domain::Patient, &patients),
            "{method}"
        );
        let again = forced(&env);
        succeeded(&again);
        assert_eq!((again.claims.unchanged, again.claims.loaded), (3, 3), "{method}");
    }
}

#[test]
fn what_cannot_be_changed_in_place_is_reloaded() {
    let mut env = env_with_keys().claims(&FIRST);
    succeeded(&env.run());
    for (column, action, why) in [
        ("date_of_service", Action::DateShift(30), "dates are shifted"),
        ("location", Action::Token, "location are tokens"),
    ] {
        let kept = env.settings.privacy.columns.clone();
        env.settings.privacy.columns.insert(column.into(), action);
        env.settings.warehouse.mode = Mode::Replace;
        succeeded(&forced(&env));
        let error = begin(&env).expect_err(why);
        assert!(error.message().contains(why), "{error}");
        env.settings.privacy.columns = kept;
    }
    succeeded(&forced(&env));
    env.settings.warehouse.mode = Mode::Merge;

    let cancel = Cancellation::default();
    rotate::begin(&env.settings, true, &NullObserver, &cancel).expect("begins");
    assert_eq!(finish(&env).expect_err("nothing is loaded").kind(), ErrorKind::Quality);
    let old = env.settings.privacy.key_file.clone();
    change_over(&mut env);
    assert!(refused(&forced(&env)).contains("has not ended"), "a merge would mix tokens");
    env.settings.warehouse.mode = Mode::Replace;
    succeeded(&forced(&env));
    let new = env.settings.privacy.key_file.take();
    env.settings.privacy.key_file = old;
    assert!(refused(&forced(&env)).contains("was loaded with key"));
    env.settings.privacy.key_file = new;
    env.settings.warehouse.mode = Mode::Merge;
    succeeded(&forced(&env));
    finish(&env).expect("finishes");
    assert_eq!(distinct(&env, "patient_token"), tokens(&env, Domain::Patient, &["P1", "P2"]));
    assert_eq!(
        env.rows("SELECT count(*) FROM claims_etl.keys WHERE retired_at IS NOT NULL"),
        ["1"]
    );
    succeeded(&forced(&env));
}

#[test]
fn what_makes_no_sense_is_refused_and_an_abort_leaves_no_trace() {
    let mut env = env_with_keys().claims(&FIRST);
    assert!(begin(&env).expect_err("empty").message().contains("nothing is published"));
    assert!(map(&env).expect_err("none").message().contains("no rotation is at work"));
    assert!(finish(&env).expect_err("none").message().contains("no rotation is at work"));
    succeeded(&env.run());
    let before = Published::read(&mut env.database.connect());
    let next = env.settings.privacy.next_key_file.clone();
    env.settings.privacy.next_key_file = env.settings.privacy.key_file.clone();
    assert!(begin(&env).expect_err("the same").message().contains("the present one"));
    let strange = key_file(&env, "strange.key", &format!("{OTHER_KEY}\n{KEY}"));
    env.settings.privacy.next_key_file = Some(strange);
    assert!(begin(&env).expect_err("another chain").message().contains("a chain over key"));
    env.settings.privacy.next_key_file = next.clone();
    begin(&env).expect("begins");
    map(&env).expect("maps");

    // Neither another next key nor the next key itself can load.
    env.settings.privacy.next_key_file = Some(env.path("third.key"));
    MasterKey::generate(&env.path("third.key")).expect("a key");
    assert!(begin(&env).expect_err("one at a time").message().contains("is at work"));
    assert!(refused(&forced(&env)).contains("leads to key"));
    let old = env.settings.privacy.key_file.clone();
    env.settings.privacy.next_key_file = next;
    change_over(&mut env);
    assert!(refused(&forced(&env)).contains("has not ended"));
    env.settings.privacy.key_file = old;

    rotate::abort(&env.settings, &NullObserver, &Cancellation::default()).expect("gives up");
    assert_eq!(Published::read(&mut env.database.connect()), before);
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.token_map"), ["0"]);
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.keys"), ["1"]);
    succeeded(&forced(&env));
    // The key that was given up may come back.
    env.settings.privacy.next_key_file = Some(env.path("new.key"));
    begin(&env).expect("begins");
}

/// The steps of a rotation as processes, and where each can be killed.
const STEPS: [(&str, &[&str]); 3] = [
    ("begin", &["rotate.begin", "rotate.stock", "rotate.stock:2"]),
    ("map", &["rotate.mapped", "rotate.mapped:2"]),
    (
        "finish",
        &[
            "rotate.stock",
            "rotate.created",
            "rotate.created:3",
            "rotate.noted",
            "rotate.built",
            "rotate.built:2",
            "rotate.ready",
            "rotate.compared",
            "rotate.providers",
            "rotate.installed",
            "rotate.locked",
            "rotate.commit",
            "rotate.committed",
            "rotate.viewed",
            "rotate.cleared",
        ],
    ),
];

/// Partitions of few rows.
const SMALL: &str = "1000";

fn step(env: &TestEnv, step: &str, part_rows: &str) -> Command {
    let mut command = if step == "map" {
        process::reading(env, &["key", "rotate", step])
    } else {
        let mut command = process::command(env);
        command.args(["key", "rotate", step]);
        command
    };
    command.env_remove("CLAIMS_ETL_KEY").with_value("rotate.part_rows", part_rows);
    for (name, file) in
        [("CLAIMS_ETL_KEY_FILE", "old.key"), ("CLAIMS_ETL_NEXT_KEY_FILE", "new.key")]
    {
        command.env(name, env.path(file));
    }
    command
}

fn does(env: &TestEnv, name: &str) -> String {
    let output = process::output(&mut step(env, name, SMALL));
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(output.status.success(), "{name}: {printed}");
    printed
}

fn env_at(database: &Database) -> TestEnv {
    let mut env = TestEnv::at(server::copy_of(database));
    Version::First.lay_on(&mut env);
    key_file(&env, "old.key", KEY);
    key_file(&env, "new.key", OTHER_KEY);
    env
}

#[test]
fn a_rotation_can_be_killed_anywhere() {
    let own = OwnServer::start();
    let mut env = own.env();
    Version::First.lay_on(&mut env);
    let loaded = process::output(&mut process::reading(&env, &["run"]));
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    let before = Published::read(&mut env.database.connect());
    gone(&env.database);

    let undisturbed = env_at(&env.database);
    let printed: String = STEPS.iter().map(|(name, _)| does(&undisturbed, name)).collect();
    assert!(printed.contains("can be destroyed"), "{printed}");
    nothing_holds_a_key(&undisturbed, &printed);
    let after = Published::read(&mut undisturbed.database.connect());
    assert_ne!(before, after);
    let tables_after = tables(&mut undisturbed.database.connect());
    assert!(tables_after.contains("partition 3"), "several were built: {tables_after:?}");

    let points: Vec<(&str, &str)> = STEPS
        .iter()
        .flat_map(|(name, points)| points.iter().map(move |point| (*name, *point)))
        .collect();
    let left = Mutex::new(points.iter());
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("the points").next();
                    let Some((killed, point)) = next else { break };
                    let env = env_at(&env.database);
                    for (name, _) in STEPS {
                        if name == *killed {
                            let mut step = step(&env, name, SMALL);
                            let output = process::output(step.kill_at(point));
                            if output.status.signal() != Some(9) {
                                let what = format!("{point}: never came by: {:?}", output.status);
                                wrong.lock().expect("the list").push(what);
                            }
                            gone(&env.database);
                            let found = Published::read(&mut env.database.connect());
                            let done = ["rotate.committed", "rotate.viewed", "rotate.cleared"];
                            let expected = if done.contains(point) { &after } else { &before };
                            if found != *expected {
                                let what = format!("{point}: {found:?}, not {expected:?}");
                                wrong.lock().expect("the list").push(what);
                            }
                        }
                        does(&env, name);
                    }
                    let mut client = env.database.connect();
                    let (found, tables) = (Published::read(&mut client), tables(&mut client));
                    if found != after || tables != tables_after {
                        let what = format!("{point}: in the end {found:?}, {tables:?}");
                        wrong.lock().expect("the list").push(what);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("the list");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_place_of_a_rotation_is_in_the_table() {
    let names: BTreeSet<&str> = STEPS
        .iter()
        .flat_map(|(_, points)| points.iter())
        .map(|point| point.split(':').next().unwrap_or(point))
        .collect();
    let places = released_program::failpoints();
    let missing: Vec<_> = places
        .iter()
        // An abort is one transaction that can be called again.
        .filter(|place| place.starts_with("rotate.") && *place != "rotate.abort")
        .filter(|place| !names.contains(place.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Neither key is in any table or in any output.
fn nothing_holds_a_key(env: &TestEnv, printed: &str) {
    let names = env.rows(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind IN ('r', 'm')
             AND relnamespace::regnamespace::text IN ('claims_etl', 'healthcare_analytics')",
    );
    assert!(names.len() > 10, "{names:?}");
    let mut all = printed.to_lowercase();
    for name in names {
        all += &env.rows(&format!("SELECT t FROM {name} t")).concat().to_lowercase();
    }
    let key = MasterKey::load(&env.path("new.key")).expect("a key");
    assert!(all.contains(&key.id()), "the search finds what is there");
    for key in [KEY, OTHER_KEY] {
        assert!(!all.contains(key) && !all.contains(&key[..20]), "a key is in the open");
    }
}

#[test]
fn a_load_between_two_tries_rebuilds_the_partitions() {
    let mut env = env_with_keys().claims(&FIRST);
    succeeded(&env.run());
    begin(&env).expect("begins");
    map(&env).expect("maps");
    let stopped = {
        let mut command = step(&env, "finish", SMALL);
        command.once_at("rotate.ready", "refusal");
        process::output(&mut command)
    };
    assert_eq!(stopped.status.code(), Some(5));
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.rotation_parts"), ["1"]);
    env = env.claims(&THIRD);
    succeeded(&env.run());
    let before = env.rows(CONTENT);
    finish(&env).expect("finishes");
    assert_eq!(env.rows(CONTENT), before);
    assert_eq!(env.rows(&format!("SELECT count(*) FROM {FACT}")), ["4"]);
}

#[test]
fn readers_see_old_tokens_or_new_ones_and_nothing_between() {
    const QUESTION: &str = "SELECT concat_ws(' ', count(*), sum(f.amount), count(d.provider_id),
             min(f.claim_token::text))
         FROM healthcare_analytics.claims_fact f
         JOIN healthcare_analytics.providers_dim d USING (provider_key)";
    let own = OwnServer::start();
    let mut env = own.env();
    Version::First.lay_on(&mut env);
    env.settings.privacy.key_file = Some(key_file(&env, "old.key", KEY));
    env.settings.privacy.next_key_file = Some(key_file(&env, "new.key", OTHER_KEY));
    succeeded(&env.run());
    begin(&env).expect("begins");
    map(&env).expect("maps");
    let old = env.rows(QUESTION).concat();
    let (ended, url) = (AtomicBool::new(false), env.database.url().to_owned());
    let seen: Mutex<BTreeMap<String, u64>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut client =
                    postgres::Client::connect(&url, postgres::NoTls).expect("a reader");
                while !ended.load(Ordering::SeqCst) {
                    let answer = client.query_one(QUESTION, &[]);
                    let answer = answer.map_or_else(|error| format!("{error:?}"), |row| row.get(0));
                    *seen.lock().expect("the answers").entry(answer).or_default() += 1;
                    thread::sleep(Duration::from_millis(10));
                }
            });
        }
        let finished = finish(&env);
        thread::sleep(Duration::from_millis(300));
        ended.store(true, Ordering::SeqCst);
        finished.expect("finishes");
    });
    let new = env.rows(QUESTION).concat();
    let seen = seen.into_inner().expect("the answers");
    let answers: BTreeSet<&String> = seen.keys().collect();
    assert_eq!(answers, BTreeSet::from([&old, &new]), "{seen:?}");
}
