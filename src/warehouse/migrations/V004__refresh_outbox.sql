-- What dashboards are to show, and what they show.

ALTER TABLE claims_etl.runs ADD COLUMN changed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN claims_etl.runs.changed IS
    'Whether the run has changed what is published; the last run that has is the one that dashboards are to show.';
-- Runs of earlier versions do not tell: each that published may have changed something.
UPDATE claims_etl.runs SET changed = true WHERE published_at IS NOT NULL;

CREATE TABLE claims_etl.refresh_outbox (
    target                text PRIMARY KEY,
    wanted_run_no         integer NOT NULL,
    wanted_at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    shown_run_no          integer,
    shown_at              timestamptz,
    shown_schema_version  bigint,
    started_run_no        integer,
    started_at            timestamptz,
    finished_at           timestamptz,
    attempts              integer NOT NULL DEFAULT 0,
    outcome               text,
    detail                text,
    remote_id             text
);
COMMENT ON TABLE claims_etl.refresh_outbox IS
    'One row a refresh target. It is due as long as shown_run_no is not wanted_run_no; the wish is written in the transaction that publishes.';
COMMENT ON COLUMN claims_etl.refresh_outbox.wanted_run_no IS
    'The run that changed last what is published.';
COMMENT ON COLUMN claims_etl.refresh_outbox.shown_run_no IS
    'The run that was wanted when the last refresh that succeeded began. Null: none has.';
COMMENT ON COLUMN claims_etl.refresh_outbox.shown_schema_version IS
    'The version of the published schema at that time.';
COMMENT ON COLUMN claims_etl.refresh_outbox.started_run_no IS
    'The run that the refresh at work is to show; null when none is, and left behind by one that was killed.';
COMMENT ON COLUMN claims_etl.refresh_outbox.attempts IS
    'Refreshes begun since one has succeeded, that one included.';
COMMENT ON COLUMN claims_etl.refresh_outbox.outcome IS 'How the last refresh ended.';
COMMENT ON COLUMN claims_etl.refresh_outbox.remote_id IS 'What the provider calls the last refresh.';
