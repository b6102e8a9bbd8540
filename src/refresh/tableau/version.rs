//! REST API version.

use std::fmt;
use std::str::FromStr;

/// First version with personal access tokens.
pub(super) const TOKENS: Version = Version(3, 6);
/// First version with incremental refresh on request.
pub(super) const INCREMENTAL: Version = Version(3, 25);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u16, pub(super) u16);

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (major, minor) = text.trim().split_once('.').ok_or(())?;
        let number = |text: &str| text.parse().map_err(|_| ());
        Ok(Self(number(major)?, number(minor)?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_no_decimals() {
        let version = |text: &str| text.parse::<Version>();
        assert!(version("3.6") < version("3.25"));
        assert_eq!(version(" 3.10\n"), Ok(Version(3, 10)));
        assert_eq!(Version(3, 10).to_string(), "3.10");
        for odd in ["", "3", "3.x", "3.1.2", "-3.1"] {
            assert_eq!(version(odd), Err(()), "{odd}");
        }
    }
}
