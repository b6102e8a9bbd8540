//! libpq's password file, `~/.pgpass`: lines of `host:port:database:user:password`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use adbc_core::error::Result;

use crate::adbc_postgres::error::invalid;

/// Default Unix socket directories of PostgreSQL and the distributions, which libpq matches as
/// `localhost`.
const DEFAULT_SOCKETS: [&str; 3] = ["/tmp", "/var/run/postgresql", "/run/postgresql"];

/// The login a password is looked up for.
pub(in super::super) struct Login<'a> {
    /// Hosts and ports.
    pub(in super::super) places: &'a [(String, u16)],
    pub(in super::super) database: &'a str,
    pub(in super::super) user: &'a str,
}

/// The password of `login` in the file at `path`; `None` when no line matches. A missing file
/// counts as empty unless it `must_exist`.
///
/// # Errors
/// `InvalidArguments` when others can read the file, or when several hosts have different
/// passwords.
pub(in super::super) fn password(
    path: &Path,
    must_exist: bool,
    login: &Login<'_>,
) -> Result<Option<String>> {
    let failed = |reason: &str| invalid(format!("password file {}: {reason}", path.display()));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => return Ok(None),
        Err(error) => return Err(failed(&error.kind().to_string())),
    };
    let metadata = file.metadata().map_err(|error| failed(&error.kind().to_string()))?;
    if !metadata.is_file() {
        // As in libpq, /dev/null means no password file.
        return Ok(None);
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(failed(&format!(
            "mode {mode:04o} lets others use it; run chmod 600 {}",
            path.display()
        )));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| failed(&error.kind().to_string()))?;
    let mut found = login.places.iter().map(|(host, port)| {
        let host = if host.is_empty() || DEFAULT_SOCKETS.contains(&host.as_str()) {
            "localhost"
        } else {
            host
        };
        find(&text, [host, &port.to_string(), login.database, login.user])
    });
    let first = found.next().flatten();
    if found.any(|other| other != first) {
        return Err(failed("the hosts of the connection URI have different passwords"));
    }
    Ok(first)
}

/// The password of the first matching line.
fn find(text: &str, wanted: [&str; 4]) -> Option<String> {
    text.lines()
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let rest = wanted.iter().try_fold(line, |rest, field| after(rest, field))?;
            Some(field(rest).0)
        })
}

/// The rest of `line`, if its first field is `wanted` or `*`.
fn after<'a>(line: &'a str, wanted: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let (field, rest) = field(line);
    (field == wanted).then_some(rest?)
}

/// The first field, unescaped, and the rest after its colon.
fn field(line: &str) -> (String, Option<&str>) {
    let mut field = String::new();
    let mut signs = line.char_indices();
    while let Some((at, sign)) = signs.next() {
        match sign {
            ':' => return (field, Some(&line[at + 1..])),
            '\\' => field.push(signs.next().map_or('\\', |(_, escaped)| escaped)),
            _ => field.push(sign),
        }
    }
    (field, None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FILE: &str = "# a comment:*:*:*:no
db:5432:claims:loader:first
db:5432:claims:loader:second
db:*:*:reader:a\\:b\\\\c:ignored
broken
*x:*:*:loader:no
localhost:5432:claims:loader:here
\\:\\:1:5432:claims:loader:six
other:5432:claims:loader:\r
*:*:*:anyone:w*ld
";

    #[test]
    fn lines_match_as_libpq_matches_them() {
        for (wanted, password) in [
            (["db", "5432", "claims", "loader"], Some("first")),
            (["db", "5433", "claims", "loader"], None),
            (["db", "1", "x", "reader"], Some("a:b\\c")),
            (["*x", "5432", "claims", "loader"], Some("no")),
            (["::1", "5432", "claims", "loader"], Some("six")),
            (["other", "5432", "claims", "loader"], Some("")),
            (["nowhere", "1", "", "anyone"], Some("w*ld")),
            (["# a comment", "1", "1", "1"], None),
            (["broken", "1", "1", "1"], None),
        ] {
            assert_eq!(find(FILE, wanted).as_deref(), password, "{wanted:?}");
        }
    }

    fn lookup(path: &Path, places: &[(&str, u16)]) -> Result<Option<String>> {
        let places: Vec<_> =
            places.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
        password(path, false, &Login { places: &places, database: "claims", user: "loader" })
    }

    #[test]
    fn a_default_socket_is_localhost_and_hosts_must_agree() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pgpass");
        fs::write(&path, FILE).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(lookup(&path, &[("/tmp", 5432)]).expect("read").as_deref(), Some("here"));
        assert_eq!(lookup(&path, &[("/srv/pg", 5432)]).expect("read"), None);
        let twice = [("db", 5432), ("db", 5432)];
        assert_eq!(lookup(&path, &twice).expect("read").as_deref(), Some("first"));
        let e = lookup(&path, &[("db", 5432), ("localhost", 5432)]).expect_err("two passwords");
        assert!(e.message.contains("different passwords"), "{e}");
        assert!(!e.message.contains("first") && !e.message.contains("here"), "{e}");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_not_ignored() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pgpass");
        assert_eq!(lookup(&path, &[("db", 5432)]).expect("there is none"), None);
        fs::write(&path, FILE).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        let e = lookup(&path, &[("db", 5432)]).expect_err("too open");
        assert!(e.message.contains("0640") && e.message.contains("chmod 600"), "{e}");
        let none = Path::new("/dev/null");
        assert_eq!(lookup(none, &[("db", 5432)]).expect("no file"), None);
    }
}
