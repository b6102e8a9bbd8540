//! Addresses of remote sources, and their form for messages.

use std::fmt;

/// The address of an object or a web page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address(String);

/// Placeholder for the query string in messages.
const QUERY: &str = "?…";

impl Address {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn scheme(&self) -> &str {
        scheme(&self.0).unwrap_or_default()
    }

    pub(super) fn is_web(&self) -> bool {
        matches!(self.scheme(), "http" | "https")
    }

    /// The full address, including any secrets.
    #[cfg(feature = "cloud")]
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Authority (between `://` and the next `/`) and the rest.
    #[cfg(feature = "cloud")]
    pub(super) fn parts(&self) -> (&str, &str) {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        rest.split_once('/').unwrap_or((rest, ""))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let cut = rest.find(['?', '#']).filter(|_| self.is_web());
        let plain = cut.map_or(rest, |at| &rest[..at]);
        let (host, path) = plain.split_once('/').map_or((plain, None), |(h, p)| (h, Some(p)));
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        write!(f, "{}://{host}", self.scheme())?;
        if let Some(path) = path {
            write!(f, "/{path}")?;
        }
        f.write_str(if cut.is_some() { QUERY } else { "" })
    }
}

/// The scheme, if `text` is an address and not a path.
pub(super) fn scheme(text: &str) -> Option<&str> {
    text.split_once("://").map(|(scheme, _)| scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        for (address, shown) in [
            ("s3://bucket/a/b?.csv", "s3://bucket/a/b?.csv"),
            ("https://h/a.csv", "https://h/a.csv"),
            ("https://h:1/a.csv?sig=secret", "https://h:1/a.csv?…"),
            ("https://h?sig=secret", "https://h?…"),
            ("https://h/a#secret", "https://h/a?…"),
            ("https://me:secret@h/a", "https://h/a"),
            ("https://me:sec@ret@h/a?secret", "https://h/a?…"),
            ("https://h?a=x@secret/y", "https://h?…"),
            ("https://h/a@b?x", "https://h/a@b?…"),
        ] {
            assert_eq!(Address::new(address).to_string(), shown);
        }
    }
}
