//! Which key this is, where it was found, and whether it is the warehouse's.

use serde::Serialize;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::key::{KeyPlace, MasterKey};
use crate::warehouse::keys::{Belongs, KeyName};
use crate::warehouse::{keys, location};

/// The state of a key; nothing of the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KeyReport {
    pub(crate) key_id: String,
    /// Keys of its chain; 1 for a single key.
    pub(crate) links: usize,
    /// Where it was found.
    pub(crate) from: String,
    /// The permissions of its file, in octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    /// The number of its file's owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<u32>,
    /// The warehouse that was looked at, without its password; none where none runs.
    pub(crate) warehouse: Option<String>,
    /// `yes`, `no`, `retired`, `next`, `impostor`, or `empty` where nothing is published; none where no
    /// warehouse runs.
    pub(crate) belongs: Option<&'static str>,
    /// Why it is not the warehouse's, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// The process' exit code: 2 where the key is not the warehouse's.
    #[serde(skip)]
    pub(crate) exit_code: u8,
}

/// Looks at the configured key, and at the warehouse where one is configured or the private server
/// runs. Nothing is changed and no server is started.
///
/// # Errors
/// `Config` when there is no key, `Warehouse` when the warehouse cannot be reached.
pub(crate) fn check_key(settings: &Settings) -> Result<KeyReport> {
    let (key, place) = MasterKey::find(&settings.key_source())?;
    let (mode, owner) = match &place {
        KeyPlace::File { mode, owner, .. } => (Some(format!("{mode:04o}")), Some(*owner)),
        KeyPlace::Environment | KeyPlace::Descriptor(_) => (None, None),
    };
    let mut report = KeyReport {
        key_id: key.id(),
        links: key.links(),
        from: place.to_string(),
        mode,
        owner,
        warehouse: None,
        belongs: None,
        why: None,
        exit_code: 0,
    };
    let Some(warehouse) = location::running(settings)? else { return Ok(report) };
    let belongs = keys::belongs(&mut warehouse.connect()?, &KeyName::of(&key))?;
    report.warehouse = Some(warehouse.place);
    report.belongs = Some(match &belongs {
        Belongs::Yes => "yes",
        Belongs::NothingPublished => "empty",
        Belongs::No(_) => "no",
        Belongs::Retired(_) => "retired",
        Belongs::Next(_) => "next",
        Belongs::Impostor => "impostor",
    });
    if !matches!(belongs, Belongs::Yes | Belongs::NothingPublished) {
        let error: Error = keys::refusal(&key.id(), &belongs);
        report.exit_code = error.kind().exit_code();
        report.why = Some(error.to_string());
    }
    Ok(report)
}
