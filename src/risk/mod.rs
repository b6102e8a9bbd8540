//! The risk score `claim_anomaly_v1`: a billing-anomaly score from 0 to 100, not a clinical risk
//! adjustment (which needs diagnosis codes).

mod codes;
mod components;
mod exactness;
mod fence;
mod histogram;
mod medians;
mod model;
pub mod settings;
mod specialty;
mod statistics;

pub use codes::{Codes, NO_CODE, UNCOUNTED};
pub(crate) use components::{AMOUNT, DUPLICATE, MISMATCH, PROVIDER, VOLUME, WEEKEND};
pub use components::{COMPONENTS, Components, NAMES, pack, score_tenths, unpack};
pub use exactness::{Exactness, Kept};
pub use fence::Fence;
pub(crate) use histogram::Histogram;
pub use histogram::{bucket, ln_dollars};
pub use medians::{Habit, Medians, Mismatch, Peers};
pub(crate) use model::weekend_component;
pub use model::{
    Inputs, ProviderSums, ProviderTotal, RISK_MODEL, RiskModel, Twin, is_weekend, provider_sums,
};
pub use specialty::canonical_specialty;
pub use statistics::Statistics;
