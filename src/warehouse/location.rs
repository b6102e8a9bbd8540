//! Which warehouse: the configured one, or the private server.

use crate::adbc_postgres::{Address, PostgresConnection, PostgresDatabase};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::event::{Cancellation, Observer};
use crate::secret::value::Secret;
use crate::warehouse::layout::TableLayout;
use crate::warehouse::private_server::{LocalPostgres, Status};
use crate::warehouse::{connection, server, sql, table_checks};

/// A warehouse that can be connected to.
pub struct Warehouse {
    /// The ADBC database.
    pub(crate) database: PostgresDatabase,
    /// For people: where it is, without secrets.
    pub(crate) place: String,
    /// A command that opens psql on it, without secrets.
    pub(crate) psql: String,
}

impl Warehouse {
    /// The configured warehouse, or the private server, which is started when it is not running.
    ///
    /// # Errors
    /// `Config` when no server is installed or the address is no address, `Warehouse` when the
    /// private server does not start.
    pub fn open(settings: &Settings, observer: &dyn Observer) -> Result<Self> {
        if let Some(url) = &settings.warehouse.url {
            let place = address(url)?.to_string();
            let psql = format!("psql \"{place}\"");
            return Ok(Self { database: configured(settings, url)?, place, psql });
        }
        let server = LocalPostgres::new(&settings.local_warehouse_dir());
        let running = server.start(observer)?;
        Ok(Self {
            database: PostgresDatabase::of_client(running.url(), &[], None, None)
                .map_err(|error| refused(&error))?,
            place: format!("private server in {}", settings.local_warehouse_dir().display()),
            psql: server.psql()?,
        })
    }

    /// The configured warehouse, or the private server where it runs: nothing is started.
    ///
    /// # Errors
    /// As [`Self::open`]; `Warehouse` when the private server does not run.
    pub(crate) fn running(settings: &Settings) -> Result<Self> {
        if settings.warehouse.url.is_none() {
            let status = LocalPostgres::new(&settings.local_warehouse_dir()).status()?;
            if !matches!(status, Status::Running { .. }) {
                return Err(Error::warehouse("the private server does not run")
                    .hint("a run starts it, and so does `claims-etl warehouse start`"));
            }
        }
        Self::open(settings, &crate::event::NullObserver)
    }

    /// A new connection.
    ///
    /// # Errors
    /// `Warehouse` when the server cannot be reached or refuses.
    pub fn connect(&self) -> Result<PostgresConnection> {
        connection::connect(&self.database)
    }
}

/// The configured warehouse, or the private server if that is running; none where one would have to
/// be started.
///
/// # Errors
/// `Config` when the address is no address, or whatever keeps the private server's state from being read.
pub(crate) fn running(settings: &Settings) -> Result<Option<Warehouse>> {
    if settings.warehouse.url.is_none() {
        let status = LocalPostgres::new(&settings.local_warehouse_dir()).status()?;
        if !matches!(status, Status::Running { .. }) {
            return Ok(None);
        }
    }
    Warehouse::open(settings, &crate::event::NullObserver).map(Some)
}

/// The database of the configured address, with the password and the missing parameters.
fn configured(settings: &Settings, url: &Secret) -> Result<PostgresDatabase> {
    let environment = &settings.warehouse.environment;
    let password = match address(url)?.password() {
        Some(_) => None,
        None => settings.warehouse.password()?,
    };
    let password = password.as_ref().map(Secret::expose);
    let home = environment.home.as_deref();
    PostgresDatabase::of_client(url.expose(), &environment.parameters, home, password)
        .map_err(|error| refused(&error))
}

fn address(url: &Secret) -> Result<Address> {
    Address::parse(url.expose()).map_err(|error| refused(&error))
}

/// What the driver finds wrong before it has contacted any server is a mistake in the configuration.
fn refused(error: &adbc_core::error::Error) -> Error {
    let refused = Error::config(format!("the warehouse's address: {}", error.message));
    match sql::hint(error) {
        Some(hint) => refused.hint(hint),
        None => refused,
    }
}

fn private_server(settings: &Settings) -> Result<LocalPostgres> {
    if settings.warehouse.url.is_some() {
        return Err(Error::config("a warehouse is configured, so there is no private server here")
            .hint("unset the warehouse's address to use the private server"));
    }
    Ok(LocalPostgres::new(&settings.local_warehouse_dir()))
}

/// Starts the private server and returns its address; a no-op when it runs.
///
/// # Errors
/// `Config` when a warehouse is configured or no server is installed, `Warehouse` when it does not
/// start.
pub(crate) fn start(settings: &Settings, observer: &dyn Observer) -> Result<String> {
    let running = private_server(settings)?.start(observer)?;
    Ok(running.url().to_owned())
}

/// Stops the private server; false when it was not running.
///
/// # Errors
/// `Config` when a warehouse is configured, `Warehouse` when it does not stop.
pub(crate) fn stop(settings: &Settings) -> Result<bool> {
    private_server(settings)?.stop()
}

/// The address of the warehouse without its password.
///
/// # Errors
/// `Config` when there is no warehouse yet.
pub(crate) fn url(settings: &Settings) -> Result<String> {
    match &settings.warehouse.url {
        Some(url) => address(url).map(|address| address.to_string()),
        None => private_server(settings)?.url(),
    }
}

/// The address of the warehouse without its password, and that password, as far as another client
/// would not find it by itself.
///
/// # Errors
/// `Config` when there is no warehouse yet, or the password's file cannot be used.
pub(crate) fn login(settings: &Settings) -> Result<(String, Option<Secret>)> {
    let Some(url) = &settings.warehouse.url else {
        return Ok((private_server(settings)?.url()?, None));
    };
    let address = address(url)?;
    let password = match address.password() {
        Some(password) => Some(Secret::new(password)),
        None => settings.warehouse.password()?,
    };
    Ok((address.to_string(), password))
}

/// Brings the warehouse to this version's schema; returns the versions applied.
///
/// # Errors
/// As [`connection::migrate_if_needed`] and [`Warehouse::open`].
pub fn migrate(
    settings: &Settings,
    observer: &dyn Observer,
    cancel: &Cancellation,
) -> Result<Vec<i64>> {
    let mut connection = Warehouse::open(settings, observer)?.connect()?;
    connection::migrate_if_needed(&mut connection, settings.run.wait, observer, cancel)
}

/// What is known about the warehouse before a run, without starting anything.
///
/// # Errors
/// Whatever keeps a run from loading into it.
pub(crate) fn inspect(settings: &Settings) -> Result<String> {
    if settings.warehouse.url.is_none() {
        let server = LocalPostgres::new(&settings.local_warehouse_dir());
        let place = settings.local_warehouse_dir();
        return Ok(match server.status()? {
            Status::Absent => format!("a private server will be made in {}", place.display()),
            Status::Stopped => {
                format!("private server in {}, stopped; a run starts it", place.display())
            }
            Status::Running { .. } => {
                check_tables(settings, &mut Warehouse::running(settings)?.connect()?)?;
                format!("private server in {}, running", place.display())
            }
        });
    }
    let warehouse = Warehouse::open(settings, &crate::event::NullObserver)?;
    let mut connection = warehouse.connect()?;
    server::check(&mut connection)?;
    server::check_connections(&mut connection, settings.connections())?;
    check_tables(settings, &mut connection)?;
    let rows = sql::query(
        &mut connection,
        "asking the server",
        "SELECT current_setting('server_version') AS version, current_user::text AS role,
             coalesce((SELECT CASE WHEN ssl THEN version WHEN inet_client_addr() IS NULL
                 THEN 'Unix socket' ELSE 'not encrypted' END
                 FROM pg_stat_ssl WHERE pid = pg_backend_pid()), 'unknown') AS way",
    )?;
    let text = |name: &str| sql::text(&rows, name, 0).unwrap_or_default();
    let (version, role, way) = (text("version"), text("role"), text("way"));
    Ok(format!("{}: PostgreSQL {version} as {role} ({way})", warehouse.place))
}

/// Refuses tables that a run with these settings could not load into.
fn check_tables(settings: &Settings, connection: &mut PostgresConnection) -> Result<()> {
    let layout = TableLayout::of(&settings.privacy);
    table_checks::check_before(connection, &layout, settings.warehouse.mode)
}
