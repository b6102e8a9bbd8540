-- What is done to the columns before they are released.

ALTER TABLE claims_etl.runs
    ADD COLUMN privacy_actions jsonb,
    ADD COLUMN amount_generalized numeric(20, 2),
    ADD COLUMN identifiers jsonb,
    DROP CONSTRAINT published_runs_balance,
    ADD CONSTRAINT published_runs_balance CHECK (
        published_at IS NULL
        OR (claims_read = claims_loaded + claims_rejected + claims_duplicates
            AND amount_read = amount_loaded + amount_rejected + amount_duplicates + coalesce(amount_generalized, 0)
            AND claims_loaded = claims_inserted + claims_updated + claims_unchanged
            AND providers_read = providers_loaded + providers_rejected + providers_duplicates));
COMMENT ON COLUMN claims_etl.runs.privacy_actions IS 'Column by column what was done to its values.';
COMMENT ON COLUMN claims_etl.runs.amount_generalized IS
    'Dollars that rounding, buckets and top-coding took from the accepted amounts (negative: added).';
COMMENT ON COLUMN claims_etl.runs.identifiers IS
    'Distinct identifiers and distinct tokens by domain; a run in which they differ is refused.';

CREATE TABLE claims_etl.shape (
    only_row         boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    profile          text NOT NULL,
    actions          jsonb NOT NULL,
    dropped          text[] NOT NULL,
    views            jsonb NOT NULL,
    changed_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE claims_etl.shape IS
    'What is done to the columns of what is published: it holds for all rows. views: the digest of each view and of the comments that were made for it.';

CREATE FUNCTION healthcare_analytics.risk_band(score numeric) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN score >= 50 THEN 'high' WHEN score >= 20 THEN 'medium' ELSE 'low' END $$;
COMMENT ON FUNCTION healthcare_analytics.risk_band IS
    'The band of a score, by the thresholds that the last run was configured with.';
