//! The last published run and its control totals, and a later failure, from the run log.

use arrow::record_batch::RecordBatch;
use serde::de::DeserializeOwned;

use super::column::{cents, number, text};
use crate::error::{Error, Result};
use crate::refresh::dashboard::snapshot::{Failure, Run, Snapshot};
use crate::refresh::job::Job;
use crate::totals::{Amounts, ClaimCounts, ControlTotals, ProviderCounts};
use crate::warehouse::sql;

const RUN_LOG: &str = r#"
SELECT run_id::text AS id, tool_version, mode, key_id, privacy_profile, risk_model,
       to_char(published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') AS published_at,
       (extract(year FROM published_at AT TIME ZONE 'UTC') * 12
        + extract(month FROM published_at AT TIME ZONE 'UTC') - 1)::bigint AS month,
       claims_read, claims_loaded, claims_inserted, claims_updated, claims_unchanged,
       claims_rejected, claims_duplicates, coalesce(claims_conflicts, 0) AS claims_conflicts,
       amount_read::text, amount_loaded::text, amount_rejected::text, amount_duplicates::text,
       coalesce(amount_conflicts, 0)::text AS amount_conflicts, runs.reversals::text,
       coalesce(amount_generalized, 0)::text AS amount_generalized,
       amount_unparsed_rows,
       providers_read, providers_loaded, providers_rejected, providers_duplicates,
       coalesce(providers_conflicts, 0) AS providers_conflicts, providers_inferred,
       reject_reasons::text, provider_reject_reasons::text, reject_examples::text, flags::text,
       failed.id AS failed_id, failed.started_at AS failed_at, failed.error_kind AS failed_kind,
       failed.error AS failed_error, ledger.runs, ledger.published
FROM (SELECT count(*) AS runs, count(published_at) AS published,
             max(publish_no) AS last, max(published_at) AS at
      FROM claims_etl.runs) ledger
LEFT JOIN claims_etl.runs ON publish_no = ledger.last
LEFT JOIN LATERAL (
    SELECT f.run_id::text AS id, f.error_kind, f.error,
           to_char(f.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') AS started_at
    FROM claims_etl.runs f
    WHERE f.status = 'failed' AND (ledger.at IS NULL OR f.finished_at > ledger.at)
    ORDER BY f.finished_at DESC, f.run_no DESC LIMIT 1) failed ON true"#;

/// Reads the last published run, the failure after it, and the number of runs.
pub(super) fn read(job: &mut Job<'_>, snapshot: &mut Snapshot) -> Result<()> {
    let batch = &job.query("dashboard: run log", RUN_LOG)?;
    snapshot.runs = number(batch, "runs", 0);
    snapshot.published_runs = number(batch, "published", 0);
    snapshot.failure = sql::text(batch, "failed_id", 0).map(|id| Failure {
        id,
        started_at: text(batch, "failed_at", 0),
        kind: sql::text(batch, "failed_kind", 0),
        message: sql::text(batch, "failed_error", 0),
    });
    let Some(id) = sql::text(batch, "id", 0) else { return Ok(()) };
    snapshot.run = Some(Run {
        id,
        published_at: text(batch, "published_at", 0),
        month: number(batch, "month", 0),
        tool_version: text(batch, "tool_version", 0),
        mode: text(batch, "mode", 0),
        key_id: text(batch, "key_id", 0),
        privacy_profile: text(batch, "privacy_profile", 0),
        risk_model: sql::text(batch, "risk_model", 0),
        account: account(batch)?,
    });
    Ok(())
}

/// The control totals of the run.
fn account(batch: &RecordBatch) -> Result<ControlTotals> {
    let rows = |column: &str| u64::try_from(number(batch, column, 0)).unwrap_or_default();
    Ok(ControlTotals {
        claims: ClaimCounts {
            read: rows("claims_read"),
            loaded: rows("claims_loaded"),
            inserted: rows("claims_inserted"),
            updated: rows("claims_updated"),
            unchanged: rows("claims_unchanged"),
            rejected: rows("claims_rejected"),
            duplicates: rows("claims_duplicates"),
            conflicts: rows("claims_conflicts"),
            // In no class of the account.
            filtered: 0,
        },
        amount: Amounts {
            read: cents(batch, "amount_read", 0)?,
            loaded: cents(batch, "amount_loaded", 0)?,
            rejected: cents(batch, "amount_rejected", 0)?,
            duplicates: cents(batch, "amount_duplicates", 0)?,
            conflicts: cents(batch, "amount_conflicts", 0)?,
            generalized: cents(batch, "amount_generalized", 0)?,
            unparsed_rows: rows("amount_unparsed_rows"),
        },
        reversals: object(batch, "reversals")?,
        providers: ProviderCounts {
            read: rows("providers_read"),
            loaded: rows("providers_loaded"),
            rejected: rows("providers_rejected"),
            duplicates: rows("providers_duplicates"),
            conflicts: rows("providers_conflicts"),
            inferred: rows("providers_inferred"),
            reject_reasons: object(batch, "provider_reject_reasons")?,
        },
        reject_reasons: object(batch, "reject_reasons")?,
        reject_examples: object(batch, "reject_examples")?,
        flags: object(batch, "flags")?,
    })
}

fn object<T: DeserializeOwned + Default>(batch: &RecordBatch, column: &str) -> Result<T> {
    match sql::text(batch, column, 0) {
        None => Ok(T::default()),
        Some(json) => serde_json::from_str(&json).map_err(|_| {
            Error::warehouse(format!("claims_etl.runs.{column} has an unexpected format"))
        }),
    }
}
