-- What the bits of dq_flags say, and more of what a run has rejected.

ALTER TABLE claims_etl.runs
    ADD COLUMN provider_reject_reasons jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN reject_examples jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN claims_etl.runs.flags IS
    'Loaded claims by rule: those that flag a row and those that only count it.';
COMMENT ON COLUMN claims_etl.runs.reject_examples IS
    'The first rejected records of each reason: source file and record number, never a value.';

CREATE TABLE healthcare_analytics.dq_rules (
    bit          integer PRIMARY KEY,
    id           text NOT NULL,
    name         text NOT NULL UNIQUE,
    severity     text NOT NULL CHECK (severity IN ('reject', 'flag', 'count', 'off')),
    description  text NOT NULL
);
COMMENT ON TABLE healthcare_analytics.dq_rules IS
    'The rules that can flag a claim: one bit of claims_fact.dq_flags each. severity is the default; a run may be configured otherwise, and only what flags is in dq_flags.';
INSERT INTO healthcare_analytics.dq_rules (bit, id, name, severity, description) VALUES
    (1, 'V1', 'provider_missing', 'flag', 'The record has no provider id; the claim points at the unknown member.'),
    (2, 'V1', 'provider_not_in_directory', 'flag', 'The directory has no such provider; the claim points at an inferred member.'),
    (4, 'K4', 'procedure_missing', 'flag', 'The record has no procedure code.'),
    (8, 'A2', 'amount_negative', 'flag', 'The amount is negative: a reversal.'),
    (16, 'A3', 'amount_zero', 'count', 'The amount is zero.'),
    (32, 'A1', 'amount_rounded', 'flag', 'The amount had more than two decimals and was rounded half to even.'),
    (64, 'V2', 'npi_invalid', 'flag', 'The provider id has ten digits that are no NPI: it begins with 1 or 2 and has a check digit.'),
    (128, 'K1', 'procedure_not_hcpcs', 'flag', 'The procedure code is no HCPCS or CPT code; only where the code system is hcpcs.'),
    (256, 'K2', 'procedure_normalized', 'flag', 'Prefix, modifiers or case were taken off the code; only where the code system is hcpcs.'),
    (512, 'K3', 'procedure_not_in_system', 'count', 'The procedure code is none of the code system icd9, icd10pcs or snomed.'),
    (1024, 'A4', 'amount_over_limit', 'flag', 'The amount, without its sign, is above the limit.'),
    (2048, 'A5', 'amount_same_on_all_lines', 'count', 'A claim of two lines or more has one amount on all of them, and it is not zero.'),
    (4096, 'P1', 'patient_id_placeholder', 'reject', 'The patient id stands for no patient.'),
    (8192, 'C3', 'claim_with_two_patients', 'reject', 'Lines of one claim name two patients.'),
    (16384, 'D2', 'date_in_future', 'reject', 'The date is more days after the run date than allowed.'),
    (32768, 'D3', 'date_too_old', 'flag', 'The date is more years before the run date than allowed.'),
    (65536, 'D4', 'date_outside_filing_window', 'count', 'The date is more days before the run date than the filing window has.'),
    (131072, 'U1', 'content_repeated', 'flag', 'Another claim has the same patient, provider, procedure, date and amount, which is not zero.'),
    (262144, 'U2', 'reversal_pair', 'count', 'Another claim line has the same patient, provider, procedure and date, and cancels the amount.');

COMMENT ON COLUMN healthcare_analytics.claims_fact.dq_flags IS
    'Bits, see dq_rules and dq_flag_names(): 1 provider_missing, 2 provider_not_in_directory, 4 procedure_missing, 8 amount_negative, 16 amount_zero, 32 amount_rounded, 64 npi_invalid, 128 procedure_not_hcpcs, 256 procedure_normalized, 512 procedure_not_in_system, 1024 amount_over_limit, 2048 amount_same_on_all_lines, 4096 patient_id_placeholder, 8192 claim_with_two_patients, 16384 date_in_future, 32768 date_too_old, 65536 date_outside_filing_window, 131072 content_repeated, 262144 reversal_pair.';

CREATE FUNCTION healthcare_analytics.dq_flag_names(flags integer) RETURNS text[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE
AS $$
    SELECT coalesce(array_agg(r.name ORDER BY r.bit), '{}')
    FROM healthcare_analytics.dq_rules r WHERE flags & r.bit <> 0
$$;
COMMENT ON FUNCTION healthcare_analytics.dq_flag_names IS 'The names of the rules whose bits are set.';

CREATE OR REPLACE VIEW healthcare_analytics.v_claims AS
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
       r.run_id, r.published_at AS loaded_at,
       f.dq_flags & 64 <> 0 AS npi_invalid,
       f.dq_flags & 128 <> 0 AS procedure_not_hcpcs,
       f.dq_flags & 256 <> 0 AS procedure_normalized,
       f.dq_flags & 512 <> 0 AS procedure_not_in_system,
       f.dq_flags & 1024 <> 0 AS amount_over_limit,
       f.dq_flags & 2048 <> 0 AS amount_same_on_all_lines,
       f.dq_flags & 4096 <> 0 AS patient_id_placeholder,
       f.dq_flags & 8192 <> 0 AS claim_with_two_patients,
       f.dq_flags & 16384 <> 0 AS date_in_future,
       f.dq_flags & 32768 <> 0 AS date_too_old,
       f.dq_flags & 65536 <> 0 AS date_outside_filing_window,
       f.dq_flags & 131072 <> 0 AS content_repeated,
       f.dq_flags & 262144 <> 0 AS reversal_pair
FROM healthcare_analytics.claims_fact f
JOIN healthcare_analytics.providers_dim d USING (provider_id)
JOIN claims_etl.runs r ON r.run_no = f.run_no;

CREATE VIEW healthcare_analytics.v_claim_flags AS
SELECT f.claim_token, f.line_number, q.id AS rule_id, q.name AS flag, q.description, f.run_no
FROM healthcare_analytics.claims_fact f
JOIN healthcare_analytics.dq_rules q ON f.dq_flags & q.bit <> 0;
COMMENT ON VIEW healthcare_analytics.v_claim_flags IS 'One row a flag of a claim line, with what it says.';
