//! The providers of a directory by row: what aggregates group them by.

use std::collections::HashMap;

use polars::prelude::StringChunked;

/// Keys and released specialties of a directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProviderRows {
    keys: Vec<i32>,
    /// By row: the index of the specialty.
    specialty_of: Vec<u32>,
    /// Distinct specialties; the first is empty: none.
    specialties: Vec<String>,
}

impl ProviderRows {
    /// `specialties` is none where the privacy profile drops them.
    pub(crate) fn new(keys: Vec<i32>, specialties: Option<&StringChunked>) -> Self {
        let mut known = vec![String::new()];
        let mut index: HashMap<&str, u32> = HashMap::from([("", 0)]);
        let specialty_of = match specialties {
            None => vec![0; keys.len()],
            Some(texts) => texts
                .iter()
                .map(|text| {
                    let text = text.unwrap_or_default();
                    *index.entry(text).or_insert_with(|| {
                        known.push(text.to_owned());
                        u32::try_from(known.len() - 1).unwrap_or_default()
                    })
                })
                .collect(),
        };
        Self { keys, specialty_of, specialties: known }
    }

    pub(super) fn len(&self) -> usize {
        self.specialty_of.len()
    }

    pub(super) fn key(&self, row: usize) -> i32 {
        self.keys.get(row).copied().unwrap_or_default()
    }

    /// The index of a provider's specialty.
    pub(super) fn specialty_of(&self, row: u32) -> u32 {
        self.specialty_of.get(row as usize).copied().unwrap_or_default()
    }

    pub(super) fn specialty(&self, index: u32) -> &str {
        self.specialties.get(index as usize).map_or("", String::as_str)
    }
}
