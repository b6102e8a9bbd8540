//! Finds PostgreSQL's programs.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// Sets the folder of the programs.
const VARIABLE: &str = "CLAIMS_ETL_PG_BIN";

/// Install locations: parent folder, prefix of the version's folder, subfolder.
const PLACES: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/usr", "bin", ""),
];

/// A folder with `initdb`, `pg_ctl` and `postgres` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binaries {
    folder: PathBuf,
    major: String,
}

impl Binaries {
    /// The programs for a cluster of major version `wanted`, or the first found for a new one.
    pub(crate) fn find(wanted: Option<&str>) -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "not a setting of a run")]
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        let found: Vec<Self> = match &named {
            Some(folder) => Self::at(folder).into_iter().collect(),
            None => candidates().iter().filter_map(|folder| Self::at(folder)).collect(),
        };
        choose(found, wanted, named.as_deref())
    }

    /// The programs in `folder`, if it has all three.
    fn at(folder: &Path) -> Option<Self> {
        if !["initdb", "pg_ctl", "postgres"].iter().all(|name| folder.join(name).is_file()) {
            return None;
        }
        let output = Command::new(folder.join("pg_ctl")).arg("--version").output().ok()?;
        let major = major(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { folder: folder.to_owned(), major })
    }

    /// The path of one of the programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Picks the first that fits, or explains what to do.
fn choose(found: Vec<Binaries>, wanted: Option<&str>, named: Option<&Path>) -> Result<Binaries> {
    let majors: Vec<&str> = found.iter().map(|binaries| binaries.major.as_str()).collect();
    let majors = majors.join(", ");
    if let Some(fitting) =
        found.into_iter().find(|binaries| wanted.is_none_or(|major| binaries.major == major))
    {
        return Ok(fitting);
    }
    Err(match (wanted, named) {
        (Some(major), _) if !majors.is_empty() => Error::config(format!(
            "the private warehouse was created by PostgreSQL {major}, but the installed version is {majors}"
        ))
        .hint(format!("install PostgreSQL {major} beside it, or move the warehouse away")),
        (_, Some(folder)) => Error::config(format!(
            "{VARIABLE}={}: initdb, pg_ctl and postgres are not all there",
            folder.display()
        )),
        (_, None) => Error::config("no PostgreSQL server is installed on this machine").hint(
            "install it (`apt-get install postgresql`, `dnf install postgresql-server`, \
             `brew install postgresql`), or set a warehouse with --warehouse",
        ),
    })
}

/// Folders that may contain the programs, best first: the one on the PATH, then newest first.
fn candidates() -> Vec<PathBuf> {
    let on_path = Command::new("pg_config").arg("--bindir").output().ok();
    let on_path = on_path
        .filter(|output| output.status.success())
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let mut folders: Vec<PathBuf> = on_path.into_iter().collect();
    for (parent, prefix, rest) in PLACES {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let mut versions: Vec<(u32, PathBuf)> = entries
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()))
            .map(|entry| (number(&entry.file_name()), entry.path().join(rest)))
            .collect();
        versions.sort();
        folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    }
    folders
}

/// The version in the name of a folder (`16`, `pgsql-16`, `postgresql@16`), or 0.
fn number(name: &OsStr) -> u32 {
    let name = name.to_string_lossy();
    let digits: String =
        name.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// `15` of `pg_ctl (PostgreSQL) 15.18 (Debian 15.18-0)`.
fn major(version: &str) -> Option<String> {
    let release = version.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits: String = release.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binaries(major: &str) -> Binaries {
        Binaries { folder: PathBuf::from("/pg").join(major), major: major.into() }
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(major("pg_ctl (PostgreSQL) 15.18 (Debian 15.18-0)\n").as_deref(), Some("15"));
        assert_eq!(major("pg_ctl (PostgreSQL) 18beta1").as_deref(), Some("18"));
        assert_eq!(major("something else"), None);
        assert_eq!(number(OsStr::new("postgresql@16")), 16);
        assert_eq!(number(OsStr::new("postgresql")), 0);
    }

    #[test]
    fn a_cluster_keeps_the_version_that_made_it() {
        let both = || vec![binaries("17"), binaries("15")];
        assert_eq!(choose(both(), None, None), Ok(binaries("17")));
        assert_eq!(choose(both(), Some("15"), None), Ok(binaries("15")));
        let error = choose(both(), Some("14"), None).expect_err("14 is not there");
        assert!(error.message().contains("created by PostgreSQL 14"), "{error}");
        assert!(error.message().contains("17, 15"), "{error}");
    }

    #[test]
    fn without_a_server_the_hint_names_the_package() {
        let error = choose(Vec::new(), Some("15"), None).expect_err("nothing is installed");
        assert!(error.way_out().is_some_and(|hint| hint.contains("apt-get install")), "{error}");
        let error = choose(Vec::new(), None, Some(Path::new("/x"))).expect_err("nothing there");
        assert!(error.message().contains("CLAIMS_ETL_PG_BIN=/x"), "{error}");
    }
}
