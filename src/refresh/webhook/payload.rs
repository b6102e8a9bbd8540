//! What a webhook is told: one event a run, of ids and counts only.

use std::fmt::Write as _;

use chrono::{SecondsFormat, Utc};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::refresh::job::PublishedRun;
use crate::refresh::outcome::TargetResult;
use crate::totals::ControlTotals;

/// The graph and the task that the event is about, as Airflow names them.
const DAG: &str = "healthcare_claims_etl";
const TASK: &str = "load.refresh_bi";
/// Standard Webhooks 1.0.0 wants less than 20 kB; this many targets fit.
const MOST_TARGETS: usize = 120;

/// A message that is ready to be sent, as often as it takes.
pub(super) struct Notice {
    /// The event's id.
    pub(super) id: String,
    /// The body, byte for byte.
    pub(super) body: String,
}

impl Notice {
    /// What there is to tell; nothing where nothing has ever been published.
    pub(super) fn new(
        target: &str,
        occasion: &PublishedRun,
        earlier: &[TargetResult],
    ) -> Option<Self> {
        let run = occasion.run_id.as_deref()?;
        let failed = earlier.iter().any(|one| one.required && one.outcome.is_failure());
        let (kind, outcome) = if failed {
            ("claims_etl.run.failed", "failed")
        } else {
            ("claims_etl.run.completed", "success")
        };
        let mut told: Vec<&TargetResult> = earlier.iter().collect();
        // Where there are too many, those that need a look come first.
        told.sort_by_key(|one| !one.outcome.is_failure());
        let bi: Vec<Value> = told
            .iter()
            .take(MOST_TARGETS)
            .map(|one| json!({ "target": one.target, "outcome": one.outcome.as_str() }))
            .collect();
        let mut data = json!({
            "run_id": run,
            "dag_id": DAG,
            "task": TASK,
            "outcome": outcome,
            "row_counts": occasion.account.as_ref().map(counts),
            "bi": bi,
        });
        if told.len() > MOST_TARGETS {
            data["bi_left_out"] = json!(told.len() - MOST_TARGETS);
        }
        let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let body = json!({ "type": kind, "timestamp": timestamp, "data": data }).to_string();
        Some(Self { id: id(run, target, kind), body })
    }
}

/// The same for every delivery of one event, and made of nothing that anybody chose: a digest of the
/// run, the target and what has happened.
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
    use crate::refresh::Outcome;

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

    fn occasion(run: &str) -> PublishedRun {
        PublishedRun { run_id: Some(run.into()), ..PublishedRun::default() }
    }

    fn parsed(notice: &Notice) -> Value {
        serde_json::from_str(&notice.body).expect("JSON")
    }

    #[test]
    fn the_kind_says_whether_a_required_target_failed() {
        let kind = |outcome, required| {
            let earlier = [ended("dashboard", outcome, required)];
            let notice = Notice::new("webhook.ops", &occasion("r"), &earlier).expect("published");
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
        let id = |run, target| Notice::new(target, &occasion(run), &[]).expect("published").id;
        assert_eq!(id("r", "webhook.a"), id("r", "webhook.a"));
        assert_ne!(id("r", "webhook.a"), id("s", "webhook.a"));
        assert_ne!(id("r", "webhook.a"), id("r", "webhook.b"));
        let known = id("0192f0c1-0000-7000-8000-000000000001", "webhook.ops");
        assert_eq!(known.len(), 36);
        assert!(known[4..].bytes().all(|byte| byte.is_ascii_hexdigit()), "{known}");
        assert!(Notice::new("webhook.a", &PublishedRun::default(), &[]).is_none());
    }

    #[test]
    fn a_payload_is_small_whatever_there_is_to_tell() {
        let name = format!("superset.{}", "x".repeat(64));
        let mut earlier: Vec<TargetResult> =
            (0..500).map(|_| ended(&name, Outcome::AlreadyRunning, false)).collect();
        earlier.push(ended("last", Outcome::Failed, false));
        let account = Some(ControlTotals::default());
        let occasion = PublishedRun { account, ..occasion("0192f0c1-0000-7000-8000-000000000001") };
        let notice = Notice::new("webhook.ops", &occasion, &earlier).expect("published");
        assert!(notice.body.len() < 20_000, "{}", notice.body.len());
        let data = &parsed(&notice)["data"];
        assert_eq!(data["bi_left_out"], 501 - MOST_TARGETS);
        assert_eq!(data["bi"][0], json!({ "target": "last", "outcome": "failed" }));
    }
}
