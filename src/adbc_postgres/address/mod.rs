//! A database address: a libpq URL or keyword/value string, with parameters only this driver knows
//! split off.

mod parameters;
mod passfile;
mod text;

use std::fmt;
use std::net::IpAddr;

use adbc_core::error::{Error, Result, Status};
pub(super) use parameters::Parameters;
pub(super) use passfile::{Login, password as password_from_file};
use postgres::Config;
use postgres::config::Host;

use super::error::{invalid, with_hint};

/// Host, database and user of a connection.
#[derive(Clone)]
pub(crate) struct Address {
    pub(super) config: Config,
    pub(super) parameters: Parameters,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl Address {
    /// Parses `postgresql://user@host:5432/name?sslmode=verify-full`, a Unix socket directory
    /// `postgresql:///name?host=/run/postgresql`, or `host=… dbname=…`.
    ///
    /// # Errors
    /// `InvalidArguments` for an invalid address, an address without a host, or an unsupported
    /// parameter. Messages never quote the address: part of it may be the password.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (rest, taken) = text::take_out(text).ok_or_else(unreadable)?;
        let mut parameters = Parameters::default();
        for (name, value) in taken {
            match parameters.slot(&name) {
                // As in libpq, an empty value counts as absent, and the last of several wins.
                Some(slot) => *slot = Some(value).filter(|value| !value.is_empty()),
                None => return Err(not_supported(&name)),
            }
        }
        let config: Config = rest.parse().map_err(|_| unreadable())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(invalid(
                "the connection URI names no host; for a Unix socket add ?host=/directory/of/the/socket",
            ));
        }
        Ok(Self { config, parameters })
    }

    #[must_use]
    pub(crate) fn password(&self) -> Option<String> {
        self.config.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The first host or socket directory, its port, and the database name; never a user or
    /// password.
    #[must_use]
    pub(crate) fn location(&self) -> Option<(String, u16, String)> {
        let (host, port) = self.places().into_iter().next()?;
        // As in libpq, the database name defaults to the user name.
        let name = self.config.get_dbname().or(self.config.get_user())?;
        Some((host, port, name.to_owned()))
    }

    /// Whether the connection is local: only Unix sockets and loopback addresses.
    pub(super) fn stays_on_this_machine(&self) -> bool {
        let (hosts, addresses) = (self.config.get_hosts(), self.config.get_hostaddrs());
        (0..hosts.len().max(addresses.len())).all(|index| {
            match (addresses.get(index), hosts.get(index)) {
                (Some(address), _) => address.is_loopback(),
                (None, Some(Host::Tcp(name))) => {
                    name == "localhost"
                        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
                }
                (None, _) => true,
            }
        })
    }

    /// Whether the address has only Unix socket directories.
    pub(super) fn is_local(&self) -> bool {
        self.config.get_hostaddrs().is_empty()
            && self.config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)))
    }

    /// Every host and port, in the form libpq uses to search a password file.
    pub(super) fn places(&self) -> Vec<(String, u16)> {
        let (hosts, addresses) = (self.config.get_hosts(), self.config.get_hostaddrs());
        let ports = self.config.get_ports();
        (0..hosts.len().max(addresses.len()))
            .map(|index| {
                let host = match (hosts.get(index), addresses.get(index)) {
                    (Some(Host::Tcp(name)), _) => name.clone(),
                    (Some(Host::Unix(path)), _) => path.display().to_string(),
                    (None, Some(address)) => address.to_string(),
                    (None, None) => String::new(),
                };
                let port = ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
                (host, port)
            })
            .collect()
    }
}

/// The address for display, valid for psql: without the password and without parameters not known
/// to be harmless.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{}@", text::encode(user))?;
        }
        let places = self.places();
        let network = !self.config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
        let mut parameters: Vec<(&str, String)> = Vec::new();
        if network {
            let shown = places.iter().map(|(host, port)| {
                let host =
                    if host.contains(':') { format!("[{host}]") } else { text::encode(host) };
                format!("{host}:{port}")
            });
            f.write_str(&shown.collect::<Vec<_>>().join(","))?;
        } else {
            let hosts: Vec<&str> = places.iter().map(|(host, _)| host.as_str()).collect();
            parameters.push(("host", hosts.join(",")));
            if !self.config.get_ports().is_empty() {
                let ports: Vec<String> = places.iter().map(|(_, port)| port.to_string()).collect();
                parameters.push(("port", ports.join(",")));
            }
        }
        write!(f, "/{}", text::encode(self.config.get_dbname().unwrap_or_default()))?;
        for (name, value) in self.parameters.named() {
            parameters.extend(value.clone().map(|value| (name, value)));
        }
        for (index, (name, value)) in parameters.iter().enumerate() {
            let mark = if index == 0 { '?' } else { '&' };
            write!(f, "{mark}{name}={}", text::encode(value))?;
        }
        Ok(())
    }
}

fn unreadable() -> Error {
    with_hint(
        invalid("the connection URI cannot be read; expected postgresql://user@host:port/database"),
        "in a user name or a password write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F and % as %25, or \
         give the password apart from the URI (--password-file, PGPASSWORD, ~/.pgpass)",
    )
}

fn not_supported(name: &str) -> Error {
    Error::with_message_and_status(
        format!("the connection URI has the parameter {name}, which this driver cannot honour"),
        Status::NotImplemented,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    #[test]
    fn what_the_parser_does_not_know_is_taken_out() {
        for text in [
            "postgresql://me@db/x?sslmode=verify-full&connect_timeout=7&sslrootcert=%2Fca%20b.crt",
            "host=db user=me dbname=x sslmode = 'verify-full' connect_timeout=7 sslrootcert='/ca b.crt'",
        ] {
            let address = address(text);
            assert_eq!(address.parameters.sslmode.as_deref(), Some("verify-full"), "{text}");
            assert_eq!(address.parameters.sslrootcert.as_deref(), Some("/ca b.crt"), "{text}");
            assert_eq!(address.config.get_dbname(), Some("x"));
            assert_eq!(address.config.get_connect_timeout().copied(), Some(Duration::from_secs(7)));
        }
        assert_eq!(address("host=db sslrootcert=").parameters.sslrootcert, None);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for text in ["postgres://u:hunter2@h/x?sslcrl=/r.crl", "host=h password=hunter2 sslcrl=/r"]
        {
            let e = Address::parse(text).expect_err("no such thing");
            assert_eq!(e.status, Status::NotImplemented);
            assert!(e.message.contains("sslcrl") && !e.message.contains("hunter2"), "{e}");
        }
    }

    #[test]
    fn a_broken_address_does_not_show_its_password() {
        for text in [
            "postgresql://u:hunter2@h:port/x",
            "postgresql://u:hunter2@h/x?hunter2=1",
            "postgresql://u:hunter2@h/x?hunter2",
            "postgresql://u:p@hunter2@h/x",
            "postgresql://u:p@ss/hunter2:rd#%41?@h/x",
            "host=h password='hunter2",
            "host=h password=hunter2 hunter2",
        ] {
            let e = Address::parse(text).expect_err(text);
            assert_eq!(e.status, Status::InvalidArguments);
            assert!(!format!("{e} {e:?}").contains("hunter2"), "{text}");
            let hint = e.details.into_iter().flatten().next().expect("a hint").1;
            assert!(String::from_utf8_lossy(&hint).contains("%40"), "{text}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (text, shown) in [
            ("postgres://me:secret@db:5433/claims", "postgresql://me@db:5433/claims"),
            ("postgres://db/claims?password=secret", "postgresql://db:5432/claims"),
            ("postgres://me:se/cret@db/claims", "postgresql://me@db:5432/claims"),
            ("postgres://me:se?cret@db/claims", "postgresql://me@db:5432/claims"),
            ("postgres://me:secret@a,[::1]:7/x", "postgresql://me@a:5432,[::1]:7/x"),
            ("postgres:///x?host=/run/pg&user=me", "postgresql://me@/x?host=/run/pg"),
            ("host=/run/pg port=7 password=secret", "postgresql:///?host=/run/pg&port=7"),
            (
                "host=db user='a b' sslmode=require sslrootcert=/ca options='-c secret=1'",
                "postgresql://a%20b@db:5432/?sslmode=require&sslrootcert=/ca",
            ),
        ] {
            let address = address(text);
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("cret"));
            // The displayed address leads to the same server.
            assert_eq!(Address::parse(shown).expect(shown).places(), address.places());
        }
    }

    #[test]
    fn this_machine_means_sockets_and_loopback() {
        for text in
            ["postgres:///x?host=/run/pg", "host=localhost", "host=127.0.0.9", "postgres://[::1]/x"]
        {
            assert!(address(text).stays_on_this_machine(), "{text}");
        }
        for text in ["host=db", "host=/run/pg,db", "host=localhost hostaddr=10.0.0.1"] {
            assert!(!address(text).stays_on_this_machine(), "{text}");
        }
    }

    #[test]
    fn local_means_sockets_only() {
        assert!(address("postgres:///x?host=/run/pg").is_local());
        assert!(!address("host=/run/pg,db").is_local());
        assert!(!address("hostaddr=127.0.0.1").is_local());
    }
}
