//! Stored scores computed again by another way: SQL over the stored statistics and the published
//! claims. It is the very file that an auditor runs.

use std::fs;

use postgres::Client;

use crate::risk::oracle::with_anomalies;
use crate::support::process;
use crate::support::test_env::{TestEnv, succeeded};

fn loaded(claims: u64) -> TestEnv {
    let mut env = TestEnv::new();
    with_anomalies(env.folder.path(), claims);
    env.settings.refresh.dashboard.enabled = false;
    succeeded(&env.run());
    env
}

fn recipe() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/risk.sql");
    fs::read_to_string(path).expect("the file")
}

/// Computes the scores again in a new session.
fn audited(env: &TestEnv, recipe: &str) -> Client {
    let mut client = env.database.connect();
    client.batch_execute(recipe).expect("the file runs");
    client
}

fn count(client: &mut Client, condition: &str) -> i64 {
    let query = format!("SELECT count(*) FROM risk_audit WHERE {condition}");
    client.query_one(&query, &[]).expect("an answer").get(0)
}

/// A component that differs by more than floats may: amount and provider rest on sums of floats
/// whose order SQL does not fix, so half a thousandth can fall on either side. All others are counts.
const DIFFERS: &str = "EXISTS (
    SELECT FROM unnest(stored, recomputed) WITH ORDINALITY AS parts (stored, recomputed, place)
    WHERE stored IS DISTINCT FROM recomputed
      AND (place NOT IN (1, 3) OR coalesce(abs(stored - recomputed) > 1, true)))";

#[test]
fn a_thousand_random_scores_follow_from_the_stored_statistics() {
    let env = loaded(8_000);
    let mut client = audited(&env, &recipe());
    assert_eq!(count(&mut client, "true"), 1_000);
    assert_eq!(count(&mut client, DIFFERS), 0);
    let unequal = "stored_score <> recomputed_score AND stored = recomputed";
    assert_eq!(count(&mut client, unequal), 0, "equal components give equal scores");
    assert_eq!(count(&mut client, "abs(stored_score - recomputed_score) > 0.1"), 0);
    assert!(count(&mut client, "stored = recomputed") >= 998, "floats rarely matter");
}

#[test]
fn every_score_follows_and_every_component_is_among_them() {
    let env = loaded(20_000);
    let whole = recipe().replace("LIMIT 1000", "LIMIT 1000000");
    let mut client = audited(&env, &whole);
    let all: i64 = env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact")[0]
        .parse()
        .expect("a number");
    assert_eq!(count(&mut client, "true"), all);
    assert_eq!(count(&mut client, DIFFERS), 0);
    assert_eq!(count(&mut client, "abs(stored_score - recomputed_score) > 0.1"), 0);
    for place in 1..=6 {
        let above = count(&mut client, &format!("stored[{place}] > 0"));
        assert!(above > 10, "component {place} is above 0 in {above} rows");
        let none = count(&mut client, &format!("stored[{place}] IS NULL"));
        assert!(none < all * 3 / 4, "component {place} is null in {none} rows");
    }
}

#[test]
fn rows_of_a_daily_load_and_of_a_rescore_follow_too() {
    let mut env = TestEnv::new();
    with_anomalies(env.folder.path(), 6_000);
    env.settings.refresh.dashboard.enabled = false;
    // Every fourth claim comes a day later, and half of the others again with another amount.
    let text = fs::read_to_string(env.path("claims.csv")).expect("text");
    let (header, rows) = text.split_once('\n').expect("a header");
    let day = |of: &dyn Fn(usize) -> bool, dearer: bool| {
        let rows = rows.lines().enumerate().filter(|(place, _)| of(*place));
        let rows: Vec<String> = rows
            .map(|(place, row)| {
                if dearer && place % 8 == 1 && !row.contains(",-") {
                    let mut fields: Vec<&str> = row.split(',').collect();
                    fields[4] = "123.45";
                    return fields.join(",");
                }
                row.to_owned()
            })
            .collect();
        format!("{header}\n{}\n", rows.join("\n"))
    };
    fs::write(env.path("first.csv"), day(&|place| place % 4 != 0, false)).expect("written");
    fs::write(env.path("second.csv"), day(&|place| place % 2 == 1 || place % 4 == 0, true))
        .expect("written");
    for name in ["first.csv", "second.csv"] {
        env.settings.claims.sources = vec![env.path(name).display().to_string()];
        succeeded(&env.run());
    }
    let whole = recipe().replace("LIMIT 1000", "LIMIT 1000000");
    let mut client = audited(&env, &whole);
    let second = count(&mut client, "true");
    assert!((1_500..4_500).contains(&second), "the rows of the second load: {second}");
    assert_eq!(count(&mut client, DIFFERS), 0);
    assert_eq!(count(&mut client, "abs(stored_score - recomputed_score) > 0.1"), 0);

    let mut rescore = process::command(&env);
    let rescored = process::output(rescore.args(["risk", "rescore"]));
    assert!(rescored.status.success(), "{}", String::from_utf8_lossy(&rescored.stderr));
    let mut client = audited(&env, &whole);
    assert!(count(&mut client, "true") > 6_000, "all rows are of today's statistics");
    assert_eq!(count(&mut client, DIFFERS), 0);
    assert_eq!(count(&mut client, "abs(stored_score - recomputed_score) > 0.1"), 0);
}

#[test]
fn what_does_not_follow_is_found() {
    let env = loaded(8_000);
    let whole = recipe().replace("LIMIT 1000", "LIMIT 1000000");
    let mut client = env.database.connect();
    client
        .batch_execute(
            "UPDATE healthcare_analytics.claims_fact SET risk_score = 99
             WHERE claim_token = (SELECT min(claim_token::text)::uuid
                                  FROM healthcare_analytics.claims_fact)",
        )
        .expect("a score that nobody computed");
    let mut client = audited(&env, &whole);
    assert_eq!(count(&mut client, "abs(stored_score - recomputed_score) > 0.1"), 1);
    client
        .batch_execute(
            "UPDATE claims_etl.risk_weekends SET weekend_claims = claims;
             DELETE FROM claims_etl.risk_provider_days",
        )
        .expect("other statistics");
    let mut client = audited(&env, &whole);
    assert!(count(&mut client, "stored[4] IS NOT NULL AND recomputed[4] IS NULL") > 1_000);
    assert!(count(&mut client, "stored[6] = 1000 AND recomputed[6] = 0") > 10);
}
