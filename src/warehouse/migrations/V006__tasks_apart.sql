-- Runs whose tasks are called one by one, each in a process of its own.

ALTER TABLE claims_etl.runs
    DROP CONSTRAINT runs_status_check,
    ADD CONSTRAINT runs_status_check
        CHECK (status IN ('running', 'open', 'success', 'already_loaded', 'failed')),
    ADD COLUMN orchestrator_run_id text,
    ADD COLUMN run_date date,
    ADD COLUMN last_task text,
    ADD COLUMN last_task_at timestamptz;
COMMENT ON COLUMN claims_etl.runs.status IS
    'open: tasks of the run are called one by one, and not all of them have been. A run that nobody goes on with for 7 days is closed as failed.';
COMMENT ON COLUMN claims_etl.runs.orchestrator_run_id IS
    'The name from which the run''s id was made, where an orchestrator gave one.';
COMMENT ON COLUMN claims_etl.runs.run_date IS
    'The day with which dates are compared where the run''s id does not tell it and none is configured.';
COMMENT ON COLUMN claims_etl.runs.last_task IS
    'The task that was called last, where tasks were called one by one.';
COMMENT ON COLUMN claims_etl.runs.last_task_at IS 'When that was.';
