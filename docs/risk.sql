-- Recomputes 1,000 stored scores, from the stored statistics and the published claims alone, and
-- compares them with what is stored. It needs SELECT on the tables and TEMPORARY on the database, and
-- changes nothing:
--
--     psql "$DATABASE_URL" -f docs/risk.sql
--
-- The last result is the verdict; SELECT * FROM risk_audit has the rows. The rows are chosen
-- in risk_audited: put a WHERE there for claims of your choice. Rows that were scored with
-- earlier statistics cannot be recomputed and are left out: `claims-etl risk rescore` scores all rows
-- with today's. Columns that a privacy profile can leave out are read through to_jsonb.

-- Weights and thresholds of whatever has scored last: a run, or a rescore.
CREATE TEMPORARY TABLE risk_parameters AS
SELECT state.version, state.kept, scored.rescored, scored.publish_no,
       (p ->> 'min_peers')::bigint AS min_peers,
       (p ->> 'min_provider_claims')::bigint AS min_provider_claims,
       (p ->> 'min_providers')::bigint AS min_providers,
       (p ->> 'min_provider_days')::bigint AS min_provider_days,
       (p ->> 'min_expected')::bigint AS min_expected,
       (p ->> 'rare_weekend')::float8 AS rare_weekend,
       ARRAY[p ->> 'weight_amount', p ->> 'weight_duplicate', p ->> 'weight_provider', p ->> 'weight_volume',
             p ->> 'weight_mismatch', p ->> 'weight_weekend']::numeric[] AS weights,
       coalesce((SELECT actions -> 'date_of_service' ? 'generalize' FROM claims_etl.table_layout), false) AS coarse_dates,
       coalesce((SELECT actions ->> 'procedure_code' <> 'keep' FROM claims_etl.table_layout), false) AS coarse_procedures
FROM claims_etl.risk_state state,
     LATERAL (SELECT * FROM (SELECT risk_parameters AS p, publish_no, 0 AS rescored FROM claims_etl.runs
                             WHERE published_at IS NOT NULL AND risk_parameters IS NOT NULL
                             UNION ALL
                             SELECT s.parameters, v.publish_no, s.rescore_no FROM claims_etl.risk_rescores s
                             JOIN claims_etl.runs v ON v.run_no = s.stats_version) all_of_them
              ORDER BY publish_no DESC, rescored DESC LIMIT 1) scored;

-- The stored arrays as rows.
CREATE TEMPORARY VIEW risk_amounts AS
SELECT s.procedure_code, s.specialty, u.bucket, u.claims
FROM claims_etl.risk_statistics s, unnest(s.buckets, s.claims) AS u(bucket, claims);
CREATE TEMPORARY VIEW risk_totals AS
SELECT s.peer_key, s.specialty, u.procedure_code, u.claims, u.cents::numeric / 100 AS amount
FROM claims_etl.risk_provider_totals s,
     unnest(s.procedure_codes, s.claims, s.cents) AS u(procedure_code, claims, cents);
CREATE TEMPORARY VIEW risk_day_counts AS
SELECT s.specialty, u.patients, u.provider_days
FROM claims_etl.risk_provider_days s, unnest(s.patients, s.provider_days) AS u(patients, provider_days);

-- How the versions of providers are grouped: by provider, and by provider and specialty in canonical case.
CREATE TEMPORARY TABLE risk_providers AS
SELECT v.provider_key, min(v.provider_key) OVER (PARTITION BY provider_id) AS durable_key,
       min(v.provider_key) OVER (PARTITION BY provider_id, specialty) AS peer_key, v.specialty
FROM (SELECT provider_key, provider_id,
             coalesce(upper(regexp_replace(btrim(to_jsonb(d) ->> 'specialty'), '\s+', ' ', 'g')), '') AS specialty
      FROM healthcare_analytics.providers_dim d) v;

-- The claims.
CREATE TEMPORARY TABLE risk_audited AS
SELECT f.claim_token, f.line_number, f.patient_token, v.durable_key, v.peer_key, f.amount, f.date_of_service,
       CASE WHEN NOT coarse_procedures THEN to_jsonb(f) ->> 'procedure_code' END AS procedure_code,
       v.specialty, f.risk_score::numeric(4, 1) AS risk_score, f.risk_components
FROM healthcare_analytics.claims_fact f JOIN claims_etl.runs r USING (run_no)
JOIN risk_providers v USING (provider_key), risk_parameters
WHERE r.publish_no >= risk_parameters.publish_no OR risk_parameters.rescored > 0
ORDER BY random() LIMIT 1000;

-- Peer groups of amounts: own is the specialty, or null for the whole procedure. A bucket b is represented
-- by its middle, (b - 0.5) * ln(1.005) in ln(dollars). A median is the mean of the middle two.
CREATE TEMPORARY TABLE risk_peers AS
WITH points AS (
    SELECT procedure_code, specialty AS own, (bucket - 0.5) * ln(1.005::float8) AS x, claims
    FROM risk_amounts WHERE specialty <> ''
    UNION ALL
    SELECT procedure_code, NULL, (bucket - 0.5) * ln(1.005::float8), sum(claims)::bigint
    FROM risk_amounts GROUP BY procedure_code, bucket),
passed AS (
    SELECT *, sum(claims) OVER (PARTITION BY procedure_code, own)::bigint AS n,
           sum(claims) OVER (PARTITION BY procedure_code, own ORDER BY x)::bigint AS passed
    FROM points),
medians AS (
    SELECT procedure_code, own, n,
           (min(x) FILTER (WHERE passed > (n - 1) / 2) + min(x) FILTER (WHERE passed > n / 2)) / 2 AS median
    FROM passed GROUP BY procedure_code, own, n),
deviations AS (
    SELECT procedure_code, m.own, m.n, m.median, abs(x - median) AS deviation, claims
    FROM points JOIN medians m USING (procedure_code) WHERE points.own IS NOT DISTINCT FROM m.own),
deviations_passed AS (
    SELECT *, sum(claims) OVER (PARTITION BY procedure_code, own ORDER BY deviation)::bigint AS passed
    FROM deviations),
spreads AS (
    SELECT procedure_code, own, n, median,
           (min(deviation) FILTER (WHERE passed > (n - 1) / 2)
            + min(deviation) FILTER (WHERE passed > n / 2)) / 2 AS mad,
           sum(deviation * claims) / n AS mean
    FROM deviations_passed GROUP BY procedure_code, own, n, median)
SELECT procedure_code, own, n, median, mad, mean,
       greatest(0.10, CASE WHEN mad > 0 THEN mad / 0.6745 ELSE 1.253314 * mean END) AS sigma,
       -- Micro-dollars, half up.
       floor(exp(median) * 1e6 + 0.5)::bigint AS expected
FROM spreads, risk_parameters WHERE n >= min_peers;

-- Observed over expected, and the fences of each specialty.
CREATE TEMPORARY TABLE risk_ratios AS
SELECT t.peer_key, t.specialty, sum(t.claims) AS claims,
       (sum(t.amount) * 1000000)::float8 / sum(t.claims * coalesce(own.expected, whole.expected))::float8 AS ratio
FROM risk_totals t
LEFT JOIN risk_peers own ON own.procedure_code = t.procedure_code AND own.own = t.specialty
LEFT JOIN risk_peers whole ON whole.procedure_code = t.procedure_code AND whole.own IS NULL
WHERE t.specialty <> '' AND coalesce(own.expected, whole.expected) IS NOT NULL
GROUP BY t.peer_key, t.specialty
HAVING sum(t.claims) >= (SELECT min_provider_claims FROM risk_parameters);

CREATE TEMPORARY TABLE risk_ratio_quartiles AS
SELECT specialty, count(*) AS providers, percentile_cont(0.25) WITHIN GROUP (ORDER BY ratio) AS q1,
       percentile_cont(0.75) WITHIN GROUP (ORDER BY ratio) AS q3
FROM risk_ratios GROUP BY specialty
HAVING count(*) >= (SELECT min_providers FROM risk_parameters);

-- Patients a day: the stored counts are weights, so the quartiles are looked up among running totals.
CREATE TEMPORARY TABLE risk_day_quartiles AS
WITH passed AS (
    SELECT specialty, patients, sum(provider_days) OVER (PARTITION BY specialty)::bigint AS n,
           sum(provider_days) OVER (PARTITION BY specialty ORDER BY patients)::bigint AS passed
    FROM risk_day_counts WHERE specialty <> ''),
places AS (SELECT *, 0.25 * (n - 1)::float8 AS first, 0.75 * (n - 1)::float8 AS third FROM passed),
values_at AS (
    SELECT specialty, n, first, third,
           min(patients) FILTER (WHERE passed > floor(first)) AS first_below,
           min(patients) FILTER (WHERE passed > ceil(first)) AS first_above,
           min(patients) FILTER (WHERE passed > floor(third)) AS third_below,
           min(patients) FILTER (WHERE passed > ceil(third)) AS third_above
    FROM places GROUP BY specialty, n, first, third)
SELECT specialty, n,
       first_below + (first - floor(first)) * (first_above - first_below) AS q1,
       third_below + (third - floor(third)) * (third_above - third_below) AS q3
FROM values_at, risk_parameters WHERE n >= min_provider_days;

-- Claims of each procedure and specialty.
CREATE TEMPORARY TABLE risk_pairs AS
SELECT procedure_code, specialty, n, sum(n) OVER (PARTITION BY procedure_code) AS of_procedure,
       sum(n) OVER (PARTITION BY specialty) AS of_specialty, sum(n) OVER () AS of_all
FROM (SELECT procedure_code, specialty, sum(claims) AS n FROM risk_amounts
      WHERE specialty <> '' GROUP BY procedure_code, specialty) pairs;

-- Claims that say the same, and patients of the provider on the day.
CREATE TEMPORARY TABLE risk_twins AS
SELECT a.claim_token, a.line_number,
       bool_or(v.durable_key = a.durable_key AND f.amount = a.amount) AS exact
FROM risk_audited a
JOIN healthcare_analytics.claims_fact f USING (patient_token, date_of_service)
JOIN risk_providers v USING (provider_key)
WHERE a.amount > 0 AND f.amount > 0 AND f.claim_token <> a.claim_token
  AND to_jsonb(f) ->> 'procedure_code' = a.procedure_code
GROUP BY a.claim_token, a.line_number;

CREATE TEMPORARY TABLE risk_days AS
SELECT d.peer_key, d.date_of_service, count(DISTINCT f.patient_token) AS patients
FROM (SELECT DISTINCT peer_key, date_of_service FROM risk_audited
      WHERE amount > 0 AND specialty <> '') d
JOIN risk_providers v USING (peer_key)
JOIN healthcare_analytics.claims_fact f USING (provider_key, date_of_service)
WHERE f.amount > 0
GROUP BY d.peer_key, d.date_of_service;

-- The components in thousandths. A component with weight 0 is null; so are duplicate, volume and
-- weekend where the profile makes dates coarser than a day, and all that compare procedures where it
-- does not keep their codes.
CREATE TEMPORARY TABLE risk_recomputed AS
WITH shares AS (
    SELECT a.*, p.weights, p.coarse_dates,
        CASE WHEN a.amount > 0
            THEN ((ln(a.amount::float8) - coalesce(own.median, whole.median)) / coalesce(own.sigma, whole.sigma) - 2) / 5
        END AS amount_share,
        CASE WHEN a.amount > 0 AND a.procedure_code IS NOT NULL AND NOT coarse_dates
            THEN CASE WHEN twins.exact THEN 1.0 WHEN twins.claim_token IS NOT NULL THEN 0.2 ELSE 0.0 END::float8
        END AS duplicate_share,
        ((ratios.ratio - ratio_quartiles.q3) / greatest(ratio_quartiles.q3 - ratio_quartiles.q1, 0.1) - 1.5) / 1.5
            AS provider_share,
        CASE WHEN a.amount > 0 AND NOT coarse_dates
            THEN ((days.patients - day_quartiles.q3) / greatest(day_quartiles.q3 - day_quartiles.q1, 1) - 1.5) / 1.5
        END AS volume_share,
        CASE WHEN (procedures.n * specialties.n / specialties.of_all)::float8 >= min_expected
            THEN 1 - (coalesce(pairs.n, 0) * specialties.of_all / (procedures.n * specialties.n))::float8 / 0.25
        END AS mismatch_share,
        CASE WHEN habits.claims >= min_peers AND NOT coarse_dates
            THEN (extract(isodow FROM a.date_of_service) >= 6
                  AND habits.weekend_claims < rare_weekend * habits.claims)::integer::float8
        END AS weekend_share
    FROM risk_audited a
    CROSS JOIN risk_parameters p
    LEFT JOIN risk_peers own ON own.procedure_code = a.procedure_code AND own.own = a.specialty
    LEFT JOIN risk_peers whole ON whole.procedure_code = a.procedure_code AND whole.own IS NULL
    LEFT JOIN risk_twins twins USING (claim_token, line_number)
    LEFT JOIN risk_ratios ratios ON ratios.peer_key = a.peer_key
    LEFT JOIN risk_ratio_quartiles ratio_quartiles ON ratio_quartiles.specialty = a.specialty
    LEFT JOIN risk_days days ON days.peer_key = a.peer_key AND days.date_of_service = a.date_of_service
    LEFT JOIN risk_day_quartiles day_quartiles ON day_quartiles.specialty = a.specialty
    LEFT JOIN risk_pairs pairs ON pairs.procedure_code = a.procedure_code AND pairs.specialty = a.specialty
    LEFT JOIN (SELECT DISTINCT procedure_code, of_procedure AS n FROM risk_pairs) procedures
        ON procedures.procedure_code = a.procedure_code
    LEFT JOIN (SELECT DISTINCT specialty, of_specialty AS n, of_all FROM risk_pairs) specialties
        ON specialties.specialty = a.specialty
    LEFT JOIN claims_etl.risk_weekends habits ON habits.specialty = a.specialty AND a.specialty <> '')
SELECT claim_token, line_number, risk_score AS stored_score, weights,
       ARRAY(SELECT nullif(risk_components >> (10 * place) & 1023, 1023)::integer
             FROM generate_series(0, 5) place ORDER BY place) AS stored,
       ARRAY(SELECT CASE WHEN weights[place] > 0 AND share IS NOT NULL
                  THEN floor(1000 * least(1, greatest(0, share)) + 0.5)::integer END
             FROM unnest(ARRAY[amount_share, duplicate_share, provider_share, volume_share, mismatch_share,
                               weekend_share]) WITH ORDINALITY shares (share, place)
             ORDER BY place) AS recomputed
FROM shares;

-- The noisy-OR: round(100 * (1 - product of (1 - weight * component)), 1).
CREATE TEMPORARY TABLE risk_audit AS
SELECT claim_token, line_number, stored, recomputed, stored_score,
       round(100 * (1 - (1 - weights[1] * coalesce(recomputed[1], 0) / 1000.0)
                      * (1 - weights[2] * coalesce(recomputed[2], 0) / 1000.0)
                      * (1 - weights[3] * coalesce(recomputed[3], 0) / 1000.0)
                      * (1 - weights[4] * coalesce(recomputed[4], 0) / 1000.0)
                      * (1 - weights[5] * coalesce(recomputed[5], 0) / 1000.0)
                      * (1 - weights[6] * coalesce(recomputed[6], 0) / 1000.0)), 1) AS recomputed_score
FROM risk_recomputed;

SELECT count(*) AS claims,
       count(*) FILTER (WHERE stored = recomputed) AS equal_components,
       count(*) FILTER (WHERE stored_score = recomputed_score) AS equal_scores,
       max(abs(stored_score - recomputed_score)) AS largest_difference
FROM risk_audit;
