//! The database: server address and credentials.
//!
//! Secrets can be set, but never read back or printed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, io};

use adbc_core::error::{Error, Result, Status};
use adbc_core::options::{OptionConnection, OptionDatabase, OptionValue};
use adbc_core::{Database, Optionable};
use nix::unistd::{User, geteuid};
use postgres::config::SslMode;
use postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Address, Login, Parameters, password_from_file};
use super::bounded::within;
use super::connection::PostgresConnection;
use super::protection::Protection;
use super::tls::{self, Tls};
use super::{error, pooler};

/// Default TCP user timeout: how long sent data may stay unacknowledged. Without it, a network that
/// drops packets would block a load forever.
const TCP_USER_TIMEOUT: Duration = Duration::from_mins(2);

/// Default session name in pg_stat_activity.
const APPLICATION_NAME: &str = "claims-etl";
/// Default connect timeout: a wrong host that drops packets would otherwise block a run for
/// minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Authentication timeout of a connected server: it may be an unrelated silent service, or a pooler
/// without a free connection.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(30);
/// Default TCP keepalives: idle time, interval, number of probes. The system default of two hours
/// would block a waiting run.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 6;
/// Maximum number of descriptors a connection opens: its socket and those of its runtime.
const FILES: usize = 8;

/// Directory with libpq's default files `.postgresql` and `.pgpass`. Without this option they are
/// not used.
pub(crate) const HOME: &str = "adbc.postgresql.home";

/// Option with the default of a URI parameter: `sslmode`, `sslrootcert`, `sslcert`, `sslkey` or
/// `passfile`.
#[must_use]
pub(crate) fn default_option(parameter: &str) -> String {
    format!("{DEFAULT}{parameter}")
}

const DEFAULT: &str = "adbc.postgresql.default.";

/// A PostgreSQL database, given by its URI; creates connections.
///
/// The URI is libpq's: `postgresql://user@host:5432/name?sslmode=verify-full`, or with a Unix
/// socket directory `postgresql:///name?host=/run/postgresql&user=loader`. TLS follows libpq, with
/// `sslmode`, `sslrootcert`, `sslcert` and `sslkey`; it does not apply to Unix sockets.
///
/// The password is that of the option `Password`, else of the URI, else of the `passfile`.
#[derive(Default)]
pub struct PostgresDatabase {
    address: Option<Address>,
    defaults: Parameters,
    home: Option<PathBuf>,
    username: Option<String>,
    password: Option<String>,
    ready: OnceLock<Ready>,
    /// Whether connections are known to be server sessions.
    sessions: AtomicBool,
}

/// Connection parameters after all files have been read.
struct Ready {
    config: Config,
    tls: Tls,
    protection: Protection,
}

impl Ready {
    fn connect(&self) -> Result<Client> {
        spare_files()?;
        let (config, tls) = (self.config.clone(), self.tls.clone());
        let hosts = config.get_hosts().len().max(1).try_into().unwrap_or(u32::MAX);
        let to_reach = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let limit = to_reach.saturating_mul(hosts).saturating_add(SIGN_IN_TIMEOUT);
        within(limit, "connecting", move || tls.connect(&config))?
            .map_err(|e| error::from_postgres("connecting", &e))
    }
}

impl fmt::Debug for PostgresDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDatabase").finish_non_exhaustive()
    }
}

impl PostgresDatabase {
    /// Reads the certificates, the key and the password named by the options. Connecting does so as
    /// well, but here a configuration error cannot be mistaken for a server error.
    ///
    /// # Errors
    /// `InvalidState` without a URI, `InvalidArguments` for a file that is missing, empty or
    /// readable by others, and for contradictory options.
    pub(crate) fn prepare(&self) -> Result<()> {
        self.ready().map(drop)
    }

    /// The database at `uri`, with `defaults` for missing parameters and libpq's default files in
    /// `home`. `password` takes precedence over URI and files. The files have already been read.
    ///
    /// # Errors
    /// As [`Self::prepare`]; `InvalidArguments` for an invalid URI.
    pub(crate) fn of_client(
        uri: &str,
        defaults: &[(&'static str, String)],
        home: Option<&Path>,
        password: Option<&str>,
    ) -> Result<Self> {
        let mut database = Self::default();
        database.set_option(OptionDatabase::Uri, uri.into())?;
        for (name, value) in defaults {
            let option = OptionDatabase::Other(default_option(name));
            database.set_option(option, value.as_str().into())?;
        }
        database.home = home.map(ToOwned::to_owned);
        database.password = password.map(ToOwned::to_owned);
        database.prepare()?;
        Ok(database)
    }

    /// Configuration for another client of the crate `postgres`: settings with the password, and
    /// the TLS connector, if TLS is used.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub(crate) fn client(&self) -> Result<(Config, Option<MakeRustlsConnect>)> {
        let ready = self.ready()?;
        let connector = match &ready.tls {
            Tls::Off => None,
            Tls::On(connector) => Some(connector.clone()),
        };
        Ok((ready.config.clone(), connector))
    }

    /// Connects and lets go again; returns how connections are protected.
    ///
    /// # Errors
    /// As [`Self::prepare`]; whatever keeps a connection from being made.
    pub(crate) fn probe(&self) -> Result<Protection> {
        let ready = self.ready()?;
        ready.connect()?;
        Ok(ready.protection)
    }

    fn ready(&self) -> Result<&Ready> {
        if let Some(ready) = self.ready.get() {
            return Ok(ready);
        }
        let ready = self.resolve()?;
        Ok(self.ready.get_or_init(|| ready))
    }

    fn resolve(&self) -> Result<Ready> {
        let address = self.address.as_ref().ok_or_else(|| {
            Error::with_message_and_status("the database has no URI", Status::InvalidState)
        })?;
        let parameters = address.parameters.or(&self.defaults);
        let mut config = address.config.clone();
        if let Some(username) = &self.username {
            config.user(username);
        }
        if let Some(password) = &self.password {
            config.password(password);
        }
        if config.get_password().is_none()
            && let Some(password) = self.password_from_file(&config, address, &parameters)?
        {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION_NAME);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
            config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(KEEPALIVE_INTERVAL);
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        if config.get_hosts().is_empty() {
            // The certificate may name the address instead of a host.
            for (host, _) in address.places() {
                config.host(&host);
            }
        }
        // Notices can quote values; the default callback would log them.
        config.notice_callback(|_| {});
        let (mode, tls, mut protection) = if address.is_local() {
            (SslMode::Disable, Tls::Off, Protection::Local)
        } else {
            tls::resolve(&parameters, self.home.as_deref())?
        };
        if address.stays_on_this_machine() {
            protection = Protection::Local;
        }
        config.ssl_mode(mode);
        Ok(Ready { config, tls, protection })
    }

    fn password_from_file(
        &self,
        config: &Config,
        address: &Address,
        parameters: &Parameters,
    ) -> Result<Option<String>> {
        let named = parameters.passfile.as_ref().map(PathBuf::from);
        let default = || self.home.as_ref().map(|home| home.join(".pgpass"));
        let Some(path) = named.or_else(default) else { return Ok(None) };
        let Some(user) = config.get_user().map(ToOwned::to_owned).or_else(account) else {
            return Ok(None);
        };
        let login = Login {
            places: &address.places(),
            database: config.get_dbname().unwrap_or(&user),
            user: &user,
        };
        password_from_file(&path, parameters.passfile.is_some(), &login)
    }
}

/// Fails if the process has too few free descriptors for a connection, because the client would
/// panic.
fn spare_files() -> Result<()> {
    let files: io::Result<Vec<File>> = (0..FILES).map(|_| File::open("/")).collect();
    files.map(drop).map_err(|error| error::no_files(&error))
}

/// The OS user name, the default of the URI's user.
fn account() -> Option<String> {
    User::from_uid(geteuid()).ok().flatten().map(|user| user.name)
}

impl Database for PostgresDatabase {
    type ConnectionType = PostgresConnection;

    fn new_connection(&self) -> Result<Self::ConnectionType> {
        let ready = self.ready()?;
        let mut client = ready.connect()?;
        if !self.sessions.load(Ordering::Relaxed) {
            pooler::refuse(&mut client, || ready.connect().ok())?;
            self.sessions.store(true, Ordering::Relaxed);
        }
        Ok(PostgresConnection::new(client, ready.tls.clone()))
    }

    fn new_connection_with_opts(
        &self,
        opts: impl IntoIterator<Item = (OptionConnection, OptionValue)>,
    ) -> Result<Self::ConnectionType> {
        let mut connection = self.new_connection()?;
        for (key, value) in opts {
            connection.set_option(key, value)?;
        }
        Ok(connection)
    }
}

impl Optionable for PostgresDatabase {
    type Option = OptionDatabase;

    fn set_option(&mut self, key: Self::Option, value: OptionValue) -> Result<()> {
        let OptionValue::String(value) = value else {
            return Err(error::option_not_text(key.as_ref()));
        };
        self.ready = OnceLock::new();
        self.sessions = AtomicBool::new(false);
        match key {
            OptionDatabase::Uri => self.address = Some(Address::parse(&value)?),
            OptionDatabase::Username => self.username = Some(value),
            OptionDatabase::Password => self.password = Some(value),
            OptionDatabase::Other(name) if name == HOME => self.home = Some(value.into()),
            other => {
                let name = other.as_ref();
                let slot = name.strip_prefix(DEFAULT).and_then(|name| self.defaults.slot(name));
                *slot.ok_or_else(|| error::unknown_option(name))? = Some(value);
            }
        }
        Ok(())
    }

    fn get_option_string(&self, key: Self::Option) -> Result<String> {
        match key {
            OptionDatabase::Username => self
                .username
                .clone()
                .or_else(|| Some(self.address.as_ref()?.config.get_user()?.to_owned()))
                .ok_or_else(|| error::option_not_set(key.as_ref())),
            // Both may contain a secret, so they cannot be read back.
            OptionDatabase::Uri | OptionDatabase::Password => Err(Error::with_message_and_status(
                format!("the option {} is write-only", key.as_ref()),
                Status::NotImplemented,
            )),
            other => Err(error::unknown_option(other.as_ref())),
        }
    }

    fn get_option_bytes(&self, key: Self::Option) -> Result<Vec<u8>> {
        Err(error::unknown_option(key.as_ref()))
    }

    fn get_option_int(&self, key: Self::Option) -> Result<i64> {
        Err(error::unknown_option(key.as_ref()))
    }

    fn get_option_double(&self, key: Self::Option) -> Result<f64> {
        Err(error::unknown_option(key.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(uri: &str) -> Error {
        let mut database = PostgresDatabase::default();
        database.set_option(OptionDatabase::Uri, uri.into()).expect_err("must be refused")
    }

    #[test]
    fn what_the_options_name_is_read_before_connecting() {
        let mut database = PostgresDatabase::default();
        database.set_option(OptionDatabase::Uri, "postgresql://u@h/x".into()).expect("set");
        database.prepare().expect("nothing to read");
        let option = |name| OptionDatabase::Other(default_option(name));
        database.set_option(option("sslmode"), "verify-full".into()).expect("set");
        assert_eq!(database.prepare().expect_err("no root").status, Status::InvalidArguments);
        let uri = "postgresql://u@h/x?sslmode=disable";
        database.set_option(OptionDatabase::Uri, uri.into()).expect("set");
        database.prepare().expect("the URI counts before the default");
        database.set_option(option("passfile"), "/nowhere".into()).expect("set");
        let e = database.prepare().expect_err("a file that was named must be there");
        assert!(e.message.contains("/nowhere"), "{e}");
        database.set_option(OptionDatabase::Password, "hunter2".into()).expect("set");
        database.prepare().expect("a password is there already");
        assert!(database.set_option(option("sslcrl"), "x".into()).is_err());
    }

    #[test]
    fn tls_does_not_apply_to_sockets() {
        let mut database = PostgresDatabase::default();
        let uri = "postgresql:///x?host=/run/pg&sslmode=verify-full";
        database.set_option(OptionDatabase::Uri, uri.into()).expect("set");
        let ready = database.ready().expect("no certificate is needed");
        assert_eq!(ready.config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn a_socket_directory_is_a_host_and_none_is_an_error() {
        let mut database = PostgresDatabase::default();
        database
            .set_option(OptionDatabase::Uri, "postgresql:///db?host=/run/pg&user=loader".into())
            .expect("a socket URI");
        assert_eq!(
            database.get_option_string(OptionDatabase::Username).expect("the URI's user"),
            "loader"
        );
        assert!(failure("postgresql:///db").message.contains("host"));
    }

    #[test]
    fn secrets_go_in_and_never_come_out() {
        let mut database = PostgresDatabase::default();
        database.set_option(OptionDatabase::Password, "hunter2".into()).expect("set");
        database.set_option(OptionDatabase::Uri, "postgresql://u:hunter2@h/x".into()).expect("set");
        assert!(database.get_option_string(OptionDatabase::Password).is_err());
        assert!(database.get_option_string(OptionDatabase::Uri).is_err());
        assert!(!format!("{database:?}").contains("hunter2"));
    }

    #[test]
    fn nobody_listens_is_an_io_error() {
        let mut database = PostgresDatabase::default();
        database
            .set_option(OptionDatabase::Uri, "postgresql://u@/x?host=/nonexistent".into())
            .expect("set");
        let e = database.new_connection().err().expect("no server there");
        assert_eq!(e.status, Status::IO, "{e}");
    }
}
