//! Responses and schemas that the providers themselves have published, when they lie beside the
//! checkout or where `CLAIMS_ETL_TEST_FIXTURES` says.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a provider's fixtures (`bi/powerbi`, `openlineage`); says so when it is not there.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let folder = std::env::var("CLAIMS_ETL_TEST_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures").into());
    let folder = Path::new(&folder).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    {
        eprintln!("skipped: no {}; CLAIMS_ETL_TEST_FIXTURES names another place", folder.display());
    }
    None
}

/// A file of a folder that is there.
pub(crate) fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).expect(name)
}
