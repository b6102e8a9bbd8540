//! Runs one task in its own process, as called by an orchestrator. Processes share no data: the
//! ledger stores the results of earlier tasks, and re-read inputs must match them.

use std::thread;

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::extract_stage::{Inputs, extract};
use super::load_stage::{already_published, judge_first_pass, load_warehouse};
use super::quality_gates;
use super::run_context::{RunContext, RunState};
use super::run_totals::totals;
use super::source_check::unlike;
use super::task_id::Task;
use super::task_runner::{Outcome, TaskRunner, Upstream};
use super::transform_stage::{Transformed, transform_join};
use crate::adbc_postgres::PostgresConnection;
use crate::error::{Error, Result};
use crate::extract::{self, Extracted};
use crate::load::Session;
use crate::load::ledger_read::Input;
use crate::load::task_progress::Progress;
use crate::schema::Dataset;
use crate::shuffle::Resolved;
use crate::totals::ControlTotals;
use crate::worker::Worker;

/// One task and its run's progress.
pub(super) struct SingleTask<'a> {
    pub(super) context: &'a RunContext<'a>,
    pub(super) before: Option<&'a Progress>,
}

impl SingleTask<'_> {
    pub(super) fn run(
        &self,
        task: Task,
        session: &mut Option<Session<PostgresConnection>>,
        state: &mut RunState<'_>,
        runner: &TaskRunner<'_>,
    ) {
        let (context, start) = (self.context, Upstream::Ready(()));
        match task {
            Task::ExtractClaims => {
                runner.run(task, start, |(), _| extract(context, Dataset::Claims));
            }
            Task::ExtractProviders => {
                runner.run(task, start, |(), _| extract(context, Dataset::Providers));
            }
            Task::TransformJoin => {
                runner.run(task, start, |(), attempt| self.transform(session, state, attempt));
            }
            Task::LoadWarehouse => {
                let mut before = None;
                runner.run(task, start, |(), attempt| {
                    self.load(session, state, &mut before, attempt)
                });
            }
            Task::RefreshBi => {
                runner.fail::<()>(task, Error::internal("a refresh needs no sources"));
            }
        }
    }

    /// Runs the first pass alone: checks and stores its counts, discards its rows.
    fn transform(
        &self,
        session: &mut Option<Session<PostgresConnection>>,
        state: &mut RunState<'_>,
        attempt: u32,
    ) -> Result<Outcome<()>> {
        let context = self.context;
        let inputs = self.open()?;
        state.report.line_column.clone_from(&inputs.claims.line_column);
        let (transformed, mut result) =
            match transform_join(context, session, state, &inputs, attempt)? {
                Outcome::Done { value, result } => (value, result),
                Outcome::ShortCircuit(result) => return Ok(Outcome::ShortCircuit(result)),
            };
        judge_first_pass(context, state, &inputs, &transformed)?;
        let totals = totals(&inputs, &transformed, &Resolved::default());
        state.report.set_account(totals.clone());
        if let Some(session) = session {
            quality_gates::check(&mut session.control, context, &totals, None)?;
        }
        result["account"] = counts(&totals)?;
        result["key_id"] = json!(context.identity.key_id);
        result["config_digest"] = json!(context.identity.config_digest);
        Ok(Outcome::Done { value: (), result })
    }

    /// Repeats the first pass, whose counts must match, then loads. `before`: result of the first
    /// pass from an earlier try.
    fn load(
        &self,
        session: &mut Option<Session<PostgresConnection>>,
        state: &mut RunState<'_>,
        before: &mut Option<(Inputs, Transformed)>,
        attempt: u32,
    ) -> Result<Outcome<()>> {
        let context = self.context;
        if let Some(session) = session.as_mut().filter(|session| session.published) {
            return already_published(context, session, state);
        }
        let (inputs, transformed) = match before {
            Some(before) => before,
            none => {
                self.same_settings()?;
                let inputs = self.open()?;
                self.same_input(&inputs)?;
                state.report.line_column.clone_from(&inputs.claims.line_column);
                let transformed = match transform_join(context, session, state, &inputs, attempt)? {
                    Outcome::Done { value, .. } => value,
                    Outcome::ShortCircuit(result) => return Ok(Outcome::ShortCircuit(result)),
                };
                self.same_counts(&inputs, &transformed)?;
                none.insert((inputs, transformed))
            }
        };
        load_warehouse(context, session, state, (&*inputs, &*transformed), attempt)
    }

    /// Reopens both sources, which must match what the extract tasks read.
    fn open(&self) -> Result<Inputs> {
        let RunContext { settings, cancel, .. } = self.context;
        let open = |dataset: Dataset| extract::extract(dataset, settings, cancel);
        let (claims, providers) = thread::scope(|scope| {
            let providers =
                Worker::start(scope, "opening the providers", || open(Dataset::Providers))?;
            Ok((open(Dataset::Claims), providers.end()))
        })?;
        let inputs = Inputs { claims: claims?, providers: providers? };
        self.unchanged(Task::ExtractClaims, &inputs.claims)?;
        self.unchanged(Task::ExtractProviders, &inputs.providers)?;
        Ok(inputs)
    }

    fn unchanged(&self, task: Task, now: &Extracted) -> Result<()> {
        let unknown = || Error::internal("the ledger has no result of the extract task");
        let result = self.result_of(task).ok_or_else(unknown)?;
        let then = Input::deserialize(result).map_err(|_| unknown())?;
        if result["fingerprint"] == json!(now.fingerprint) {
            return Ok(());
        }
        let mut found = unlike(&then, now);
        found.truncate(3);
        Err(Error::source(format!("{} has read another source: {}", task.id(), found.join("; ")))
            .hint(format!("if the source is right now, call {} again", task.id())))
    }

    /// Fails if the key or the settings differ between the two passes.
    fn same_settings(&self) -> Result<()> {
        let then = self.result_of(Task::TransformJoin).unwrap_or(&Value::Null);
        let identity = &self.context.identity;
        if then["key_id"] == json!(identity.key_id)
            && then["config_digest"] == json!(identity.config_digest)
        {
            return Ok(());
        }
        Err(Error::config("transform_join was done with other settings or another key").hint(
            "call transform_join again with these settings, or this task with those settings",
        ))
    }

    fn same_input(&self, inputs: &Inputs) -> Result<()> {
        let then = self.before.and_then(|before| before.fingerprint.as_ref());
        if then == Some(&inputs.fingerprint()) {
            return Ok(());
        }
        Err(Error::config("the sources were extracted once more after transform_join")
            .hint("call transform_join again"))
    }

    fn same_counts(&self, inputs: &Inputs, transformed: &Transformed) -> Result<()> {
        let then = self.result_of(Task::TransformJoin).map(|result| &result["account"]);
        let now = counts(&totals(inputs, transformed, &Resolved::default()))?;
        if then == Some(&now) {
            return Ok(());
        }
        Err(Error::quality(
            "the first pass comes to other counts than it did in transform_join; nothing was published",
        )
        .hint("call transform_join again: was it another version of this program?"))
    }

    fn result_of(&self, task: Task) -> Option<&Value> {
        self.before?.result(task.id())
    }
}

/// Control totals without examples.
fn counts(totals: &ControlTotals) -> Result<Value> {
    let mut counts = serde_json::to_value(totals)
        .map_err(|_| Error::internal("control totals cannot be written as JSON"))?;
    if let Some(counts) = counts.as_object_mut() {
        counts.remove("reject_examples");
    }
    Ok(counts)
}
