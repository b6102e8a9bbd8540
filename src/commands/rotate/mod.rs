//! The change of the key, step by step, as the commands call it.
//!
//! Every step that changes something holds the warehouse like a run.

use serde::Serialize;

use crate::adbc_postgres::PostgresConnection;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer, RunEvent};
use crate::key::{Domain, MasterKey, Token};
use crate::load::hold;
use crate::load::rotation::{self, Coverage, Method, Offer, Phase, Rotation};
use crate::pipeline::rotation_pairs::{Both, Mapping, next_key};
use crate::schema::Dataset;
use crate::warehouse::keys;
use crate::warehouse::keys::{Belongs, KeyName};
use crate::warehouse::location::Warehouse;
use crate::{extract, failpoint};

/// The state of a rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RotationReport {
    /// The rotation; none where none is at work.
    pub rotation: Option<Rotation>,
    /// How far the map is, domain by domain.
    pub coverage: Vec<Coverage>,
    /// Tokens that this step has mapped.
    pub mapped: u64,
}

/// A step at work.
struct Step<'a> {
    observer: &'a dyn Observer,
    warehouse: Warehouse,
    control: PostgresConnection,
}

impl<'a> Step<'a> {
    /// Holds the warehouse.
    fn begin(
        settings: &Settings,
        observer: &'a dyn Observer,
        cancel: &Cancellation,
    ) -> Result<Self> {
        let warehouse = Warehouse::open(settings, observer)?;
        let control = hold(&warehouse.database, settings.run.wait, observer, cancel)?;
        Ok(Self { observer, warehouse, control })
    }

    fn report(mut self, rotation: Rotation, mapped: u64) -> Result<RotationReport> {
        let coverage = rotation::coverage(&mut self.control, &rotation)?;
        Ok(RotationReport { rotation: Some(rotation), coverage, mapped })
    }

    fn note(&self, note: String) {
        self.observer.observe(&RunEvent::Note(note));
    }
}

/// Opens the window between two keys: the settings' key is the old one, the file of the new one is
/// named by `privacy.next_key_file`. With `reload` nothing is mapped: a load in mode `replace` under the
/// new key is allowed.
///
/// # Errors
/// `Config` when a key is missing or not the warehouse's, nothing is published, or another rotation is
/// at work; `Warehouse` and `Locked` as a run.
pub fn begin(
    settings: &Settings,
    reload: bool,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<RotationReport> {
    let (old, next) = (MasterKey::resolve(&settings.key_source())?, next_key(settings)?);
    let (name, next_name) = (KeyName::of(&old), KeyName::of(&next));
    if name == next_name {
        return Err(Error::config(format!("the next key is the present one, {}", name.id))
            .hint("`claims-etl key generate --key-file FILE` makes a new one"));
    }
    let method = match next.inner() {
        _ if reload => Method::Reload,
        None => Method::Files,
        Some(inner) if KeyName::of(&inner) == name => Method::Chain,
        Some(inner) => {
            return Err(Error::config(format!(
                "the next key is a chain over key {}, but the warehouse's key is {}",
                inner.id(),
                name.id
            ))
            .hint("`claims-etl key generate --over FILE` makes a chain over the key in FILE"));
        }
    };
    let mut step = Step::begin(settings, observer, cancel)?;
    match keys::belongs(&mut step.control, &name)? {
        Belongs::Yes => keys::note(&mut step.control, &name)?,
        Belongs::NothingPublished => {
            return Err(Error::config("nothing is published, so there is no token to change")
                .hint("load under the new key"));
        }
        other => return Err(keys::refusal(&name.id, &other)),
    }
    let rotation = rotation::begin(&mut step.control, &name, &next_name, method)?;
    if method != Method::Reload {
        rotation::take_stock(&mut step.control, &rotation)?;
    }
    step.report(rotation, 0)
}

/// Reads sources again and maps the tokens of their identifiers, as far as they are published.
///
/// # Errors
/// `Config` when no rotation is at work or a key is not its key, `Source` when a source cannot be read,
/// `Warehouse` and `Locked` as a run.
pub fn map(
    settings: &Settings,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<RotationReport> {
    let (old, next) = (MasterKey::resolve(&settings.key_source())?, next_key(settings)?);
    let mut step = Step::begin(settings, observer, cancel)?;
    let rotation = mapped_one(&mut step, &old, &next)?;
    rotation::take_stock(&mut step.control, &rotation)?;
    let both = Both::new(&old, &next, &rotation);
    let mut mapped = 0;
    for dataset in [Dataset::Claims, Dataset::Providers] {
        let named = &settings.source(dataset).sources;
        if named.is_empty() || both.columns(dataset).is_empty() {
            continue;
        }
        let extracted = extract::extract(dataset, settings, cancel)?;
        let task = format!("key rotate map {dataset}");
        mapped += Mapping { both: &both, offer: Offer::Published, observer, cancel, task: &task }
            .run(&extracted, step.warehouse.connect()?)?;
    }
    step.report(rotation, mapped)
}

/// Maps all tokens that have no new one yet by hashing them again: the new key is a chain over the old.
///
/// # Errors
/// As [`map`]; `Config` when the new key is no chain.
pub fn chain(
    settings: &Settings,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<RotationReport> {
    let next = next_key(settings)?;
    let Some(old) = next.inner() else {
        return Err(Error::config(format!("key {} is no chain", next.id())).hint(
            "`claims-etl key rotate map` maps by the source files; `key generate --over FILE` makes a chain",
        ));
    };
    let mut step = Step::begin(settings, observer, cancel)?;
    let rotation = mapped_one(&mut step, &old, &next)?;
    rotation::take_stock(&mut step.control, &rotation)?;
    let mut mapped = 0;
    for (name, domain) in domains(&rotation) {
        let link = next.last_link(domain).ok_or_else(|| Error::internal("a chain has a link"))?;
        let mut last: Option<Token> = None;
        loop {
            cancel.check()?;
            let tokens = rotation::missing(&mut step.control, name, last)?;
            let Some(end) = tokens.last() else { break };
            last = Some(*end);
            let mut new = Vec::with_capacity(tokens.len());
            link.tokens_of(tokens.iter().map(Token::as_slice), &mut new);
            let pairs: Vec<_> = tokens.into_iter().zip(new).collect();
            mapped += rotation::put(&mut step.control, name, &pairs, Offer::Published)?;
            let task = "key rotate chain".to_owned();
            observer.observe(&RunEvent::Progress { task, rows: mapped, total: None });
        }
    }
    step.report(rotation, mapped)
}

/// The state of the rotation. Nothing is changed or held; what loads have published since the last step
/// is not counted.
///
/// # Errors
/// `Warehouse` when it cannot be read.
pub fn status(settings: &Settings) -> Result<RotationReport> {
    let mut connection = Warehouse::running(settings)?.connect()?;
    let rotation = rotation::read(&mut connection)?;
    let coverage = match &rotation {
        Some(rotation) if rotation.method != Method::Reload => {
            rotation::coverage(&mut connection, rotation)?
        }
        _ => Vec::new(),
    };
    Ok(RotationReport { rotation, coverage, mapped: 0 })
}

/// Puts the new tokens in the place of the old ones, once all are known. The report is of the moment
/// before. With `keep_map` the map stays until the next call.
///
/// # Errors
/// `Config` when no rotation is at work, `Quality` when tokens lack their new one, `Warehouse` and
/// `Locked` as a run; what is published has not changed then.
pub fn finish(
    settings: &Settings,
    keep_map: bool,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<RotationReport> {
    let mut step = Step::begin(settings, observer, cancel)?;
    let Some(mut rotation) = rotation::read(&mut step.control)? else {
        return rotation::open(&mut step.control).and_then(|rotation| step.report(rotation, 0));
    };
    let mut coverage = Vec::new();
    if rotation.method == Method::Reload {
        return reloaded(step, rotation);
    }
    if rotation.phase != Phase::Attached {
        rotation::take_stock(&mut step.control, &rotation)?;
        coverage = rotation::coverage(&mut step.control, &rotation)?;
        covered(&coverage)?;
        let progress = |done: u64, of: u64| {
            let task = "key rotate finish: partitions".to_owned();
            observer.observe(&RunEvent::Progress { task, rows: done, total: Some(of) });
        };
        rotation::build(&mut step.control, &rotation, cancel, &progress)?;
        failpoint::hit("rotate.ready")?;
        rotation::attach(&mut step.control, &rotation, cancel)?;
        rotation.phase = Phase::Attached;
    }
    rotation::renew_views(&mut step.control)?;
    if keep_map {
        step.note("the map of tokens is kept: `claims-etl key rotate finish` removes it".into());
    } else {
        rotation::forget(&mut step.control)?;
    }
    Ok(RotationReport { rotation: Some(rotation), coverage, mapped: 0 })
}

/// Gives a rotation up.
///
/// # Errors
/// `Config` when none is at work or it is done, `Warehouse` and `Locked` as a run.
pub fn abort(
    settings: &Settings,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<RotationReport> {
    let mut step = Step::begin(settings, observer, cancel)?;
    let rotation = rotation::abort(&mut step.control)?;
    Ok(RotationReport { rotation: Some(rotation), coverage: Vec::new(), mapped: 0 })
}

fn reloaded(mut step: Step<'_>, mut rotation: Rotation) -> Result<RotationReport> {
    if !keys::is_published_with(&mut step.control, &rotation.new_key)? {
        return Err(Error::quality(format!(
            "nothing is loaded under key {} yet; nothing was changed",
            rotation.new_key
        ))
        .hint("`claims-etl run --mode replace --force` with the new key and all files"));
    }
    rotation::install_reloaded(&mut step.control, &rotation)?;
    rotation.phase = Phase::Attached;
    Ok(RotationReport { rotation: Some(rotation), coverage: Vec::new(), mapped: 0 })
}

/// The rotation at work, if it is mapped with these keys.
fn mapped_one(step: &mut Step<'_>, old: &MasterKey, next: &MasterKey) -> Result<Rotation> {
    let rotation = rotation::open(&mut step.control)?;
    rotation.leads_to(&KeyName::of(next))?;
    keys::check(&mut step.control, &KeyName::of(old), false)?;
    if rotation.method == Method::Reload {
        return Err(Error::config("a rotation by reload maps nothing")
            .hint("`claims-etl run --mode replace --force` with the new key and all files"));
    }
    Ok(rotation)
}

/// Refuses a map with holes.
fn covered(coverage: &[Coverage]) -> Result<()> {
    let lacking: Vec<String> = coverage
        .iter()
        .filter(|coverage| coverage.missing() > 0)
        .map(|c| format!("{} of {} {} tokens", c.missing(), c.tokens, c.domain))
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Error::quality(format!("{} have no new one yet; nothing was changed", lacking.join(", ")))
        .hint(
            "`claims-etl key rotate map` with the files that they came from; where those are gone: \
         `key rotate abort`, then a chain (docs/keys.md)",
        ))
}

/// The domains that a rotation maps, with their names in the map.
fn domains(rotation: &Rotation) -> impl Iterator<Item = (&'static str, Domain)> {
    let all =
        [("claim", Domain::Claim), ("patient", Domain::Patient), ("provider", Domain::Provider)];
    let mapped = rotation.domains();
    all.into_iter().filter(|(name, _)| mapped.contains(name))
}
