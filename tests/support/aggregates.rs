//! The aggregates against the published claim lines: Postgres computes them from scratch.

/// Rows that are stored otherwise than they are computed; none where all agree.
pub(crate) const DIFFERENCES: &str = "
WITH lines AS MATERIALIZED (
    SELECT claim_token, line_number, provider_key, coalesce(to_jsonb(d) ->> 'specialty', '') AS specialty,
           date_trunc('month', date_of_service)::date AS month, date_of_service AS day, amount,
           risk_score::numeric(4, 1) AS score, healthcare_analytics.risk_band(risk_score) AS band
    FROM healthcare_analytics.claims_fact f
    LEFT JOIN healthcare_analytics.providers_dim d USING (provider_key)),
first_months AS (SELECT claim_token, min(month) AS month FROM lines GROUP BY 1),
computed AS (
    SELECT 'monthly_totals' AS aggregate,
           to_jsonb(ARRAY[month::text, specialty, band, count(*)::text, sum(amount)::text]) AS cells
    FROM lines GROUP BY month, specialty, band
    UNION ALL
    SELECT 'monthly_claims', to_jsonb(ARRAY[month::text, count(DISTINCT claim_token)::text,
           (SELECT count(*) FROM first_months f WHERE f.month = l.month)::text])
    FROM lines l GROUP BY month
    UNION ALL
    SELECT 'daily_totals', to_jsonb(ARRAY[day::text, count(*)::text, sum(amount)::text])
    FROM lines GROUP BY day
    UNION ALL
    SELECT 'score_totals', to_jsonb(ARRAY[score::text, count(*)::text]) FROM lines GROUP BY score
    UNION ALL
    SELECT 'provider_totals', to_jsonb(ARRAY[provider_key::text, count(*)::text, sum(amount)::text,
           sum(score)::numeric(20, 2)::text, (count(*) FILTER (WHERE band = 'high'))::text])
    FROM lines GROUP BY provider_key),
stored AS (
    SELECT 'monthly_totals' AS aggregate, to_jsonb(ARRAY[service_month::text, specialty, risk_band,
           claim_lines::text, amount::text]) AS cells FROM claims_etl.monthly_totals
    UNION ALL
    SELECT 'monthly_claims', to_jsonb(ARRAY[service_month::text, claims::text, first_claims::text])
    FROM claims_etl.monthly_claims
    UNION ALL
    SELECT 'daily_totals', to_jsonb(ARRAY[date_of_service::text, claim_lines::text, amount::text])
    FROM claims_etl.daily_totals
    UNION ALL
    SELECT 'score_totals', to_jsonb(ARRAY[risk_score::text, claim_lines::text])
    FROM claims_etl.score_totals
    UNION ALL
    SELECT 'provider_totals', to_jsonb(ARRAY[provider_key::text, claim_lines::text, amount::text,
           score_total::text, high_risk_lines::text]) FROM claims_etl.provider_totals),
-- As many of the highest lines as are stored must be the highest of all.
top AS (
    SELECT claim_token, line_number, score, amount FROM lines WHERE score > 0
    ORDER BY score DESC, amount DESC, claim_token DESC, line_number DESC
    LIMIT (SELECT count(*) FROM claims_etl.top_lines)),
stored_top AS (SELECT claim_token, line_number, risk_score AS score, amount FROM claims_etl.top_lines)
SELECT 'computed ' || aggregate || ' ' || cells::text
FROM (SELECT * FROM computed EXCEPT ALL SELECT * FROM stored) c
UNION ALL
SELECT 'stored ' || aggregate || ' ' || cells::text
FROM (SELECT * FROM stored EXCEPT ALL SELECT * FROM computed) s
UNION ALL
SELECT 'computed top line ' || to_jsonb(t)::text FROM (TABLE top EXCEPT TABLE stored_top) t
UNION ALL
SELECT 'stored top line ' || to_jsonb(t)::text FROM (TABLE stored_top EXCEPT TABLE top) t
UNION ALL
SELECT 'too few top lines' WHERE (SELECT count(*) FROM claims_etl.top_lines)
    < (SELECT least(10, count(*)) FROM lines WHERE score > 0)
UNION ALL
SELECT 'top lines are not complete' WHERE (SELECT is_complete FROM claims_etl.top_lines_state)
    AND (SELECT count(*) FROM claims_etl.top_lines) <> (SELECT count(*) FROM lines WHERE score > 0)
ORDER BY 1";
