//! Inputs that real users have reported as trouble, each with its right outcome (`expect.txt`), when
//! they lie beside the checkout (see `real_data::data`). The project's own files of the same kinds
//! are in the tests of their subjects and always run.

use std::fs;
use std::path::Path;

use crate::program::Program;
use crate::real_data;

/// A case's files in a program's folder, with a key; `None`, said on stderr, where they are not there.
#[expect(dead_code, reason = "the first case uses it")]
pub(crate) fn program(case: &str) -> Option<Program> {
    let folder = real_data::data(&format!("cases/{case}"))?;
    let program = Program::with_claims();
    fs::remove_file(program.path().join("claims-etl.toml")).expect("the sample's configuration");
    copy(&folder, program.path());
    Some(program)
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a case's folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            fs::create_dir_all(&target).expect("a folder");
            copy(&entry.path(), &target);
        } else {
            fs::write(&target, fs::read(entry.path()).expect("a file")).expect("a copy");
        }
    }
}
