//! `risk explain`: what an auditor reads, for people and for programs, and that no identifier of a
//! person is in it.

use insta::{assert_snapshot, with_settings};

use crate::support::process;
use crate::support::test_env::TestEnv;

/// Twelve claims of each of six providers at about 100 dollars, a dermatology that bills another
/// procedure, and one claim with everything: high, twice, on a busy weekend, and a second line with
/// a procedure that its specialty does not bill.
fn env() -> TestEnv {
    let mut rows = Vec::new();
    let mut add = |[claim, patient]: [&str; 2], provider: &str, service: &str, day: u32| {
        rows.push(format!(
            "CANARY-CLAIM-{claim},1,CANARY-PATIENT-{patient},{provider},{service},2024-03-{day:02}"
        ));
    };
    for provider in 1..=6 {
        for claim in 0..12 {
            let dollars = 90 + provider * 3 + claim % 4;
            // Monday to Friday of two weeks.
            let day = 4 + claim % 5 + 7 * (claim / 5 % 2);
            let id = format!("{provider}-{claim}");
            add([&id, &id], &format!("V{provider}"), &format!("99213,{dollars}.00"), day);
        }
    }
    for claim in 0..40 {
        let id = format!("D-{claim}");
        add([&id, &id], &format!("D{}", claim % 2), "11100,80.00", 4 + claim % 5);
    }
    for claim in 0..9 {
        let id = format!("B-{claim}");
        add([&id, &id], "V1", "99213,95.00", 9);
    }
    add(["X", "X"], "V1", "99213,600.00", 9);
    add(["TWIN", "X"], "V1", "99213,600.00", 9);
    add(["SUSPECT", "X"], "V2", "99213,101.00", 9);
    rows.push("CANARY-CLAIM-X,2,CANARY-PATIENT-X,V1,11100,81.50,2024-03-09".into());
    rows.push("CANARY-CLAIM-X,3,CANARY-PATIENT-X,,,-5.00,2024-03-09".into());
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let mut env = TestEnv::new().providers(&[
        "V1,,Cardiology,",
        "V2,,cardiology,",
        "V3,,Cardiology,",
        "V4,,Cardiology,",
        "V5,,Cardiology,",
        "V6,,Cardiology,",
        "D0,,Dermatology,",
        "D1,,Dermatology,",
    ]);
    let header =
        "claim_id,line_number,patient_id,provider_id,procedure_code,amount,date_of_service";
    env.settings.claims.sources = vec![env.write("claims.csv", header, &rows)];
    let run = process::output(&mut process::reading(&env, &["run", "--quiet"]));
    assert_eq!(run.status.code(), Some(0), "{}", String::from_utf8_lossy(&run.stderr));
    env
}

/// What the program prints about a claim; no identifier is in it.
fn explained(env: &TestEnv, token: &str, options: &[&str], code: i32) -> (String, String) {
    let mut command = process::command(env);
    let output = process::output(command.args(["risk", "explain", token]).args(options));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, printed) = (text(&output.stdout), text(&output.stderr));
    assert!(!out.contains("CANARY") && !printed.contains("CANARY"), "{out}{printed}");
    assert_eq!(output.status.code(), Some(code), "{out}{printed}");
    (out, printed)
}

fn token(env: &TestEnv) -> String {
    let line = "SELECT claim_token FROM healthcare_analytics.claims_fact WHERE amount = 81.50";
    env.rows(line).remove(0)
}

fn snapshot(name: &str, text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    with_settings!({
        snapshot_path => "snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
        filters => vec![(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", "TIME")],
    }, {
        assert_snapshot!(name, text);
    });
}

#[test]
fn every_number_of_a_score_is_shown() {
    let env = env();
    let token = token(&env);
    let (text, _) = explained(&env, &token, &[], 0);
    snapshot("explain", &text);
    assert!(!text.contains("rescore"), "nothing differs: {text}");

    let (json, _) = explained(&env, &token, &["--format", "json"], 0);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["claim_token"], token);
    let line = &json["lines"][0];
    assert_eq!(line["differs"], false);
    assert_eq!(line["stored"]["components"], line["today"]["components"]);
    assert_eq!(line["components"][0]["name"], "amount");
    assert_eq!(line["components"][0]["inputs"]["same_specialty"], true);
    assert_eq!(line["components"][1]["inputs"]["others"].as_array().map(Vec::len), Some(2));
    let stored = env.rows(&format!(
        "SELECT risk_score::numeric(4, 1)::float8 FROM healthcare_analytics.claims_fact
         WHERE claim_token = '{token}' ORDER BY line_number"
    ));
    let shown: Vec<String> = (0..3)
        .map(|place| json["lines"][place]["stored"]["score"].as_f64().expect("a score"))
        .map(|score| score.to_string())
        .collect();
    assert_eq!(stored, shown);
}

#[test]
fn a_score_of_earlier_statistics_is_shown_beside_that_of_today() {
    let env = env();
    let mut client = env.database.connect();
    client
        .batch_execute(
            "UPDATE claims_etl.risk_state SET version = 7;
             UPDATE claims_etl.risk_statistics SET buckets = 640 || buckets, claims = 200::bigint || claims
             WHERE procedure_code = '99213' AND specialty = 'CARDIOLOGY'",
        )
        .expect("later statistics");
    let (text, _) = explained(&env, &token(&env), &[], 0);
    snapshot("explain_differs", &text);
    assert!(text.contains("claims-etl risk rescore"), "{text}");
}

#[test]
fn without_statistics_the_stored_score_is_shown() {
    let env = env();
    let mut client = env.database.connect();
    client.batch_execute("DELETE FROM claims_etl.risk_state").expect("no statistics");
    let (text, _) = explained(&env, &token(&env), &[], 0);
    snapshot("explain_without_statistics", &text);
}

#[test]
fn an_unknown_claim_is_refused() {
    let env = env();
    let (_, printed) = explained(&env, "00000000-0000-0000-0000-000000000000", &[], 2);
    assert!(
        printed.contains("no published claim") && printed.contains("claims-etl token"),
        "{printed}"
    );
    explained(&env, "no-token", &[], 2);
}
