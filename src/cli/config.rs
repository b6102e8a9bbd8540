//! The command `config show`.

use serde_json::Value;

use super::options::SettingsOptions;
use super::output::{Reply, json};
use super::output_format::Format;
use crate::config::Settings;
use crate::error::{Error, Result};

/// The effective settings for these options, without secrets.
///
/// # Errors
/// `Config` as loading the settings.
pub(super) fn show(options: SettingsOptions, format: Format) -> Result<Reply> {
    let mut settings = options.load()?;
    for source in [&mut settings.claims, &mut settings.providers] {
        for address in &mut source.sources {
            *address = without_password(address);
        }
    }
    Ok(Reply::done(match format {
        Format::Json => json(&settings)?,
        Format::Text => text(&settings)?,
    }))
}

/// TOML, plus the names of unset keys.
fn text(settings: &Settings) -> Result<String> {
    let unwritable = || Error::internal("the settings cannot be written as TOML");
    let text = toml::to_string_pretty(settings).map_err(|_| unwritable())?;
    let value = serde_json::to_value(settings).map_err(|_| unwritable())?;
    let mut unset = Vec::new();
    collect_unset(&value, "", &mut unset);
    unset.sort();
    Ok(format!("{text}\n# not set: {}\n", unset.join(", ")))
}

fn collect_unset(value: &Value, name: &str, unset: &mut Vec<String>) {
    match value {
        Value::Null => unset.push(name.to_owned()),
        Value::Object(fields) => {
            let dot = if name.is_empty() { "" } else { "." };
            for (field, value) in fields {
                collect_unset(value, &format!("{name}{dot}{field}"), unset);
            }
        }
        _ => {}
    }
}

/// `postgres://user:password@host/db?password=…` without the passwords.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    // The query string of a web address can be a credential.
    let is_web = matches!(scheme, "http" | "https");
    if let Some((place, _)) = rest.split_once(['?', '#']).filter(|_| is_web) {
        let place = without_password(&format!("{scheme}://{place}"));
        return format!("{place}?[REDACTED]");
    }
    // Split at the last @: a password may contain unescaped special characters.
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (hidden(login), place),
        None => (String::new(), rest),
    };
    let (place, options) = place.split_once('?').map_or((place, None), |(a, b)| (a, Some(b)));
    let options = options.map_or_else(String::new, |options| {
        let shown = options.split('&').map(|option| match option.split_once('=') {
            Some((name, _)) if name.contains("password") => format!("{name}=[REDACTED]"),
            _ => option.to_owned(),
        });
        format!("?{}", shown.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{login}{place}{options}")
}

/// The part before the `@`, if it is certainly only a user name.
fn hidden(login: &str) -> String {
    match login.split_once(':') {
        Some((user, _)) if !user.contains(['/', '?']) => format!("{user}:[REDACTED]@"),
        None if !login.contains(['/', '?']) => format!("{login}@"),
        _ => "[REDACTED]@".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let cases = [
            ("claims/*.csv", "claims/*.csv"),
            ("postgres://db/claims", "postgres://db/claims"),
            ("postgres://me@db/claims", "postgres://me@db/claims"),
            ("postgres://me:a@b?c@db/claims", "postgres://me:[REDACTED]@db/claims"),
            ("postgres://db/claims?password=p@w", "postgres://[REDACTED]@w"),
            ("https://h/a?sig=secret&x=1", "https://h/a?[REDACTED]"),
            ("https://me:pw@h/a#secret", "https://me:[REDACTED]@h/a?[REDACTED]"),
            ("s3://bucket/a?.csv", "s3://bucket/a?.csv"),
            ("postgres://me:pw@db:5432/claims", "postgres://me:[REDACTED]@db:5432/claims"),
            (
                "postgres://db/claims?user=me&password=pw&sslmode=require",
                "postgres://db/claims?user=me&password=[REDACTED]&sslmode=require",
            ),
        ];
        for (address, shown) in cases {
            assert_eq!(without_password(address), shown);
        }
    }
}
