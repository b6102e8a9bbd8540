-- The order in which runs published. It is not that in which they began: runs whose tasks are called one
-- by one overlap.

ALTER TABLE claims_etl.runs
    ADD COLUMN publish_no bigint,
    ADD COLUMN providers_updated bigint,
    ADD COLUMN error_is_transient boolean NOT NULL DEFAULT false;
UPDATE claims_etl.runs r SET publish_no = o.publish_no
FROM (SELECT run_id, row_number() OVER (ORDER BY published_at, run_no) AS publish_no
      FROM claims_etl.runs WHERE published_at IS NOT NULL) o
WHERE o.run_id = r.run_id;
ALTER TABLE claims_etl.runs
    ADD CONSTRAINT runs_publish_no_key UNIQUE (publish_no),
    ADD CONSTRAINT published_runs_are_numbered CHECK ((published_at IS NULL) = (publish_no IS NULL));
COMMENT ON COLUMN claims_etl.runs.publish_no IS
    'The run''s place among all publications: the later one has the higher number. Null: nothing was published.';
COMMENT ON COLUMN claims_etl.runs.providers_updated IS
    'Providers of the directory that were published with other content before. Null: the run is of an earlier version.';
COMMENT ON COLUMN claims_etl.runs.error_is_transient IS
    'Whether the error can pass by itself: the connection was lost, the server was starting.';
