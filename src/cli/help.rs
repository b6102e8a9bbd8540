//! Epilogue of the help texts: examples and exit codes.

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    success, or the input is loaded already
  1    internal error
  2    usage or configuration
  3    a source is missing or unreadable
  4    too many rejects, or totals that do not balance: nothing was published; or
       `verify` found a difference
  5    the warehouse
  6    a required dashboard refresh failed (with `refresh`: any); the data are loaded
  75   another run holds the warehouse's lock; try again later, or use `run --wait`
  130  stopped by SIGINT (143: SIGTERM) before publication, or before the refresh";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  claims-etl run --claims claims.csv --providers providers.csv
  claims-etl run --claims 'inbox/*.csv.gz' --providers providers.csv --mode replace
  claims-etl run --config nightly.toml --format json --quiet | tail -n 1
  claims-etl run --config nightly.toml --wait=3600
  claims-etl run --resume last
  claims-etl run --task transform_join --run-id scheduled__2024-01-01 --xcom

Without --warehouse (or DATABASE_URL) the tables go to a private PostgreSQL
server in the data directory. The same input with the same settings is loaded
once: a second run does nothing and exits with 0.
A run that has published is resumed under its own id, without its sources; if
nothing was published, --resume starts a new run with the settings given. A
complete run is left unchanged.
Tasks that are run one by one with --task read the results of earlier tasks from
the ledger.
`claims-etl --help` lists the exit codes.";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  claims-etl check --config nightly.toml
  claims-etl check --claims claims.csv --providers providers.csv

Exit code 0 if the run could start, else that of the run.";

pub(super) const INSPECT_EXAMPLES: &str = "\
Examples:
  claims-etl inspect claims.csv
  claims-etl inspect claims.csv.gz providers.csv --preset synthea

Exit code 0 if every file is ready to load, else that of the run.";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  claims-etl verify last
  claims-etl verify last --config nightly.toml --format json
  claims-etl verify 019ab0c2-5c1e-7d33-9a5e-3f1d2c4b5a69 --claims claims.csv.gz

Without --claims or --providers the files named in the ledger are read. Settings
and key must be those of the run. Rows that a later run has written are counted,
not compared; a score is compared only if this run computed it. Rows are
identified by token, line and column, never by value; providers by the token of
their id.

Exit codes: 0 everything matches, 4 something differs, 2 there is nothing to
verify (unknown run, nothing published, another key, replaced by a later run),
3 and 5 as for a run.";

pub(super) const QUARANTINE_EXAMPLES: &str = "\
Examples:
  claims-etl quarantine last
  claims-etl quarantine last --format csv --output rejects.csv
  claims-etl quarantine last --source
  claims-etl quarantine last --source --format csv --output fix.csv
  claims-etl quarantine prune --older-than 90d

With --source and --format csv the header and the rejected records are written as
they are in their files: fix them, then load them with
`claims-etl run --claims fix.csv`. Such a file contains identifiers.";

pub(super) const TOKEN_EXAMPLES: &str = "\
Example:
  claims-etl token --domain patient < ids.txt

Identifiers are read from standard input, one a line, never from the command
line, which other users and the shell's history can see. As in a run, a blank
line, a placeholder (NULL, nan, #N/A …) and a number in scientific notation have
no token.";

pub(super) const GENERATE_EXAMPLES: &str = "\
Example:
  claims-etl generate --claims 1000000 --providers 50000 --dirty 0.01 --out data/synthetic";

pub(super) const SCHEDULE_EXAMPLES: &str = "\
Examples:
  claims-etl schedule --config nightly.toml
  claims-etl schedule --cron '30 5 * * MON-FRI' --timezone Europe/Berlin
  claims-etl schedule --once --config nightly.toml
  claims-etl schedule preview --count 10 --config nightly.toml
  claims-etl schedule health --config nightly.toml

A run loads the data interval that has just closed, for example from
'in/claims-{interval_start:%Y-%m-%d}.csv'. The warehouse records which intervals
have run, so a scheduler can be stopped, killed and restarted at any time. Of
several schedulers on several machines one works, the others stand by.

Exit codes of --once: that of the first run that failed, else 0; 75 if another
process holds the schedule's lease.";

pub(super) const BACKFILL_EXAMPLES: &str = "\
Examples:
  claims-etl backfill --from 2024-01-01 --to 2024-02-01 --config nightly.toml
  claims-etl backfill --from 2024-01-01 --to 2024-02-01 --dry-list

--to is exclusive. Intervals that have succeeded are skipped, so an interrupted
backfill is continued by the same command. Exit code: that of the first run that
failed, else 0; 75 if a scheduler or another backfill is running.";

pub(super) const RISK_EXPLAIN_EXAMPLES: &str = "\
Examples:
  claims-etl risk explain 019ab0c2-5c1e-7d33-9a5e-3f1d2c4b5a69
  claims-etl token --domain claim < id.txt | xargs claims-etl risk explain

Only the warehouse is read: the row, the stored statistics, other claims of the
day. Weights and thresholds are those the row was scored with. If the stored
score was computed with earlier statistics, today's score is shown too.
docs/risk.sql recomputes scores in SQL.";
