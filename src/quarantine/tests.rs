//! Tests of writing, reading, listing and deleting rejects.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use chrono::{TimeDelta, Utc};

use super::*;
use crate::schema::ORIGIN_RECORD_BITS;

fn sources() -> Vec<NamedSource> {
    let named = |dataset, path: &str| NamedSource {
        dataset,
        path: path.into(),
        fingerprint: format!("print of {path}"),
    };
    vec![
        named(Dataset::Claims, "b.csv"),
        named(Dataset::Claims, "a.csv"),
        named(Dataset::Providers, "A.csv"),
    ]
}

fn quarantine(folder: &Path) -> (RunId, Quarantine) {
    let run = RunId::now();
    (run, Quarantine::new(folder, run, sources()).expect("a quarantine"))
}

#[test]
fn rejects_read_back_in_the_order_of_the_sources() {
    let folder = tempfile::tempdir().expect("a folder");
    let (run, mut quarantine) = quarantine(folder.path());
    let second = 1 << ORIGIN_RECORD_BITS;
    let known = Rejected {
        fingerprint: Some([0xab; 16]),
        line: Some(9),
        ..Rejected::of(Rule::DateMissing, 7)
    };
    quarantine
        .append_providers(&[Rejected::of(Rule::DirectoryIdMissing, 1)])
        .and_then(|()| quarantine.append(&[known]))
        .and_then(|()| quarantine.append(&[Rejected::of(Rule::DuplicateConflict, second | 3)]))
        .expect("appended");
    let path = quarantine.finish().expect("finished").expect("a file");
    let mode = path.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let rejects = read(folder.path(), run).expect("reads");
    let seen: Vec<_> = rejects
        .iter()
        .map(|r| (r.dataset.name(), r.source, r.record, r.line, r.why.reason.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("claims", "a.csv", 3, None, "duplicate_conflict"),
            ("claims", "b.csv", 7, Some(9), "date_missing"),
            ("providers", "A.csv", 1, None, "directory_id_missing"),
        ]
    );
    let dated = rejects.iter().nth(1).expect("three");
    assert_eq!(dated.fingerprint.map(uuid::Uuid::into_bytes), Some([0xab; 16]));
    assert_eq!(dated.source_fingerprint, "print of b.csv");
    assert_eq!((dated.why.rule.as_str(), dated.why.column.as_str()), ("D1", "date_of_service"));
    assert_eq!(dated.why.description, Rule::DateMissing.description());

    let only = rejects.only(|source| source.path == "b.csv");
    let left: Vec<_> = only.iter().map(|r| (r.source, r.record)).collect();
    assert_eq!((left, only.sources().len()), (vec![("b.csv", 7)], 1));
}

#[test]
fn without_rejects_there_is_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, mut quarantine) = quarantine(folder.path());
    assert_eq!(quarantine.finish().expect("finished"), None);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn an_unfinished_file_is_known_by_its_run() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(unfinished(&folder.path().join("none")).expect("lists"), []);
    let (run, mut quarantine) = quarantine(folder.path());
    quarantine.append(&[Rejected::of(Rule::DateMissing, 7)]).expect("appended");
    for other in
        ["notes.parquet.partial", "x.partial", "018d6c3a-5c00-7000-8000-000000000001.parquet"]
    {
        fs::write(folder.path().join(other), "x").expect("written");
    }
    assert_eq!(unfinished(folder.path()).expect("lists"), [run]);
    drop(quarantine);
    remove_unfinished(folder.path(), run).expect("removed");
    remove_unfinished(folder.path(), run).expect("it is gone");
    assert_eq!(unfinished(folder.path()).expect("lists"), []);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 3);
}

#[test]
fn a_link_in_the_folder_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("other");
    fs::write(&other, "kept").expect("written");
    let (run, mut quarantine) = quarantine(folder.path());
    let file = path(folder.path(), run);
    for link in [file.clone(), file.with_extension("parquet.partial")] {
        std::os::unix::fs::symlink(&other, link).expect("a link");
    }
    quarantine.append(&[Rejected::of(Rule::DateMissing, 7)]).expect("appended");
    quarantine.finish().expect("finished");
    assert_eq!(fs::read_to_string(&other).expect("text"), "kept");
    assert!(file.symlink_metadata().expect("there").is_file());
}

#[test]
fn only_old_files_of_runs_are_thrown_away() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(list(&folder.path().join("none")).expect("lists"), []);
    let (run, mut quarantine) = quarantine(folder.path());
    quarantine.append(&[Rejected::of(Rule::DateMissing, 7)]).expect("appended");
    quarantine.finish().expect("finished");
    // 2024-02-02, and unrelated files.
    let old = "018d6c3a-5c00-7000-8000-000000000001";
    let others =
        [format!("{}.parquet", old.to_uppercase()), format!("{old}.csv"), "notes.parquet".into()];
    // A user-supplied id contains no time, so the file's time counts.
    let given = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
    for name in others.iter().chain([&format!("{given}.parquet"), &format!("{old}.parquet")]) {
        fs::write(folder.path().join(name), "not Parquet").expect("written");
    }
    // Set explicitly, because a file system's clock is some milliseconds behind that of run ids.
    fs::File::options()
        .append(true)
        .open(folder.path().join(format!("{given}.parquet")))
        .and_then(|file| file.set_modified(SystemTime::now() + Duration::from_mins(1)))
        .expect("dated");
    let linked = "018d6c3a-5c00-7000-8000-000000000002";
    std::os::unix::fs::symlink("notes.parquet", folder.path().join(format!("{linked}.parquet")))
        .expect("linked");

    let listed = list(folder.path()).expect("lists");
    let seen: Vec<_> = listed.iter().map(|k| (k.run_id.to_string(), k.rejects)).collect();
    let [given, old_run] = [given, old].map(|id| (id.to_owned(), None));
    assert_eq!(seen, [given, (run.to_string(), Some(1)), old_run]);

    let before = Utc::now() - TimeDelta::days(30);
    for dry_run in [true, false] {
        let gone = prune(folder.path(), before, dry_run).expect("pruned");
        assert_eq!(gone, listed[2..], "dry run: {dry_run}");
        assert_eq!(path(folder.path(), RunId::parse(old).expect("an id")).exists(), dry_run);
    }
    assert!(path(folder.path(), run).exists());
    for name in others.iter().chain([&format!("{linked}.parquet")]) {
        assert!(folder.path().join(name).symlink_metadata().is_ok(), "{name}");
    }
    assert_eq!(prune(folder.path(), before, false).expect("pruned"), []);
}
