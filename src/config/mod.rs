//! Settings: defaults, then a preset, then the TOML file, then the environment, then the command line.
//!
//! A module of its own so that every stage takes resolved values and none reads the environment.

mod digest;
mod file;
mod interval;
mod load;
mod mail;
mod mapping;
mod password;
mod postgres_environment;
mod preset;
mod privacy;
mod private;
mod refresh;
mod risk;
mod rules;
mod schedule;
mod secret;
mod secret_source;
mod settings;
mod telemetry;
mod validate;
mod wait;
mod zip3;

pub use digest::digest;
pub use interval::{Interval, Moment, day};
pub use load::{DEFAULT_FILE, Overrides, load};
pub use mail::{Mail, MailEncryption};
pub use mapping::{Mapping, Part, Pattern, Values};
pub use postgres_environment::PostgresEnvironment;
pub use preset::{Preset, preset, presets};
pub use privacy::{Action, Level, Mask, Privacy, Profile};
pub use private::is_private;
pub use refresh::{
    Dashboard, Metabase, MetabaseTarget, OnConflict, PowerBi, PowerBiCommit, PowerBiMode,
    PowerBiObject, PowerBiTarget, PowerBiType, ProviderMonth, Refresh, SqlViews, Superset,
    SupersetTarget, Tableau, TableauTarget, Webhook, WebhookStyle,
};
pub use risk::Risk;
pub use rules::{CodeSystem, Rules};
pub use schedule::{Schedule, ScheduleOverrides};
pub use secret::Secret;
pub use secret_source::SecretSource;
pub use settings::{AUTO, Decimal, Mode, OnDuplicate, Quality, Run, Settings, Source, Warehouse};
pub use telemetry::{Lineage, LineageCaller, Metrics};
pub use wait::Wait;
pub use zip3::OTHER_ZIP3;
