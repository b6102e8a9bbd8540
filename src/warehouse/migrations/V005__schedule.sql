-- What a scheduler remembers: which intervals were run, and who is at it.

CREATE TABLE claims_etl.schedule_lease (
    schedule     text PRIMARY KEY,
    holder       uuid NOT NULL,
    host         text NOT NULL,
    pid          integer NOT NULL,
    fencing      bigint NOT NULL,
    acquired_at  timestamptz NOT NULL,
    renewed_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);
COMMENT ON TABLE claims_etl.schedule_lease IS
    'One row a schedule: the one process that may run its intervals, until expires_at by the clock of this server. It is renewed every third of its length.';
COMMENT ON COLUMN claims_etl.schedule_lease.fencing IS
    'Grows with every holder, so that who was one before is told from who is one now.';

CREATE TABLE claims_etl.schedule_intervals (
    schedule        text NOT NULL,
    interval_start  timestamptz NOT NULL,
    interval_end    timestamptz NOT NULL,
    state           text NOT NULL CHECK (state IN
        ('queued', 'running', 'success', 'failed', 'up_for_retry', 'skipped')),
    run_id          uuid,
    tries           integer NOT NULL DEFAULT 0,
    fencing         bigint NOT NULL,
    started_at      timestamptz,
    finished_at     timestamptz,
    error_kind      text,
    error           text,
    PRIMARY KEY (schedule, interval_start),
    CHECK (interval_start < interval_end)
);
COMMENT ON TABLE claims_etl.schedule_intervals IS
    'One row a data interval that was begun, with its last run. The start belongs to the interval, the end does not.';
COMMENT ON COLUMN claims_etl.schedule_intervals.state IS
    'running: its run is at work, or has died and nobody has noticed yet. success: its data are published; error then says what came after. failed: left so until somebody runs it again. up_for_retry: its run was stopped, the next look at the schedule begins another. queued: wanted again. skipped: set by people, counts as done.';
