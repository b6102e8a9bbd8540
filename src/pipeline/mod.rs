//! The program: five tasks, wired.
//!
//! A module of its own because it is the only place that knows all stages. It reads like the way
//! of the data:
//!
//! ```text
//! extract.extract_claims ∥ extract.extract_providers → transform_join → load.load_warehouse
//!     → load.refresh_bi
//! ```

mod all_blocks;
mod alone;
mod breakers;
mod chosen;
mod code_systems;
mod column_profile;
mod damaged_ids;
mod examination;
mod examine;
mod first_pass;
mod guarded;
mod inspect;
mod key_check;
mod leak_audit;
mod lines;
mod listeners;
mod loading;
mod log;
mod named;
mod only;
mod original;
mod preparing;
mod privacy_report;
mod quarantine;
mod quasi;
mod refreshing;
mod reject_advice;
mod rejected;
mod report;
mod rescore;
mod resume;
mod retries;
mod risk_explain;
mod risk_explanation;
pub mod rotation;
mod run;
mod run_name;
mod safe_harbor;
mod scoring;
mod survey;
mod task_id;
mod tasks;
mod verification;
mod verifying;
pub mod warehouse;
mod way;
mod work;

pub use chosen::Chosen;
pub use code_systems::SystemCount;
pub use column_profile::KindCount;
pub use damaged_ids::DamagedIds;
pub use examination::{ColumnReport, Examination, ProfileReport, Repeats, RuleCount, Shape};
pub use examine::examine;
pub use inspect::{
    CheckReport, Finding, TargetState, check, explain, refresh_list, run_details, runs,
};
pub use key_check::{KeyReport, check_key};
pub use leak_audit::{LeakFinding, LeakOptions, LeakReport, PlaceReport, audit_leak};
pub use named::run_named;
pub use only::{TaskEnd, run_only};
pub use original::VerifyOptions;
pub use privacy_report::{
    ForAHuman, MeasuredSet, PrivacyQuestion, PrivacyReport, SmallCells, UnmeasuredSet,
    privacy_report,
};
pub use quarantine::{
    ReasonCount, by_reason, kept_quarantines, latest_quarantine, prune, quarantine,
};
pub use quasi::QuasiSet;
pub use refreshing::{Which, refresh, refresh_due};
pub use rejected::{Found, Originals};
pub use report::{ErrorReport, Places, RefreshReport, RunReport, Status, TaskReport};
pub use rescore::{Bands, RescoreReport, rescore};
pub use resume::resume;
pub(crate) use retries::{OPENING, Retries};
pub use risk_explain::risk_explain;
pub use risk_explanation::{
    ComponentInputs, ComputedScore, ExplainedComponent, ExplainedLine, Fences, RiskExplanation,
    StoredStatistics,
};
pub use run::{RunOptions, run, run_as};
pub use run_name::RunName;
pub use safe_harbor::{Kind, Met, PublishedColumn};
pub use task_id::Task;
pub use verification::{Checksums, Compared, Verdict, Verification};
pub use verifying::verify;

pub use crate::load::ledger::RunRow;
pub use crate::load::quarantine::{Kept as KeptQuarantine, NamedSource, Reject, Rejects};
pub use crate::load::risk::explained::OtherClaim;
