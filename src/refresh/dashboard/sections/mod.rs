//! The sections of the page, one function each.

mod accounting;
mod provenance;
mod provider_months;
mod quality;
mod risk;
mod section;
mod volume;

pub(super) use accounting::accounting;
pub(super) use provenance::provenance;
pub(super) use provider_months::provider_months;
pub(super) use quality::quality;
pub(super) use risk::{claims, providers, scores};
pub(super) use volume::{months, specialties};
