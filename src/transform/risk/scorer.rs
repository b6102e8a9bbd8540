//! The risk model indexed by numbers, for scoring millions of rows.
//!
//! Agrees with the model to the thousandth.

use std::sync::Arc;

use polars::prelude::PlHashMap;

use crate::risk::{
    AMOUNT, COMPONENTS, Components, DUPLICATE, Exactness, Fence, MISMATCH, PROVIDER, Peers,
    RiskModel, Twin, VOLUME, WEEKEND, is_weekend, weekend_component,
};
use crate::transform::directory::Directory;

/// A day on which a provider saw many patients: directory index, day, number of patients.
pub(super) type BusyDay = (u32, i32, u32);

/// Statistics of a procedure's claims within one specialty.
struct Group {
    peers: Option<Peers>,
    mismatch: Option<u16>,
}

struct Procedure {
    overall: Option<Peers>,
    groups: PlHashMap<u32, Group>,
}

/// Statistics of a specialty's claims.
#[derive(Clone, Copy, Default)]
struct Specialty {
    rare_weekends: Option<bool>,
    fence: Option<Fence>,
}

#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) procedure: Option<&'a str>,
    pub(super) place: Option<u32>,
    pub(super) cents: i64,
    pub(super) day: i32,
    pub(super) twin: Twin,
}

/// Scores the rows of a run with the statistics of all of them.
pub struct Scorer {
    pub(crate) model: RiskModel,
    exact: Exactness,
    procedures: PlHashMap<String, Procedure>,
    /// By specialty number.
    specialties: Vec<Specialty>,
    names: Vec<String>,
    /// By directory index: specialty number, component.
    providers: Vec<(u32, Option<u16>)>,
    busy: PlHashMap<(u32, i32), u16>,
}

impl Scorer {
    /// The model for a directory. `busy`: all days above their specialty's fence.
    #[must_use]
    pub fn new(
        model: RiskModel,
        exact: Exactness,
        directory: &Directory,
        busy: impl IntoIterator<Item = BusyDay>,
    ) -> Arc<Self> {
        let medians = model.medians();
        let names = directory.specialties().to_vec();
        let specialties: Vec<Specialty> = names
            .iter()
            .map(|name| Specialty {
                rare_weekends: medians.rare_weekends(name),
                fence: medians.day_fence(name),
            })
            .collect();
        let numbers: PlHashMap<&str, u32> =
            names.iter().zip(0..).map(|(name, number)| (name.as_str(), number)).collect();
        let procedures = medians.procedures.iter().map(|(code, procedure)| {
            let group = |(name, &(peers, _)): (&String, &(Option<Peers>, i64))| {
                let mismatch = medians.mismatch_component(medians.mismatch(code, name));
                Some((*numbers.get(name.as_str())?, Group { peers, mismatch }))
            };
            let groups = procedure.specialties.iter().filter_map(group).collect();
            (code.clone(), Procedure { overall: procedure.overall, groups })
        });
        let procedures: PlHashMap<String, Procedure> = procedures.collect();
        drop(numbers);
        let ids = directory.ids();
        let component = |(id, &number): (Option<&str>, &u32)| {
            let specialty = names.get(number as usize).filter(|name| !name.is_empty());
            let compared = specialty.and_then(|name| model.provider_component(id?, name));
            (number, compared)
        };
        let providers: Vec<_> = ids.iter().zip(directory.numbers()).map(component).collect();
        let busy = busy.into_iter().filter_map(|(place, day, patients)| {
            let number = providers.get(place as usize)?.0;
            let fence = specialties.get(number as usize)?.fence;
            let volume = medians.volume_component(fence.as_ref(), patients)?;
            (volume > 0).then_some(((place, day), volume))
        });
        let busy = busy.collect();
        Arc::new(Self { model, exact, procedures, specialties, names, providers, busy })
    }

    /// Weights in component order.
    pub(super) fn weights(&self) -> [f64; COMPONENTS] {
        self.model.weights()
    }

    pub(super) fn components(&self, row: Row<'_>) -> Components {
        let Row { place, cents, day, twin, .. } = row;
        let medians = self.model.medians();
        let code = row.procedure.filter(|_| self.exact.procedure);
        let provider = place.and_then(|place| self.providers.get(place as usize));
        let (number, provider) = provider.copied().unwrap_or_default();
        let specialty = self.specialties.get(number as usize).copied().unwrap_or_default();
        let mut components = [None; COMPONENTS];
        if let Some(code) = code {
            let procedure = self.procedures.get(code);
            let group = procedure.and_then(|procedure| procedure.groups.get(&number));
            let overall = procedure.and_then(|procedure| procedure.overall.as_ref());
            let peers = group.and_then(|group| group.peers.as_ref()).or(overall);
            components[AMOUNT] = medians.amount_component(peers, cents);
            components[MISMATCH] = match group {
                Some(group) => group.mismatch,
                // Rare: only rows without a positive amount have no group.
                None if number != 0 => {
                    let name = self.names.get(number as usize).map_or("", String::as_str);
                    medians.mismatch_component(medians.mismatch(code, name))
                }
                None => None,
            };
            if self.exact.day && cents > 0 && medians.computes(DUPLICATE) {
                components[DUPLICATE] = twin.component();
            }
        }
        components[PROVIDER] = provider;
        if self.exact.day && number != 0 {
            if cents > 0 && specialty.fence.is_some() && medians.computes(VOLUME) {
                let busy = place.and_then(|place| self.busy.get(&(place, day)));
                components[VOLUME] = Some(busy.copied().unwrap_or(0));
            }
            let rare = specialty.rare_weekends;
            components[WEEKEND] = rare.map(|rare| weekend_component(rare, is_weekend(day)));
        }
        components
    }
}
