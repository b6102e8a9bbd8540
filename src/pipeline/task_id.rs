//! Ids and dependencies of the five tasks.

use crate::error::{Error, Result};

/// One of the five tasks, in execution order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// `extract.extract_claims`
    ExtractClaims,
    /// `extract.extract_providers`
    ExtractProviders,
    /// `transform_join`
    TransformJoin,
    /// `load.load_warehouse`
    LoadWarehouse,
    /// `load.refresh_bi`
    RefreshBi,
}

use Task::{ExtractClaims, ExtractProviders, LoadWarehouse, RefreshBi, TransformJoin};

impl Task {
    /// All tasks in execution order.
    pub const ALL: [Self; 5] =
        [ExtractClaims, ExtractProviders, TransformJoin, LoadWarehouse, RefreshBi];

    pub(crate) const IDS: [&'static str; 5] = [
        ExtractClaims.id(),
        ExtractProviders.id(),
        TransformJoin.id(),
        LoadWarehouse.id(),
        RefreshBi.id(),
    ];

    /// The id; the group is before the dot.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            ExtractClaims => "extract.extract_claims",
            ExtractProviders => "extract.extract_providers",
            TransformJoin => "transform_join",
            LoadWarehouse => "load.load_warehouse",
            RefreshBi => "load.refresh_bi",
        }
    }

    /// Parses a task id.
    ///
    /// # Errors
    /// `Config` for an unknown id.
    pub(crate) fn parse(id: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|task| task.id() == id).ok_or_else(|| {
            Error::config("there is no task of that name")
                .hint(format!("the tasks are: {}", Self::IDS.join(", ")))
        })
    }

    /// Tasks that must be complete first.
    #[must_use]
    pub(crate) fn upstream(self) -> &'static [Self] {
        match self {
            ExtractClaims | ExtractProviders => &[],
            TransformJoin => &[ExtractClaims, ExtractProviders],
            LoadWarehouse => &[ExtractClaims, ExtractProviders, TransformJoin],
            RefreshBi => &[LoadWarehouse],
        }
    }

    /// All transitively dependent tasks.
    #[must_use]
    pub(crate) fn downstream(self) -> &'static [&'static str] {
        match self {
            ExtractClaims | ExtractProviders => Self::IDS.split_at(2).1,
            TransformJoin => Self::IDS.split_at(3).1,
            LoadWarehouse => Self::IDS.split_at(4).1,
            RefreshBi => &[],
        }
    }

    /// Whether it only reads a source, so that any number of processes may run it concurrently.
    #[must_use]
    pub(crate) fn is_extract(self) -> bool {
        matches!(self, ExtractClaims | ExtractProviders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_found_by_their_ids() {
        for task in Task::ALL {
            assert_eq!(Task::parse(task.id()), Ok(task));
        }
        assert!(Task::parse("load").is_err());
    }

    #[test]
    fn what_comes_before_does_not_come_after() {
        for task in Task::ALL {
            for before in task.upstream() {
                assert!(before.downstream().contains(&task.id()), "{before:?} {task:?}");
                assert!(!task.downstream().contains(&before.id()));
            }
        }
    }
}
