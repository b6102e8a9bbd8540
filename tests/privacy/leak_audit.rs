//! `audit leak --canary`: clean as the program is, and not when a leak is planted.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::output;

/// An audit with these options and leaks: its report, what it said, and its exit code. Where it works
/// is empty afterwards.
fn audit(options: &[&str], leaks: &str) -> (Value, String, Option<i32>) {
    let temporary = TempDir::new().expect("a folder");
    // The server may have an account of its own, which must come to its folder.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(temporary.path(), open).expect("chmod");
    let mut command = Command::new(env!("CARGO_BIN_EXE_claims-etl"));
    command
        .env_clear()
        .current_dir(temporary.path())
        .env("TMPDIR", temporary.path())
        .env("PATH", "/usr/bin:/bin")
        .args(["audit", "leak", "--canary", "--quick", "--format", "json"])
        .args(options);
    if !leaks.is_empty() {
        command.env("CLAIMS_ETL_FAILPOINT", leaks);
    }
    let output = output(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let left = std::fs::read_dir(temporary.path()).expect("listed").count();
    assert_eq!(left, 0, "something was left: {said}");
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|_| panic!("no report: {said}")), said, output.status.code())
}

/// Place, identifier, spelling and where, of each finding.
fn findings(report: &Value) -> Vec<[&str; 4]> {
    let all = report["findings"].as_array().expect("a list").iter();
    all.map(|f| ["place", "kind", "spelling", "at"].map(|name| f[name].as_str().expect("text")))
        .collect()
}

/// What was looked at in a place.
fn looked(report: &Value, place: &str) -> (u64, u64) {
    let places = report["places"].as_array().expect("a list");
    let found = places.iter().find(|report| report["place"] == place).expect(place);
    (found["items"].as_u64().expect("a number"), found["bytes"].as_u64().expect("a number"))
}

#[test]
fn no_identifier_gets_out() {
    let (report, said, code) = audit(&[], "");
    let found = findings(&report);
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(report["unexpected"].as_array().map(Vec::len), Some(0), "{}", report["unexpected"]);
    assert!(report["runs"].as_u64().is_some_and(|runs| runs > 100), "{report}");
    for place in [
        "standard output",
        "standard error",
        "command lines",
        "tables",
        "sessions",
        "heap and index files",
        "write-ahead log",
        "server log",
        "quarantine rows",
        "data directory",
        "temporary files",
        "unnamed files",
    ] {
        let (items, bytes) = looked(&report, place);
        assert!(items > 0 && bytes > 0, "{place}: {items} items, {bytes} bytes");
    }
    for control in report["controls"].as_array().expect("a list") {
        assert!(control["found"].as_u64().is_some_and(|found| found > 0), "{control}");
    }
}

#[test]
#[cfg(feature = "failpoints")]
fn every_planted_leak_is_found_and_named() {
    let leaks = "first_pass.block:1=log,publish.ledger:1=unnamed,extract.done:1=file,\
                 leak.quarantine=text,leak.ledger=hex";
    let (report, said, code) = audit(&["--trial", "loads"], leaks);
    assert_eq!(code, Some(4), "{said}");
    let found = findings(&report);
    for (place, spelling, at) in [
        ("standard error", "text", ": run"),
        ("quarantine rows", "text", ".parquet"),
        ("tables", "hex", "claims_etl.task_runs.error"),
        ("dump", "hex", "audit_0"),
        ("heap and index files", "hex", "base/"),
        ("write-ahead log", "hex", "pg_wal/"),
        ("server log", "hex", "server.log"),
        ("temporary files", "text", ""),
        ("unnamed files", "text", ""),
    ] {
        let named = |finding: &[&str; 4]| {
            finding[..3] == [place, "claim id", spelling] && finding[3].contains(at)
        };
        assert!(found.iter().any(named), "{place}, {spelling}, {at}: {found:#?}");
    }
    // Where it was not planted it is not found.
    for place in ["command lines", "sessions"] {
        assert!(found.iter().all(|[found, ..]| *found != place), "{place}: {found:#?}");
    }
}
