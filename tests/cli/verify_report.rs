//! `verify` among other programs: what people and scripts read, that no identifier is in it, and
//! that it needs no more than to read.

use std::fs;

use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::synth;
use insta::{assert_snapshot, with_settings};

use crate::load::verification::{CLAIMS, env, equal, loaded, sql, verify};
use crate::support::process;
use crate::support::test_env::{TestEnv, succeeded};

#[test]
fn a_run_at_work_is_not_disturbed() {
    let env = loaded();
    let mut client = env.database.connect();
    // The lock that a run holds, and one that a load takes on the table.
    client.batch_execute("SELECT pg_advisory_lock(7162257274218279020)").expect("held");
    client
        .batch_execute("BEGIN; LOCK TABLE healthcare_analytics.claims_fact IN EXCLUSIVE MODE")
        .expect("locked");
    equal(&env, "last");
    client.batch_execute("ROLLBACK").expect("ended");
    // And a reader without any rights to write can do it.
    let (user, name) =
        (format!("reader_{}", std::process::id()), env.rows("SELECT current_database()").remove(0));
    client
        .batch_execute(&format!(
            "DROP ROLE IF EXISTS {user}; CREATE ROLE {user};
             GRANT USAGE ON SCHEMA claims_etl, healthcare_analytics TO {user};
             GRANT SELECT ON claims_etl.runs, claims_etl.task_runs, claims_etl.keys,
                 claims_etl.key_rotation, claims_etl.risk_rescores, claims_etl.table_layout,
                 healthcare_analytics.claims_fact, healthcare_analytics.providers_dim TO {user};
             GRANT {user} TO current_user;
             ALTER DATABASE {name} SET role = '{user}'"
        ))
        .expect("a reader");
    assert_eq!(env.rows("SELECT current_user"), [user.as_str()]);
    equal(&env, "last");
    client
        .batch_execute(&format!(
            "ALTER DATABASE {name} RESET role; DROP OWNED BY {user}; DROP ROLE {user}"
        ))
        .expect("dropped");
}

#[test]
fn many_rows_are_compared_in_pieces_and_the_first_that_differ_are_named() {
    let mut env = TestEnv::new();
    env.settings.refresh.dashboard.enabled = false;
    let spec = synth::Spec { claims: 40_000, providers: 300, seed: 7, dirty: 0.02 };
    let made = synth::generate(&spec, env.folder.path(), &NullObserver, &Cancellation::default());
    let made = made.expect("generated");
    env.settings.claims.sources = vec![made.claims_path.display().to_string()];
    env.settings.providers.sources = vec![made.providers_path.display().to_string()];
    let run = env.run();
    succeeded(&run);
    let report = equal(&env, "last");
    assert_eq!(report.claims.expect("rows").expected, run.claims.loaded);

    let table = "healthcare_analytics.claims_fact";
    let some = |first: u8, rows: u32| {
        format!(
            "(claim_token, line_number) IN (SELECT claim_token, line_number FROM {table}
             WHERE claim_token >= '{first:02x}000000-0000-0000-0000-000000000000'
             ORDER BY 1, 2 LIMIT {rows})"
        )
    };
    sql(&env, &format!("UPDATE {table} SET amount = amount + 0.01 WHERE {}", some(0xf0, 30)));
    sql(&env, &format!("DELETE FROM {table} WHERE {}", some(0x80, 3)));
    sql(&env, &format!("UPDATE {table} SET claim_token = patient_token WHERE {}", some(0x10, 2)));
    let report = verify(&env, "last");
    let counts = report.claims.expect("rows");
    assert_eq!((counts.differing, counts.missing, counts.extra), (30, 5, 2));
    assert_eq!(counts.expected, counts.equal + 35);
    assert_eq!(report.examples.len(), 20);
    let tokens: Vec<&String> = report.examples.iter().map(|example| &example.token).collect();
    assert!(tokens.is_sorted(), "in the order of the keys");
}

/// The text of the program, without what is another one each time.
fn shown(text: &str, report: &serde_json::Value) -> String {
    let run = report["run_id"].as_str().expect("an id");
    let mut text = text.replace(run, "RUN");
    let start = text.find('(').expect("a time");
    let end = text.find(')').expect("a time");
    text.replace_range(start + 1..end, "TIME");
    text
}

fn snapshot(name: &str, text: &str) {
    with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        assert_snapshot!(name, text);
    });
}

#[test]
fn reports_as_text_and_json_hold_no_identifier() {
    let canary = |row: &str| row.replace(",P", ",CANARY-PATIENT-").replacen("", "CANARY-CLAIM-", 1);
    let rows: Vec<String> = CLAIMS.iter().map(|row| canary(row)).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let mut env = env().claims(&rows);
    env.settings.quality.max_reject_ratio = 1.0;
    let run = process::output(&mut process::reading(&env, &["run", "--quiet"]));
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    let call = |options: &[&str]| {
        let mut command = process::command(&env);
        let output = process::output(command.args(["verify", "last"]).args(options));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, printed) = (text(&output.stdout), text(&output.stderr));
        assert!(!out.contains("CANARY") && !printed.contains("CANARY"), "{out}{printed}");
        (output.status.code(), out, printed)
    };
    let json = |code: i32| -> serde_json::Value {
        let (ended, out, printed) = call(&["--format", "json", "-vv"]);
        assert_eq!(ended, Some(code), "{out}{printed}");
        assert!(printed.contains("verify.compare"), "progress: {printed}");
        serde_json::from_str(&out).expect("JSON")
    };
    let report = json(0);
    assert_eq!(report["equal"], true);
    let (code, out, _) = call(&[]);
    assert_eq!(code, Some(0));
    snapshot("verify_equal", &shown(&out, &report));

    sql(
        &env,
        "UPDATE healthcare_analytics.claims_fact SET amount = amount + 0.01 WHERE amount = 2",
    );
    sql(&env, "DELETE FROM healthcare_analytics.claims_fact WHERE amount = 6");
    sql(
        &env,
        "UPDATE healthcare_analytics.providers_dim SET location = 'X' WHERE provider_id = 'V1'",
    );
    let report = json(4);
    assert_eq!(report["claims"]["differing"], 1);
    assert_eq!(report["examples"][0]["difference"], "differing");
    let (code, out, _) = call(&[]);
    assert_eq!(code, Some(4));
    snapshot("verify_differing", &shown(&out, &report));
    fs::write(env.path("claims.csv"), "claim_id\nCANARY-CLAIM-1\n").expect("written");
    let (code, _, printed) = call(&[]);
    assert_eq!(code, Some(2), "{printed}");
}
