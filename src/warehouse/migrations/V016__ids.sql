-- Which flags a run stores, and the rules about identifiers.

ALTER TABLE claims_etl.runs ADD COLUMN flags_stored integer;
COMMENT ON COLUMN claims_etl.runs.flags_stored IS
    'The bits of dq_flags that the run stores: those of the rules that flag. What it only counts is in flags. Null: not known.';

INSERT INTO healthcare_analytics.dq_rules (bit, id, name, severity, description) VALUES
    (524288, 'I1', 'identifier_scientific', 'reject', 'An identifier or code is a number in scientific form (9.87E+11), or has more digits before .0 than a floating-point number holds.'),
    (1048576, 'I2', 'identifier_decimal', 'flag', 'A .0 was taken off an identifier or code: it had gone through a floating-point column.'),
    (2097152, 'I3', 'identifier_invisible', 'flag', 'Invisible characters or unusual blanks were taken off an identifier or code.'),
    (4194304, 'I4', 'identifier_wrapped', 'count', 'The text markers of a spreadsheet (="00456") were taken off an identifier or code.');
UPDATE healthcare_analytics.dq_rules SET description = CASE name
    WHEN 'provider_missing' THEN 'The record has no provider id, or a placeholder such as NULL; the claim points at the unknown provider.'
    WHEN 'procedure_missing' THEN 'The record has no procedure code, or a placeholder such as NULL.'
    ELSE 'The patient id is a placeholder: one of the list for patients, or one for all identifiers.' END
WHERE name IN ('provider_missing', 'procedure_missing', 'patient_id_placeholder');

COMMENT ON COLUMN healthcare_analytics.claims_fact.dq_flags IS
    'Bits, see dq_rules and dq_flag_names(): 1 provider_missing, 2 provider_not_in_directory, 4 procedure_missing, 8 amount_negative, 16 amount_zero, 32 amount_rounded, 64 npi_invalid, 128 procedure_not_hcpcs, 256 procedure_normalized, 512 procedure_not_in_system, 1024 amount_over_limit, 2048 amount_same_on_all_lines, 4096 patient_id_placeholder, 8192 claim_with_two_patients, 16384 date_in_future, 32768 date_too_old, 65536 date_outside_filing_window, 131072 content_repeated, 262144 reversal_pair, 524288 identifier_scientific, 1048576 identifier_decimal, 2097152 identifier_invisible, 4194304 identifier_wrapped.';
