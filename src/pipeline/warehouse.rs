//! Which warehouse: the configured one, or the private server.
//!
//! A file of its own because every command that touches tables begins here, and because this is
//! where an address is stripped of its secrets before anyone sees it.

use adbc_core::options::OptionDatabase;
use adbc_core::sync::{Driver, Optionable};

use crate::adbc_postgres::{PostgresConnection, PostgresDatabase, PostgresDriver};
use crate::config::{Secret, Settings};
use crate::error::{Error, Result};
use crate::event::Observer;
use crate::load;
use crate::local_postgres::{LocalPostgres, Status};
use crate::sql;

/// A warehouse that can be connected to.
pub struct Warehouse {
    /// The ADBC database.
    pub database: PostgresDatabase,
    /// For people: where it is, without secrets.
    pub place: String,
    /// A command that opens psql on it, without secrets.
    pub psql: String,
}

impl Warehouse {
    /// The configured warehouse, or the private server, which is started when it is not running.
    ///
    /// # Errors
    /// `Config` when no server is installed or the address is no address, `Warehouse` when the
    /// private server does not start.
    pub fn open(settings: &Settings, observer: &dyn Observer) -> Result<Self> {
        if let Some(url) = &settings.warehouse.url {
            let shown = without_secrets(url.expose());
            let psql = format!("psql \"{shown}\"");
            return Ok(Self { database: database(url)?, place: shown, psql });
        }
        let server = LocalPostgres::new(&settings.local_warehouse_dir());
        let running = server.start(observer)?;
        Ok(Self {
            database: database(&Secret::new(running.url()))?,
            place: format!("private server in {}", settings.local_warehouse_dir().display()),
            psql: server.psql()?,
        })
    }

    /// A new connection.
    ///
    /// # Errors
    /// `Warehouse` when the server cannot be reached or refuses.
    pub fn connect(&self) -> Result<PostgresConnection> {
        load::connect(&self.database)
    }
}

fn database(url: &Secret) -> Result<PostgresDatabase> {
    let context = "the warehouse's address";
    let mut database = PostgresDriver.new_database().map_err(|error| sql::error(context, error))?;
    database
        .set_option(OptionDatabase::Uri, url.expose().into())
        .map_err(|error| Error::config(sql::error(context, error).message()))?;
    Ok(database)
}

/// An address without its password: `postgres://user@host:5432/database`. Parameters are dropped
/// unless they name a host, because any of them may be a secret.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "the configured server".into();
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user.split(':').next().unwrap_or_default(), host),
        None => ("", authority),
    };
    let at = if user.is_empty() { "" } else { "@" };
    let (name, parameters) = path.split_once('?').unwrap_or((path, ""));
    let hosts: Vec<&str> = parameters
        .split('&')
        .filter(|parameter| parameter.starts_with("host=") || parameter.starts_with("port="))
        .collect();
    let mark = if hosts.is_empty() { "" } else { "?" };
    format!("{scheme}://{user}{at}{host}/{name}{mark}{}", hosts.join("&"))
}

fn private_server(settings: &Settings) -> Result<LocalPostgres> {
    if settings.warehouse.url.is_some() {
        return Err(Error::config("a warehouse is configured, so there is no private server here")
            .hint("unset the warehouse's address to use the private server"));
    }
    Ok(LocalPostgres::new(&settings.local_warehouse_dir()))
}

/// Starts the private server and says where it is; a no-op when it runs.
///
/// # Errors
/// `Config` when a warehouse is configured or no server is installed, `Warehouse` when it does not
/// start.
pub fn start(settings: &Settings, observer: &dyn Observer) -> Result<String> {
    let running = private_server(settings)?.start(observer)?;
    Ok(running.url().to_owned())
}

/// Stops the private server; false when it was not running.
///
/// # Errors
/// `Config` when a warehouse is configured, `Warehouse` when it does not stop.
pub fn stop(settings: &Settings) -> Result<bool> {
    private_server(settings)?.stop()
}

/// The address of the warehouse without its password.
///
/// # Errors
/// `Config` when there is no warehouse yet.
pub fn url(settings: &Settings) -> Result<String> {
    match &settings.warehouse.url {
        Some(url) => Ok(without_secrets(url.expose())),
        None => private_server(settings)?.url(),
    }
}

/// A command that opens psql on the warehouse.
///
/// # Errors
/// `Config` when there is no warehouse yet.
pub fn psql(settings: &Settings) -> Result<String> {
    match &settings.warehouse.url {
        Some(url) => Ok(format!("psql \"{}\"", without_secrets(url.expose()))),
        None => private_server(settings)?.psql(),
    }
}

/// Brings the warehouse to this version's schema; returns the versions applied.
///
/// # Errors
/// As [`load::migrate::migrate`] and [`Warehouse::open`].
pub fn migrate(settings: &Settings, observer: &dyn Observer) -> Result<Vec<i64>> {
    load::migrate::migrate(&mut Warehouse::open(settings, observer)?.connect()?)
}

/// What there is to say about the warehouse before a run, without starting anything.
///
/// # Errors
/// Whatever keeps a run from loading into it.
pub(super) fn inspect(settings: &Settings) -> Result<String> {
    if settings.warehouse.url.is_none() {
        let server = LocalPostgres::new(&settings.local_warehouse_dir());
        let place = settings.local_warehouse_dir();
        return Ok(match server.status()? {
            Status::Absent => format!("a private server will be made in {}", place.display()),
            Status::Stopped => {
                format!("private server in {}, stopped; a run starts it", place.display())
            }
            Status::Running { .. } => format!("private server in {}, running", place.display()),
        });
    }
    let warehouse = Warehouse::open(settings, &crate::event::Silent)?;
    let mut connection = warehouse.connect()?;
    let rows = sql::query(
        &mut connection,
        "asking the server",
        "SELECT current_setting('server_version') AS version, current_user::text AS role",
    )?;
    let text = |name: &str| sql::text(&rows, name, 0).unwrap_or_default();
    Ok(format!("{}: PostgreSQL {} as {}", warehouse.place, text("version"), text("role")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://me:secret@db:5432/claims", "postgres://me@db:5432/claims"),
            ("postgres://db/claims?password=secret&sslmode=require", "postgres://db/claims"),
            ("postgres://me:se@cret@db/claims", "postgres://me@db/claims"),
            ("postgresql:///claims?host=/run/pg&user=x", "postgresql:///claims?host=/run/pg"),
            ("host=db password=secret", "the configured server"),
        ] {
            assert_eq!(without_secrets(url), shown);
            assert!(!without_secrets(url).contains("cret"));
        }
    }
}
