//! Tests of projection and row filters, for all formats.

use super::*;
use crate::config::{Mapping, Pattern};
use crate::identifier::Damage;

const ODD: &str = "CLAIM,LINE,KIND,NPI,patient_id,procedure_code,amount,date_of_service";
const ROWS: [&str; 6] = [
    "1,0,CHARGE,9,P,c,1,d",
    "1, 1 ,PAYMENT,9,P,c,2,d",
    " 2 ,7, CHARGE,9,P,c,3,d",
    "3,,CHARGE,9,P,c,4,d",
    "3,1,,9,P,c,5,d",
    "4,\"\",REVERSAL,9,P,c,6,d",
];

fn odd(paths: &[&Path]) -> Source {
    let mut source = source(paths);
    let template = Pattern::parse("{claim}-{Line}!").expect("a template");
    source.columns.insert("claim_id".into(), Mapping::Is(template));
    let patterns = ["PRVDR_NUM", "npi", "NPI"].map(|name| Pattern::Name(name.into())).to_vec();
    let first = Mapping::FirstOf { patterns, or_absent: false };
    source.columns.insert("provider_id".into(), first);
    source.columns.insert("line_number".into(), Mapping::Constant("7".into()));
    source.filter.insert("kind".into(), Values(vec!["CHARGE".into(), "REVERSAL".into()]));
    source
}

/// The same rows as Parquet; empty fields become nulls.
fn as_parquet(directory: &tempfile::TempDir) -> PathBuf {
    let names: Vec<&str> = ODD.split(',').collect();
    let columns = names.iter().enumerate().map(|(index, name)| {
        let cell = |row: &&'static str| row.split(',').nth(index).filter(|cell| !cell.is_empty());
        let cells: Vec<Option<&str>> =
            ROWS.iter().map(cell).map(|cell| cell.map(|cell| cell.trim_matches('"'))).collect();
        (*name, Arc::new(StringArray::from(cells)) as ArrayRef)
    });
    let path = directory.path().join("odd.parquet");
    parquet(&path, columns.collect());
    path
}

#[test]
fn templates_constants_and_chosen_rows_are_alike_in_every_format() {
    let directory = tempfile::tempdir().expect("a directory");
    let csv = write(&directory, "odd.csv", format!("{ODD}\n{}\n", ROWS.join("\n")));
    let parquet = as_parquet(&directory);
    for path in [&csv, &parquet] {
        let configured = odd(&[path]);
        let extracted = claims(&configured).expect("extracted");
        let blocks = scan(&extracted);
        let frame = blocks.all().expect("read").collect().expect("collected");
        assert_eq!((blocks.records(), blocks.filtered(), frame.height()), (6, 2, 4));
        let texts = |name: &str| -> Vec<Option<String>> {
            let column = frame.column(name).and_then(|column| column.str()).expect("text");
            column.iter().map(|text| text.map(ToOwned::to_owned)).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(texts("claim_id"), [some("1-0!"), some("2-7!"), None, None]);
        assert_eq!(texts("provider_id"), vec![some("9"); 4]);
        assert_eq!(texts("line_number"), vec![some("7"); 4]);
        assert_eq!(texts("amount"), ["1", "3", "4", "6"].map(some));
        let origins = frame.column(ORIGIN).and_then(|column| column.i64()).expect("numbers");
        assert_eq!(origins.iter().flatten().collect::<Vec<_>>(), [1, 3, 4, 6], "their own numbers");
        assert_eq!(extracted.ignored_columns, Vec::<String>::new());
        let json = serde_json::to_value(&extracted.files[0]).expect("JSON");
        assert_eq!(json["columns"]["claim_id"], "{CLAIM}-{LINE}!");
        assert_eq!(json["columns"]["line_number"], "\"7\"");
    }
}

#[test]
fn an_identifier_is_put_together_from_sound_parts() {
    let directory = tempfile::tempdir().expect("a directory");
    let rows = [
        "5001.0,1,x,x,x,x,9,d",
        "=\"5001\",2,x,x,x,x,9,d",
        "5001,\u{a0}3,x,x,x,x,9,d",
        "NULL,1,x,x,x,x,9,d",
        "5001, n/a ,x,x,x,x,9,d",
        "5001,\u{200b},x,x,x,x,9,d",
        "9.87E+11,4,x,x,x,x,9,d",
        "0,0,x,x,x,x,9,d",
        "(Unknown),1,x,x,x,x,9,d",
    ];
    let path = write(&directory, "odd.csv", format!("{ODD}\n{}\n", rows.join("\n")));
    let mut source = odd(&[&path]);
    source.filter.clear();
    let extracted = claims(&source).expect("extracted");
    let frame = scan(&extracted).all().expect("read").collect().expect("collected");
    let ids = frame.column("claim_id").and_then(|column| column.str()).expect("text");
    let damages = frame.column(ID_DAMAGE).and_then(|column| column.i32()).expect("numbers");
    let found: Vec<_> = ids.iter().zip(damages.iter()).collect();
    let [decimal, wrapped, invisible, scientific] =
        [Damage::DECIMAL, Damage::WRAPPED, Damage::INVISIBLE, Damage::SCIENTIFIC]
            .map(|damage| Some(damage.bits()));
    let none = (None, Some(0));
    assert_eq!(
        found,
        [
            (Some("5001-1!"), decimal),
            (Some("5001-2!"), wrapped),
            (Some("5001-3!"), invisible),
            none,
            none,
            none,
            (Some("9.87E+11-4!"), scientific),
            (Some("0-0!"), Some(0)),
            none,
        ]
    );
}

#[test]
fn rows_are_chosen_by_values_in_canonical_form() {
    let directory = tempfile::tempdir().expect("a directory");
    let rows = ["1,0,=\"CHARGE\",9,P,c,1,d", "2,0,CHARGE\u{a0},9,P,c,1,d", "3,0,charge,9,P,c,1,d"];
    let path = write(&directory, "odd.csv", format!("{ODD}\n{}\n", rows.join("\n")));
    let extracted = claims(&odd(&[&path])).expect("extracted");
    let blocks = scan(&extracted);
    let frame = blocks.all().expect("read").collect().expect("collected");
    assert_eq!((blocks.filtered(), frame.height()), (1, 2), "case counts");
}

#[test]
fn a_damaged_record_is_never_taken_for_another_kind() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(&directory, "odd.csv", format!("{ODD}\n{}\n1,0,PAYMENT\n", ROWS[1]));
    let extracted = claims(&odd(&[&path])).expect("extracted");
    let blocks = scan(&extracted);
    let frame = blocks.all().expect("read").collect().expect("collected");
    assert_eq!((blocks.filtered(), frame.height()), (1, 1), "one row is rejected, one is no claim");
    assert_eq!(frame.column(DAMAGE).expect("a column").null_count(), 0);
}

#[test]
fn one_field_serves_several_columns() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(&directory, "claims.csv", format!("{HEADER}\na,p,1,c,1,d\n"));
    let mut configured = source(&[&path]);
    configured.columns.insert("patient_id".into(), "CLAIM_ID".into());
    assert_eq!(rows(&configured)[0][..2], ["a", "a"]);
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(&directory, "odd.csv", format!("{ODD}\n{}\n", ROWS[0]));
    let refused = |change: &dyn Fn(&mut Source)| {
        let mut configured = odd(&[&path]);
        change(&mut configured);
        let error = refused(&configured);
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        error.message().to_owned()
    };
    let column = |name: &'static str, mapping: Mapping| {
        move |source: &mut Source| drop(source.columns.insert(name.into(), mapping.clone()))
    };
    for (message, change) in [
        ("maps amount to nothing, but it is required", column("amount", Mapping::Absent)),
        ("gives every row the same claim_id", column("claim_id", Mapping::Constant("x".into()))),
        ("maps amount to \"PAID\", but there is no such column", column("amount", "PAID".into())),
    ] {
        let refusal = refused(&change);
        assert!(refusal.contains(message), "{refusal}");
    }
    let filter = refused(&|source| {
        source.filter.insert("SORT".into(), Values(vec!["x".into()]));
    });
    assert!(filter.contains("[claims.where] names \"SORT\", but there is no such"), "{filter}");
    let none = refused(&|source| {
        let patterns = ["A", "B"].map(|name| Pattern::Name(name.into())).to_vec();
        let first = Mapping::FirstOf { patterns, or_absent: false };
        source.columns.insert("provider_id".into(), first);
    });
    assert!(none.contains("maps provider_id to the first of A, B, but there is no"), "{none}");
}

#[test]
fn the_separator_is_the_one_that_fits_best() {
    let directory = tempfile::tempdir().expect("a directory");
    for separator in [",", ";", "|", "\t"] {
        let text = format!("{HEADER}\na,p,1,c,1,d\n").replace(',', separator);
        let path = write(&directory, "claims.txt", text);
        assert_eq!(rows(&source(&[&path]))[0][..2], ["a", "p"], "{separator}");
    }
    // A comma inside a name is not a separator, and the mapping counts.
    let names = "CLM;patient_id;\"provider, id\";procedure_code;amount;date_of_service";
    let path = write(&directory, "claims.txt", format!("{names}\na;p;1;c;1;d\n"));
    let mut configured = source(&[&path]);
    configured.columns.insert("claim_id".into(), "CLM".into());
    configured.columns.insert("provider_id".into(), "provider, id".into());
    assert_eq!(rows(&configured)[0][..3], ["a", "p", "1"]);
    configured.delimiter = ",".into();
    assert_eq!(refused(&configured).kind(), ErrorKind::Config, "one that is configured counts");
    // No match: the message names as many columns as possible.
    let path = write(&directory, "claims.txt", "CLM|PAT|AMT (1)\na|b|c\n");
    let error = refused(&source(&[&path]));
    assert!(error.message().ends_with("the header has: CLM, PAT, AMT (1)"), "{error}");
}

#[test]
fn other_delimiters() {
    let directory = tempfile::tempdir().expect("a directory");
    for (delimiter, byte) in [("|", "|"), ("\\t", "\t"), ("\t", "\t"), (";", ";")] {
        let content = format!("{HEADER}\na,p,1,c,1,d\n").replace(',', byte);
        let path = write(&directory, "claims.txt", content);
        let configured = Source { delimiter: delimiter.into(), ..source(&[&path]) };
        assert_eq!(rows(&configured)[0][..2], ["a", "p"]);
    }
    let wrong =
        Source { delimiter: "||".into(), ..source(&[&directory.path().join("claims.txt")]) };
    assert_eq!(refused(&wrong).kind(), ErrorKind::Config);
}
