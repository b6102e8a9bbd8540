//! A source that changes under a run: what was fingerprinted is what is loaded, or nothing is.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::support::paused_run::Paused;
use crate::support::process;
use crate::support::test_env::TestEnv;

/// The export goes on: a record is appended.
fn grows(path: &Path) {
    let file = fs::OpenOptions::new().append(true).open(path);
    file.expect("opened").write_all(b"C2,P1,V1,99213,2.00,2024-01-01\n").expect("written");
}

/// Another amount in its place; size and time stay the same.
fn is_edited(path: &Path) {
    let modified = fs::metadata(path).and_then(|found| found.modified()).expect("a time");
    let text = fs::read_to_string(path).expect("text");
    fs::write(path, text.replace("1.00", "9.00")).expect("written");
    let file = fs::OpenOptions::new().append(true).open(path).expect("opened");
    file.set_modified(modified).expect("set");
}

/// Another file under its name.
fn is_replaced(path: &Path) {
    let other = path.with_extension("new");
    let text = fs::read_to_string(path).expect("text");
    fs::write(&other, text.replace("C1", "C9")).expect("written");
    fs::rename(other, path).expect("renamed");
}

#[test]
fn a_source_that_changes_is_not_loaded() {
    for (name, change) in
        [("grows", grows as fn(&Path)), ("is edited", is_edited), ("is replaced", is_replaced)]
    {
        let env = TestEnv::new()
            .claims(&["C1,P1,V1,99213,1.00,2024-01-01"])
            .providers(&["V1,Ann,Cardiology,Boston"]);
        // Both inputs have been fingerprinted then.
        let mut run = process::reading(&env, &["run"]);
        let paused = Paused::at(&env, &mut run, "extract.done:2");
        change(&env.path("claims.csv"));
        let (status, printed) = paused.go_on().end();
        assert_eq!(status.code(), Some(3), "{name}: {printed}");
        assert!(printed.contains("claims.csv was changed while it was read"), "{name}: {printed}");
        let published = "SELECT count(*) FROM healthcare_analytics.claims_fact";
        assert_eq!(env.rows(published), ["0"], "{name}");
    }
}
