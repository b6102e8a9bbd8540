//! Tests of the directory: deduplication and de-identification.

use polars::prelude::Int64Chunked;

use super::*;
use crate::key::MasterKey;
use crate::privacy::settings::{Action, Level, Mask, Privacy};

fn directory(rows: &[(Option<&str>, &str)], policy: OnDuplicate) -> Directory {
    released(rows, policy, &[])
}

/// With actions for some columns.
fn released(
    rows: &[(Option<&str>, &str)],
    policy: OnDuplicate,
    actions: &[(&str, Action)],
) -> Directory {
    let actions = actions.iter().map(|(column, action)| ((*column).to_owned(), action.clone()));
    let privacy = Privacy { columns: actions.collect(), ..Privacy::default() };
    let key = MasterKey::ephemeral().expect("a key");
    let release = Release::new(&privacy, &key).expect("a release");
    let text = |name: &str, values: Vec<Option<&str>>| -> Column {
        StringChunked::from_iter_options(name.into(), values.into_iter()).into_column()
    };
    let origins: Vec<i64> = (1..).take(rows.len()).collect();
    let frame = DataFrame::new(
        rows.len(),
        vec![
            Int64Chunked::from_vec(ORIGIN.into(), origins).into_column(),
            Column::full_null(SOURCE_LINE.into(), rows.len(), &DataType::Int64),
            Column::full_null(DAMAGE.into(), rows.len(), &DataType::Int32),
            text("provider_id", rows.iter().map(|row| row.0).collect()),
            text("provider_name", rows.iter().map(|row| Some(row.1)).collect()),
            text("specialty", rows.iter().map(|_| Some("General  Practice")).collect()),
            text("location", rows.iter().map(|_| None).collect()),
        ],
    )
    .expect("a frame");
    Directory::new(&frame, policy, &release).expect("a directory")
}

fn names(directory: &Directory) -> Vec<Option<&str>> {
    texts(directory, "provider_name")
}

fn texts<'a>(directory: &'a Directory, column: &str) -> Vec<Option<&'a str>> {
    directory.frame().column(column).and_then(Column::str).expect("texts").iter().collect()
}

#[test]
fn keys_become_unique_and_every_record_is_counted() {
    let rows =
        [(Some("1"), "a"), (Some("1"), "a"), (Some("2"), "b"), (Some("2"), "c"), (None, "d")];
    for (policy, kept, rejected) in [
        (OnDuplicate::Last, vec![Some("a"), Some("c")], 1),
        (OnDuplicate::First, vec![Some("a"), Some("b")], 1),
        (OnDuplicate::Reject, vec![Some("a")], 3),
    ] {
        let directory = directory(&rows, policy);
        let counts = directory.counts();
        assert_eq!(names(&directory), kept, "{policy:?}");
        let conflicts = u64::from(policy != OnDuplicate::Reject);
        assert_eq!((counts.read, counts.rejected, counts.conflicts), (5, rejected, conflicts));
        let dropped = counts.duplicates + counts.conflicts;
        assert_eq!(counts.read, counts.loaded + counts.rejected + dropped);
    }
}

#[test]
fn each_refused_record_has_a_rule_and_a_place() {
    let long = "x".repeat(201);
    let rows = [
        (Some("1"), "a"),
        (None, "b"),
        (Some("2\u{7}"), "c"),
        (Some(long.as_str()), "d"),
        (Some("3"), "e\0"),
        (Some("1"), "f"),
    ];
    let refused = |policy| {
        let directory = directory(&rows, policy);
        let rejects = directory.rejects().iter();
        rejects.map(|reject| (reject.origin, reject.rule)).collect::<Vec<_>>()
    };
    let always = [
        (2, Rule::DirectoryIdMissing),
        (3, Rule::ProviderIdInvalid),
        (4, Rule::ProviderIdInvalid),
        (5, Rule::DirectoryTextInvalid),
    ];
    assert_eq!(refused(OnDuplicate::Last), always);
    let mut with_conflicts = always.to_vec();
    with_conflicts.insert(0, (1, Rule::DirectoryConflict));
    with_conflicts.push((6, Rule::DirectoryConflict));
    assert_eq!(refused(OnDuplicate::Reject), with_conflicts);
    let counts = directory(&rows, OnDuplicate::Reject).counts();
    assert_eq!(counts.rejected, 6);
    assert_eq!(counts.reject_reasons["provider_id_invalid"], 2);
}

#[test]
fn false_npis_are_known_by_place() {
    let none = directory(&[(Some("V1"), "a"), (Some("1234567893"), "b")], OnDuplicate::Last);
    assert_eq!(none.false_npis(), None);
    let one = directory(&[(Some("1234567893"), "a"), (Some("1234567890"), "b")], OnDuplicate::Last);
    assert_eq!(one.false_npis().as_deref(), Some([false, true].as_slice()));
}

#[test]
fn claims_are_joined_by_raw_ids_and_nothing_else_tells_them() {
    let rows = [(Some("V1"), "Ann Lee"), (Some("V2"), "Ben"), (Some("V2"), "Bea")];
    let actions = [
        ("provider_id", Action::Token),
        ("provider_name", Action::Mask(Mask { first: 1, last: 0, with: '*' })),
        ("specialty", Action::Token),
        ("location", Action::Drop),
    ];
    let directory = released(&rows, OnDuplicate::Last, &actions);
    assert_eq!(directory.counts().conflicts, 1, "raw texts are compared");
    assert_eq!(names(&directory), [Some("A******"), Some("B**")]);
    let tokens = texts(&directory, "provider_id");
    let is_uuid = |text: Option<&str>| text.is_some_and(|text| uuid::Uuid::parse_str(text).is_ok());
    assert!(tokens.iter().copied().all(is_uuid) && tokens[0] != tokens[1], "{tokens:?}");
    let specialties = texts(&directory, "specialty");
    assert!(is_uuid(specialties[0]) && specialties[0] == specialties[1]);
    assert_eq!(directory.number(0), Some(1));
    assert!(directory.frame().column("location").is_err() && !directory.shape().has("location"));
    let lookup = directory.lookup().collect().expect("runs");
    let ids = lookup.column("provider_id").and_then(Column::str).expect("ids");
    assert_eq!(ids.iter().collect::<Vec<_>>(), [Some("V1"), Some("V2")]);
}

#[test]
fn without_specialties_nobody_has_a_number() {
    let actions = [("specialty", Action::Drop), ("location", Action::Generalize(Level::State))];
    let directory = released(&[(Some("V1"), "Ann")], OnDuplicate::Last, &actions);
    assert_eq!((directory.number(0), directory.specialty(0)), (Some(0), ""));
    assert_eq!(directory.frame().width(), 3);
}

#[test]
fn spellings_of_a_specialty_are_one_group() {
    let directory = directory(&[(Some("1"), "a"), (Some("2"), "b")], OnDuplicate::Last);
    assert_eq!(directory.specialty(1), "GENERAL PRACTICE");
    assert_eq!(directory.specialty(0), "");
}
