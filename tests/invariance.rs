//! What the result must not depend on, and what it must: batches, connections, threads and the
//! order of rows change nothing; the key changes every token; the score is the published formula.
//!
//! A file of its own because all of these compare whole tables, where `properties` compares single
//! records with a reading of the rules.

use std::fs;

use claims_etl::config::{Mode, Secret};
use claims_etl::event::{Cancellation, Silent};
use claims_etl::pipeline::{self, RunOptions};
use claims_etl::synth::{self, Spec};
use proptest::collection::btree_set;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::SeedableRng;
use rand::seq::SliceRandom;

use crate::desk::{Desk, succeeded};
use crate::process::{self, KEY};

/// A desk with a key and without a dashboard, whose runs replace the table.
fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.settings.privacy.key = Some(Secret::new(KEY));
    desk.settings.refresh.dashboard.enabled = false;
    desk.settings.warehouse.mode = Mode::Replace;
    desk
}

/// A desk with synthetic input.
fn synthetic(claims: u64, dirty: f64) -> Desk {
    let mut desk = desk();
    let spec = Spec { claims, providers: 200, seed: 7, dirty };
    let made = synth::generate(&spec, &desk.path("in"), &Silent, &Cancellation::default());
    let made = made.expect("generated");
    desk.settings.claims.sources = vec![made.claims_path.display().to_string()];
    desk.settings.providers.sources = vec![made.providers_path.display().to_string()];
    desk
}

fn load(desk: &Desk) {
    let options = RunOptions { force: true, dry_run: false };
    succeeded(&pipeline::run(&desk.settings, &options, &Silent, &Cancellation::default()));
}

/// Everything that a run publishes, but its number and the time.
fn published(desk: &Desk) -> Vec<String> {
    let last = "(SELECT max(run_no) FROM claims_etl.runs WHERE published_at IS NOT NULL)";
    let mut lines = desk.rows(
        "SELECT to_jsonb(f) - 'run_no' FROM healthcare_analytics.claims_fact f
         ORDER BY claim_token, line_number",
    );
    lines.extend(desk.rows(
        "SELECT to_jsonb(d) - '{run_no,valid_since,updated_at}'::text[]
         FROM healthcare_analytics.providers_dim d ORDER BY provider_id COLLATE \"C\"",
    ));
    for table in ["risk_statistics", "risk_weekend_statistics"] {
        lines.extend(desk.rows(&format!(
            "SELECT (to_jsonb(s) - 'run_no')::text COLLATE \"C\" FROM claims_etl.{table} s
             WHERE run_no = {last} ORDER BY 1"
        )));
    }
    lines.extend(desk.rows(&format!(
        "SELECT to_jsonb(r) - '{{run_id,run_no,started_at,finished_at,published_at,fingerprint,sources,
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
    let mut desk = synthetic(12_000, 0.1);
    load(&desk);
    let expected = published(&desk);
    let settings = [(Some(97), 1), (Some(97), 4), (Some(5_000), 2), (None, 1), (None, 4)];
    for (batch_rows, connections) in settings {
        desk.settings.warehouse.batch_rows = batch_rows;
        desk.settings.warehouse.connections = Some(connections);
        load(&desk);
        let what = format!("{batch_rows:?} rows a batch, {connections} connections");
        same(&expected, &published(&desk), &what);
    }
}

#[test]
fn threads_do_not_change_the_result() {
    let desk = synthetic(12_000, 0.1);
    load(&desk);
    let expected = published(&desk);
    for threads in ["1", "2", "3"] {
        let mut run = process::reading(&desk, &["run"]);
        run.env("POLARS_MAX_THREADS", threads).args(["--mode", "replace", "--force", "--quiet"]);
        let output = process::output(&mut run);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        same(&expected, &published(&desk), &format!("{threads} threads"));
    }
}

#[test]
fn the_order_of_rows_does_not_change_the_result() {
    let desk = synthetic(12_000, 0.0);
    load(&desk);
    let expected = published(&desk);
    for (seed, dataset) in [(1, "claims"), (2, "claims"), (3, "providers")] {
        let path = desk.path("in").join(format!("{dataset}.csv"));
        let text = fs::read_to_string(&path).expect("text");
        let (header, rows) = text.split_once('\n').expect("a header");
        // The generator writes no line ends into fields.
        let mut rows: Vec<&str> = rows.lines().collect();
        rows.shuffle(&mut rand_pcg::Pcg64Mcg::seed_from_u64(seed));
        fs::write(&path, format!("{header}\n{}\n", rows.join("\n"))).expect("written");
        load(&desk);
        same(&expected, &published(&desk), &format!("{dataset} in order {seed}"));
    }
}

#[test]
fn tokens_depend_on_the_key_and_on_what_an_id_names() {
    let (desk, again) = (desk(), desk());
    let mut other = self::desk();
    other.settings.privacy.key = Some(Secret::new(KEY.replace('5', "6")));
    let tokens = |desk: &Desk, ids: &[String]| {
        let mut writer = csv::Writer::from_path(desk.path("claims.csv")).expect("a file");
        let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
        writer.write_record(header.split(',')).expect("written");
        for (place, id) in ids.iter().enumerate() {
            let amount = place.to_string();
            writer.write_record([id, id, "", "", &amount, "2024-01-01"]).expect("written");
        }
        writer.flush().expect("written");
        load(desk);
        desk.rows(
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
        let one = tokens(&desk, &ids);
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

/// The fact with its components by name (thousandths), the peers and the weekend habit of each row.
const SCORED: &str = "
    WITH last AS (SELECT max(run_no) AS run_no FROM claims_etl.runs WHERE published_at IS NOT NULL),
    peers AS (SELECT s.* FROM claims_etl.risk_statistics s JOIN last USING (run_no)),
    habits AS (SELECT w.* FROM claims_etl.risk_weekend_statistics w JOIN last USING (run_no)),
    claims AS (
        SELECT amount, procedure_code, risk_score, risk_components >> 60 AS reason,
               upper(regexp_replace(trim(specialty), '\\s+', ' ', 'g')) AS specialty,
               extract(isodow FROM date_of_service) >= 6 AS weekend,
               nullif(risk_components & 1023, 1023) AS c_amount,
               nullif(risk_components >> 50 & 1023, 1023) AS c_weekend,
               risk_components >> 10 & ((1::bigint << 40) - 1) AS others
        FROM healthcare_analytics.claims_fact),
    scored AS (
        SELECT c.*, coalesce(own.median_ln, whole.median_ln) AS median_ln,
               coalesce(own.sigma_ln, whole.sigma_ln) AS sigma_ln,
               h.claims AS habit, h.weekend_claims
        FROM claims c
        LEFT JOIN peers own ON own.procedure_code = c.procedure_code AND own.specialty = c.specialty
        LEFT JOIN peers whole ON whole.procedure_code = c.procedure_code AND whole.specialty = ''
        LEFT JOIN habits h ON h.specialty = c.specialty)";

fn count(desk: &Desk, condition: &str) -> u64 {
    let rows = desk.rows(&format!("{SCORED} SELECT count(*) FROM scored WHERE {condition}"));
    rows[0].parse().expect("a number")
}

#[test]
fn the_score_is_the_noisy_or_of_its_components() {
    let desk = synthetic(20_000, 0.05);
    load(&desk);
    // Score and reason, exactly: two components are computed, the other four are absent.
    let absent = "others <> (1::bigint << 40) - 1";
    assert_eq!(count(&desk, absent), 0);
    let formula = "risk_score <> round(100 * (1 - (1 - 0.60 * coalesce(c_amount, 0) / 1000)
        * (1 - 0.05 * coalesce(c_weekend, 0) / 1000)), 1)";
    assert_eq!(count(&desk, formula), 0);
    let reason = "reason <> CASE
        WHEN greatest(0.60 * coalesce(c_amount, 0), 0.05 * coalesce(c_weekend, 0)) = 0 THEN 0
        WHEN 0.60 * coalesce(c_amount, 0) >= 0.05 * coalesce(c_weekend, 0) THEN 1 ELSE 6 END";
    assert_eq!(count(&desk, reason), 0);
    // Every kind of row is among them.
    for condition in [
        "c_amount > 0 AND c_weekend > 0",
        "c_amount = 0 AND c_weekend = 1000",
        "c_amount IS NULL AND amount > 0",
        "c_amount > 0 AND c_amount < 1000 AND reason = 1",
        "risk_score = 0",
    ] {
        assert!(count(&desk, condition) > 0, "{condition}");
    }
}

#[test]
fn components_follow_from_the_stored_statistics() {
    let desk = synthetic(20_000, 0.05);
    load(&desk);
    let amount = "CASE WHEN amount > 0 AND median_ln IS NOT NULL THEN 1000 * least(1, greatest(0,
        ((ln(amount::float8) - median_ln) / sigma_ln - 2) / 5)) END";
    let wrong =
        format!("(c_amount IS NULL) <> (({amount}) IS NULL) OR abs(c_amount - ({amount})) > 1");
    assert_eq!(count(&desk, &wrong), 0);
    let weekend = "CASE WHEN habit >= 30 THEN
        CASE WHEN weekend AND weekend_claims < 0.05 * habit THEN 1000 ELSE 0 END END";
    assert_eq!(count(&desk, &format!("c_weekend IS DISTINCT FROM ({weekend})")), 0);
}

#[test]
fn statistics_are_those_of_the_loaded_amounts() {
    let desk = synthetic(20_000, 0.0);
    load(&desk);
    // Medians come from buckets of one percent, so they are within half a bucket of the exact
    // ones; deviations are within two halves.
    let groups = desk.rows(
        "WITH priced AS (
             SELECT procedure_code, ln(amount::float8) AS x,
                    upper(regexp_replace(trim(specialty), '\\s+', ' ', 'g')) AS own
             FROM healthcare_analytics.claims_fact WHERE amount > 0),
         peers AS (
             SELECT procedure_code, x, own AS specialty FROM priced WHERE own IS NOT NULL
             UNION ALL SELECT procedure_code, x, '' FROM priced),
         middle AS (
             SELECT procedure_code, specialty, count(*) AS n,
                    percentile_cont(0.5) WITHIN GROUP (ORDER BY x) AS median
             FROM peers GROUP BY 1, 2 HAVING count(*) >= 30),
         spread AS (
             SELECT m.*, (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(x - median))
                          FROM peers p WHERE (p.procedure_code, p.specialty) = (m.procedure_code, m.specialty))
                         / 0.6745 AS sigma
             FROM middle m)
         SELECT CASE WHEN n IS DISTINCT FROM s.peers THEN 'count'
                     WHEN abs(median - median_ln) > 0.005 THEN 'median'
                     WHEN greatest(sigma, 0.10) - sigma_ln NOT BETWEEN -0.015 AND 0.015 THEN 'sigma'
                     ELSE 'good' END
         FROM spread FULL JOIN claims_etl.risk_statistics s USING (procedure_code, specialty)",
    );
    assert!(groups.len() > 100, "{} groups", groups.len());
    let bad: Vec<&String> = groups.iter().filter(|group| *group != "good").collect();
    assert!(bad.is_empty(), "{} of {}: {bad:?}", bad.len(), groups.len());
}
