//! The score over all history: what daily loads add up to, what a correction takes out, what a
//! rescore makes of it.

use claims_etl::commands::risk::rescore;
use claims_etl::commands::risk::rescore::RescoreReport;
use claims_etl::commands::verify::recompute;
use claims_etl::config::Mode;
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::pipeline;
use claims_etl::pipeline::RunOptions;
use claims_etl::risk::settings::Risk;
use claims_etl::rule::OnDuplicate;
use claims_etl::secret::value::Secret;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::support::aggregates::DIFFERENCES;
#[cfg(feature = "failpoints")]
use crate::support::failpoints::Failpoints as _;
use crate::support::process::KEY;
use crate::support::test_env::{TestEnv, succeeded};

/// The stored statistics as text, each row once.
const STATISTICS: &str = "
    SELECT 'amount ' || (to_jsonb(s))::text FROM claims_etl.risk_statistics s
    UNION ALL SELECT 'weekend ' || (to_jsonb(s))::text FROM claims_etl.risk_weekends s
    UNION ALL SELECT 'total ' || (to_jsonb(s))::text FROM claims_etl.risk_provider_totals s
    UNION ALL SELECT 'day ' || (to_jsonb(s))::text FROM claims_etl.risk_provider_days s
    ORDER BY 1";

/// Keys, scores and components of what is published.
const SCORES: &str = "
    SELECT concat_ws(' ', claim_token, line_number, risk_score, risk_components)
    FROM healthcare_analytics.claims_fact ORDER BY 1";

/// What is published apart from scores and findings.
const CLAIMS: &str = "
    SELECT (to_jsonb(f) - '{run_no,risk_score,risk_components,dq_flags}'::text[])::text
    FROM healthcare_analytics.claims_fact f ORDER BY 1";

/// An environment whose thresholds a few hundred claims reach.
fn env() -> TestEnv {
    let mut env = TestEnv::new();
    env.settings.privacy.key = Some(Secret::new(KEY));
    env.settings.risk = Risk {
        min_peers: 6,
        min_provider_claims: 3,
        min_providers: 3,
        min_provider_days: 6,
        min_expected: 2,
        ..Risk::default()
    };
    env.settings.warehouse.on_duplicate = Some(OnDuplicate::Last);
    env.settings.warehouse.connections = Some(2);
    env.settings.warehouse.batch_rows = Some(50);
    env.providers(&directory(0))
}

/// Fifteen providers, some of which spell one specialty in another way; `turn` gives them others.
fn directory(turn: usize) -> Vec<&'static str> {
    const ALL: [[&str; 15]; 2] = [
        [
            "V0,n,Cardiology,x",
            "V1,n,cardiology,x",
            "V2,n,CARDIOLOGY,x",
            "V3,n,Cardiology,x",
            "V4,n,Cardiology,x",
            "V5,n,General  Practice,x",
            "V6,n,General Practice,x",
            "V7,n,general practice,x",
            "V8,n,General Practice,x",
            "V9,n,General Practice,x",
            "V10,n,Dentist,x",
            "V11,n,Dentist,x",
            "V12,n,,x",
            "V13,n,Dentist,x",
            "V14,n,Dentist,x",
        ],
        [
            "V0,n,Dentist,x",
            "V1,n,cardiology,x",
            "V2,n,CARDIOLOGY,x",
            "V3,n,Cardiology,x",
            "V4,n,,x",
            "V5,n,General  Practice,x",
            "V6,n,general practice,x",
            "V7,n,general practice,x",
            "V8,n,General Practice,x",
            "V9,n,Cardiology,x",
            "V10,n,Dentist,x",
            "V11,n,Dentist,x",
            "V12,n,Dentist,x",
            "V13,n,Dentist,x",
            "V14,n,Dentist,x",
        ],
    ];
    ALL[turn].to_vec()
}

/// Numbers that look random, the same ones for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// A claim. Few patients, days and prices, so that there are twins and full days.
    fn claim(&mut self, id: u64) -> String {
        let price = match self.below(12) {
            0 => "0.00".to_owned(),
            1 => format!("-{}.00", 20 + self.below(5)),
            2 => format!("{}.50", 400 + self.below(4000)),
            _ => format!("{}.00", 20 + self.below(6)),
        };
        // A claim is always of the same patient.
        let (patient, provider, code) = (id * 7 % 40, self.below(16), self.below(4));
        let procedure = if self.below(15) == 0 { String::new() } else { format!("9921{code}") };
        let day = 1 + self.below(9);
        format!("C{id},P{patient},V{provider},{procedure},{price},2024-06-{day:02}")
    }
}

/// Daily files: new claims, and corrections of earlier ones, once in a while another key.
fn days(seed: u64, days: u64) -> Vec<Vec<String>> {
    let mut dice = Dice(seed);
    let mut next = 0;
    let mut all = Vec::new();
    for day in 0..days {
        let mut rows = Vec::new();
        let corrections = if day == 0 { 0 } else { 25 };
        for _ in 0..corrections {
            let id = dice.below(next);
            rows.push(dice.claim(id));
        }
        for _ in 0..150 {
            rows.push(dice.claim(next));
            next += 1;
        }
        all.push(rows);
    }
    all
}

/// Fails with the lines that only one of two has.
fn alike(what: &str, one: &[String], other: &[String]) {
    let only = |of: &[String], not: &[String]| -> Vec<String> {
        of.iter().filter(|line| !not.contains(line)).take(10).cloned().collect()
    };
    assert_eq!(only(one, other), only(other, one), "{what}");
    assert!(one == other && !one.is_empty(), "{what}");
}

fn load(env: TestEnv, rows: &[String]) -> TestEnv {
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let env = env.claims(&rows);
    let report = env.run();
    succeeded(&report);
    env
}

fn rescored(env: &TestEnv) -> RescoreReport {
    rescore(env, false)
}

fn rescore(env: &TestEnv, dry_run: bool) -> RescoreReport {
    rescore::rescore(&env.settings, dry_run, &NullObserver, &Cancellation::default())
        .expect("rescored")
}

/// The statistics as they are when they are counted again.
fn recounted(env: &TestEnv) -> Vec<String> {
    env.database.connect().batch_execute("DELETE FROM claims_etl.risk_state").expect("deleted");
    assert!(rescore(env, true).recounted);
    env.rows(STATISTICS)
}

#[test]
fn daily_loads_add_up_to_one_load_of_everything() {
    let config =
        Config { cases: 3, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let outcome = runner.run(&(proptest::num::u64::ANY, 2_u64..5), |(seed, number)| {
        let files = days(seed, number);
        let daily = files.iter().fold(env(), |env, rows| load(env, rows));
        let once = load(env(), &files.concat());
        alike("the claims", &daily.rows(CLAIMS), &once.rows(CLAIMS));
        alike("the statistics", &daily.rows(STATISTICS), &once.rows(STATISTICS));
        assert_eq!(daily.rows(DIFFERENCES), [""; 0]);
        assert_eq!(once.rows(DIFFERENCES), [""; 0]);
        alike("what is recounted", &daily.rows(STATISTICS), &recounted(&once));
        let report = rescored(&daily);
        assert!(!report.recounted && report.changed > 0, "{report:?}");
        alike("the scores", &daily.rows(SCORES), &once.rows(SCORES));
        assert_eq!(daily.rows(DIFFERENCES), [""; 0]);
        let again = rescored(&once);
        assert_eq!((again.changed, again.rows), (0, report.rows), "scored as they were loaded");
        Ok(())
    });
    outcome.expect("all cases");
}

/// The component at a place, in thousandths, of the rows of a patient's procedure.
fn component(env: &TestEnv, place: u32, procedure: &str) -> Vec<String> {
    env.rows(&format!(
        "SELECT nullif(risk_components >> {} & 1023, 1023)
         FROM healthcare_analytics.claims_fact WHERE procedure_code = '{procedure}'
         ORDER BY claim_token",
        10 * place
    ))
}

#[test]
fn a_changed_claim_is_taken_out_with_its_old_value() {
    let env = env().claims(&[
        "C1,P1,V0,99210,100.00,2024-06-03",
        "C2,P2,V0,99210,100.00,2024-06-03",
        "C3,P3,V5,99210,100.00,2024-06-08",
    ]);
    succeeded(&env.run());
    let groups = "SELECT specialty || ' ' || unnest(buckets) || ' ' || unnest(claims)
        FROM claims_etl.risk_statistics ORDER BY 1";
    let totals = "SELECT provider_id || ' ' || unnest(claims) || ' ' || unnest(cents)
        FROM claims_etl.risk_provider_totals
        JOIN healthcare_analytics.providers_dim ON provider_key = peer_key ORDER BY 1";
    let days = "SELECT specialty || ' ' || unnest(patients) || ' ' || unnest(provider_days)
        FROM claims_etl.risk_provider_days ORDER BY 1";
    assert_eq!(env.rows(groups), ["CARDIOLOGY 924 2", "GENERAL PRACTICE 924 1"]);
    assert_eq!(env.rows(totals), ["V0 2 20000", "V5 1 10000"]);
    assert_eq!(env.rows(days), ["CARDIOLOGY 2 1", "GENERAL PRACTICE 1 1"]);

    // Another amount and day; another provider; no amount any more.
    let env = env.claims(&["C1,P1,V0,99210,200.00,2024-06-04", "C3,P3,V5,99210,0.00,2024-06-08"]);
    succeeded(&env.run());
    assert_eq!(env.rows(groups), ["CARDIOLOGY 1063 1", "CARDIOLOGY 924 1"]);
    assert_eq!(env.rows(totals), ["V0 2 30000"]);
    assert_eq!(env.rows(days), ["CARDIOLOGY 1 2"]);
    let weekends = "SELECT specialty || ' ' || claims || ' ' || weekend_claims
        FROM claims_etl.risk_weekends";
    assert_eq!(env.rows(weekends), ["CARDIOLOGY 2 0"]);
    let version = env.rows("SELECT version FROM claims_etl.risk_state");
    assert_eq!(version, env.rows("SELECT max(run_no) FROM claims_etl.runs"));
    let parameters = "SELECT count(*) FROM claims_etl.runs
        WHERE (risk_parameters ->> 'min_peers')::integer = 6";
    assert_eq!(env.rows(parameters), ["2"]);
}

#[test]
fn an_equal_load_changes_nothing() {
    let file = days(7, 1).remove(0);
    let env = load(env(), &file);
    let all = |env: &TestEnv| {
        let state = "SELECT version || ' ' || kept::text || ' ' || as_of::text
            FROM claims_etl.risk_state";
        [env.rows(STATISTICS), env.rows(SCORES), env.rows(state)].concat()
    };
    let before = all(&env);
    let again = env.run_with(&RunOptions { force: true, ..RunOptions::default() });
    succeeded(&again);
    assert_eq!((again.claims.unchanged, again.claims.inserted), (150, 0));
    assert_eq!(all(&env), before);
    let indexes = "SELECT count(*) FROM pg_indexes WHERE indexname ~ '_(patient|provider)_day$'";
    assert_eq!(env.rows(indexes), ["0"], "nothing was looked up");
}

#[test]
fn duplicates_are_found_across_loads() {
    let env = env().claims(&[
        "C1,P1,V0,99210,100.00,2024-06-03",
        "C2,P1,V0,99211,100.00,2024-06-03",
        "C3,P1,V0,99212,100.00,2024-06-03",
        "C4,P1,V0,99213,0.00,2024-06-03",
    ]);
    succeeded(&env.run());
    assert_eq!(component(&env, 1, "99210"), ["0"]);
    let env = env.claims(&[
        // The same in all; with another provider; another line of the same claim; not priced before.
        "C5,P1,V0,99210,100.00,2024-06-03",
        "C6,P1,V1,99211,100.00,2024-06-03",
        "C7,P1,V0,99213,100.00,2024-06-03",
        "C8,P2,V0,99210,100.00,2024-06-03",
    ]);
    succeeded(&env.run());
    let sorted = |procedure: &str| {
        let mut found = component(&env, 1, procedure);
        found.sort();
        found
    };
    assert_eq!(sorted("99210"), ["0", "0", "1000"], "the published twin keeps its score");
    assert_eq!(sorted("99211"), ["0", "200"]);
    assert_eq!(sorted("99213"), ["0", "null"]);
    assert_eq!(sorted("99212"), ["0"]);
    let changed = rescored(&env).changed;
    assert_eq!(changed, 4, "two have twins, and for all four a specialty's weekends are known now");
    assert_eq!(sorted("99210"), ["0", "1000", "1000"]);
    assert_eq!(sorted("99211"), ["200", "200"]);
}

#[test]
fn a_claim_that_moves_away_is_no_duplicate_any_more() {
    let env = env().claims(&["C1,P1,V0,99210,9.00,2024-06-03"]);
    succeeded(&env.run());
    let env = env.claims(&["C1,P1,V0,99210,9.00,2024-06-04", "C2,P1,V0,99210,9.00,2024-06-03"]);
    succeeded(&env.run());
    assert_eq!(component(&env, 1, "99210"), ["0", "0"]);
}

#[test]
fn a_statistic_without_a_weight_is_not_kept_and_recounted_when_it_gets_one() {
    let files = days(11, 3);
    let kept = "SELECT unnest(kept) FROM claims_etl.risk_state ORDER BY 1";
    let mut env = load(env(), &files[0]);
    let count = "SELECT count(*) FROM claims_etl.risk_provider_days";
    assert_eq!(env.rows(kept).len(), 4);
    assert_ne!(env.rows(count), ["0"]);
    env.settings.risk.weight_volume = 0.0;
    let mut env = load(env, &files[1]);
    assert_eq!(env.rows(kept), ["amounts", "provider_totals", "weekends"]);
    assert_eq!(env.rows(count), ["0"]);
    let written = env.rows(
        "SELECT DISTINCT risk_components >> 30 & 1023 FROM healthcare_analytics.claims_fact
         WHERE run_no = (SELECT max(run_no) FROM claims_etl.runs)",
    );
    assert_eq!(written, ["1023"], "the volume is not computed");
    env.settings.risk.weight_volume = Risk::default().weight_volume;
    let env = load(env, &files[2]);
    assert_eq!(env.rows(kept).len(), 4);
    alike(
        "the statistics",
        &env.rows(STATISTICS),
        &load(self::env(), &files.concat()).rows(STATISTICS),
    );
}

#[test]
fn a_warehouse_of_an_earlier_version_gets_its_statistics_with_the_first_merge() {
    let files = days(13, 2);
    let env = load(env(), &files[0]);
    env.database
        .connect()
        .batch_execute(
            "TRUNCATE claims_etl.risk_state, claims_etl.risk_statistics, claims_etl.risk_weekends,
                 claims_etl.risk_provider_totals, claims_etl.risk_provider_days",
        )
        .expect("emptied");
    let env = load(env, &files[1]);
    let once = load(self::env(), &files.concat());
    alike("the statistics", &env.rows(STATISTICS), &once.rows(STATISTICS));
    assert_eq!(env.rows(DIFFERENCES), [""; 0]);
    rescored(&env);
    alike("the scores", &env.rows(SCORES), &once.rows(SCORES));
}

#[test]
fn appended_claims_are_scored_against_all() {
    let rows = days(17, 1).remove(0);
    let (first, second) = rows.split_at(100);
    let mut env = load(env(), first);
    env.settings.warehouse.mode = Mode::Append;
    let env = load(env, second);
    let once = load(self::env(), &rows);
    alike("the statistics", &env.rows(STATISTICS), &once.rows(STATISTICS));
    assert_eq!(env.rows(DIFFERENCES), [""; 0]);
    let of_the_second = "SELECT concat_ws(' ', claim_token, risk_score, risk_components)
        FROM healthcare_analytics.claims_fact WHERE claim_token IN (
            SELECT claim_token FROM healthcare_analytics.claims_fact WHERE run_no = 2) ORDER BY 1";
    let appended = env.rows(of_the_second);
    assert_eq!(appended.len(), 50);
    let all = "SELECT concat_ws(' ', claim_token, risk_score, risk_components)
        FROM healthcare_analytics.claims_fact ORDER BY 1";
    let all = once.rows(all);
    let wrong: Vec<_> = appended.iter().filter(|row| !all.contains(row)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");

    // A claim that is there refuses the run, and nothing is counted for the others.
    let before = env.rows(STATISTICS);
    let env = env.claims(&["C0,P1,V0,99210,7.00,2024-06-03", "C9999,P1,V0,99210,7.00,2024-06-03"]);
    let refused = env.run();
    assert_eq!(refused.exit_code, 4, "{:?}", refused.error);
    assert_eq!(env.rows(STATISTICS), before);
}

#[test]
fn claims_keep_the_specialty_that_they_were_billed_under() {
    let files = days(19, 3);
    let env = load(env(), &files[0]).providers(&directory(1));
    // The same claims under another directory, and the next day's.
    let env = load(env, &[files[0].clone(), files[1].clone()].concat());
    let versions = "SELECT count(*) || ' ' || count(*) FILTER (WHERE is_current)
        FROM healthcare_analytics.providers_dim WHERE provider_id = 'V0'";
    assert_eq!(env.rows(versions), ["2 1"]);
    let of_old_versions = "SELECT count(*) FROM healthcare_analytics.claims_fact
        JOIN healthcare_analytics.providers_dim USING (provider_key) WHERE NOT is_current";
    assert_ne!(env.rows(of_old_versions), ["0"], "claims that did not change stay where they are");
    let stored = env.rows(STATISTICS);
    assert_eq!(env.rows(DIFFERENCES), [""; 0]);
    alike("the statistics", &stored, &recounted(&env));
    // Back again: the third version is of the first one's peers.
    let env = load(env.providers(&directory(0)), &files[2]);
    let stored = env.rows(STATISTICS);
    assert_eq!(env.rows(DIFFERENCES), [""; 0]);
    alike("the statistics", &stored, &recounted(&env));
    let peers =
        "SELECT count(*) || ' ' || count(DISTINCT durable_key) || ' ' || count(DISTINCT peer_key)
        FROM claims_etl.provider_peers JOIN healthcare_analytics.providers_dim USING (provider_key)
        WHERE provider_id = 'V0'";
    assert_eq!(env.rows(peers), ["3 1 2"]);
}

#[test]
fn a_directory_that_comes_later_completes_the_claims_before_it() {
    let files = days(29, 2);
    let env = load(env().providers(&[]), &files[0]);
    let placeholders =
        "SELECT count(*) FROM healthcare_analytics.providers_dim WHERE is_placeholder";
    assert_ne!(env.rows(placeholders), ["0"]);
    let env = load(env.providers(&directory(0)), &files[1]);
    let once = load(self::env(), &files.concat());
    let lines = "SELECT concat_ws('|', claim_token, line_number, provider_id, specialty, amount)
        FROM healthcare_analytics.v_claims ORDER BY 1";
    alike("the claim lines", &env.rows(lines), &once.rows(lines));
    assert_eq!(env.rows(DIFFERENCES), [""; 0]);
    let unkeyed = |env: &TestEnv| {
        env.rows(&STATISTICS.replace(
            "(to_jsonb(s))::text FROM claims_etl.risk_provider_totals s",
            "(to_jsonb(s) - 'peer_key' || jsonb_build_object('id', provider_id))::text
             FROM claims_etl.risk_provider_totals s
             JOIN healthcare_analytics.providers_dim d ON d.provider_key = s.peer_key",
        ))
    };
    alike("the statistics", &unkeyed(&env), &unkeyed(&once));
    rescored(&env);
    alike("the scores", &env.rows(SCORES), &once.rows(SCORES));
}

#[test]
fn a_dry_rescore_counts_and_changes_nothing() {
    let env = days(23, 2).iter().fold(env(), |env, rows| load(env, rows));
    let (before, published) = (env.rows(SCORES), env.rows(CLAIMS));
    let dry = rescore(&env, true);
    assert!(dry.changed > 0 && dry.rows == 300 && !dry.recounted && dry.due.is_empty(), "{dry:?}");
    assert_eq!(env.rows(SCORES), before);
    assert_eq!(env.rows("SELECT count(*) FROM claims_etl.risk_rescores"), ["0"]);
    let due = "SELECT count(*) FROM claims_etl.refresh_outbox
        WHERE desired_run_no IS DISTINCT FROM refreshed_run_no";
    assert_eq!(env.rows(due), ["0"]);

    let done = rescored(&env);
    assert_eq!((done.changed, done.before, done.after), (dry.changed, dry.before, dry.after));
    assert_eq!(done.due, ["dashboard"]);
    assert_eq!(env.rows(due), ["1"]);
    assert_eq!(env.rows(CLAIMS), published);
    let noted = "SELECT stats_version || ' ' || model || ' ' || rows_changed || ' '
        || (parameters ->> 'min_peers') FROM claims_etl.risk_rescores";
    assert_eq!(env.rows(noted), [format!("2 claim_anomaly_v1 {} 6", done.changed)]);
    assert_eq!(rescored(&env).changed, 0);
    let staged = "SELECT count(*) FROM pg_class WHERE relname ~ '_stage_'";
    assert_eq!(env.rows(staged), ["0"]);
}

#[test]
fn a_stopped_rescore_changes_nothing() {
    let env = days(29, 2).iter().fold(env(), |env, rows| load(env, rows));
    let before = env.rows(SCORES);
    let cancel = Cancellation::default();
    cancel.cancel(2);
    let stopped =
        rescore::rescore(&env.settings, false, &NullObserver, &cancel).expect_err("stopped");
    assert_eq!(stopped.kind().exit_code(), 130);
    assert_eq!(env.rows(SCORES), before);
    assert!(rescored(&env).changed > 0);
}

#[test]
fn statistics_that_do_not_fit_refuse_the_load() {
    let files = days(31, 2);
    let env = load(env(), &files[0]);
    env.database
        .connect()
        .batch_execute("DELETE FROM claims_etl.risk_provider_totals")
        .expect("somebody does it by hand");
    let rows: Vec<&str> = files[1].iter().map(String::as_str).collect();
    let env = env.claims(&rows);
    let refused = env.run();
    assert_eq!(refused.exit_code, 4, "{:?}", refused.error);
    env.database.connect().batch_execute("DELETE FROM claims_etl.risk_state").expect("deleted");
    succeeded(&env.run());
    let once = load(self::env(), &files.concat());
    alike("the statistics", &env.rows(STATISTICS), &once.rows(STATISTICS));
    assert_eq!(env.rows(DIFFERENCES), [""; 0]);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_rescore_can_be_killed_anywhere() {
    use std::os::unix::process::ExitStatusExt as _;

    use crate::support::process::{self, gone};

    let env = days(37, 2).iter().fold(env(), |env, rows| load(env, rows));
    let before = env.rows(SCORES);
    let settings = "[risk]\nmin_peers = 6\nmin_provider_claims = 3\nmin_providers = 3\n\
        min_provider_days = 6\nmin_expected = 2\n";
    env.write("claims-etl.toml", settings, &[]);
    let call = || {
        let mut call = process::command(&env);
        call.args(["risk", "rescore", "--format", "json"]);
        call
    };
    for point in
        ["rescore.recounted", "risk.batch:2", "rescore.scored", "rescore.updated", "rescore.commit"]
    {
        if point == "rescore.recounted" {
            let forget = "DELETE FROM claims_etl.risk_state";
            env.database.connect().batch_execute(forget).expect("deleted");
        }
        let output = process::output(call().kill_at(point));
        assert_eq!(output.status.signal(), Some(9), "{point}");
        gone(&env.database);
        assert_eq!(env.rows(SCORES), before, "{point}");
        assert_eq!(env.rows("SELECT count(*) FROM claims_etl.risk_rescores"), ["0"]);
    }
    let output = process::output(&mut call());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_ne!(env.rows(SCORES), before);
    let staged = "SELECT count(*) FROM pg_class WHERE relname ~ '_stage_'";
    assert_eq!(env.rows(staged), ["0"]);
    assert_eq!(rescored(&env).changed, 0);
}

#[test]
fn verify_compares_scores_that_a_runs_own_claims_have_made() {
    let files = days(41, 2);
    let env = load(env(), &files[0]);
    let verify = |env: &TestEnv| {
        recompute::verify(
            &env.settings,
            pipeline::VerifyOptions::default(),
            pipeline::RunSelector::parse("last").expect("a run"),
            &NullObserver,
            &Cancellation::default(),
        )
        .expect("verified")
    };
    let first = verify(&env);
    assert!(first.equal && first.notes.is_empty(), "{first:?}");
    let change = "UPDATE healthcare_analytics.claims_fact SET risk_components = risk_components # 1
        WHERE claim_token = (SELECT min(claim_token::text)::uuid FROM healthcare_analytics.claims_fact)";
    env.database.connect().batch_execute(change).expect("changed");
    assert!(!verify(&env).equal, "a score that somebody has changed is found");
    env.database.connect().batch_execute(change).expect("changed back");

    let env = load(env, &files[1]);
    let merged = verify(&env);
    assert!(merged.equal, "{merged:?}");
    assert!(merged.notes.iter().any(|note| note.contains("scores are not compared")), "{merged:?}");
}
