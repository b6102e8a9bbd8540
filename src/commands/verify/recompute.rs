//! The verification of a run: recomputed from its sources and compared with what is published.
//!
//! It takes no lock of a run and changes nothing; a run may be at work meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;

use crate::adbc_postgres::PostgresConnection;
use crate::commands::verify::claims::Claims;
use crate::commands::verify::providers::Providers;
use crate::commands::verify::report::{Checksums, Verification};
use crate::commands::verify::scores::incomparable_scores;
use crate::commands::verify::snapshot::{Runs, in_snapshot};
use crate::config::{Mode, Settings, digest};
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer, RunEvent, RunId};
use crate::extract;
use crate::interchange::record_batch;
use crate::key::{Domain, MasterKey};
use crate::load::ledger_read::{Record, Sources};
use crate::load::task_progress;
use crate::pipeline::extract_stage::Inputs;
use crate::pipeline::run_rules::{checks, checks_on};
use crate::pipeline::run_selector::RunSelector;
use crate::pipeline::run_totals::counts;
use crate::pipeline::source_check::{VerifyOptions, is_of_the_input};
use crate::pipeline::transform_stage::{Transform, Transformed};
use crate::pipeline::{run_selector, source_check};
use crate::privacy::settings::Action;
use crate::quarantine::Quarantine;
use crate::schema::{Dataset, provider_schema};
use crate::shuffle::{Resolved, Shuffle, token_range};
use crate::totals::{ClaimCounts, ControlTotals, grouped};
use crate::transform::{DateFormats, RuleSet};
use crate::warehouse::keys;
use crate::warehouse::keys::{Belongs, KeyName};
use crate::warehouse::load_strategy::LoadStrategy;
use crate::warehouse::location::Warehouse;

/// Rows that are sorted and scored at once.
const BATCH_ROWS: usize = 32_768;

/// Recomputes a run from its sources and compares it with what is published.
///
/// # Errors
/// `Config` for an unknown run, one that has published nothing or whose rows were replaced since,
/// another key, or settings that do not fit the sources; `Source` when the run's own, unchanged
/// sources cannot be read; `Warehouse` when the tables cannot be read. What differs is a finding, not
/// an error.
pub fn verify(
    settings: &Settings,
    options: VerifyOptions,
    which: RunSelector,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Verification> {
    let started = Instant::now();
    let formats = Arc::new(DateFormats::of(settings)?);
    let warehouse = Warehouse::open(settings, observer)?;
    let mut connection = warehouse.connect()?;
    let requested = which.id(&mut connection)?;
    let (record, sources) = verifiable(run_selector::read(&mut connection, requested)?)?;
    let run = RunId::parse(&record.run_id)?;
    let day = task_progress::progress(&mut connection, run)?.and_then(|progress| progress.run_date);
    let key = key(settings, &record, &mut connection)?;
    // What follows takes its time, in which the connection would lie idle.
    drop(connection);
    // The day of the run, not today.
    let checks =
        Arc::new(day.map_or_else(|| checks(settings, run), |day| checks_on(settings, day))?);
    let mut settings = settings.clone();
    // Rows do not depend on the mode, and nobody should have to repeat it.
    settings.warehouse.mode = record.mode;
    let mut report = Verification::new(&record.run_id);
    report.requested = Some(requested.to_string()).filter(|requested| *requested != record.run_id);
    if digest(&settings) != record.config_digest {
        report.notes.push(
            "these are not the settings of the run: columns, formats, rules, policies or scoring differ"
                .into(),
        );
    }

    let missing = source_check::settle(&mut settings, options, &sources)?;
    if missing.is_empty() {
        let work = Verifying {
            settings: &settings,
            formats: &formats,
            checks: &checks,
            key: &key,
            observer,
            cancel,
        };
        work.verify(&record, &sources, &warehouse, &mut report)?;
    } else {
        report.add("input", "sources of the run are missing".into(), missing);
        not_computed(&mut report, "the sources are not complete");
        report.notes.push(source_check::MISSING.into());
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// The record of a run whose rows can be there, and what it has read.
fn verifiable(record: Record) -> Result<(Record, Sources)> {
    let run = &record.run_id;
    if record.account.is_none() {
        return Err(Error::config(format!(
            "run {run} has published nothing ({}): there is nothing to verify",
            record.status
        ))
        .hint("`claims-etl runs` lists the runs and how each of them ended"));
    }
    if let Some(later) = &record.replaced_by {
        return Err(Error::config(format!(
            "run {run} is superseded by run {later}, which has replaced all claims: none of its rows is left to verify"
        ))
        .hint(format!("`claims-etl verify {later}` verifies what is published since")));
    }
    let unknown = || Error::internal(format!("the run log has no sources of run {run}"));
    let sources = record.sources.clone().ok_or_else(unknown)?;
    Ok((record, sources))
}

/// The key of the run, or the one that its tokens were rotated to; none is ever made here.
fn key(
    settings: &Settings,
    record: &Record,
    connection: &mut PostgresConnection,
) -> Result<MasterKey> {
    let key = MasterKey::resolve(&settings.key_source())?;
    let belongs = keys::belongs(connection, &KeyName::of(&key))?;
    if matches!(belongs, Belongs::Retired(_) | Belongs::Impostor) {
        return Err(keys::refusal(&key.id(), &belongs));
    }
    if key.id() == record.key_id || keys::leads_to(connection, &record.key_id, &key.id())? {
        return Ok(key);
    }
    Err(Error::config(format!(
        "run {} had key {}, this is key {}",
        record.run_id,
        record.key_id,
        key.id()
    ))
    .hint("another key gives other tokens: verify with the key that the run had"))
}

fn not_computed(report: &mut Verification, why: &str) {
    for what in ["account", "claims", "providers"] {
        report.skip(what, why.to_owned());
    }
}

/// What the steps share.
struct Verifying<'a> {
    settings: &'a Settings,
    formats: &'a Arc<DateFormats>,
    checks: &'a Arc<RuleSet>,
    key: &'a MasterKey,
    observer: &'a dyn Observer,
    cancel: &'a Cancellation,
}

impl Verifying<'_> {
    fn verify(
        &self,
        record: &Record,
        sources: &Sources,
        warehouse: &Warehouse,
        report: &mut Verification,
    ) -> Result<()> {
        let inputs = self.step("verify.extract", |_| {
            let claims = extract::extract(Dataset::Claims, self.settings, self.cancel)?;
            let providers = extract::extract(Dataset::Providers, self.settings, self.cancel)?;
            Ok(Inputs { claims, providers })
        })?;
        let mut unlike = source_check::unlike(&sources.claims, &inputs.claims);
        unlike.extend(source_check::unlike(&sources.providers, &inputs.providers));
        let same = Some(inputs.fingerprint()) == record.fingerprint;
        if !same && unlike.is_empty() {
            unlike.push("the fingerprint of the whole is not the run's".into());
        }
        let files = inputs.claims.files.len() + inputs.providers.files.len();
        let detail = if unlike.is_empty() {
            format!("{files} files, each with the fingerprint that the run has noted")
        } else {
            "the sources are not what the run has read".into()
        };
        report.add("input", detail, unlike);

        let transformed = self.step("verify.compute", |progress| {
            let transform = Transform {
                inputs: &inputs,
                settings: self.settings,
                formats: self.formats,
                checks: self.checks,
                key: self.key,
                strategy: LoadStrategy::Attach,
            };
            transform.run(&Mutex::new(Quarantine::nowhere()), self.cancel, progress)
        });
        let transformed = match transformed {
            Err(error) if !same && is_of_the_input(&error) => {
                not_computed(report, error.message());
                return Ok(());
            }
            transformed => transformed?,
        };
        self.step("verify.compare", |progress| {
            let mut connection = warehouse.connect()?;
            in_snapshot(&mut connection, |connection| {
                self.compare(connection, record, &transformed, progress, report)
            })
        })
    }

    fn compare(
        &self,
        connection: &mut PostgresConnection,
        record: &Record,
        transformed: &Transformed,
        progress: &dyn Fn(u64),
        report: &mut Verification,
    ) -> Result<()> {
        // What the snapshot holds: a run may have published while rows were computed.
        let (record, _) =
            verifiable(run_selector::read(connection, RunId::parse(&record.run_id)?)?)?;
        let then = record.account.unwrap_or_default();
        let keeps_earlier = record.mode != Mode::Replace && then.claims.unchanged > 0;
        let runs = Runs::read(connection, record.run_no, keeps_earlier)?;
        let incomparable = incomparable_scores(connection, record.run_no)?;
        report.notes.extend(incomparable.map(ToOwned::to_owned));
        let shape = transformed.directory.shape();
        let mut claims = Claims::new(runs.clone(), shape, incomparable.is_none());
        let resolved = self.claims(connection, transformed, &mut claims, progress)?;

        let token = self.key.tokenizer(Domain::Provider);
        // An id that is released as a token is one already.
        let is_token = self.settings.privacy.action("provider_id") == Action::Token;
        let token = |id: &str| {
            let token = token.token(id).map(uuid::Uuid::from_bytes);
            let token = token.map_or_else(String::new, |token| token.to_string());
            if is_token { id.to_owned() } else { token }
        };
        let mut providers = Providers::new(&runs, &token, shape);
        let directory = record_batch(transformed.directory.frame(), &provider_schema(shape))?;
        let inferred = transformed.tally.orphans.iter().map(String::as_str);
        providers.compare(connection, &directory, inferred)?;

        let mut now = counts(&transformed.tally, &resolved);
        now.providers = transformed.directory.counts();
        now.claims.loaded = claims.counts().expected;
        now.amount.loaded = now.amount.read - now.amount.not_loaded();
        let unlike = unlike(&then, &now)?;
        let detail = if unlike.is_empty() {
            let ClaimCounts { read, loaded, rejected, duplicates, conflicts, .. } = now.claims;
            let [read, loaded, rejected, duplicates, conflicts] =
                [read, loaded, rejected, duplicates, conflicts]
                    .map(|rows| grouped(&rows.to_string()));
            format!(
                "{read} claims read, {loaded} loaded, {rejected} rejected, {duplicates} duplicates, \
                 {conflicts} conflicts; every count and cent as in the ledger"
            )
        } else {
            "counts or amounts are not those of the ledger".into()
        };
        report.add("account", detail, unlike);
        let (sources, table) = claims.checksums();
        report.checksums = Some(Checksums { sources, table });
        report.claims = Some(claims.counts());
        report.providers = Some(providers.counts());
        report.add_rows("claims", claims.counts());
        report.add_rows("providers", providers.counts());
        report.examples = claims.into_examples();
        report.examples.extend(providers.into_examples());
        Ok(())
    }

    /// All rows of the shuffle, in the order of their keys.
    fn claims(
        &self,
        connection: &mut PostgresConnection,
        transformed: &Transformed,
        claims: &mut Claims,
        progress: &dyn Fn(u64),
    ) -> Result<Resolved> {
        let (score, policy) = (transformed.score(None), self.settings.warehouse.duplicate_policy());
        let next = |buckets: &mut _, resolved: &mut _| {
            self.cancel.check()?;
            let rows = transformed.shuffle.next_rows(buckets, BATCH_ROWS, policy, resolved)?;
            rows.map(|rows| score(rows)).transpose()
        };
        let (mut buckets, mut resolved) = (Shuffle::buckets(), Resolved::default());
        while let Some(rows) = next(&mut buckets, &mut resolved)? {
            claims.compare(connection, &rows)?;
            progress(claims.counts().expected);
        }
        resolved.rejected.sort_unstable();
        if claims.count_extra(connection)? {
            let mut buckets = Shuffle::buckets();
            while !buckets.is_empty() {
                let start = buckets.start;
                let rows = next(&mut buckets, &mut Resolved::default())?;
                let range = token_range(&(start..buckets.start));
                if !claims.name_extra(connection, rows.as_ref(), range)? {
                    break;
                }
            }
        }
        Ok(resolved)
    }

    /// One step, reported like a task.
    fn step<T>(
        &self,
        task: &str,
        work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> Result<T>,
    ) -> Result<T> {
        let (started, task) = (Instant::now(), task.to_owned());
        self.observer.observe(&RunEvent::TaskStarted { task: task.clone(), attempt: 1 });
        let done = work(&|rows| {
            self.observer.observe(&RunEvent::Progress { task: task.clone(), rows, total: None });
        });
        let state = if done.is_ok() { "success" } else { "failed" };
        let elapsed = started.elapsed();
        self.observer.observe(&RunEvent::TaskFinished {
            task,
            state,
            elapsed,
            result: None,
            error: None,
        });
        done
    }
}

/// The counts and amounts that are not alike. How many rows were new, changed or equal then, and
/// which providers were inferred, cannot be recomputed from the sources.
fn unlike(then: &ControlTotals, now: &ControlTotals) -> Result<Vec<String>> {
    const OF_THE_TABLE: [&str; 6] =
        ["inserted", "updated", "unchanged", "inferred", "overwritten", "overwritten_amount"];
    let value = |account: &ControlTotals| {
        serde_json::to_value(account).map_err(|_| Error::internal("an account that is no JSON"))
    };
    let (then, now) = (value(then)?, value(now)?);
    let empty = serde_json::Map::new();
    let mut found = Vec::new();
    for group in ["claims", "amount", "reversals", "providers", "reject_reasons", "flags"] {
        let fields = |account: &Value| account[group].as_object().unwrap_or(&empty).clone();
        let (then, now) = (fields(&then), fields(&now));
        let mut names: Vec<&String> = then.keys().chain(now.keys()).collect();
        names.sort();
        names.dedup();
        for name in names.into_iter().filter(|name| !OF_THE_TABLE.contains(&name.as_str())) {
            let shown = |fields: &serde_json::Map<String, Value>| match fields.get(name) {
                Some(Value::String(amount)) => amount.clone(),
                Some(count) => count.to_string(),
                None => "0".into(),
            };
            if shown(&then) != shown(&now) {
                found.push(format!("{group}.{name}: {} then, {} now", shown(&then), shown(&now)));
            }
        }
    }
    Ok(found)
}
