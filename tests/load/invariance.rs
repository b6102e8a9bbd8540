//! What the result must not depend on, and what it must: batches, connections, threads and the
//! order of rows change nothing; the key changes every token; the score is the published formula.

use std::fs;

use claims_etl::config::Mode;
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::pipeline::{self, RunOptions};
use claims_etl::secret::value::Secret;
use claims_etl::synth::{self, Spec};
use proptest::collection::btree_set;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::SeedableRng;
use rand::seq::SliceRandom;

use crate::support::process::{self, KEY};
use crate::support::test_env::{TestEnv, succeeded};

/// An environment with a key and without a dashboard, whose runs replace the table.
fn env() -> TestEnv {
    let mut env = TestEnv::new();
    env.settings.privacy.key = Some(Secret::new(KEY));
    env.settings.refresh.dashboard.enabled = false;
    env.settings.refresh.provider_month.enabled = false;
    env.settings.warehouse.mode = Mode::Replace;
    env
}

/// An environment with synthetic input.
fn synthetic(claims: u64, dirty: f64) -> TestEnv {
    let mut env = env();
    let spec = Spec { claims, providers: 200, seed: 7, dirty };
    let made = synth::generate(&spec, &env.path("in"), &NullObserver, &Cancellation::default());
    let made = made.expect("generated");
    env.settings.claims.sources = vec![made.claims_path.display().to_string()];
    env.settings.providers.sources = vec![made.providers_path.display().to_string()];
    env
}

fn load(env: &TestEnv) {
    let options = RunOptions { force: true, dry_run: false };
    succeeded(&pipeline::run(&env.settings, &options, &NullObserver, &Cancellation::default()));
}

/// Everything that a run publishes, but its number and the time.
fn published(env: &TestEnv) -> Vec<String> {
    let last = "(SELECT max(run_no) FROM claims_etl.runs WHERE published_at IS NOT NULL)";
    let mut lines = env.rows(
        "SELECT to_jsonb(f) - 'run_no' FROM healthcare_analytics.claims_fact f
         ORDER BY claim_token, line_number",
    );
    lines.extend(env.rows(
        "SELECT to_jsonb(d) - '{run_no,valid_from,valid_to}'::text[]
         FROM healthcare_analytics.providers_dim d ORDER BY provider_id COLLATE \"C\"",
    ));
    for table in ["statistics", "weekends", "provider_totals", "provider_days", "state"] {
        lines.extend(env.rows(&format!(
            "SELECT (to_jsonb(s) - '{{version,as_of}}'::text[])::text COLLATE \"C\"
             FROM claims_etl.risk_{table} s ORDER BY 1"
        )));
    }
    lines.extend(env.rows(&format!(
        "SELECT to_jsonb(r) - '{{run_id,run_no,started_at,finished_at,published_at,publish_no,fingerprint,sources,
             config_digest,claims_inserted,claims_updated,claims_unchanged,providers_inferred}}'::text[]
         FROM claims_etl.runs r WHERE run_no = {last}"
    )));
    lines
}

/// Compares line by line, so that a failure does not print the whole table.
fn same(one: &[String], other: &[String], what: &str) {
    assert!(one.len() > 1_000, "there is something to compare");
    let difference = one.iter().zip(other).find(|(a, b)| a != b);
    assert_eq!(difference, None, "{what}");
    assert_eq!(one.len(), other.len(), "{what}");
}

#[test]
fn batches_and_connections_do_not_change_the_result() {
    let mut env = synthetic(12_000, 0.1);
    load(&env);
    let expected = published(&env);
    let settings = [(Some(97), 1), (Some(97), 4), (Some(5_000), 2), (None, 1), (None, 4)];
    for (batch_rows, connections) in settings {
        env.settings.warehouse.batch_rows = batch_rows;
        env.settings.warehouse.connections = Some(connections);
        load(&env);
        let what = format!("{batch_rows:?} rows a batch, {connections} connections");
        same(&expected, &published(&env), &what);
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let env = synthetic(12_000, 0.1);
    load(&env);
    let expected = published(&env);
    for threads in ["1", "2", "3"] {
        let mut run = process::reading(&env, &["run"]);
        run.env("POLARS_MAX_THREADS", threads).args(["--mode", "replace", "--force", "--quiet"]);
        let output = process::output(&mut run);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        same(&expected, &published(&env), &format!("{threads} threads"));
    }
}

#[test]
fn the_order_of_rows_does_not_change_the_result() {
    let env = synthetic(12_000, 0.0);
    load(&env);
    let expected = published(&env);
    for (seed, dataset) in [(1, "claims"), (2, "claims"), (3, "providers")] {
        let path = env.path("in").join(format!("{dataset}.csv"));
        let text = fs::read_to_string(&path).expect("text");
        let (header, rows) = text.split_once('\n').expect("a header");
        // The generator writes no line ends into fields.
        let mut rows: Vec<&str> = rows.lines().collect();
        rows.shuffle(&mut rand_pcg::Pcg64Mcg::seed_from_u64(seed));
        fs::write(&path, format!("{header}\n{}\n", rows.join("\n"))).expect("written");
        load(&env);
        same(&expected, &published(&env), &format!("{dataset} in order {seed}"));
    }
}

#[test]
fn tokens_depend_on_the_key_and_on_what_an_id_names() {
    let (env, again) = (env(), env());
    let mut other = self::env();
    other.settings.privacy.key = Some(Secret::new(KEY.replace('5', "6")));
    let tokens = |env: &TestEnv, ids: &[String]| {
        let mut writer = csv::Writer::from_path(env.path("claims.csv")).expect("a file");
        let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
        writer.write_record(header.split(',')).expect("written");
        for (place, id) in ids.iter().enumerate() {
            let amount = place.to_string();
            writer.write_record([id, id, "", "", &amount, "2024-01-01"]).expect("written");
        }
        writer.flush().expect("written");
        load(env);
        env.rows(
            "SELECT unnest(ARRAY[claim_token, patient_token])
             FROM healthcare_analytics.claims_fact ORDER BY amount",
        )
    };
    // Marks that canonical form would merge or take away are not among these.
    let ids = btree_set("[!-~\u{e9}\u{4e2d}\u{1f9fe}]{1,40}", 1..40);
    let config = Config { cases: 8, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, rng).run(&ids, |ids| {
        let ids: Vec<String> = ids.into_iter().collect();
        let one = tokens(&env, &ids);
        prop_assert_eq!(one.len(), 2 * ids.len());
        prop_assert_eq!(&one, &tokens(&again, &ids), "the same key");
        let mut all = one;
        all.extend(tokens(&other, &ids));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all.len(), count, "another key, another domain or another id");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// The published claims with their components by name (thousandths), with what has a price, and what
/// all of them add up to.
const SCORED: &str = "
    WITH claims AS (
        SELECT claims_fact.*, provider_id, specialty, risk_components >> 60 AS reason,
               coalesce(upper(regexp_replace(trim(specialty), '\\s+', ' ', 'g')), '') AS special,
               extract(isodow FROM date_of_service) >= 6 AS weekend, amount > 0 AS priced,
               nullif(risk_components & 1023, 1023) AS component_amount,
               nullif(risk_components >> 10 & 1023, 1023) AS component_duplicate,
               nullif(risk_components >> 20 & 1023, 1023) AS component_provider,
               nullif(risk_components >> 30 & 1023, 1023) AS component_volume,
               nullif(risk_components >> 40 & 1023, 1023) AS component_mismatch,
               nullif(risk_components >> 50 & 1023, 1023) AS component_weekend
        FROM healthcare_analytics.claims_fact JOIN healthcare_analytics.providers_dim USING (provider_key)),
    days AS (
        SELECT provider_id, special, date_of_service, count(DISTINCT patient_token) AS patients
        FROM claims WHERE priced AND special <> '' GROUP BY 1, 2, 3),
    fences AS (
        SELECT special, percentile_cont(0.75) WITHIN GROUP (ORDER BY patients) AS q3,
               greatest(1, percentile_cont(0.75) WITHIN GROUP (ORDER BY patients)
                   - percentile_cont(0.25) WITHIN GROUP (ORDER BY patients)) AS iqr
        FROM days GROUP BY 1 HAVING count(*) >= 30),
    coded AS (SELECT procedure_code, special FROM claims
        WHERE priced AND special <> '' AND procedure_code IS NOT NULL),
    of_procedure AS (SELECT procedure_code, count(*)::float8 AS n FROM coded GROUP BY 1),
    of_specialty AS (SELECT special, count(*)::float8 AS n FROM coded GROUP BY 1),
    of_both AS (SELECT procedure_code, special, count(*)::float8 AS n FROM coded GROUP BY 1, 2),
    habits AS (SELECT special, count(*) AS n, count(*) FILTER (WHERE weekend) AS weekends
        FROM claims WHERE priced AND special <> '' GROUP BY 1)";

fn count(env: &TestEnv, of: &str) -> u64 {
    let rows = env.rows(&format!("{SCORED} SELECT count(*) FROM {of}"));
    rows[0].parse().expect("a number")
}

#[test]
fn the_score_is_the_noisy_or_of_its_components() {
    let env = synthetic(20_000, 0.05);
    load(&env);
    let weights = [
        ("amount", 0.60),
        ("duplicate", 0.50),
        ("provider", 0.30),
        ("volume", 0.30),
        ("mismatch", 0.25),
        ("weekend", 0.05),
    ];
    let part =
        |(name, weight): &(&str, f64)| format!("{weight} * coalesce(component_{name}, 0) / 1000");
    let parts: Vec<String> = weights.iter().map(part).collect();
    let quiet: Vec<String> = parts.iter().map(|part| format!("(1 - {part})")).collect();
    let formula = format!(
        "claims WHERE risk_score::numeric(4, 1) <> round(100 * (1 - {}), 1)",
        quiet.join(" * ")
    );
    assert_eq!(count(&env, &formula), 0);
    let (all, greatest) = (parts.join(", "), format!("greatest({})", parts.join(", ")));
    let first = format!("array_position(ARRAY[{all}], {greatest})");
    let reason = format!("claims WHERE reason <> CASE WHEN {greatest} = 0 THEN 0 ELSE {first} END");
    assert_eq!(count(&env, &reason), 0);
    // Every kind of row is among them.
    for condition in [
        "component_amount > 0 AND component_weekend > 0",
        "component_amount = 0 AND component_weekend = 1000",
        "component_amount IS NULL AND amount > 0",
        "component_amount > 0 AND component_amount < 1000 AND reason = 1",
        "component_duplicate = 0",
        "component_provider = 0",
        "component_volume = 0",
        "component_mismatch > 0",
        "amount <= 0 AND component_duplicate IS NULL AND component_volume IS NULL AND component_weekend IS NOT NULL",
        "risk_score = 0",
    ] {
        assert!(count(&env, &format!("claims WHERE {condition}")) > 0, "{condition}");
    }
}

#[test]
fn components_follow_from_the_published_rows() {
    let env = synthetic(20_000, 0.05);
    load(&env);
    // A row with a price is one of those that share its case, so there is another claim where there
    // are two.
    let duplicate = "claims c
        LEFT JOIN (SELECT patient_token, procedure_code, date_of_service, count(DISTINCT claim_token) AS n
            FROM claims WHERE priced GROUP BY 1, 2, 3) s
            USING (patient_token, procedure_code, date_of_service)
        LEFT JOIN (SELECT patient_token, procedure_code, date_of_service, provider_id, amount,
                          count(DISTINCT claim_token) AS n
            FROM claims WHERE priced GROUP BY 1, 2, 3, 4, 5) e
            USING (patient_token, procedure_code, date_of_service, provider_id, amount)
        WHERE component_duplicate IS DISTINCT FROM CASE WHEN priced AND procedure_code IS NOT NULL THEN
            CASE WHEN e.n > 1 THEN 1000 WHEN s.n > 1 THEN 200 ELSE 0 END END";
    assert_eq!(count(&env, duplicate), 0);
    let volume = "claims c LEFT JOIN fences USING (special)
        LEFT JOIN days d ON (d.provider_id, d.special, d.date_of_service) = (c.provider_id, c.special, c.date_of_service)
        WHERE component_volume IS DISTINCT FROM CASE WHEN priced AND q3 IS NOT NULL THEN
            round(1000 * least(1, greatest(0, ((patients - q3) / iqr - 1.5) / 1.5))) END";
    assert_eq!(count(&env, volume), 0);
    let mismatch = "claims c LEFT JOIN of_procedure p USING (procedure_code)
        LEFT JOIN of_specialty s ON s.special = c.special
        LEFT JOIN of_both b ON (b.procedure_code, b.special) = (c.procedure_code, c.special)
        CROSS JOIN (SELECT count(*)::float8 AS n FROM coded) a
        WHERE (component_mismatch IS NULL) <> coalesce(p.n * s.n / a.n < 10, true)
            OR abs(component_mismatch - 1000 * least(1, greatest(0, 1 - coalesce(b.n, 0) * a.n / (p.n * s.n) / 0.25))) > 0.51";
    assert_eq!(count(&env, mismatch), 0);
    let weekend = "claims c LEFT JOIN habits h USING (special)
        WHERE component_weekend IS DISTINCT FROM CASE WHEN h.n >= 30 THEN
            CASE WHEN weekend AND weekends < 0.05 * h.n THEN 1000 ELSE 0 END END";
    assert_eq!(count(&env, weekend), 0);
}

#[test]
fn statistics_are_those_of_the_published_claims() {
    let env = synthetic(20_000, 0.05);
    load(&env);
    for (table, published) in [
        (
            "risk_statistics",
            "SELECT procedure_code, special, ceil(ln(amount::float8) / ln(1.005::float8))::integer, count(*)
             FROM claims WHERE priced AND procedure_code IS NOT NULL GROUP BY 1, 2, 3",
        ),
        ("risk_weekends", "SELECT special, n, weekends FROM habits"),
        ("risk_provider_days", "SELECT special, patients::integer, count(*) FROM days GROUP BY 1, 2"),
        (
            "risk_provider_totals",
            "SELECT provider_key, special, procedure_code, count(*), sum(amount)::numeric(20, 2)
             FROM claims WHERE priced AND special <> '' AND procedure_code IS NOT NULL GROUP BY 1, 2, 3",
        ),
    ] {
        let stored = match table {
            "risk_statistics" => "SELECT procedure_code, specialty, unnest(buckets), unnest(claims)
                FROM claims_etl.risk_statistics",
            "risk_provider_days" => "SELECT specialty, unnest(patients), unnest(provider_days)
                FROM claims_etl.risk_provider_days",
            "risk_provider_totals" => "SELECT peer_key, specialty, unnest(procedure_codes), unnest(claims),
                    (unnest(cents)::numeric / 100)::numeric(20, 2)
                FROM claims_etl.risk_provider_totals",
            _ => "TABLE claims_etl.risk_weekends",
        };
        let differing = format!(
            "((({published}) EXCEPT ALL ({stored})) UNION ALL (({stored}) EXCEPT ALL ({published}))) x"
        );
        assert_eq!(count(&env, &differing), 0, "{table}");
        let rows = env.rows(&format!("SELECT count(*) FROM claims_etl.{table}"));
        assert!(rows[0].parse::<u64>().expect("a number") > 10, "{table}");
    }
    let state = env
        .rows("SELECT version || model || array_to_string(kept, ' ') FROM claims_etl.risk_state");
    assert_eq!(state, ["1claim_anomaly_v1amounts weekends provider_totals provider_days"]);
    let counts = env.rows(
        "SELECT identifiers -> 'claim' ->> 'ids' = (SELECT count(DISTINCT claim_token) FROM healthcare_analytics.claims_fact)::text
             AND identifiers -> 'patient' -> 'ids' = identifiers -> 'patient' -> 'tokens'
             AND risk_parameters ->> 'weight_amount' = '0.6'
         FROM claims_etl.runs",
    );
    assert_eq!(counts, ["true"]);
}

#[test]
fn a_component_without_weight_is_null_and_nothing_is_kept_for_it() {
    let mut env = synthetic(12_000, 0.0);
    env.settings.risk.weight_provider = 0.0;
    env.settings.risk.weight_volume = 0.0;
    env.settings.risk.weight_duplicate = 0.0;
    load(&env);
    let others =
        "claims WHERE num_nonnulls(component_duplicate, component_provider, component_volume) > 0";
    assert_eq!(count(&env, others), 0);
    assert!(
        count(
            &env,
            "claims WHERE num_nonnulls(component_amount, component_mismatch, component_weekend) = 3"
        ) > 0
    );
    let kept = env.rows(
        "SELECT array_to_string(kept, ' ') || (SELECT count(*) FROM claims_etl.risk_provider_totals)
             || (SELECT count(*) FROM claims_etl.risk_provider_days) FROM claims_etl.risk_state",
    );
    assert_eq!(kept, ["amounts weekends00"]);
}
