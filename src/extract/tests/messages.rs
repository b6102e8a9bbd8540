//! Tests of the messages for sources that do not match the contract.

use super::*;

fn gzip_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

#[test]
fn missing_columns_are_named_with_the_lines_to_write() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(
        &directory,
        "claims.csv",
        "claim_id,member_id,provider_id,cpt_code,billed_amount,service_date,paid_date\nSECRET1,SECRET2,3,4,5,6,7\n",
    );
    let error = refused(&source(&[&path]));
    assert_eq!(error.kind(), ErrorKind::Config);
    let message = error.message();
    assert!(message.contains("claims.csv"), "{message}");
    assert!(
        message.contains("no column for patient_id, procedure_code, amount, date_of_service"),
        "{message}"
    );
    assert!(message.contains("the header has: claim_id, member_id"), "{message}");
    let hint = error.way_out().expect("a hint");
    assert!(hint.contains("[claims.columns]"), "{hint}");
    assert_eq!(
        hint,
        "set in the configuration how they are named:\n  [claims.columns]\n  \
         patient_id = \"member_id\"\n  procedure_code = \"cpt_code\"\n  \
         amount = \"billed_amount\"\n  date_of_service = \"service_date\"   # or \"paid_date\""
    );
    assert!(!error.to_string().contains("SECRET"));
}

#[test]
fn a_file_without_a_header_shows_no_value() {
    let directory = tempfile::tempdir().expect("a directory");
    for first in [
        "CLM000123456,JohnDoe,1234567893,99213,12.50,2024-01-02\n",
        "\u{feff}CLM1,JohnDoe,PRV1,99213,12.50,2024-01-02\n",
        "PRV00001,JohnDoe,Cardiology,\"Ames, KY 01352\"\n",
    ] {
        let path = write(&directory, "claims.csv", first);
        let error = refused(&source(&[&path])).to_string();
        assert!(error.contains("line 1 is no header ("), "{error}");
        assert!(!error.contains("JohnDoe"), "{error}");
    }
}

#[test]
fn wrong_mappings_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(&directory, "claims.csv", format!("{HEADER},AMOUNT\n"));
    let error = refused(&source(&[&path]));
    assert!(error.message().contains("2 columns are named \"amount\""), "{error}");

    let mut configured = source(&[&path]);
    configured.columns.insert("claim".into(), "claim_id".into());
    let error = refused(&configured);
    assert!(error.message().contains("maps \"claim\", which is not a column of claims"), "{error}");
    assert!(error.way_out().is_some_and(|hint| hint.contains("line_number")), "{error}");
}

#[test]
fn damaged_and_missing_files_are_told_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let packed = gzip(&format!("{HEADER}\n"));
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("empty.csv", Vec::new(), "is empty"),
        ("blank.csv", b"\n\n".to_vec(), "holds no header"),
        ("cut.gz", packed[..12].to_vec(), "cannot be unpacked"),
        ("cut.parquet", b"PAR1nothing".to_vec(), "cannot be read as Parquet"),
        ("zip.csv", b"PK\x03\x04rest".to_vec(), "is a ZIP archive"),
        ("latin.csv", b"claim_id,pr\xe9nom\n".to_vec(), "is not text in the encoding UTF-8"),
        ("quote.csv", [b"\"", vec![b'x'; 2 << 20].as_slice()].concat(), "does not end within"),
    ];
    for (name, content, expected) in cases {
        let path = write(&directory, name, content);
        let error = refused(&source(&[&path]));
        assert_eq!(error.kind(), ErrorKind::Source, "{name}: {error}");
        assert!(error.message().contains(expected), "{name}: {error}");
    }
    let other: [(&str, Vec<u8>, &str, &str); 5] = [
        ("a.csv.bz2", b"BZh91AY&SY\x01".to_vec(), "is a bzip2 file", "unpack it"),
        (
            "a.csv",
            b"PK\x03\x04[Content_Types].xml".to_vec(),
            "is an Excel workbook",
            "save its sheet",
        ),
        ("a.csv.gz", gzip_bytes(&packed), "holds a gzip file", "unpack it once"),
        ("a.tar.gz", gzip_bytes(&tar()), "holds a tar archive", "unpack it"),
        ("a.json", b"[{\"claim_id\": 1}]".to_vec(), "is a JSON document", "convert it"),
    ];
    for (name, content, expected, way_out) in other {
        let path = write(&directory, name, content);
        let error = refused(&source(&[&path]));
        assert_eq!(error.kind(), ErrorKind::Source, "{name}: {error}");
        assert!(error.message().contains(&format!("{name} {expected}")), "{error}");
        assert!(error.way_out().is_some_and(|hint| hint.starts_with(way_out)), "{error}");
        assert!(!error.to_string().contains("encoding"), "{error}");
    }
    let missing = refused(&source(&[Path::new("/nowhere/claims.csv")]));
    assert_eq!(missing.message(), "claims: /nowhere/claims.csv: no such file or directory");
    assert!(missing.way_out().is_some());
    let none = refused(&Source::default());
    assert_eq!((none.kind(), none.way_out().is_some()), (ErrorKind::Config, true));
}

fn tar() -> Vec<u8> {
    let mut tar = vec![b'a'; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    tar
}

#[test]
fn addresses_never_appear_with_their_password() {
    for address in ["mysql://u:hunter2@h/db", "postgres://u:hunter2@h/db"] {
        let configured = Source { sources: vec![address.into()], ..Source::default() };
        let error = refused(&configured);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
