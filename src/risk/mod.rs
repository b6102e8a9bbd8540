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
pub use components::{
    AMOUNT, COMPONENTS, Components, DUPLICATE, MISMATCH, NAMES, PROVIDER, VOLUME, WEEKEND, pack,
    score_of_tenths, score_tenths, tenths_of_score, unpack,
};
pub use exactness::{Exactness, Kept};
pub use fence::Fence;
pub use histogram::{Histogram, bucket, ln_dollars};
pub use medians::{Habit, Medians, Mismatch, Peers};
pub use model::{
    Inputs, ProviderSums, ProviderTotal, RISK_MODEL, RiskModel, Twin, is_weekend, provider_sums,
    weekend_component,
};
pub use specialty::canonical_specialty;
pub use statistics::Statistics;
