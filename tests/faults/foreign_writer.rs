//! Somebody else writes into the published tables while a command is at work: those rows are never dropped
//! unseen.

use claims_etl::secret::value::Secret;
use postgres::Client;
use postgres::error::SqlState;

use crate::privacy::rotation::env_with_keys;
use crate::support::correction::{last_run, run};
use crate::support::paused_run::Paused;
use crate::support::process::{self, KEY};
use crate::support::test_env::TestEnv;

const WRITE: &str = "INSERT INTO healthcare_analytics.claims_fact
    (claim_token, line_number, patient_token, provider_key, amount, date_of_service, risk_score,
     risk_components, dq_flags, run_no)
    VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 1, '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
            0, 99.00, '2024-01-01', 0, 0, 0, 0)";

fn published(env: &TestEnv) -> Vec<String> {
    env.rows("SELECT amount FROM healthcare_analytics.claims_fact ORDER BY amount")
}

#[test]
fn a_first_load_that_finds_rows_does_not_drop_them() {
    for mode in ["merge", "append"] {
        let mut env = TestEnv::new().claims(&["C1,P1,V1,99213,10.00,2024-01-01"]);
        env.settings.privacy.key = Some(Secret::new(KEY));
        process::output(process::command(&env).args(["warehouse", "migrate"]));
        let mut load = run(&env, mode, 0);
        // The tables are about to be locked.
        let paused = Paused::at(&env, &mut load, "publish.ledger");
        env.database.connect().batch_execute(WRITE).expect("written");
        let (status, printed) = paused.go_on().end();
        assert_eq!(status.code(), Some(5), "{mode}: {printed}");
        assert!(
            printed.contains("filled or emptied while the claims were read"),
            "{mode}: {printed}"
        );
        assert_eq!(published(&env), ["99.00"], "{mode}");
        assert_eq!(last_run(&env), "failed warehouse");
        let output = process::output(&mut run(&env, mode, 0));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(published(&env), ["10.00", "99.00"], "{mode}");
    }
}

#[test]
fn nobody_writes_between_the_comparison_of_a_rotation_and_its_end() {
    let env = env_with_keys().claims(&["C1,P1,V1,99213,10.00,2024-01-01"]);
    let step = |arguments: &[&str]| {
        let mut command = process::command(&env);
        command
            .env_remove("CLAIMS_ETL_KEY")
            .env("CLAIMS_ETL_KEY_FILE", env.path("old.key"))
            .env("CLAIMS_ETL_NEXT_KEY_FILE", env.path("new.key"))
            .args(arguments);
        command
    };
    let sources = [
        "--claims",
        &env.settings.claims.sources[0],
        "--providers",
        &env.settings.providers.sources[0],
    ];
    for arguments in [["run"].as_slice(), &["key", "rotate", "begin"], &["key", "rotate", "map"]] {
        let mut command = step(arguments);
        if arguments != ["key", "rotate", "begin"] {
            command.args(sources);
        }
        let output = process::output(&mut command);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let paused = Paused::at(&env, &mut step(&["key", "rotate", "finish"]), "rotate.compared");
    let mut client: Client = env.database.connect();
    client.batch_execute("SET lock_timeout = '200ms'").expect("a setting");
    let error = client.batch_execute(WRITE).expect_err("the rotation holds it");
    assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{error}");
    let rows = "SELECT count(*) FROM healthcare_analytics.claims_fact";
    assert_eq!(client.query_one(rows, &[]).expect("readers go on").get::<_, i64>(0), 1);
    let (status, printed) = paused.go_on().end();
    assert_eq!(status.code(), Some(0), "{printed}");
    client.batch_execute(WRITE).expect("afterwards it is free");
    assert_eq!(published(&env), ["10.00", "99.00"]);
}
