//! Maps the identifiers of sources to pairs of old and new tokens for a key rotation.

use std::sync::{Mutex, PoisonError};

use super::all_blocks::AllBlocks;
use super::extract_stage::Inputs;
use super::query_plan::collect;
use super::run_context::RunContext;
use super::task_id::Task;
use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer, RunEvent};
use crate::extract::{self, Block, Extracted};
use crate::key::{Domain, MasterKey, Tokenizer};
use crate::load::rotation::{self, Method, Offer, Phase, Rotation};
use crate::schema::Dataset;
use crate::transform::{identifiers, token_pairs};
use crate::warehouse::keys::KeyName;
use crate::warehouse::location::Warehouse;

/// Tokenizers of a column for both keys.
struct Column {
    dataset: Dataset,
    name: &'static str,
    domain: &'static str,
    old: Tokenizer,
    new: Tokenizer,
}

/// Tokenizers of all columns.
pub(crate) struct Both(Vec<Column>);

impl Both {
    pub(crate) fn new(old: &MasterKey, new: &MasterKey, rotation: &Rotation) -> Self {
        let columns = [
            (Dataset::Claims, "claim_id", "claim", Domain::Claim),
            (Dataset::Claims, "patient_id", "patient", Domain::Patient),
            (Dataset::Claims, "provider_id", "provider", Domain::Provider),
            (Dataset::Providers, "provider_id", "provider", Domain::Provider),
        ];
        let mapped = rotation.domains();
        let columns = columns.into_iter().filter(|(.., domain, _)| mapped.contains(domain));
        let column = |(dataset, name, domain, key)| Column {
            dataset,
            name,
            domain,
            old: old.tokenizer(key),
            new: new.tokenizer(key),
        };
        Self(columns.map(column).collect())
    }

    /// The identifier columns of an input.
    pub(crate) fn columns(&self, dataset: Dataset) -> Vec<&'static str> {
        let of_it = self.0.iter().filter(|column| column.dataset == dataset);
        of_it.map(|column| column.name).collect()
    }
}

/// One scan of an input for the map.
pub(crate) struct Mapping<'a> {
    pub(crate) both: &'a Both,
    pub(crate) offer: Offer,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) cancel: &'a Cancellation,
    pub(crate) task: &'a str,
}

impl Mapping<'_> {
    /// Reads an input; returns the number of mapped tokens.
    ///
    /// # Errors `Source` when it cannot be read or has changed, `Warehouse` when the map cannot be
    /// written, `Interrupted` on cancellation; tokens mapped so far are kept.
    pub(crate) fn run(&self, extracted: &Extracted, connection: PostgresConnection) -> Result<u64> {
        let (both, dataset) = (self.both, extracted.dataset);
        let names = both.columns(dataset);
        let connection = Mutex::new(connection);
        let block = |block: Block<'_>, mapped: &mut u64| -> Result<u64> {
            let frame = collect(identifiers(block.frame()?, &names))?;
            for column in both.0.iter().filter(|column| column.dataset == dataset) {
                let pairs = token_pairs(&frame, column.name, &column.old, &column.new)?;
                let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                *mapped += rotation::put(&mut *connection, column.domain, &pairs, self.offer)?;
            }
            Ok(frame.height() as u64)
        };
        let progress = |rows| {
            let task = self.task.to_owned();
            self.observer.observe(&RunEvent::Progress { task, rows, total: None });
        };
        let blocks = extract::scan(extracted);
        let all = AllBlocks { blocks: &blocks, cancel: self.cancel, progress: &progress };
        let mut mapped = 0;
        for (of_thread, end) in all.each(|| 0_u64, block) {
            end?;
            mapped += of_thread;
        }
        self.cancel.check()?;
        extract::unchanged(extracted)?;
        Ok(mapped)
    }
}

/// During a rotation: adds the new tokens for tokens this load is about to publish, so that the map
/// stays complete. Does nothing without a next key or an active rotation.
///
/// # Errors
/// `Config` when the next key is not the rotation's, and as [`Mapping::run`].
pub(super) fn note_pairs(
    context: &RunContext<'_>,
    warehouse: &Warehouse,
    inputs: &Inputs,
) -> Result<()> {
    if context.settings.privacy.next_key_file.is_none() {
        return Ok(());
    }
    let next = next_key(context.settings)?;
    let mut connection = warehouse.connect()?;
    let rotation = match rotation::read(&mut connection)? {
        Some(rotation) if rotation.phase != Phase::Attached => rotation,
        _ => {
            context.note("no rotation of the key is at work: the next key is not used".into());
            return Ok(());
        }
    };
    rotation.leads_to(&KeyName::of(&next))?;
    if rotation.method == Method::Reload {
        return Ok(());
    }
    let both = Both::new(context.key, &next, &rotation);
    for input in [&inputs.claims, &inputs.providers] {
        if both.columns(input.dataset).is_empty() {
            continue;
        }
        let (observer, cancel) = (context.observer, context.cancel);
        let task = Task::TransformJoin.id();
        Mapping { both: &both, offer: Offer::All, observer, cancel, task }
            .run(input, warehouse.connect()?)?;
    }
    Ok(())
}

/// The target key of a rotation.
pub(crate) fn next_key(settings: &Settings) -> Result<MasterKey> {
    let Some(path) = &settings.privacy.next_key_file else {
        return Err(Error::config("which key is the next one?").hint(
            "--next-key-file names its file; `claims-etl key generate --key-file FILE` makes one",
        ));
    };
    MasterKey::load(path).map_err(|error| error.context("the next key"))
}
