//! Settings, in increasing priority: defaults, preset, TOML file, environment, command line.

mod digest;
mod file;
mod interval;
mod load;
pub(crate) mod lock_wait;
mod mail;
mod mapping;
mod password;
mod postgres_environment;
mod preset;
mod refresh;
mod rules;
mod schedule;
mod settings;
mod telemetry;
mod validate;

pub(crate) use digest::digest;
pub(crate) use interval::{Interval, Moment, day};
pub use load::{DEFAULT_FILE, load};
pub use mail::{Mail, MailEncryption};
pub use mapping::{Mapping, Part, Pattern, Values};
pub(crate) use postgres_environment::PostgresEnvironment;
pub(crate) use preset::{preset, presets};
pub use refresh::{
    Metabase, MetabaseTarget, OnConflict, PowerBi, PowerBiCommit, PowerBiMode, PowerBiObject,
    PowerBiTarget, PowerBiType, SqlViews, Superset, SupersetTarget, Tableau, TableauTarget,
    Webhook, WebhookStyle,
};
pub use rules::Rules;
pub(crate) use schedule::Schedule;
pub use settings::{AUTO, Decimal, Mode, Quality, Run, Settings, Source, Warehouse};
pub(crate) use telemetry::LineageCaller;

pub use crate::config::lock_wait::Wait;
