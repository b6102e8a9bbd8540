//! The database: where the server is and as whom to sign in.
//!
//! A file of its own because a connection string can hold a password: it is parsed here, kept here,
//! and never given back or printed.

use std::fmt;
use std::time::Duration;

use adbc_core::error::{Error, Result, Status};
use adbc_core::options::{OptionConnection, OptionDatabase, OptionValue};
use adbc_core::{Database, Optionable};
use postgres::config::SslMode;
use postgres::{Config, NoTls};

use super::connection::PostgresConnection;
use super::error;

/// How the server's list of sessions names ours, unless the URI says otherwise.
const APPLICATION_NAME: &str = "claims-etl";
/// How long a server may take to answer, unless the URI says otherwise: a wrong host that swallows
/// packets would otherwise hold a run for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A PostgreSQL database, known by its URI; connections are made from it.
///
/// The URI is libpq's: `postgresql://user@host:5432/name`, or with a directory of Unix sockets
/// `postgresql:///name?host=/run/postgresql&user=loader`. There is no TLS: `sslmode=require` and
/// stronger are refused rather than ignored.
#[derive(Default)]
pub struct PostgresDatabase {
    config: Option<Config>,
    username: Option<String>,
    password: Option<String>,
}

impl fmt::Debug for PostgresDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDatabase").finish_non_exhaustive()
    }
}

impl Database for PostgresDatabase {
    type ConnectionType = PostgresConnection;

    fn new_connection(&self) -> Result<Self::ConnectionType> {
        let mut config = self.config.clone().ok_or_else(|| {
            Error::with_message_and_status("the database has no URI", Status::InvalidState)
        })?;
        if let Some(username) = &self.username {
            config.user(username);
        }
        if let Some(password) = &self.password {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION_NAME);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        // Notices can quote values; the default callback would hand them to a logger.
        config.notice_callback(|_| {});
        let client = config.connect(NoTls).map_err(|e| error::from_postgres("connecting", &e))?;
        Ok(PostgresConnection::new(client))
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
        match key {
            OptionDatabase::Uri => self.config = Some(parse(&value)?),
            OptionDatabase::Username => self.username = Some(value),
            OptionDatabase::Password => self.password = Some(value),
            other => return Err(error::unknown_option(other.as_ref())),
        }
        Ok(())
    }

    fn get_option_string(&self, key: Self::Option) -> Result<String> {
        match key {
            OptionDatabase::Username => self
                .username
                .clone()
                .or_else(|| Some(self.config.as_ref()?.get_user()?.to_owned()))
                .ok_or_else(|| error::option_not_set(key.as_ref())),
            // Both can hold a secret, so they go in and never come out.
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

/// Reads a URI. The parser's own message is not passed on: it can quote a piece of the password.
fn parse(uri: &str) -> Result<Config> {
    refuse_tls(uri)?;
    let invalid = |message: &str| Error::with_message_and_status(message, Status::InvalidArguments);
    let config: Config = uri.parse().map_err(|_| {
        invalid("the connection URI cannot be read; expected postgresql://user@host:port/database")
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(invalid(
            "the connection URI names no host; for a Unix socket add ?host=/directory/of/the/socket",
        ));
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err(no_tls());
    }
    Ok(config)
}

/// The parser knows only some values of `sslmode`, so the strict ones are looked for in the text.
fn refuse_tls(uri: &str) -> Result<()> {
    let value = uri.split_once("sslmode=").map_or("", |(_, rest)| rest);
    if ["require", "verify-ca", "verify-full", "'require", "'verify"]
        .iter()
        .any(|strict| value.starts_with(strict))
    {
        return Err(no_tls());
    }
    Ok(())
}

fn no_tls() -> Error {
    Error::with_message_and_status(
        "the connection URI demands TLS (sslmode), which this driver does not speak; \
         use a Unix socket, or a tunnel and sslmode=disable",
        Status::NotImplemented,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(uri: &str) -> Error {
        let mut database = PostgresDatabase::default();
        database.set_option(OptionDatabase::Uri, uri.into()).expect_err("must be refused")
    }

    #[test]
    fn tls_is_refused_never_ignored() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let e = failure(&format!("postgresql://u:hunter2@db.example/x?sslmode={mode}"));
            assert_eq!(e.status, Status::NotImplemented, "{mode}");
            assert!(e.message.contains("TLS"), "{}", e.message);
            assert!(!e.message.contains("hunter2"));
        }
        assert_eq!(failure("host=db sslmode=require").status, Status::NotImplemented);
    }

    #[test]
    fn a_broken_uri_does_not_show_its_password() {
        for uri in ["postgresql://u:hunter2@h:port/x", "postgresql://u:hunter2@h/x?hunter2=1"] {
            let e = failure(uri);
            assert_eq!(e.status, Status::InvalidArguments);
            assert!(!format!("{e} {e:?}").contains("hunter2"));
        }
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
