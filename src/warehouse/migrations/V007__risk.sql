-- The statistics that scores are computed from, over all that is published. Counts only grow and
-- shrink: what a load adds and what a change takes out.

DROP TABLE claims_etl.risk_statistics;
DROP TABLE claims_etl.risk_weekend_statistics;

CREATE TABLE claims_etl.risk_statistics (
    procedure_code  text NOT NULL,
    specialty       text NOT NULL,
    bucket          integer NOT NULL,
    claims          bigint NOT NULL CHECK (claims > 0),
    PRIMARY KEY (procedure_code, specialty, bucket)
);
COMMENT ON TABLE claims_etl.risk_statistics IS
    'Priced claims (amount above zero) by procedure, specialty in canonical case (empty: none) and bucket of the amount: ceil(ln(dollars) / ln(1.005)).';

CREATE TABLE claims_etl.risk_weekends (
    specialty       text PRIMARY KEY,
    claims          bigint NOT NULL CHECK (claims > 0),
    weekend_claims  bigint NOT NULL CHECK (weekend_claims BETWEEN 0 AND claims)
);
COMMENT ON TABLE claims_etl.risk_weekends IS
    'Priced claims by specialty, and those of them on a Saturday or Sunday.';

CREATE TABLE claims_etl.risk_provider_totals (
    provider_id     text NOT NULL,
    specialty       text NOT NULL,
    procedure_code  text NOT NULL,
    claims          bigint NOT NULL CHECK (claims > 0),
    amount          numeric(20, 2) NOT NULL,
    PRIMARY KEY (provider_id, specialty, procedure_code)
);
COMMENT ON TABLE claims_etl.risk_provider_totals IS
    'Priced claims and their sum by provider, the specialty that the claims carry, and procedure; without claims that lack one of them.';

CREATE TABLE claims_etl.risk_provider_days (
    specialty       text NOT NULL,
    patients        integer NOT NULL CHECK (patients > 0),
    provider_days   bigint NOT NULL CHECK (provider_days > 0),
    PRIMARY KEY (specialty, patients)
);
COMMENT ON TABLE claims_etl.risk_provider_days IS
    'On how many days a provider has seen so many patients, by specialty: patients are those of priced claims, counted once a provider, specialty and day.';

CREATE TABLE claims_etl.risk_state (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version         integer NOT NULL,
    model           text NOT NULL,
    kept            text[] NOT NULL,
    as_of           timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE claims_etl.risk_state IS
    'Which statistics are kept: version is the last run (runs.run_no) that changed them. No row, or a statistic that is not named in kept: it is counted anew from claims_fact when it is needed.';

CREATE TABLE claims_etl.risk_rescores (
    rescore_no      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stats_version   integer NOT NULL,
    model           text NOT NULL,
    parameters      jsonb NOT NULL,
    finished_at     timestamptz NOT NULL DEFAULT now(),
    rows_changed    bigint NOT NULL
);
COMMENT ON TABLE claims_etl.risk_rescores IS
    'When all stored scores were computed anew, and with which statistics.';

ALTER TABLE claims_etl.runs ADD COLUMN risk_parameters jsonb;
COMMENT ON COLUMN claims_etl.runs.risk_parameters IS
    'Weights and thresholds that the run''s rows were scored with. A row''s statistics are those of its run (runs.run_no), or of the last rescore if that has later ones.';
