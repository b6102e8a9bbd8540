-- The star schema that dashboards read, and the ledger of the runs that fill it. The views, and the
-- comments that depend on the privacy profile, are made by the program.

-- Runs -----------------------------------------------------------------------------------------

CREATE TABLE claims_etl.runs (
    run_id                   uuid PRIMARY KEY,
    run_no                   integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    publish_no               bigint UNIQUE,
    status                   text NOT NULL CHECK (status IN ('running', 'open', 'success', 'already_loaded', 'failed')),
    started_at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at              timestamptz,
    published_at             timestamptz,
    changed                  boolean NOT NULL DEFAULT false,
    error_kind               text,
    error                    text,
    error_is_transient       boolean NOT NULL DEFAULT false,

    tool_version             text NOT NULL,
    mode                     text NOT NULL CHECK (mode IN ('merge', 'append', 'replace')),
    key_id                   text NOT NULL,
    config_digest            text NOT NULL,
    fingerprint              text,
    sources                  jsonb,
    run_date                 date,
    privacy_profile          text NOT NULL DEFAULT 'pseudonymized',
    privacy_actions          jsonb,
    risk_model               text,
    risk_parameters          jsonb,

    orchestrator_run_id      text,
    last_task                text,
    last_task_at             timestamptz,

    claims_filtered          bigint,
    claims_read              bigint,
    claims_loaded            bigint,
    claims_inserted          bigint,
    claims_updated           bigint,
    claims_unchanged         bigint,
    claims_rejected          bigint,
    claims_duplicates        bigint,
    claims_conflicts         bigint,

    amount_read              numeric(20, 2),
    amount_loaded            numeric(20, 2),
    amount_rejected          numeric(20, 2),
    amount_duplicates        numeric(20, 2),
    amount_conflicts         numeric(20, 2),
    amount_generalized       numeric(20, 2),
    amount_unparsed_rows     bigint,
    reversals                jsonb NOT NULL DEFAULT
        '{"lines": 0, "dropped": 0, "dropped_amount": "0.00", "kept_amount": "0.00", "overwritten": 0, "overwritten_amount": "0.00"}',

    providers_read           bigint,
    providers_loaded         bigint,
    providers_updated        bigint,
    providers_rejected       bigint,
    providers_duplicates     bigint,
    providers_conflicts      bigint,
    providers_inferred       bigint,

    reject_reasons           jsonb NOT NULL DEFAULT '{}',
    provider_reject_reasons  jsonb NOT NULL DEFAULT '{}',
    reject_examples          jsonb NOT NULL DEFAULT '{}',
    flags                    jsonb NOT NULL DEFAULT '{}',
    flags_stored             integer,
    identifiers              jsonb,

    CONSTRAINT published_runs_are_numbered CHECK ((published_at IS NULL) = (publish_no IS NULL)),
    CONSTRAINT published_runs_balance CHECK (
        published_at IS NULL
        OR (claims_read = claims_loaded + claims_rejected + claims_duplicates + coalesce(claims_conflicts, 0)
            AND amount_read = amount_loaded + amount_rejected + amount_duplicates
                + coalesce(amount_conflicts, 0) + coalesce(amount_generalized, 0)
            AND claims_loaded = claims_inserted + claims_updated + claims_unchanged
            AND providers_read = providers_loaded + providers_rejected + providers_duplicates
                + coalesce(providers_conflicts, 0)))
);
CREATE INDEX runs_published ON claims_etl.runs (fingerprint, config_digest) WHERE published_at IS NOT NULL;
COMMENT ON TABLE claims_etl.runs IS
    'One row per run, completed in the transaction that publishes it. Counts are rows, amounts are dollars to the cent; read = loaded + rejected + duplicates + conflicts.';
COMMENT ON COLUMN claims_etl.runs.run_id IS 'UUID of version 7, or derived from orchestrator_run_id.';
COMMENT ON COLUMN claims_etl.runs.run_no IS 'Number of the run; every published row has the one of the run that wrote it.';
COMMENT ON COLUMN claims_etl.runs.started_at IS 'When the run began.';
COMMENT ON COLUMN claims_etl.runs.finished_at IS 'When it ended.';
COMMENT ON COLUMN claims_etl.runs.published_at IS 'When its transaction published. Null: nothing was published.';
COMMENT ON COLUMN claims_etl.runs.error_kind IS 'Kind of the error: config, source, quality, warehouse, refresh, locked, interrupted or internal.';
COMMENT ON COLUMN claims_etl.runs.error IS 'Message of the error; holds no cell value.';
COMMENT ON COLUMN claims_etl.runs.tool_version IS 'Version of the program.';
COMMENT ON COLUMN claims_etl.runs.mode IS 'Load mode: merge, append or replace.';
COMMENT ON COLUMN claims_etl.runs.key_id IS 'Id of the key that the tokens were made with.';
COMMENT ON COLUMN claims_etl.runs.config_digest IS 'Digest of the settings that change what is loaded.';
COMMENT ON COLUMN claims_etl.runs.fingerprint IS 'Digest of the input files.';
COMMENT ON COLUMN claims_etl.runs.sources IS 'Input files with size, fingerprint, header and mapping.';
COMMENT ON COLUMN claims_etl.runs.privacy_profile IS 'Privacy profile.';
COMMENT ON COLUMN claims_etl.runs.risk_model IS 'Model of the risk score.';
COMMENT ON COLUMN claims_etl.runs.claims_read IS 'Claim lines read.';
COMMENT ON COLUMN claims_etl.runs.claims_loaded IS 'Claim lines of the input that are published: inserted, updated or unchanged.';
COMMENT ON COLUMN claims_etl.runs.claims_inserted IS 'Claim lines that were new.';
COMMENT ON COLUMN claims_etl.runs.claims_updated IS 'Claim lines that were published with other content.';
COMMENT ON COLUMN claims_etl.runs.claims_unchanged IS 'Claim lines that were published as they are.';
COMMENT ON COLUMN claims_etl.runs.claims_rejected IS 'Claim lines in the quarantine.';
COMMENT ON COLUMN claims_etl.runs.amount_read IS 'Dollars of the claim lines read whose amount can be read.';
COMMENT ON COLUMN claims_etl.runs.amount_loaded IS 'Dollars of the claim lines loaded.';
COMMENT ON COLUMN claims_etl.runs.amount_rejected IS 'Dollars of rejected claim lines whose amount can be read.';
COMMENT ON COLUMN claims_etl.runs.amount_duplicates IS 'Dollars of dropped duplicates.';
COMMENT ON COLUMN claims_etl.runs.amount_conflicts IS 'Dollars of dropped conflicts.';
COMMENT ON COLUMN claims_etl.runs.amount_unparsed_rows IS 'Rejected claim lines whose amount cannot be read; in no sum.';
COMMENT ON COLUMN claims_etl.runs.providers_read IS 'Directory records read.';
COMMENT ON COLUMN claims_etl.runs.providers_loaded IS 'Directory records loaded.';
COMMENT ON COLUMN claims_etl.runs.providers_rejected IS 'Directory records rejected.';
COMMENT ON COLUMN claims_etl.runs.providers_duplicates IS 'Repeats of a directory record with the same content; dropped.';
COMMENT ON COLUMN claims_etl.runs.providers_conflicts IS 'Repeats of a provider with other content; dropped.';
COMMENT ON COLUMN claims_etl.runs.providers_inferred IS 'Placeholder providers that the run added.';
COMMENT ON COLUMN claims_etl.runs.reject_reasons IS 'Rejected claim lines by rule.';
COMMENT ON COLUMN claims_etl.runs.provider_reject_reasons IS 'Rejected directory records by rule.';
COMMENT ON COLUMN claims_etl.runs.publish_no IS
    'Order of publication: a later one has a higher number. Runs whose tasks are called one by one overlap, so it is not the order of run_no. Null: not published.';
COMMENT ON COLUMN claims_etl.runs.status IS
    'open: the tasks of the run are called one by one, and some are still to come. A run without a call for 7 days is closed as failed.';
COMMENT ON COLUMN claims_etl.runs.changed IS
    'Whether the run changed published data. Dashboards should show the last run that did.';
COMMENT ON COLUMN claims_etl.runs.error_is_transient IS
    'Whether the error can pass by itself: the connection was lost, the server was starting.';
COMMENT ON COLUMN claims_etl.runs.run_date IS
    'The day with which dates of service are compared, where the run id does not give one and none is configured.';
COMMENT ON COLUMN claims_etl.runs.privacy_actions IS 'The privacy action of each column.';
COMMENT ON COLUMN claims_etl.runs.risk_parameters IS
    'Weights and thresholds that the rows of the run were scored with. The statistics of a row are those of its run (run_no), or of the last rescore if that has later ones.';
COMMENT ON COLUMN claims_etl.runs.orchestrator_run_id IS
    'The orchestrator''s name of the run, from which run_id was derived.';
COMMENT ON COLUMN claims_etl.runs.last_task IS 'The last task that was called, where tasks are called one by one.';
COMMENT ON COLUMN claims_etl.runs.last_task_at IS 'When last_task was called.';
COMMENT ON COLUMN claims_etl.runs.claims_filtered IS
    'Records of the claims'' sources that claims.where excludes; in no other count.';
COMMENT ON COLUMN claims_etl.runs.claims_duplicates IS 'Repeats of a claim line with the same content; dropped.';
COMMENT ON COLUMN claims_etl.runs.claims_conflicts IS
    'Repeats of a claim line whose content differs from the row that was kept; dropped. Under the policy reject all rows of such a line are rejected.';
COMMENT ON COLUMN claims_etl.runs.amount_generalized IS
    'Dollars that rounding, buckets and top-coding took from the accepted amounts (negative: added).';
COMMENT ON COLUMN claims_etl.runs.reversals IS
    'Claim lines with rows that cancel one another: how many, what was dropped and kept of them; and published rows that the run overwrote with the opposite amount.';
COMMENT ON COLUMN claims_etl.runs.providers_updated IS 'Providers of the directory whose published content changed.';
COMMENT ON COLUMN claims_etl.runs.reject_examples IS
    'The first rejected records of each reason: source file and record number, never a value.';
COMMENT ON COLUMN claims_etl.runs.flags IS
    'Loaded claims by rule, for rules that flag and rules that only count.';
COMMENT ON COLUMN claims_etl.runs.flags_stored IS
    'The bits of dq_flags that the run stores: those of the rules that flag. Null: unknown.';
COMMENT ON COLUMN claims_etl.runs.identifiers IS
    'Distinct identifiers and distinct tokens by domain; a run in which they differ is refused.';

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
    'One row per try of a task: its state in Airflow''s terms and the small result that it passed on.';
COMMENT ON COLUMN claims_etl.task_runs.run_id IS 'The run.';
COMMENT ON COLUMN claims_etl.task_runs.task_id IS 'The task.';
COMMENT ON COLUMN claims_etl.task_runs.try_number IS 'Number of the try, from 1.';
COMMENT ON COLUMN claims_etl.task_runs.state IS 'State of the try.';
COMMENT ON COLUMN claims_etl.task_runs.started_at IS 'When the try began.';
COMMENT ON COLUMN claims_etl.task_runs.seconds IS 'Duration of the try.';
COMMENT ON COLUMN claims_etl.task_runs.result IS 'What the task passed on.';
COMMENT ON COLUMN claims_etl.task_runs.error IS 'Message of the error; holds no cell value.';

-- Dashboards -----------------------------------------------------------------------------------

CREATE TABLE claims_etl.refresh_outbox (
    target                    text PRIMARY KEY,
    desired_run_no            integer NOT NULL,
    desired_at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    refreshed_run_no          integer,
    refreshed_at              timestamptz,
    refreshed_schema_version  bigint,
    started_run_no            integer,
    started_at                timestamptz,
    finished_at               timestamptz,
    attempts                  integer NOT NULL DEFAULT 0,
    outcome                   text,
    detail                    text,
    remote_id                 text
);
COMMENT ON TABLE claims_etl.refresh_outbox IS
    'One row per refresh target, due while refreshed_run_no is not desired_run_no. The publishing transaction sets desired_run_no.';
COMMENT ON COLUMN claims_etl.refresh_outbox.target IS 'Name of the refresh target.';
COMMENT ON COLUMN claims_etl.refresh_outbox.desired_at IS 'When desired_run_no was set.';
COMMENT ON COLUMN claims_etl.refresh_outbox.refreshed_at IS 'When the last successful refresh ended.';
COMMENT ON COLUMN claims_etl.refresh_outbox.started_at IS 'When the refresh in progress began.';
COMMENT ON COLUMN claims_etl.refresh_outbox.finished_at IS 'When the last refresh ended.';
COMMENT ON COLUMN claims_etl.refresh_outbox.detail IS 'What the last refresh did, or why it failed.';
COMMENT ON COLUMN claims_etl.refresh_outbox.desired_run_no IS
    'The last run that changed published data.';
COMMENT ON COLUMN claims_etl.refresh_outbox.refreshed_run_no IS
    'The desired run when the last successful refresh began. Null: none has succeeded.';
COMMENT ON COLUMN claims_etl.refresh_outbox.refreshed_schema_version IS
    'The version of the published schema at that time.';
COMMENT ON COLUMN claims_etl.refresh_outbox.started_run_no IS
    'The run of the refresh in progress. Null: none is. A refresh that was killed leaves its number.';
COMMENT ON COLUMN claims_etl.refresh_outbox.attempts IS
    'Refreshes begun since the last success, including that one.';
COMMENT ON COLUMN claims_etl.refresh_outbox.outcome IS 'How the last refresh ended.';
COMMENT ON COLUMN claims_etl.refresh_outbox.remote_id IS 'The provider''s id of the last refresh.';

-- Schedule -------------------------------------------------------------------------------------

CREATE TABLE claims_etl.schedule_lease (
    schedule       text PRIMARY KEY,
    holder         uuid NOT NULL,
    host           text NOT NULL,
    pid            integer NOT NULL,
    fencing_token  bigint NOT NULL,
    acquired_at    timestamptz NOT NULL,
    renewed_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL
);
COMMENT ON TABLE claims_etl.schedule_lease IS
    'One row per schedule: the one process that may run its intervals, until expires_at by the clock of this server. It is renewed every third of its length.';
COMMENT ON COLUMN claims_etl.schedule_lease.schedule IS 'Name of the schedule.';
COMMENT ON COLUMN claims_etl.schedule_lease.holder IS 'Id of the scheduler that holds the lease.';
COMMENT ON COLUMN claims_etl.schedule_lease.host IS 'Its host.';
COMMENT ON COLUMN claims_etl.schedule_lease.pid IS 'Its process id.';
COMMENT ON COLUMN claims_etl.schedule_lease.acquired_at IS 'When it got the lease.';
COMMENT ON COLUMN claims_etl.schedule_lease.renewed_at IS 'When it renewed the lease last.';
COMMENT ON COLUMN claims_etl.schedule_lease.expires_at IS 'When the lease ends unless it is renewed.';
COMMENT ON COLUMN claims_etl.schedule_lease.fencing_token IS
    'Grows with every holder; a write with an older one is refused.';

CREATE TABLE claims_etl.schedule_intervals (
    schedule        text NOT NULL,
    interval_start  timestamptz NOT NULL,
    interval_end    timestamptz NOT NULL,
    state           text NOT NULL CHECK (state IN
        ('queued', 'running', 'success', 'failed', 'up_for_retry', 'skipped')),
    run_id          uuid,
    tries           integer NOT NULL DEFAULT 0,
    fencing_token   bigint NOT NULL,
    started_at      timestamptz,
    finished_at     timestamptz,
    error_kind      text,
    error           text,
    PRIMARY KEY (schedule, interval_start),
    CHECK (interval_start < interval_end)
);
COMMENT ON TABLE claims_etl.schedule_intervals IS
    'One row per data interval that was begun, with its last run. interval_start is inclusive, interval_end exclusive.';
COMMENT ON COLUMN claims_etl.schedule_intervals.schedule IS 'Name of the schedule.';
COMMENT ON COLUMN claims_etl.schedule_intervals.interval_start IS 'Start of the data interval, inclusive.';
COMMENT ON COLUMN claims_etl.schedule_intervals.interval_end IS 'End of the data interval, exclusive.';
COMMENT ON COLUMN claims_etl.schedule_intervals.run_id IS 'The last run of the interval.';
COMMENT ON COLUMN claims_etl.schedule_intervals.tries IS 'Runs of the interval.';
COMMENT ON COLUMN claims_etl.schedule_intervals.fencing_token IS 'Token of the lease under which the row was written last.';
COMMENT ON COLUMN claims_etl.schedule_intervals.started_at IS 'When the last run began.';
COMMENT ON COLUMN claims_etl.schedule_intervals.finished_at IS 'When it ended.';
COMMENT ON COLUMN claims_etl.schedule_intervals.error_kind IS 'Kind of its error.';
COMMENT ON COLUMN claims_etl.schedule_intervals.error IS 'Message of its error.';
COMMENT ON COLUMN claims_etl.schedule_intervals.state IS
    'running: its run is in progress, or died unnoticed. success: its data are published; error is then of what followed. failed: until it is run again by hand. up_for_retry: its run was stopped and the next pass repeats it. queued: to be run again. skipped: set by hand, counts as done.';

-- Risk statistics ------------------------------------------------------------------------------
-- Of all published claims. A load adds its counts, a change takes the old ones out.

CREATE TABLE claims_etl.risk_statistics (
    procedure_code  text NOT NULL,
    specialty       text NOT NULL,
    buckets         integer[] NOT NULL,
    claims          bigint[] NOT NULL,
    PRIMARY KEY (procedure_code, specialty)
);
COMMENT ON TABLE claims_etl.risk_statistics IS
    'Priced claims (amount above zero) by procedure, specialty in canonical case (empty: none) and bucket of the amount: ceil(ln(dollars) / ln(1.005)). One row per procedure and specialty: unnest(buckets, claims).';
COMMENT ON COLUMN claims_etl.risk_statistics.procedure_code IS 'Procedure code.';
COMMENT ON COLUMN claims_etl.risk_statistics.specialty IS 'Specialty in canonical case; empty for none.';
COMMENT ON COLUMN claims_etl.risk_statistics.buckets IS 'Buckets of the amount, in order.';
COMMENT ON COLUMN claims_etl.risk_statistics.claims IS 'Priced claim lines of each bucket.';

CREATE TABLE claims_etl.risk_weekends (
    specialty       text PRIMARY KEY,
    claims          bigint NOT NULL CHECK (claims > 0),
    weekend_claims  bigint NOT NULL CHECK (weekend_claims BETWEEN 0 AND claims)
);
COMMENT ON TABLE claims_etl.risk_weekends IS
    'Priced claims by specialty, and those of them on a Saturday or Sunday.';
COMMENT ON COLUMN claims_etl.risk_weekends.specialty IS 'Specialty in canonical case.';
COMMENT ON COLUMN claims_etl.risk_weekends.claims IS 'Priced claim lines.';
COMMENT ON COLUMN claims_etl.risk_weekends.weekend_claims IS 'Those on a Saturday or Sunday.';

CREATE TABLE claims_etl.risk_provider_totals (
    peer_key        integer NOT NULL,
    specialty       text NOT NULL,
    procedure_codes text[] NOT NULL,
    claims          bigint[] NOT NULL,
    cents           bigint[] NOT NULL,
    PRIMARY KEY (peer_key, specialty)
);
COMMENT ON TABLE claims_etl.risk_provider_totals IS
    'Priced claims and their sum by provider with its specialty (provider_peers.peer_key) and procedure; without claims that have no value for one of them. One row per provider: unnest(procedure_codes, claims, cents).';
COMMENT ON COLUMN claims_etl.risk_provider_totals.peer_key IS 'The provider with its specialty: provider_peers.peer_key.';
COMMENT ON COLUMN claims_etl.risk_provider_totals.specialty IS 'Specialty in canonical case.';
COMMENT ON COLUMN claims_etl.risk_provider_totals.procedure_codes IS 'Procedure codes, in order.';
COMMENT ON COLUMN claims_etl.risk_provider_totals.claims IS 'Priced claim lines of each procedure.';
COMMENT ON COLUMN claims_etl.risk_provider_totals.cents IS 'Their amounts in cents.';

CREATE TABLE claims_etl.risk_provider_days (
    specialty       text PRIMARY KEY,
    patients        integer[] NOT NULL,
    provider_days   bigint[] NOT NULL
);
COMMENT ON TABLE claims_etl.risk_provider_days IS
    'Provider-days by specialty and number of patients seen on the day: patients of priced claims, counted once per provider, specialty and day. One row per specialty: unnest(patients, provider_days).';
COMMENT ON COLUMN claims_etl.risk_provider_days.specialty IS 'Specialty in canonical case.';
COMMENT ON COLUMN claims_etl.risk_provider_days.patients IS 'Numbers of patients of a provider on a day, in order.';
COMMENT ON COLUMN claims_etl.risk_provider_days.provider_days IS 'Days of providers with each number of patients.';

CREATE TABLE claims_etl.risk_state (
    singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    version         integer NOT NULL,
    model           text NOT NULL,
    kept            text[] NOT NULL,
    as_of           timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE claims_etl.risk_state IS
    'Which statistics are stored (kept), and the last run that changed them (version: runs.run_no). A statistic that is not stored is counted from claims_fact when it is needed.';
COMMENT ON COLUMN claims_etl.risk_state.singleton IS 'Always true: the table has one row.';
COMMENT ON COLUMN claims_etl.risk_state.version IS 'The last run that changed the statistics (runs.run_no).';
COMMENT ON COLUMN claims_etl.risk_state.model IS 'Model of the risk score.';
COMMENT ON COLUMN claims_etl.risk_state.kept IS 'Statistics that are stored.';
COMMENT ON COLUMN claims_etl.risk_state.as_of IS 'When they were changed last.';

CREATE TABLE claims_etl.risk_rescores (
    rescore_no      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stats_version   integer NOT NULL,
    model           text NOT NULL,
    parameters      jsonb NOT NULL,
    finished_at     timestamptz NOT NULL DEFAULT now(),
    rows_changed    bigint NOT NULL
);
COMMENT ON TABLE claims_etl.risk_rescores IS
    'When all stored scores were recomputed, and with which statistics.';
COMMENT ON COLUMN claims_etl.risk_rescores.rescore_no IS 'Number of the rescore.';
COMMENT ON COLUMN claims_etl.risk_rescores.stats_version IS 'The run whose statistics were used (runs.run_no).';
COMMENT ON COLUMN claims_etl.risk_rescores.model IS 'Model of the risk score.';
COMMENT ON COLUMN claims_etl.risk_rescores.parameters IS 'Weights and thresholds.';
COMMENT ON COLUMN claims_etl.risk_rescores.finished_at IS 'When it ended.';
COMMENT ON COLUMN claims_etl.risk_rescores.rows_changed IS 'Claim lines with another score since.';

-- Aggregates -----------------------------------------------------------------------------------
-- Sums over all published claim lines: all that the dashboard reads. A publish adds the lines that come and
-- subtracts those that go.

CREATE TABLE claims_etl.monthly_totals (
    service_month   date NOT NULL,
    specialty       text NOT NULL,
    risk_band       text NOT NULL,
    claim_lines     bigint NOT NULL CHECK (claim_lines > 0),
    amount          numeric(20, 2) NOT NULL,
    PRIMARY KEY (service_month, specialty, risk_band)
);
COMMENT ON TABLE claims_etl.monthly_totals IS
    'Claim lines and dollars by month of service, specialty (empty: none) and band of the risk score.';
COMMENT ON COLUMN claims_etl.monthly_totals.service_month IS 'First day of the month of service.';
COMMENT ON COLUMN claims_etl.monthly_totals.specialty IS 'Specialty of the provider when the line was loaded; empty for none.';
COMMENT ON COLUMN claims_etl.monthly_totals.risk_band IS 'Band of the risk score: low, medium or high.';
COMMENT ON COLUMN claims_etl.monthly_totals.claim_lines IS 'Claim lines.';
COMMENT ON COLUMN claims_etl.monthly_totals.amount IS 'Dollars.';

CREATE TABLE claims_etl.monthly_claims (
    service_month   date PRIMARY KEY,
    claims          bigint NOT NULL CHECK (claims > 0),
    first_claims    bigint NOT NULL
);
COMMENT ON TABLE claims_etl.monthly_claims IS
    'Claims with a line in the month, and those of them whose first month it is: their sum is the number of claims.';
COMMENT ON COLUMN claims_etl.monthly_claims.service_month IS 'First day of the month of service.';
COMMENT ON COLUMN claims_etl.monthly_claims.claims IS 'Claims with a line in the month.';
COMMENT ON COLUMN claims_etl.monthly_claims.first_claims IS 'Claims whose first line by date is in the month.';

CREATE TABLE claims_etl.daily_totals (
    date_of_service date PRIMARY KEY,
    claim_lines     bigint NOT NULL CHECK (claim_lines > 0),
    amount          numeric(20, 2) NOT NULL
);
COMMENT ON TABLE claims_etl.daily_totals IS 'Claim lines and dollars by date of service.';
COMMENT ON COLUMN claims_etl.daily_totals.date_of_service IS 'Date of service.';
COMMENT ON COLUMN claims_etl.daily_totals.claim_lines IS 'Claim lines.';
COMMENT ON COLUMN claims_etl.daily_totals.amount IS 'Dollars.';

CREATE TABLE claims_etl.score_totals (
    risk_score      numeric(4, 1) PRIMARY KEY,
    claim_lines     bigint NOT NULL CHECK (claim_lines > 0)
);
COMMENT ON TABLE claims_etl.score_totals IS 'Claim lines by risk score.';
COMMENT ON COLUMN claims_etl.score_totals.risk_score IS 'Risk score, 0 to 100.';
COMMENT ON COLUMN claims_etl.score_totals.claim_lines IS 'Claim lines.';

CREATE TABLE claims_etl.provider_totals (
    provider_key    integer PRIMARY KEY,
    claim_lines     bigint NOT NULL CHECK (claim_lines > 0),
    amount          numeric(20, 2) NOT NULL,
    score_total     numeric(20, 2) NOT NULL,
    high_risk_lines bigint NOT NULL
);
COMMENT ON TABLE claims_etl.provider_totals IS
    'Claim lines, dollars, the sum of the risk scores and the lines of the high band by version of the provider.';
COMMENT ON COLUMN claims_etl.provider_totals.provider_key IS 'Version of the provider.';
COMMENT ON COLUMN claims_etl.provider_totals.claim_lines IS 'Claim lines.';
COMMENT ON COLUMN claims_etl.provider_totals.amount IS 'Dollars.';
COMMENT ON COLUMN claims_etl.provider_totals.score_total IS 'Sum of the risk scores.';
COMMENT ON COLUMN claims_etl.provider_totals.high_risk_lines IS 'Claim lines of the high band.';

CREATE TABLE claims_etl.top_lines (
    claim_token     uuid NOT NULL,
    line_number     smallint NOT NULL,
    risk_score      numeric(4, 1) NOT NULL,
    amount          numeric(12, 2) NOT NULL,
    PRIMARY KEY (claim_token, line_number)
);
COMMENT ON TABLE claims_etl.top_lines IS
    'The claim lines with the highest risk scores, in the order of score, amount, token and line.';
COMMENT ON COLUMN claims_etl.top_lines.claim_token IS 'Claim.';
COMMENT ON COLUMN claims_etl.top_lines.line_number IS 'Line of the claim.';
COMMENT ON COLUMN claims_etl.top_lines.risk_score IS 'Risk score, 0 to 100.';
COMMENT ON COLUMN claims_etl.top_lines.amount IS 'Dollars.';

CREATE TABLE claims_etl.top_lines_state (
    singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    is_complete     boolean NOT NULL
);
COMMENT ON TABLE claims_etl.top_lines_state IS
    'is_complete: top_lines has every line with a score above zero. Otherwise every line that is not in it ranks below its last one.';
COMMENT ON COLUMN claims_etl.top_lines_state.singleton IS 'Always true: the table has one row.';
COMMENT ON COLUMN claims_etl.top_lines_state.is_complete IS 'Whether top_lines has every line with a score above zero.';
INSERT INTO claims_etl.top_lines_state (is_complete) VALUES (true);

-- Privacy and keys -----------------------------------------------------------------------------

CREATE TABLE claims_etl.table_layout (
    singleton        boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    profile          text NOT NULL,
    actions          jsonb NOT NULL,
    dropped          text[] NOT NULL,
    views            jsonb NOT NULL,
    changed_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE claims_etl.table_layout IS
    'Privacy profile, action of each column and dropped columns of the published tables; the same for all rows. views: the digest of each view and of the comments.';
COMMENT ON COLUMN claims_etl.table_layout.singleton IS 'Always true: the table has one row.';
COMMENT ON COLUMN claims_etl.table_layout.profile IS 'Privacy profile.';
COMMENT ON COLUMN claims_etl.table_layout.actions IS 'Privacy action of each column.';
COMMENT ON COLUMN claims_etl.table_layout.dropped IS 'Columns that the profile drops.';
COMMENT ON COLUMN claims_etl.table_layout.views IS 'Digest of each view.';
COMMENT ON COLUMN claims_etl.table_layout.changed_at IS 'When it changed last.';

-- Nothing here helps to find a key.
CREATE TABLE claims_etl.keys (
    key_id        text PRIMARY KEY,
    check_value   uuid NOT NULL,
    first_used    timestamptz NOT NULL DEFAULT now(),
    installed_at  timestamptz,
    retired_at    timestamptz,
    replaced_by   text REFERENCES claims_etl.keys
);
CREATE UNIQUE INDEX keys_installed ON claims_etl.keys ((true))
    WHERE installed_at IS NOT NULL AND retired_at IS NULL;
COMMENT ON TABLE claims_etl.keys IS
    'The keys that this warehouse has met. check_value is a one-way value that identifies the key and reveals nothing about it.';
COMMENT ON COLUMN claims_etl.keys.key_id IS 'Id of the key.';
COMMENT ON COLUMN claims_etl.keys.check_value IS 'One-way check value of the key.';
COMMENT ON COLUMN claims_etl.keys.first_used IS 'When the warehouse met the key first.';
COMMENT ON COLUMN claims_etl.keys.replaced_by IS 'The key that replaced it.';
COMMENT ON COLUMN claims_etl.keys.installed_at IS
    'When a rotation made it the key of all published tokens. Where no key is installed, the key is that of the last published run.';
COMMENT ON COLUMN claims_etl.keys.retired_at IS 'When a rotation ended its use; none of its tokens is published since.';

CREATE TABLE claims_etl.key_rotation (
    singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    old_key         text NOT NULL REFERENCES claims_etl.keys,
    new_key         text NOT NULL REFERENCES claims_etl.keys,
    method          text NOT NULL CHECK (method IN ('files', 'chain', 'reload')),
    has_providers   boolean NOT NULL,
    phase           text NOT NULL DEFAULT 'open' CHECK (phase IN ('open', 'built', 'attached')),
    built_from      text,
    begun_at        timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE claims_etl.key_rotation IS
    'The rotation in progress, if any. open: tokens are mapped; built: the new partitions are complete; attached: the tables have the new tokens and the rest is being cleared away.';
COMMENT ON COLUMN claims_etl.key_rotation.singleton IS 'Always true: at most one rotation.';
COMMENT ON COLUMN claims_etl.key_rotation.old_key IS 'The key that is replaced.';
COMMENT ON COLUMN claims_etl.key_rotation.new_key IS 'The key that replaces it.';
COMMENT ON COLUMN claims_etl.key_rotation.method IS 'How new tokens are made: files (from the source files), chain (from the old tokens) or reload.';
COMMENT ON COLUMN claims_etl.key_rotation.has_providers IS 'Whether provider ids are tokens.';
COMMENT ON COLUMN claims_etl.key_rotation.phase IS 'Step of the rotation.';
COMMENT ON COLUMN claims_etl.key_rotation.begun_at IS 'When it began.';
COMMENT ON COLUMN claims_etl.key_rotation.built_from IS
    'What was published when the new partitions were begun; they are rebuilt when that has changed.';

CREATE TABLE claims_etl.token_map (
    domain     text NOT NULL CHECK (domain IN ('claim', 'patient', 'provider')),
    old_token  uuid NOT NULL,
    new_token  uuid,
    PRIMARY KEY (domain, old_token)
) WITH (fillfactor = 70);
COMMENT ON TABLE claims_etl.token_map IS
    'During a rotation: each token under the old key with its token under the new one, null until it is known. It links the data released under both keys: grant it only to those who may see both.';
COMMENT ON COLUMN claims_etl.token_map.domain IS 'Kind of the identifier: claim, patient or provider.';
COMMENT ON COLUMN claims_etl.token_map.old_token IS 'Token under the old key.';
COMMENT ON COLUMN claims_etl.token_map.new_token IS 'Token under the new key; null until it is known.';

CREATE TABLE claims_etl.rotation_parts (
    ordinal     integer PRIMARY KEY,
    table_name  text NOT NULL,
    rows        bigint NOT NULL
);
COMMENT ON TABLE claims_etl.rotation_parts IS
    'Complete partitions with new tokens, until all of them are attached.';
COMMENT ON COLUMN claims_etl.rotation_parts.ordinal IS 'Number of the partition.';
COMMENT ON COLUMN claims_etl.rotation_parts.table_name IS 'Its table.';
COMMENT ON COLUMN claims_etl.rotation_parts.rows IS 'Its rows.';

-- The star schema ------------------------------------------------------------------------------

-- A slowly changing dimension of type 2.
CREATE TABLE healthcare_analytics.providers_dim (
    provider_key    integer PRIMARY KEY,
    provider_id     text NOT NULL,
    provider_name   text,
    specialty       text,
    location        text,
    is_placeholder  boolean NOT NULL DEFAULT false,
    is_current      boolean NOT NULL DEFAULT true,
    valid_from      timestamptz NOT NULL DEFAULT now(),
    valid_to        timestamptz,
    row_hash        uuid,
    run_no          integer NOT NULL
);
COMMENT ON COLUMN healthcare_analytics.providers_dim.provider_key IS 'Surrogate key of the version; 0: the unknown provider, for claims that name none.';
COMMENT ON COLUMN healthcare_analytics.providers_dim.is_placeholder IS 'Known from claims only; completed in place when a directory names the provider.';
COMMENT ON COLUMN healthcare_analytics.providers_dim.is_current IS 'Whether this is the current version; a provider has one.';
COMMENT ON COLUMN healthcare_analytics.providers_dim.valid_from IS 'When the version was loaded.';
COMMENT ON COLUMN healthcare_analytics.providers_dim.valid_to IS 'When the next version was loaded. Null: current.';
COMMENT ON COLUMN healthcare_analytics.providers_dim.row_hash IS 'Digest of name, specialty and location, by which a changed provider is found. Null: placeholder.';
COMMENT ON COLUMN healthcare_analytics.providers_dim.run_no IS 'The run that wrote the version: claims_etl.runs.run_no.';
CREATE UNIQUE INDEX providers_dim_current ON healthcare_analytics.providers_dim (provider_id) WHERE is_current;
CREATE INDEX providers_dim_versions ON healthcare_analytics.providers_dim (provider_id) WHERE NOT is_current;

INSERT INTO healthcare_analytics.providers_dim (provider_key, provider_id, provider_name, run_no)
VALUES (0, '(unknown)', 'Unknown provider', 0);

CREATE TABLE claims_etl.provider_peers (
    provider_key    integer PRIMARY KEY,
    durable_key     integer NOT NULL,
    peer_key        integer NOT NULL,
    specialty       text NOT NULL
);
CREATE INDEX provider_peers_durable_key ON claims_etl.provider_peers (durable_key);
CREATE INDEX provider_peers_peer_key ON claims_etl.provider_peers (peer_key);
COMMENT ON TABLE claims_etl.provider_peers IS
    'How the risk score groups the versions of providers_dim. durable_key: the first version of the provider. peer_key: the first version of the provider with the specialty. specialty: in canonical case, empty for none.';
COMMENT ON COLUMN claims_etl.provider_peers.provider_key IS 'Version of the provider.';
COMMENT ON COLUMN claims_etl.provider_peers.durable_key IS 'The first version of the same provider.';
COMMENT ON COLUMN claims_etl.provider_peers.peer_key IS 'The first version of the same provider with the same specialty.';
COMMENT ON COLUMN claims_etl.provider_peers.specialty IS 'Specialty in canonical case; empty for none.';
INSERT INTO claims_etl.provider_peers (provider_key, durable_key, peer_key, specialty) VALUES (0, 0, 0, '');

-- Columns in the order of their alignment, so that a row has no padding.
-- Partitioned, so that a load can swap the rows under the views, grants and identity of the table.
CREATE TABLE healthcare_analytics.claims_fact (
    claim_token      uuid NOT NULL,
    patient_token    uuid NOT NULL,
    risk_components  bigint NOT NULL,
    provider_key     integer NOT NULL,
    date_of_service  date NOT NULL,
    risk_score       real NOT NULL,
    dq_flags         integer NOT NULL,
    run_no           integer NOT NULL,
    line_number      smallint NOT NULL,
    amount           numeric(12, 2) NOT NULL,
    procedure_code   text,
    PRIMARY KEY (claim_token, line_number)
) PARTITION BY RANGE (claim_token);
CREATE TABLE healthcare_analytics.claims_fact_0 PARTITION OF healthcare_analytics.claims_fact
    FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
COMMENT ON COLUMN healthcare_analytics.claims_fact.provider_key IS 'The version of the provider that was current when the line was loaded: providers_dim.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.line_number IS 'Line of the claim; 1 where the source has no line numbers.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.risk_score IS
    'Billing-anomaly score claim_anomaly_v1, 0 to 100; not a clinical risk adjustment.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.risk_components IS
    'Six components in thousandths, 10 bits each from the lowest: amount, duplicate, provider, volume, mismatch, weekend (1023: cannot be computed); bits 60 to 62: the largest contribution, 1 to 6, or 0.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.dq_flags IS
    'Bits, see dq_rules and dq_flag_names(): 1 provider_missing, 2 provider_not_in_directory, 4 procedure_missing, 8 amount_negative, 16 amount_zero, 32 amount_rounded, 64 npi_invalid, 128 procedure_not_hcpcs, 256 procedure_normalized, 512 procedure_not_in_system, 1024 amount_over_limit, 2048 amount_same_on_all_lines, 4096 patient_id_placeholder, 8192 claim_with_two_patients, 16384 date_in_future, 32768 date_too_old, 65536 date_outside_filing_window, 131072 content_repeated, 262144 reversal_pair, 524288 identifier_scientific, 1048576 identifier_decimal, 2097152 identifier_invisible, 4194304 identifier_wrapped.';
COMMENT ON COLUMN healthcare_analytics.claims_fact.run_no IS 'The run that wrote the row: claims_etl.runs.run_no.';

CREATE TABLE healthcare_analytics.date_dim (
    calendar_date   date PRIMARY KEY,
    year            smallint NOT NULL,
    quarter         smallint NOT NULL,
    month           smallint NOT NULL,
    month_name      text NOT NULL,
    year_month      text NOT NULL,
    year_quarter    text NOT NULL,
    iso_week        text NOT NULL,
    day_of_week     smallint NOT NULL,
    day_name        text NOT NULL,
    is_weekend      boolean NOT NULL
);
COMMENT ON TABLE healthcare_analytics.date_dim IS
    'One row per day of the years in which a claim line has its date of service, for reports by week, month, quarter and year.';
COMMENT ON COLUMN healthcare_analytics.date_dim.calendar_date IS 'The day: relate it to date_of_service.';
COMMENT ON COLUMN healthcare_analytics.date_dim.year IS 'Year.';
COMMENT ON COLUMN healthcare_analytics.date_dim.quarter IS 'Quarter, 1 to 4.';
COMMENT ON COLUMN healthcare_analytics.date_dim.month IS 'Month, 1 to 12.';
COMMENT ON COLUMN healthcare_analytics.date_dim.month_name IS 'Name of the month.';
COMMENT ON COLUMN healthcare_analytics.date_dim.year_month IS 'Year and month, as 2026-01.';
COMMENT ON COLUMN healthcare_analytics.date_dim.year_quarter IS 'Year and quarter, as 2026-Q1.';
COMMENT ON COLUMN healthcare_analytics.date_dim.iso_week IS 'Week by ISO 8601, as 2026-W01.';
COMMENT ON COLUMN healthcare_analytics.date_dim.day_of_week IS 'Day of the week, 1 (Monday) to 7 (Sunday).';
COMMENT ON COLUMN healthcare_analytics.date_dim.day_name IS 'Name of the day.';
COMMENT ON COLUMN healthcare_analytics.date_dim.is_weekend IS 'Saturday or Sunday.';

CREATE TABLE healthcare_analytics.dq_rules (
    bit          integer PRIMARY KEY,
    id           text NOT NULL,
    name         text NOT NULL UNIQUE,
    severity     text NOT NULL CHECK (severity IN ('reject', 'flag', 'count', 'off')),
    description  text NOT NULL
);
COMMENT ON TABLE healthcare_analytics.dq_rules IS
    'The rules that can flag a claim, each a bit of claims_fact.dq_flags. severity is the default, which a run may override; dq_flags has only the rules that flag.';
COMMENT ON COLUMN healthcare_analytics.dq_rules.bit IS 'Bit of dq_flags.';
COMMENT ON COLUMN healthcare_analytics.dq_rules.id IS 'Id of the rule in docs/rules.md.';
COMMENT ON COLUMN healthcare_analytics.dq_rules.name IS 'Name of the rule, and of its column in v_claims.';
COMMENT ON COLUMN healthcare_analytics.dq_rules.severity IS 'Default severity.';
COMMENT ON COLUMN healthcare_analytics.dq_rules.description IS 'What breaks the rule.';
-- As in src/rule.rs.
INSERT INTO healthcare_analytics.dq_rules (bit, id, name, severity, description) VALUES
    (1, 'V1', 'provider_missing', 'flag', 'The record has no provider id, or a placeholder such as NULL; the claim points to the unknown provider.'),
    (2, 'V1', 'provider_not_in_directory', 'flag', 'The provider is not in the directory; the claim points to a placeholder provider.'),
    (4, 'K4', 'procedure_missing', 'flag', 'The record has no procedure code, or a placeholder such as NULL.'),
    (8, 'A2', 'amount_negative', 'flag', 'The amount is negative: a reversal.'),
    (16, 'A3', 'amount_zero', 'count', 'The amount is zero.'),
    (32, 'A1', 'amount_rounded', 'flag', 'The amount had more than two decimals and was rounded half to even.'),
    (64, 'V2', 'npi_invalid', 'flag', 'The provider id has ten digits, but is not a valid NPI (must start with 1 or 2 and pass the Luhn check).'),
    (128, 'K1', 'procedure_not_hcpcs', 'flag', 'The procedure code is not a HCPCS or CPT code; only if the code system is hcpcs.'),
    (256, 'K2', 'procedure_normalized', 'flag', 'Prefix, modifiers or case of the code were normalised; only if the code system is hcpcs.'),
    (512, 'K3', 'procedure_not_in_system', 'count', 'The procedure code is not in the code system icd9, icd10pcs or snomed.'),
    (1024, 'A4', 'amount_over_limit', 'flag', 'The absolute amount is above the limit.'),
    (2048, 'A5', 'amount_same_on_all_lines', 'count', 'All lines of a claim with two or more have the same amount, which is not zero.'),
    (4096, 'P1', 'patient_id_placeholder', 'reject', 'The patient id is a placeholder: one of the list for patients, or one for all identifiers.'),
    (8192, 'C3', 'claim_with_two_patients', 'reject', 'Lines of one claim name two patients.'),
    (16384, 'D2', 'date_in_future', 'reject', 'The date is more days after the run date than allowed.'),
    (32768, 'D3', 'date_too_old', 'flag', 'The date is more years before the run date than allowed.'),
    (65536, 'D4', 'date_outside_filing_window', 'count', 'The date is older than the filing window (in days before the run date).'),
    (131072, 'U1', 'content_repeated', 'flag', 'Another claim has the same patient, provider, procedure, date and amount, which is not zero.'),
    (262144, 'U2', 'reversal_pair', 'count', 'Another claim line has the same patient, provider, procedure and date, and cancels the amount.'),
    (524288, 'I1', 'identifier_scientific', 'reject', 'An identifier or code is a number in scientific notation (9.87E+11), or has more digits before .0 than a floating-point number can represent.'),
    (1048576, 'I2', 'identifier_decimal', 'flag', 'A .0 was removed from an identifier or code: it had been stored as a floating-point number.'),
    (2097152, 'I3', 'identifier_invisible', 'flag', 'Invisible characters or unusual spaces were removed from an identifier or code.'),
    (4194304, 'I4', 'identifier_wrapped', 'count', 'The text markers of a spreadsheet (="00456") were removed from an identifier or code.');

CREATE FUNCTION healthcare_analytics.dq_flag_names(flags integer) RETURNS text[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE
AS $$
    SELECT coalesce(array_agg(r.name ORDER BY r.bit), '{}')
    FROM healthcare_analytics.dq_rules r WHERE flags & r.bit <> 0
$$;
COMMENT ON FUNCTION healthcare_analytics.dq_flag_names IS 'The names of the rules whose bits are set.';

CREATE FUNCTION healthcare_analytics.risk_component(packed bigint, component integer) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$ SELECT round(nullif((packed >> (10 * component)) & 1023, 1023) / 1000.0, 3) $$;
COMMENT ON FUNCTION healthcare_analytics.risk_component IS
    'Component 0 to 5 of risk_components, 0 to 1; null when it could not be computed.';

CREATE FUNCTION healthcare_analytics.risk_band(score real) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN score >= 50::real THEN 'high' WHEN score >= 20::real THEN 'medium' ELSE 'low' END $$;
COMMENT ON FUNCTION healthcare_analytics.risk_band IS
    'The band of a score, by the thresholds of the last run.';
