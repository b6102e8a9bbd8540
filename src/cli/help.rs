//! What stands after the options in the help of the commands: examples, and what the exit codes mean.

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    done, or the input is loaded already
  1    an error inside the program
  2    usage or configuration
  3    a source is missing or unreadable
  4    too many rejects, or totals that do not balance, and nothing was published; or something
       that `verify` has compared differs
  5    the warehouse
  6    a required dashboard refresh failed, or any that `refresh` was told; the data are loaded
  75   another run holds the warehouse's lock; try again later, or wait with `run --wait`
  130  stopped by SIGINT (143: SIGTERM); nothing was published, or what was is still
       to be shown";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  claims-etl run --claims claims.csv --providers providers.csv
  claims-etl run --claims 'inbox/*.csv.gz' --providers providers.csv --mode replace
  claims-etl run --config nightly.toml --format json --quiet | tail -n 1
  claims-etl run --config nightly.toml --wait=3600
  claims-etl run --resume last
  claims-etl run --only transform_join --run-id scheduled__2024-01-01T00:00:00+00:00 --xcom

Without --warehouse (or DATABASE_URL) the tables go to a private PostgreSQL server in the data
directory. The same input with the same settings is loaded once: the next run says so and exits 0.
A run that has published is resumed under its own id, without its sources; where nothing was
published, --resume starts a new run with the settings given. A complete run is left as it is.
Tasks that are called one by one with --only find what those before them have left in the ledger.
`claims-etl --help` lists the exit codes.";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  claims-etl check --config nightly.toml
  claims-etl check claims.csv
  claims-etl check claims.csv.gz providers.csv --preset synthea

Exit code 0 when a run could go on, else that of the run.";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  claims-etl verify last
  claims-etl verify last --config nightly.toml --format json
  claims-etl verify 019ab0c2-5c1e-7d33-9a5e-3f1d2c4b5a69 --claims archive/claims.csv.gz

Without --claims or --providers the files that the ledger names are read. Settings and key must be
those of the run. Rows that a later run has written are counted, and are no difference; a score is
compared where the run itself has given it. Rows are named by token, line and column, never by
value; providers by the token of their id.

Exit codes: 0 everything is as the run had it, 4 something differs, 2 there is nothing to verify
(unknown run, nothing published, another key, replaced by a later run), 3 and 5 as for a run.";

pub(super) const QUARANTINE_EXAMPLES: &str = "\
Examples:
  claims-etl quarantine last
  claims-etl quarantine 019ab0c2-5c1e-7d33-9a5e-3f1d2c4b5a69 --format csv --output rejects.csv
  claims-etl quarantine last --source
  claims-etl quarantine last --source --format csv --output mend.csv
  claims-etl quarantine prune --older-than 90d

The last but one writes header and rejected records as they stand in their files: mend them, then
load them with `claims-etl run --claims mend.csv`. Such a file holds identifiers.";

pub(super) const TOKEN_EXAMPLES: &str = "\
Example:
  claims-etl token --domain patient < ids.txt

Identifiers are read from standard input, one a line, and never from the command line, which other
users of the machine and the shell's history can see. A blank line has no token,
nor has a placeholder (NULL, nan, #N/A …) or a number in scientific form, as in a run.";

pub(super) const GENERATE_EXAMPLES: &str = "\
Example:
  claims-etl generate --claims 1000000 --providers 50000 --dirty 0.01 --out data/synthetic";

pub(super) const SCHEDULE_EXAMPLES: &str = "\
Examples:
  claims-etl schedule --config nightly.toml
  claims-etl schedule --cron '30 5 * * MON-FRI' --timezone Europe/Berlin --config nightly.toml
  claims-etl schedule --next 5 --config nightly.toml
  claims-etl schedule --once --config nightly.toml
  claims-etl schedule --health --config nightly.toml

A run loads the data interval that has just ended: 'in/claims-{interval_start:%Y-%m-%d}.csv'.
Which intervals were run is in the warehouse, so a scheduler can be stopped, killed and begun again.
Of several schedulers on several machines one works, the others stand by.

Exit codes of --once: that of the first run that failed, else 0; 75 when another process is at it.";

pub(super) const BACKFILL_EXAMPLES: &str = "\
Examples:
  claims-etl backfill --from 2024-01-01 --to 2024-02-01 --config nightly.toml
  claims-etl backfill --from 2024-01-01 --to 2024-02-01 --dry-list --config nightly.toml

--to is the first day that is not filled. Intervals that have succeeded are skipped: the same
command again goes on where one was stopped. Exit code: that of the first run that failed, else 0;
75 when a scheduler or another backfill is at work.";

pub(super) const RISK_EXPLAIN_EXAMPLES: &str = "\
Examples:
  claims-etl risk explain 019ab0c2-5c1e-7d33-9a5e-3f1d2c4b5a69
  claims-etl token --domain claim < id.txt | xargs claims-etl risk explain

Only the warehouse is read: the row, the stored statistics, other claims of the day. Weights and
thresholds are those that the row was scored with. The stored score may have been computed with
earlier statistics than today's; then both are shown. docs/risk.sql computes many scores anew in SQL.";
