//! The webhook message: one event per run, with ids and counts only.

use std::fmt::Write as _;

use chrono::{SecondsFormat, Utc};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::refresh::job::PublishedRun;
use crate::refresh::outcome::TargetResult;
use crate::totals::ControlTotals;

/// DAG and task of the event, with Airflow's names.
const DAG: &str = "healthcare_claims_etl";
const TASK: &str = "load.refresh_bi";
/// Keeps the message within the 20 kB limit of Standard Webhooks 1.0.0.
const MAX_TARGETS: usize = 120;

/// A message; each delivery sends the same bytes.
pub(super) struct Notice {
    pub(super) id: String,
    pub(super) body: String,
}

impl Notice {
    /// Builds the message; `None` if nothing is published yet.
    pub(super) fn new(
        target: &str,
        published: &PublishedRun,
        earlier: &[TargetResult],
    ) -> Option<Self> {
        let run = published.run_id.as_deref()?;
        let failed = earlier.iter().any(|one| one.required && one.outcome.is_failure());
        let (kind, outcome) = if failed {
            ("claims_etl.run.failed", "failed")
        } else {
            ("claims_etl.run.completed", "success")
        };
        let mut sorted: Vec<&TargetResult> = earlier.iter().collect();
        // If there are too many, keep the failures.
        sorted.sort_by_key(|one| !one.outcome.is_failure());
        let bi: Vec<Value> = sorted
            .iter()
            .take(MAX_TARGETS)
            .map(|one| json!({ "target": one.target, "outcome": one.outcome.as_str() }))
            .collect();
        let mut data = json!({
            "run_id": run,
            "dag_id": DAG,
            "task": TASK,
            "outcome": outcome,
            "row_counts": published.account.as_ref().map(counts),
            "bi": bi,
        });
        if sorted.len() > MAX_TARGETS {
            data["bi_left_out"] = json!(sorted.len() - MAX_TARGETS);
        }
        let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let body = json!({ "type": kind, "timestamp": timestamp, "data": data }).to_string();
        Some(Self { id: id(run, target, kind), body })
    }
}

/// Event id, the same for every delivery: a digest of run, target and event type.
fn id(run: &str, target: &str, kind: &str) -> String {
    let digest = digest(&SHA256, format!("{run}\n{target}\n{kind}").as_bytes());
    digest.as_ref().iter().take(16).fold("msg_".to_owned(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn counts(account: &ControlTotals) -> Value {
    let (claims, providers) = (&account.claims, &account.providers);
    json!({
        "claims": {
            "read": claims.read,
            "loaded": claims.loaded,
            "inserted": claims.inserted,
            "updated": claims.updated,
            "unchanged": claims.unchanged,
            "rejected": claims.rejected,
            "duplicates": claims.duplicates,
            "conflicts": claims.conflicts,
        },
        "providers": {
            "read": providers.read,
            "loaded": providers.loaded,
            "rejected": providers.rejected,
            "duplicates": providers.duplicates,
            "conflicts": providers.conflicts,
            "inferred": providers.inferred,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::refresh::outcome::Outcome;

    fn ended(target: &str, outcome: Outcome, required: bool) -> TargetResult {
        TargetResult {
            target: target.into(),
            outcome,
            detail: "CANARY in a detail".into(),
            elapsed: Duration::ZERO,
            required,
            remote_id: Some("CANARY-remote".into()),
            attempts: 1,
            started: Utc::now(),
        }
    }

    fn published(run: &str) -> PublishedRun {
        PublishedRun { run_id: Some(run.into()), ..PublishedRun::default() }
    }

    fn parsed(notice: &Notice) -> Value {
        serde_json::from_str(&notice.body).expect("JSON")
    }

    #[test]
    fn the_kind_shows_whether_a_required_target_failed() {
        let kind = |outcome, required| {
            let earlier = [ended("dashboard", outcome, required)];
            let notice = Notice::new("webhook.ops", &published("r"), &earlier).expect("published");
            assert!(!notice.body.contains("CANARY"), "{}", notice.body);
            (parsed(&notice)["type"].as_str().expect("text").to_owned(), notice.id)
        };
        let (completed, id) = kind(Outcome::Failed, false);
        assert_eq!(completed, "claims_etl.run.completed");
        assert_eq!(kind(Outcome::Succeeded, true), (completed, id.clone()));
        let (failed, other) = kind(Outcome::TimedOut, true);
        assert_eq!(failed, "claims_etl.run.failed");
        assert_ne!(other, id, "a failure and the success after it are two events");
    }

    #[test]
    fn an_id_is_of_one_event() {
        let id = |run, target| Notice::new(target, &published(run), &[]).expect("published").id;
        assert_eq!(id("r", "webhook.a"), id("r", "webhook.a"));
        assert_ne!(id("r", "webhook.a"), id("s", "webhook.a"));
        assert_ne!(id("r", "webhook.a"), id("r", "webhook.b"));
        let known = id("0192f0c1-0000-7000-8000-000000000001", "webhook.ops");
        assert_eq!(known.len(), 36);
        assert!(known[4..].bytes().all(|byte| byte.is_ascii_hexdigit()), "{known}");
        assert!(Notice::new("webhook.a", &PublishedRun::default(), &[]).is_none());
    }

    #[test]
    fn a_payload_is_small_whatever_the_number_of_targets() {
        let name = format!("superset.{}", "x".repeat(64));
        let mut earlier: Vec<TargetResult> =
            (0..500).map(|_| ended(&name, Outcome::AlreadyRunning, false)).collect();
        earlier.push(ended("last", Outcome::Failed, false));
        let account = Some(ControlTotals::default());
        let run = PublishedRun { account, ..published("0192f0c1-0000-7000-8000-000000000001") };
        let notice = Notice::new("webhook.ops", &run, &earlier).expect("published");
        assert!(notice.body.len() < 20_000, "{}", notice.body.len());
        let data = &parsed(&notice)["data"];
        assert_eq!(data["bi_left_out"], 501 - MAX_TARGETS);
        assert_eq!(data["bi"][0], json!({ "target": "last", "outcome": "failed" }));
    }
}
