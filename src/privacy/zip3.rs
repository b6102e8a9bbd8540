//! Restricted ZIP code prefixes, which have too few inhabitants.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Replaces every restricted prefix.
pub(crate) const OTHER_ZIP3: &str = "000";
/// Names of the built-in lists.
const NAMES: [&str; 4] = ["union", "census2000", "census2010", "census2020"];
/// One line per prefix: the prefix, then for each census whether it is restricted.
const TABLE: &str = include_str!("zip3_restricted.csv");

/// The prefixes of a built-in list, or of a file with one prefix per line; blank lines and lines
/// beginning with `#` are ignored.
///
/// # Errors
/// `Config` when the file cannot be read, or a line is not three digits.
pub(crate) fn prefixes(list: &str) -> Result<BTreeSet<String>> {
    if NAMES.contains(&list) {
        return Ok(known(list));
    }
    let path = Path::new(list);
    let text = fs::read_to_string(path).map_err(|error| {
        Error::io(ErrorKind::Config, path, &error)
            .context("privacy.zip3_restricted")
            .hint(format!("known by name are: {}", NAMES.join(", ")))
    })?;
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let fits = line.len() == 3 && line.bytes().all(|byte| byte.is_ascii_digit());
            fits.then(|| line.to_owned()).ok_or_else(|| {
                Error::config(format!(
                    "privacy.zip3_restricted: line {} of {} is not three digits",
                    number + 1,
                    path.display()
                ))
                .hint("write one prefix a line, for example 036; a line may begin with #")
            })
        })
        .collect()
}

/// A built-in list.
fn known(list: &str) -> BTreeSet<String> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#')).skip(1);
    let restricted = |line: &str| {
        let mut cells = line.split(',');
        let prefix = cells.next()?;
        let [first, second, third] = [cells.next(), cells.next(), cells.next()];
        let by = match list {
            "census2000" => [first, None, None],
            "census2010" => [None, second, None],
            "census2020" => [None, None, third],
            _ => [first, None, third],
        };
        by.contains(&Some("1")).then(|| prefix.to_owned())
    };
    rows.filter_map(restricted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_census_restricts_as_many_prefixes_as_published() {
        let counts = NAMES.map(|list| prefixes(list).expect("a list").len());
        assert_eq!(counts, [23, 17, 14, 18]);
        let [union, first, second, third] = NAMES.map(|list| prefixes(list).expect("a list"));
        assert_eq!(first.union(&third).cloned().collect::<BTreeSet<_>>(), union);
        assert!(second.is_subset(&third) && first.intersection(&third).count() == 12);
        assert!(union.iter().all(|prefix| prefix.len() == 3));
        assert!(first.contains("063") && !third.contains("063") && third.contains("772"));
    }

    #[test]
    fn a_list_of_ones_own_is_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("restricted.txt");
        let list = path.display().to_string();
        fs::write(&path, "# mine\n036\n\n 999 \r\n").expect("written");
        let expected: BTreeSet<String> = ["036", "999"].map(ToOwned::to_owned).into();
        assert_eq!(prefixes(&list).expect("a list"), expected);
        fs::write(&path, "036\n36\n").expect("written");
        let error = prefixes(&list).expect_err("no prefix");
        assert!(error.message().contains("line 2"), "{error}");
        let error = prefixes("census1990").expect_err("neither a name nor a file");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
