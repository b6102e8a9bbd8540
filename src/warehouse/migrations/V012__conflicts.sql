-- Repeats of a claim line with other content are counted apart from identical ones, in rows and dollars.

-- Until now they were a part of the duplicates, and nobody knows of how many dollars.
UPDATE claims_etl.runs SET claims_conflicts = 0, providers_conflicts = 0
WHERE claims_conflicts <> 0 OR providers_conflicts <> 0;

ALTER TABLE claims_etl.runs
    ADD COLUMN amount_conflicts numeric(20, 2),
    ADD COLUMN reversals jsonb NOT NULL DEFAULT
        '{"lines": 0, "dropped": 0, "dropped_amount": "0.00", "kept_amount": "0.00", "overwritten": 0, "overwritten_amount": "0.00"}',
    DROP CONSTRAINT published_runs_balance,
    ADD CONSTRAINT published_runs_balance CHECK (
        published_at IS NULL
        OR (claims_read = claims_loaded + claims_rejected + claims_duplicates + coalesce(claims_conflicts, 0)
            AND amount_read = amount_loaded + amount_rejected + amount_duplicates
                + coalesce(amount_conflicts, 0) + coalesce(amount_generalized, 0)
            AND claims_loaded = claims_inserted + claims_updated + claims_unchanged
            AND providers_read = providers_loaded + providers_rejected + providers_duplicates
                + coalesce(providers_conflicts, 0)));
COMMENT ON TABLE claims_etl.runs IS
    'One row per run, completed in the transaction that publishes it. Counts are rows, amounts are dollars to the cent; read = loaded + rejected + duplicates + conflicts.';
COMMENT ON COLUMN claims_etl.runs.claims_duplicates IS 'Repeats of a claim line with the same content; dropped.';
COMMENT ON COLUMN claims_etl.runs.claims_conflicts IS
    'Repeats of a claim line with other content than the row that was kept; dropped. Under the policy reject all rows of such a line are rejected.';
COMMENT ON COLUMN claims_etl.runs.reversals IS
    'Claim lines with rows that cancel one another: how many, what was dropped and kept of them; and published rows that the run overwrote by the opposite amount.';
