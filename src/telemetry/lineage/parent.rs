//! The parent run passed by an orchestrator in the environment.
//!
//! Invalid variables are ignored with a warning: lineage never stops a load.

use serde::Deserialize;
use uuid::Uuid;

use super::event::Name;
use super::facets::{Parent, Reference, RunReference};
use crate::config::LineageCaller;

/// The used parts of `OPENLINEAGE_CONTEXT`.
#[derive(Deserialize)]
struct Context {
    parent: Passed,
}

#[derive(Deserialize)]
struct Passed {
    run: PassedRun,
    job: PassedJob,
    root: Option<Box<PassedRoot>>,
}

#[derive(Deserialize)]
struct PassedRoot {
    run: PassedRun,
    job: PassedJob,
}

#[derive(Deserialize)]
struct PassedRun {
    #[serde(rename = "runId")]
    run_id: Uuid,
}

#[derive(Deserialize)]
struct PassedJob {
    namespace: String,
    name: String,
}

fn reference(run: &PassedRun, job: PassedJob) -> Reference {
    let run = RunReference { run_id: run.run_id };
    Reference { run, job: Name { namespace: job.namespace, name: job.name } }
}

/// The parent run, and the invalid variables.
pub(crate) fn of(caller: &LineageCaller) -> (Option<Parent>, Vec<&'static str>) {
    if let Some(text) = &caller.context {
        return match serde_json::from_str::<Context>(text) {
            Ok(Context { parent: Passed { run, job, root } }) => {
                let root = root.map(|root| reference(&root.run, root.job));
                (Some(Parent { parent: reference(&run, job), root }), Vec::new())
            }
            Err(_) => (None, vec!["OPENLINEAGE_CONTEXT"]),
        };
    }
    let mut unreadable = Vec::new();
    let mut read = |name: &'static str, text: &Option<String>| {
        let text = text.as_deref()?;
        let read = parse(text);
        if read.is_none() {
            unreadable.push(name);
        }
        read
    };
    let parent = read("OPENLINEAGE_PARENT_ID", &caller.parent);
    let root = read("OPENLINEAGE_ROOT_PARENT_ID", &caller.root);
    (parent.map(|parent| Parent { parent, root }), unreadable)
}

/// `namespace/job/run`; a namespace may contain slashes.
fn parse(text: &str) -> Option<Reference> {
    let mut parts = text.trim().rsplitn(3, '/');
    let (run, job, namespace) = (parts.next()?, parts.next()?, parts.next()?);
    if namespace.is_empty() || job.is_empty() {
        return None;
    }
    let run = RunReference { run_id: Uuid::parse_str(run).ok()? };
    Some(Reference { run, job: Name { namespace: namespace.into(), name: job.into() } })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "0193513a-7a31-7c10-8a55-2f1b0c9a0001";
    const ROOT: &str = "0193513a-7a31-7c10-8a55-2f1b0c9a0002";

    fn names(parent: &Reference) -> (String, String, String) {
        let Reference { run, job } = parent.clone();
        (job.namespace, job.name, run.run_id.to_string())
    }

    #[test]
    fn three_names_are_a_parent() {
        let caller = LineageCaller {
            parent: Some(format!("airflow/dag.task/{RUN}")),
            root: Some(format!("http://airflow.example.org/x/dag/{ROOT}")),
            ..LineageCaller::default()
        };
        let (parent, unreadable) = of(&caller);
        let parent = parent.expect("a parent");
        assert!(unreadable.is_empty());
        assert_eq!(names(&parent.parent), ("airflow".into(), "dag.task".into(), RUN.into()));
        let root = names(&parent.root.expect("a root"));
        assert_eq!(root, ("http://airflow.example.org/x".into(), "dag".into(), ROOT.into()));
    }

    #[test]
    fn the_context_comes_first() {
        let context = format!(
            r#"{{"parent":{{"run":{{"runId":"{RUN}"}},"job":{{"namespace":"n","name":"j"}},
                "root":{{"run":{{"runId":"{ROOT}"}},"job":{{"namespace":"rn","name":"rj"}}}}}}}}"#
        );
        let caller = LineageCaller {
            context: Some(context),
            parent: Some(format!("other/other/{ROOT}")),
            root: None,
        };
        let parent = of(&caller).0.expect("a parent");
        assert_eq!(names(&parent.parent), ("n".into(), "j".into(), RUN.into()));
        assert_eq!(names(&parent.root.expect("a root")), ("rn".into(), "rj".into(), ROOT.into()));
    }

    #[test]
    fn unreadable_variables_are_ignored() {
        for text in ["", "x", "a/b", "a/b/c", &format!("/{RUN}"), &format!("//{RUN}")] {
            let caller = LineageCaller { parent: Some((*text).into()), ..LineageCaller::default() };
            assert_eq!(of(&caller), (None, vec!["OPENLINEAGE_PARENT_ID"]), "{text}");
        }
        let caller = LineageCaller { context: Some("{}".into()), ..LineageCaller::default() };
        assert_eq!(of(&caller), (None, vec!["OPENLINEAGE_CONTEXT"]));
    }
}
