//! Identifies the configured key, its location, and whether it is the warehouse's.

use serde::Serialize;

use crate::config::Settings;
use crate::error::{Error, Result};
use crate::key::{KeyPlace, MasterKey};
use crate::warehouse::keys::{Belongs, KeyName};
use crate::warehouse::{keys, location};

/// State of a key, without key material.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KeyReport {
    pub(crate) key_id: String,
    /// Number of keys in its chain; 1 for a single key.
    pub(crate) links: usize,
    /// Its location.
    pub(crate) from: String,
    /// Permissions of its file, in octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    /// User id of the file's owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<u32>,
    /// The checked warehouse, without password; `None` if none is running.
    pub(crate) warehouse: Option<String>,
    /// `yes`, `no`, `retired`, `next`, `impostor`, or `empty` if nothing is published; `None` if no
    /// warehouse is running.
    pub(crate) belongs: Option<&'static str>,
    /// Why it is not the warehouse's, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// Process exit code: 2 if the key is not the warehouse's.
    #[serde(skip)]
    pub(crate) exit_code: u8,
}

/// Checks the configured key, and the warehouse if one is configured or the private server is
/// running. Changes nothing and starts no server.
///
/// # Errors
/// `Config` without a key, `Warehouse` when the warehouse cannot be reached.
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
