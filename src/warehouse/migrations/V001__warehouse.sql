-- The star schema that dashboards read, and the ledger of the runs that fill it.

-- The ledger ---------------------------------------------------------------------------------

CREATE TABLE claims_etl.runs (
    run_id                uuid PRIMARY KEY,
    run_no                integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    status                text NOT NULL CHECK (status IN ('running', 'success', 'already_loaded', 'failed')),
    started_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at           timestamptz,
    published_at          timestamptz,
    tool_version          text NOT NULL,
    mode                  text NOT NULL CHECK (mode IN ('merge', 'append', 'replace')),
    key_id                text NOT NULL,
    config_digest         text NOT NULL,
    fingerprint           text,
    sources               jsonb,
    privacy_profile       text NOT NULL DEFAULT 'pseudonymized',
    risk_model            text,
    claims_read           bigint,
    claims_loaded         bigint,
    claims_inserted       bigint,
    claims_updated        bigint,
    claims_unchanged      bigint,
    claims_rejected       bigint,
    claims_duplicates     bigint,
    claims_conflicts      bigint,
    amount_read           numeric(20, 2),
    amount_loaded         numeric(20, 2),
    amount_rejected       numeric(20, 2),
    amount_duplicates     numeric(20, 2),
    amount_unparsed_rows  bigint,
    providers_read        bigint,
    providers_loaded      bigint,
    providers_rejected    bigint,
    providers_duplicates  bigint,
    providers_conflicts   bigint,
    providers_inferred    bigint,
    reject_reasons        jsonb NOT NULL DEFAULT '{}',
    flags                 jsonb NOT NULL DEFAULT '{}',
    error_kind            text,
    error                 text,
    CONSTRAINT published_runs_balance CHECK (
        published_at IS NULL
        OR (claims_read = claims_loaded + claims_rejected + claims_duplicates
            AND amount_read = amount_loaded + amount_rejected + amount_duplicates
            AND claims_loaded = claims_inserted + claims_updated + claims_unchanged
            AND providers_read = providers_loaded + providers_rejected + providers_duplicates))
);
CREATE INDEX runs_published ON claims_etl.runs (fingerprint, config_digest) WHERE published_at IS NOT NULL;
COMMENT ON TABLE claims_etl.runs IS
    'One row per run, completed in the transaction that publishes it. Counts are rows, amounts are dollars to the cent; read = loaded + rejected + duplicates.';

CREATE TABLE claims_etl.task_runs (
    run_id       uuid NOT NULL REFERENCES claims_etl.runs ON DELETE CASCADE,
    task_id      text NOT NULL,
    try_number   integer NOT NULL CHECK (try_number >= 0),
    state        text NOT NULL CHECK (state IN ('running', 'success', 'failed', 'up_for_retry', 'upstream_failed', 'skipped')),
    started_at   timestamptz NOT NULL,
    seconds      double precision,
    result       jsonb,
    error        text,
    PRIMARY KEY (run_id, task_id, try_number)
);
COMMENT ON TABLE claims_etl.task_runs IS
    'One row per try of a task: its state as Airflow names it and the small result it handed on.';

CREATE TABLE claims_etl.risk_statistics (
    run_no          integer NOT NULL,
    procedure_code  text NOT NULL,
    specialty       text NOT NULL,
    peers           bigint NOT NULL,
    median_ln       double precision NOT NULL,
    sigma_ln        double precision NOT NULL,
    PRIMARY KEY (run_no, procedure_code, specialty)
);
COMMENT ON TABLE claims_etl.risk_statistics IS
    'What the amounts of a run were compared with: median and spread of ln(amount in dollars) by procedure and specialty; specialty empty: all claims of the procedure, for specialties without a row of their own.';

CREATE TABLE claims_etl.risk_weekend_statistics (
    run_no          integer NOT NULL,
    specialty       text NOT NULL,
    claims          bigint NOT NULL,
    weekend_claims  bigint NOT NULL,
    PRIMARY KEY (run_no, specialty)
);
COMMENT ON TABLE claims_etl.risk_weekend_statistics IS
    'How often each specialty bills on weekends: priced claims of a run, and those of them on a Saturday or Sunday.';

-- The star schema ----------------------------------------------------------------------------

CREATE TABLE healthcare_analytics.providers_dim (
    provider_id    text PRIMARY KEY,
    provider_name  text,
    specialty      text,
    location       text,
    is_inferred    boolean NOT NULL DEFAULT false,
    row_hash       uuid,
    valid_since    timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    run_no         integer NOT NULL
);
COMMENT ON TABLE healthcare_analytics.providers_dim IS
    'One row per provider. is_inferred: seen in a claim only, completed when a directory names it.';
COMMENT ON COLUMN healthcare_analytics.providers_dim.row_hash IS
    'Digest of name, specialty and location; equal rows are left untouched. Null for inferred members.';

INSERT INTO healthcare_analytics.providers_dim (provider_id, provider_name, run_no)
VALUES ('(unknown)', 'Unknown provider', 0);

-- A facade over partitions, so that its views, grants and identity outlive its contents.
CREATE TABLE healthcare_analytics.claims_fact (
    claim_token      uuid NOT NULL,
    line_number      smallint NOT NULL,
    patient_token    uuid NOT NULL,
    provider_id      text NOT NULL,
    procedure_code   text,
    amount           numeric(12, 2) NOT NULL,
    date_of_service  date NOT NULL,
    specialty        text,
    location         text,
    risk_score       numeric(5, 2) NOT NULL,
    risk_components  bigint NOT NULL,
    is_reversal      boolean NOT NULL,
    dq_flags         integer NOT NULL,
    run_no           integer NOT NULL,
    PRIMARY KEY (claim_token, line_number)
) PARTITION BY RANGE (claim_token);
CREATE TABLE healthcare_analytics.claims_fact_0 PARTITION OF healthcare_analytics.claims_fact
    FOR VALUES FROM (MINVALUE) TO (MAXVALUE);

COMMENT ON TABLE healthcare_analytics.claims_fact IS
    'Grain: one row per claim line, key (claim_token, line_number). Privacy profile: pseudonymized (tokens are keyed hashes, dates are kept; still protected health information).';
COMMENT ON COLUMN healthcare_analytics.claims_fact.claim_token IS 'Keyed BLAKE3 of the claim id, 128 bits.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.patient_token IS 'Keyed BLAKE3 of the patient id, 128 bits.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.provider_id IS 'Refers to providers_dim; (unknown) when the claim names none.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.amount IS 'Dollars, exact to the cent; negative for reversals.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.risk_score IS
    'Billing-anomaly score claim_anomaly_v1, 0 to 100; not a clinical risk adjustment.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.risk_components IS
    'Six components in thousandths, 10 bits each from the lowest: amount, duplicate, provider, volume, mismatch, weekend (1023: cannot be computed); bits 60 to 62: the largest contribution, 1 to 6, or 0.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.dq_flags IS
    'Bits: 1 provider_missing, 2 provider_not_in_directory, 4 procedure_missing, 8 amount_negative, 16 amount_zero, 32 amount_rounded.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.run_no IS 'The run that wrote the row: claims_etl.runs.run_no.';

-- What dashboards read -----------------------------------------------------------------------

CREATE FUNCTION healthcare_analytics.risk_component(packed bigint, place integer) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$ SELECT nullif((packed >> (10 * place)) & 1023, 1023) / 1000.0 $$;
COMMENT ON FUNCTION healthcare_analytics.risk_component IS
    'Component 0 to 5 of risk_components, 0 to 1; null when it could not be computed.';

CREATE VIEW healthcare_analytics.v_claims AS
SELECT f.claim_token, f.line_number, f.patient_token, f.provider_id, d.provider_name,
       f.procedure_code, f.amount, f.date_of_service, f.specialty, f.location,
       f.risk_score,
       CASE WHEN f.risk_score >= 50 THEN 'high' WHEN f.risk_score >= 20 THEN 'medium' ELSE 'low' END AS risk_band,
       (ARRAY['amount', 'duplicate', 'provider', 'volume', 'mismatch', 'weekend'])[(f.risk_components >> 60)::integer] AS risk_reason,
       healthcare_analytics.risk_component(f.risk_components, 0) AS c_amount,
       healthcare_analytics.risk_component(f.risk_components, 1) AS c_duplicate,
       healthcare_analytics.risk_component(f.risk_components, 2) AS c_provider,
       healthcare_analytics.risk_component(f.risk_components, 3) AS c_volume,
       healthcare_analytics.risk_component(f.risk_components, 4) AS c_mismatch,
       healthcare_analytics.risk_component(f.risk_components, 5) AS c_weekend,
       f.is_reversal,
       f.dq_flags & 1 <> 0 AS provider_missing,
       f.dq_flags & 2 <> 0 AS provider_not_in_directory,
       f.dq_flags & 4 <> 0 AS procedure_missing,
       f.dq_flags & 8 <> 0 AS amount_negative,
       f.dq_flags & 16 <> 0 AS amount_zero,
       f.dq_flags & 32 <> 0 AS amount_rounded,
       d.is_inferred AS provider_is_inferred,
       r.run_id, r.published_at AS loaded_at
FROM healthcare_analytics.claims_fact f
JOIN healthcare_analytics.providers_dim d USING (provider_id)
JOIN claims_etl.runs r ON r.run_no = f.run_no;
COMMENT ON VIEW healthcare_analytics.v_claims IS 'Claims with their provider, decoded risk components and quality flags.';

CREATE VIEW healthcare_analytics.v_provider_month AS
SELECT f.provider_id, d.provider_name, d.specialty,
       date_trunc('month', f.date_of_service)::date AS service_month,
       count(*) AS claims, sum(f.amount) AS amount,
       count(DISTINCT f.patient_token) AS patients,
       round(avg(f.risk_score), 2) AS mean_risk_score, max(f.risk_score) AS max_risk_score,
       count(*) FILTER (WHERE f.risk_score >= 50) AS high_risk_claims
FROM healthcare_analytics.claims_fact f
JOIN healthcare_analytics.providers_dim d USING (provider_id)
GROUP BY 1, 2, 3, 4;
COMMENT ON VIEW healthcare_analytics.v_provider_month IS 'Claims, amount, patients and risk by provider and month of service.';
