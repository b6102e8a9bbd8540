//! One task that is done in a process of its own.
//!
//! Data never travel between processes, results do.

use std::thread;

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::task_id::Task;
use super::tasks::{extract, fingerprint, load_warehouse, transform_join};
use crate::dag::{Graph, Outcome, Plan, TaskContext};
use crate::error::{Error, Result};
use crate::extract::{self, Extracted};
use crate::load::ledger_read;
use crate::load::ledger_read::Input;
use crate::load::task_progress::Progress;
use crate::pipeline::load_stage::{account, judge};
use crate::pipeline::quality_gates;
use crate::pipeline::run_context::{Prepared, Slot, Work};
use crate::pipeline::source_check::unlike;
use crate::schema::Dataset;
use crate::shuffle::Resolved;
use crate::totals::ControlTotals;
use crate::worker::Worker;

/// One task, and how far its run has come.
pub(crate) struct Alone {
    task: Task,
    before: Option<Progress>,
    /// What the task hands on.
    pub(crate) result: Slot<Value>,
}

impl Alone {
    pub(crate) fn new(task: Task, before: Option<Progress>) -> Self {
        Self { task, before, result: Slot::default() }
    }

    pub(crate) fn task(&self) -> Task {
        self.task
    }

    /// How far the run had come.
    pub(crate) fn before(&self) -> Option<&Progress> {
        self.before.as_ref()
    }

    /// The plan of the one task.
    pub(crate) fn plan<'a>(&'a self, work: &'a Work<'_>) -> Result<Plan<'a>> {
        let whole = |context: &TaskContext<'_>| {
            let outcome = self.work(work, context)?;
            let (Outcome::Done(result) | Outcome::ShortCircuit(result)) = &outcome;
            self.result.put(result.clone());
            Ok(outcome)
        };
        Graph::new().task(self.task.id(), &[], whole).build()
    }

    fn work(&self, work: &Work<'_>, context: &TaskContext<'_>) -> Result<Outcome> {
        match self.task {
            Task::ExtractClaims => extract(work, Dataset::Claims, context),
            Task::ExtractProviders => extract(work, Dataset::Providers, context),
            Task::TransformJoin => self.transform(work, context),
            Task::LoadWarehouse => self.load(work, context),
            Task::RefreshBi => Err(Error::internal("a refresh needs no sources")),
        }
    }

    /// The first pass for its own sake: what it counts is judged and kept, its rows are not.
    fn transform(&self, work: &Work<'_>, context: &TaskContext<'_>) -> Result<Outcome> {
        self.open(work, context)?;
        let Outcome::Done(mut result) = transform_join(work, context)? else {
            return Ok(Outcome::ShortCircuit(
                json!({ "already_loaded_by": work.loaded_by.get()? }),
            ));
        };
        let prepared = work.prepared.get()?;
        judge(work, &prepared.tally, 0)?;
        let account = first_account(&prepared);
        work.account.put(account.clone());
        if let Some(session) = work.session.lock().as_mut() {
            quality_gates::check(&mut session.control, work, &account, None)?;
        }
        result["account"] = counts(&account)?;
        result["key_id"] = json!(work.identity.key_id);
        result["config_digest"] = json!(work.identity.config_digest);
        Ok(Outcome::Done(result))
    }

    /// The first pass once more, which must come to the same, and the load.
    fn load(&self, work: &Work<'_>, context: &TaskContext<'_>) -> Result<Outcome> {
        if let Some(session) = work.session.lock().as_mut().filter(|session| session.published) {
            // The last try's commit succeeded, only its answer was lost.
            let record = ledger_read::record(&mut session.control, work.identity.run, "")?;
            let account = record
                .and_then(|record| record.account)
                .ok_or_else(|| Error::internal("the ledger has lost a run that is published"))?;
            work.account.put(account.clone());
            work.published.put(());
            return Ok(Outcome::Done(json!({ "account": account })));
        }
        if work.prepared.lock().is_none() {
            self.same_settings(work)?;
            self.open(work, context)?;
            self.same_input(work)?;
            let first = transform_join(work, context)?;
            if matches!(first, Outcome::ShortCircuit(_)) {
                return Ok(first);
            }
            self.same_counts(&work.prepared.get()?)?;
        }
        load_warehouse(work, context)
    }

    /// Opens both sources again, which must be what the extract tasks have seen.
    fn open(&self, work: &Work<'_>, context: &TaskContext<'_>) -> Result<()> {
        let open = |dataset: Dataset| extract::extract(dataset, work.settings, context.cancel);
        let (claims, providers) = thread::scope(|scope| {
            let providers =
                Worker::start(scope, "opening the providers", || open(Dataset::Providers))?;
            Ok((open(Dataset::Claims), providers.end()))
        })?;
        let (claims, providers) = (claims?, providers?);
        self.unchanged(Task::ExtractClaims, &claims)?;
        self.unchanged(Task::ExtractProviders, &providers)?;
        work.claims.put(claims);
        work.providers.put(providers);
        Ok(())
    }

    fn unchanged(&self, task: Task, now: &Extracted) -> Result<()> {
        let unknown = || Error::internal("the ledger does not tell what the extract task has seen");
        let result = self.result_of(task).ok_or_else(unknown)?;
        let then = Input::deserialize(result).map_err(|_| unknown())?;
        if result["fingerprint"] == json!(now.fingerprint) {
            return Ok(());
        }
        let mut found = unlike(&then, now);
        found.truncate(3);
        Err(Error::source(format!("{} has seen another source: {}", task.id(), found.join("; ")))
            .hint(format!("call {} again if the source is as it should be", task.id())))
    }

    /// Both passes must be those of one input, of one key and of the same settings.
    fn same_settings(&self, work: &Work<'_>) -> Result<()> {
        let then = self.result_of(Task::TransformJoin).unwrap_or(&Value::Null);
        let identity = &work.identity;
        if then["key_id"] == json!(identity.key_id)
            && then["config_digest"] == json!(identity.config_digest)
        {
            return Ok(());
        }
        Err(Error::config("transform_join was done with other settings or another key").hint(
            "call transform_join again with these settings, or this task with those settings",
        ))
    }

    fn same_input(&self, work: &Work<'_>) -> Result<()> {
        let now = fingerprint(&work.claims.get()?, &work.providers.get()?);
        let then = self.before.as_ref().and_then(|before| before.fingerprint.as_ref());
        if then == Some(&now) {
            return Ok(());
        }
        Err(Error::config("the sources were extracted once more after transform_join")
            .hint("call transform_join again"))
    }

    fn same_counts(&self, prepared: &Prepared) -> Result<()> {
        let then = self.result_of(Task::TransformJoin).map(|result| &result["account"]);
        if then == Some(&counts(&first_account(prepared))?) {
            return Ok(());
        }
        Err(Error::quality(
            "the first pass comes to other counts than it did in transform_join; nothing was published",
        )
        .hint("call transform_join again: was it another version of this program?"))
    }

    fn result_of(&self, task: Task) -> Option<&Value> {
        self.before.as_ref()?.result(task.id())
    }
}

/// What the first pass has counted.
fn first_account(prepared: &Prepared) -> ControlTotals {
    let mut account = account(&prepared.tally, &Resolved::default());
    account.providers = prepared.directory.counts();
    account
}

/// The counts of an account, without examples.
fn counts(account: &ControlTotals) -> Result<Value> {
    let mut counts =
        serde_json::to_value(account).map_err(|_| Error::internal("an account that is no JSON"))?;
    if let Some(counts) = counts.as_object_mut() {
        counts.remove("reject_examples");
    }
    Ok(counts)
}
