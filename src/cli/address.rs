//! Options that may be database addresses. A password is rejected on the command line, which other
//! users can see, but allowed in the environment and the configuration file.

use std::ffi::OsStr;

use clap::builder::{StringValueParser, TypedValueParser, ValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, Command, Error};
use toml::Value;

use crate::adbc_postgres::Address;

/// Parses an option into `T`; rejects a password on the command line.
#[derive(Clone, Copy)]
pub(super) struct AddressParser<T>(fn(String) -> T);

impl AddressParser<Value> {
    /// Parser of a setting.
    pub(super) fn value() -> ValueParser {
        ValueParser::from(Self(Value::String))
    }
}

impl AddressParser<String> {
    /// Parser of a source, which may also be a path.
    pub(super) fn text() -> Self {
        Self(std::convert::identity)
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for AddressParser<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, Error> {
        StringValueParser::new().parse_ref(command, argument, value).map(self.0)
    }

    fn parse_ref_(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<T, Error> {
        if source == ValueSource::CommandLine && value.to_str().is_some_and(holds_password) {
            let name = argument.and_then(Arg::get_long).unwrap_or_default();
            return Err(refusal(command, name));
        }
        self.parse_ref(command, argument, value)
    }
}

/// Whether a text is an address with a password.
fn holds_password(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return host.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'));
    }
    Address::parse(text).is_ok_and(|address| address.password().is_some())
}

fn refusal(command: &Command, option: &str) -> Error {
    let elsewhere = match option {
        "warehouse" => {
            "name its file with --password-file, or put it into ~/.pgpass or PGPASSWORD; \
             or give the whole address in the configuration file, CLAIMS_ETL_WAREHOUSE or \
             DATABASE_URL"
        }
        "claims" => "give the address in the configuration file or CLAIMS_ETL_CLAIMS",
        _ => "give the address in the configuration file or CLAIMS_ETL_PROVIDERS",
    };
    let message = format!(
        "--{option}: a password on the command line can be seen by every user of this machine\n  \
         hint: {elsewhere}"
    );
    command.clone().error(ErrorKind::ValueValidation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_seen_in_every_form_of_address() {
        for text in [
            "postgres://me:hunter2@db/x",
            "postgresql://db/x?user=me&password=hunter2",
            "host=db password='hunter2'",
            "https://me:hunter2@host/claims.csv",
        ] {
            assert!(holds_password(text), "{text}");
        }
        for text in
            ["postgres://me@db/x", "claims/*.csv", "password=x", "s3://a:b@c/d", "https://h/a:b@c"]
        {
            assert!(!holds_password(text), "{text}");
        }
    }
}
