//! The warehouse password when its address has none.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::settings::Warehouse;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::file_permissions::is_private;
use crate::secret::value::Secret;

impl Warehouse {
    /// The password for an address without one: from `password_file`, else from `PGPASSWORD`. The
    /// explicitly configured file takes precedence over the variable shared by all clients; the
    /// driver falls back to libpq's password file.
    ///
    /// # Errors
    /// `Config` when the file is missing, empty or readable by others.
    pub(crate) fn password(&self) -> Result<Option<Secret>> {
        match &self.password_file {
            Some(path) => read(path).map(Some),
            None => Ok(self.environment.password.clone()),
        }
    }
}

/// Reads the first line of a private file.
fn read(path: &Path) -> Result<Secret> {
    let io =
        |error: std::io::Error| Error::io(ErrorKind::Config, path, &error).context("password file");
    let mut file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !is_private(&metadata) {
        let mode = metadata.permissions().mode() & 0o777;
        return Err(Error::config(format!(
            "password file {}: mode {mode:04o} lets others read it",
            path.display()
        ))
        .hint(format!("chmod 600 {}", path.display())));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(io)?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(Secret::new(password)),
        _ => Err(Error::config(format!("password file {}: it is empty", path.display()))
            .hint("its first line is the password, and nothing else")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn warehouse(path: &Path, text: &str, mode: u32) -> Warehouse {
        fs::write(path, text).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        let mut warehouse = Warehouse { password_file: Some(path.into()), ..Warehouse::default() };
        warehouse.environment.password = Some(Secret::new("variable"));
        warehouse
    }

    #[test]
    fn the_file_counts_before_the_variable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let mut both = warehouse(&path, " with blanks \r\nnot this\n", 0o600);
        let password = both.password().expect("readable").expect("a password");
        assert_eq!(password.expose(), " with blanks ");
        both.password_file = None;
        let password = both.password().expect("no file").expect("a password");
        assert_eq!(password.expose(), "variable");
    }

    #[test]
    fn a_file_is_private_and_says_something() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let open = warehouse(&path, "hunter2", 0o640).password().expect_err("others can read it");
        assert_eq!(open.kind(), ErrorKind::Config);
        assert!(open.message().contains("mode 0640"), "{open}");
        assert!(open.way_out().is_some_and(|hint| hint.starts_with("chmod 600")));
        assert!(!open.to_string().contains("hunter2"));
        let empty = warehouse(&path, "\nhunter2", 0o600).password().expect_err("empty");
        assert!(empty.message().contains("empty") && !empty.to_string().contains("hunter2"));
        fs::remove_file(&path).expect("removed");
        let missing = Warehouse { password_file: Some(path), ..Warehouse::default() };
        assert!(missing.password().expect_err("missing").message().contains("no such file"));
    }
}
