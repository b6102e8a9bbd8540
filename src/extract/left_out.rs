//! Names that do not denote data; shared by folders, globs and object stores.
//!
//! These are hidden files, writer markers, desktop files and unfinished uploads. Half a file is
//! never loaded, because the complete one appears under another name.

use serde::Serialize;

/// Prefixes: hidden files, Spark markers and temporary folders, office lock files.
const PREFIXES: [char; 3] = ['.', '_', '~'];
/// Suffixes: files being written or copied, editor backups, checksums.
const SUFFIXES: [&str; 18] = [
    "~",
    ".bak",
    ".crc",
    ".crdownload",
    ".download",
    ".filepart",
    ".inprogress",
    ".lock",
    ".opdownload",
    ".part",
    ".partial",
    ".swo",
    ".swp",
    ".temp",
    ".tmp",
    ".upload",
    ".uploading",
    "._copying_",
];
/// Names that desktops and file systems create.
const SYSTEM_FILES: [&str; 7] = [
    "$recycle.bin",
    "desktop.ini",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "lost+found",
    "system volume information",
    "thumbs.db",
];

/// Maximum number of names shown.
const MAX_SHOWN: usize = 3;

/// Whether a file or folder with this name is not data.
pub(super) fn is_no_data(name: &str) -> bool {
    let lower = name.to_lowercase();
    name.starts_with(PREFIXES)
        || SUFFIXES.iter().any(|ending| lower.ends_with(ending))
        || SYSTEM_FILES.contains(&lower.as_str())
}

/// Folders that mark a table format, and its name: such tables keep deleted and replaced rows next
/// to live ones.
pub(super) const TABLE_LOGS: [(&str, &str); 2] =
    [("_delta_log", "Delta Lake"), (".hoodie", "Apache Hudi")];

/// Whether a glob match is excluded by one of its path components. A component that the glob spells
/// out (`_in/*.csv`, `*.part`) is included.
pub(super) fn by_glob(glob: &str, path: &str) -> bool {
    let spelled: Vec<&str> = glob.split('/').collect();
    let names = path.split('/').filter(|name| !matches!(*name, "" | "." | ".."));
    let last = spelled.last().copied().unwrap_or_default();
    let mut names = names.peekable();
    while let Some(name) = names.next() {
        let meant = match names.peek() {
            Some(_) => spelled.contains(&name),
            None => is_no_data(last),
        };
        if !meant && is_no_data(name) {
            return true;
        }
    }
    false
}

/// Files next to the source files that are not read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LeftOut {
    /// Excluded files, not counting hidden files and markers.
    pub(crate) files: u64,
    /// Some of their names.
    pub(crate) names: Vec<String>,
    /// Number of empty files.
    pub(crate) empty: u64,
}

impl LeftOut {
    /// Counts an excluded file, except hidden files, markers and desktop files, which are not worth
    /// reporting.
    pub(super) fn count(&mut self, name: &str) {
        let is_marker = name.starts_with('_') && !name.contains('.');
        let lower = name.to_lowercase();
        let is_sum = lower.strip_suffix(".crc").is_some();
        let is_litter = is_sum || SYSTEM_FILES.contains(&lower.as_str());
        if name.starts_with('.') || is_marker || is_litter {
            return;
        }
        self.files += 1;
        if self.names.len() < MAX_SHOWN {
            self.names.push(name.to_owned());
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.empty += other.empty;
        let free = MAX_SHOWN - self.names.len().min(MAX_SHOWN);
        self.names.extend(other.names.into_iter().take(free));
    }

    #[must_use]
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Message for people; `None` when there is nothing to report.
    #[must_use]
    pub(crate) fn note(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.files > 0 {
            let names = self.names.join(", ");
            let more = if self.files > self.names.len() as u64 { ", …" } else { "" };
            let files = files(self.files);
            parts.push(format!("{files} not read, unfinished or no data by name: {names}{more}"));
        }
        if self.empty > 0 {
            parts.push(format!("{} without rows (0 bytes)", files(self.empty)));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".into() } else { format!("{count} files") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_data() {
        for name in [
            ".hidden.csv",
            "_x.csv",
            "_SUCCESS",
            "_temporary",
            "__MACOSX",
            "~$claims.xlsx",
            "claims.csv~",
            "claims.csv.filepart",
            "claims.csv.PART",
            "claims.csv.crdownload",
            "claims.partial",
            "claims.tmp",
            ".claims.csv.swp",
            "claims.csv.swp",
            "Thumbs.db",
            "Desktop.ini",
            "claims.csv.bak",
            "claims.csv._COPYING_",
            "part-0.crc",
            "lost+found",
        ] {
            assert!(is_no_data(name), "{name}");
        }
        for name in [
            "claims.csv",
            "part-00000",
            "claims.part.csv",
            "a_b.csv",
            "partial.csv",
            "tmp.csv",
            "date=2024-01-31",
            "claims.csv.gz",
            "thumbs.db.csv",
            "claims.old.csv",
            "claims~2.csv",
        ] {
            assert!(!is_no_data(name), "{name}");
        }
    }

    #[test]
    fn what_was_left_out_is_listed_in_a_line() {
        let mut left_out = LeftOut::default();
        for name in ["_SUCCESS", ".part-0.crc", "part-0.crc", "Thumbs.db", "_committed_17"] {
            left_out.count(name);
        }
        assert!(left_out.is_nothing());
        assert_eq!(left_out.note(), None);
        let mut more = LeftOut { empty: 1, ..LeftOut::default() };
        for name in ["a.tmp", "_claims.csv", "b.part", "c.part"] {
            more.count(name);
        }
        left_out.merge(more);
        assert_eq!(
            left_out.note().expect("a note"),
            "4 files not read, unfinished or no data by name: a.tmp, _claims.csv, b.part, …; \
             1 file without rows (0 bytes)"
        );
    }

    #[test]
    fn a_glob_takes_what_it_spells() {
        for (glob, path, left_out) in [
            ("out/*.csv", "out/a.csv", false),
            ("out/*.csv", "out/.a.csv", true),
            ("out/*.csv", "out/_a.csv", true),
            ("out/_*.csv", "out/_a.csv", false),
            ("out/.*", "out/.a.csv", false),
            ("out/*", "out/a.csv.part", true),
            ("out/*.part", "out/a.csv.part", false),
            ("_in/*.csv", "_in/a.csv", false),
            ("*/*.csv", "_in/a.csv", true),
            ("**/*.csv", "in/_temporary/0/a.csv", true),
            ("**/_x/*.csv", "in/_x/a.csv", false),
            ("../.data/*.csv", "../.data/a.csv", false),
            ("./*.csv", "a.csv", false),
        ] {
            assert_eq!(by_glob(glob, path), left_out, "{glob} {path}");
        }
    }
}
