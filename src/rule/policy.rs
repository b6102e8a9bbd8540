//! Policies that rules depend on.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Which row to keep of those with the same key and different content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// The last by record order
    #[default]
    Last,
    /// The first by record order
    First,
    /// None: all are rejected
    Reject,
}

/// The code system of the procedure codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeSystem {
    /// Any: codes are not validated.
    #[default]
    Any,
    /// CPT and HCPCS Level II, US.
    Hcpcs,
    /// ICD-9-CM procedures.
    Icd9,
    /// ICD-10-PCS procedures.
    Icd10pcs,
    /// SNOMED CT concepts.
    Snomed,
}
