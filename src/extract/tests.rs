//! Tests of the extract stage.

mod messages;
mod parquet_types;
pub(crate) mod projection;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use polars::prelude::{AnyValue, DataType, col};

use super::source_resolver::{self, Origin};
use super::*;
use crate::config::{Interval, Settings, Source, Values};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Cancellation;
use crate::rule::Rule;
use crate::schema::{DAMAGE, Dataset, ID_DAMAGE, ORIGIN, ORIGIN_RECORD_BITS, RAW, SOURCE_LINE};

const HEADER: &str = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";

fn source(sources: &[&Path]) -> Source {
    let sources = sources.iter().map(|path| path.to_str().expect("UTF-8").to_owned()).collect();
    Source { sources, ..Source::default() }
}

fn claims(source: &Source) -> Result<Extracted> {
    let settings = Settings { claims: source.clone(), ..Settings::default() };
    extract(Dataset::Claims, &settings, &Cancellation::default())
}

fn refused(source: &Source) -> Error {
    claims(source).expect_err("refused")
}

/// All rows, as the load reads them.
fn rows(source: &Source) -> Vec<Vec<String>> {
    let extracted = claims(source).expect("extracted");
    let blocks = scan(&extracted);
    let frame = blocks.all().expect("read").collect().expect("collected");
    assert_eq!(blocks.records(), frame.height() as u64, "two counts of the records");
    let names: Vec<&str> = frame.columns().iter().map(|column| column.name().as_str()).collect();
    let contract: Vec<&str> = Dataset::Claims.columns().collect();
    let beside = [ORIGIN, DAMAGE, RAW, SOURCE_LINE, ID_DAMAGE];
    assert_eq!(names, [&contract[..], &beside].concat());
    let columns = &frame.columns()[..=contract.len()];
    for column in &columns[..contract.len()] {
        assert_eq!(column.dtype(), &DataType::String);
    }
    (0..frame.height())
        .map(|row| {
            columns
                .iter()
                .map(|column| match column.get(row).expect("a value") {
                    AnyValue::Null => "∅".to_owned(),
                    AnyValue::String(text) => text.to_owned(),
                    AnyValue::StringOwned(text) => text.to_string(),
                    other => other.to_string(),
                })
                .collect()
        })
        .collect()
}

fn origin(file: u64, record: u64) -> String {
    ((file << ORIGIN_RECORD_BITS) + record).to_string()
}

fn write(directory: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).expect("written");
    path
}

fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content.as_bytes()).expect("packed");
    encoder.finish().expect("packed")
}

#[test]
fn text_stays_as_it_is_and_rows_are_numbered() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(
        &directory,
        "claims.csv",
        format!("{HEADER}\n007,0012,1,00100,1.50,20240101\n8,100571169204E347,\"a, b\",,\"\",x\n"),
    );
    assert_eq!(
        rows(&source(&[&path])),
        [
            vec!["007", "0012", "1", "00100", "1.50", "20240101", "∅", &origin(0, 1)],
            vec!["8", "100571169204E347", "a, b", "∅", "", "x", "∅", &origin(0, 2)],
        ]
    );
}

#[test]
fn headers_are_matched_without_regard_to_mark_case_order_and_blanks() {
    let directory = tempfile::tempdir().expect("a directory");
    let plain = write(&directory, "a.csv", format!("{HEADER},line_number\na,b,c,d,1,e,2\n"));
    let odd = write(
        &directory,
        "b.csv",
        "\u{feff}Amount, DATE_OF_SERVICE ,note,note,\"Claim_ID\",CLM_PAT,provider_id,procedure_code\r\n1,e,x,y,a,b,c,d\r\n",
    );
    let mut configured = source(&[&odd, &plain]);
    configured.columns.insert("patient_id".into(), "clm_pat".into());
    // The second file lacks the mapped column.
    let error = refused(&configured);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("maps patient_id to \"clm_pat\""), "{error}");

    fs::write(
        &plain,
        format!("{},line_number\na,b,c,d,1,e,2\n", HEADER.replace("patient_id", "CLM_PAT")),
    )
    .expect("written");
    assert_eq!(
        rows(&configured),
        [
            vec!["a", "b", "c", "d", "1", "e", "∅", &origin(0, 1)],
            vec!["a", "b", "c", "d", "1", "e", "2", &origin(1, 1)],
        ]
    );
    assert_eq!(claims(&configured).expect("extracted").ignored_columns, ["note"]);
}

#[test]
fn packed_files_are_told_by_content_and_numbered_alike() {
    let directory = tempfile::tempdir().expect("a directory");
    // Large enough for several blocks.
    let mut content = format!("{HEADER}\n");
    for number in 1..=300_000 {
        writeln!(content, "CLM{number:09},P{number},1234567893,00100,12.50,2024-01-02")
            .expect("a String takes all");
    }
    let (first, second) = content.split_at(content.len() / 2);
    let plain = write(&directory, "plain.txt", &content);
    // Two members, as from `cat a.gz b.gz`.
    let packed = write(&directory, "gzip.csv", [gzip(first), gzip(second)].concat());
    let zstd_bytes =
        [first, second].map(|part| zstd::encode_all(part.as_bytes(), 1).expect("packed")).concat();
    let zstd = write(&directory, "zstd.csv", zstd_bytes);
    for (path, compression) in
        [(&plain, Compression::None), (&packed, Compression::Gzip), (&zstd, Compression::Zstd)]
    {
        let configured = source(&[path, &plain]);
        // In the plain case the second source is the same file.
        let files = if path == &plain { 1 } else { 2 };
        let extracted = claims(&configured).expect("extracted");
        assert_eq!(extracted.files.len(), files);
        assert_eq!(extracted.files[0].compression, compression);
        let blocks = scan(&extracted);
        let frame = blocks.all().expect("read").select([col("claim_id"), col(ORIGIN)]);
        let frame = frame.collect().expect("collected");
        assert_eq!(frame.height(), 300_000 * files);
        let ids = frame.columns()[0].str().expect("text").iter();
        let origins = frame.columns()[1].i64().expect("integers").iter();
        for (id, origin) in ids.zip(origins) {
            let record = origin.expect("an origin") & ((1 << ORIGIN_RECORD_BITS) - 1);
            assert_eq!(id, Some(format!("CLM{record:09}").as_str()));
        }
    }
}

#[test]
fn globs_are_sorted_and_no_file_counts_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["b.csv", "a.csv", "c.csv"] {
        write(&directory, name, format!("{HEADER}\n{name},p,1,c,1,d\n"));
    }
    let glob = directory.path().join("*.csv");
    let c = directory.path().join("c.csv");
    let names: Vec<String> =
        rows(&source(&[&c, &glob])).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(names, ["c.csv", "a.csv", "b.csv"]);

    let none = refused(&source(&[&directory.path().join("*.txt")]));
    assert_eq!(none.kind(), ErrorKind::Source);
    assert!(none.message().contains("no file matches"), "{none}");
    let below: Vec<String> =
        rows(&source(&[directory.path()])).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(below, ["a.csv", "b.csv", "c.csv"]);
}

#[test]
fn the_fingerprint_follows_content_and_order_not_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let a = write(&directory, "a.csv", format!("{HEADER}\na,p,1,c,1,d\n"));
    let b = write(&directory, "b.csv", format!("{HEADER}\nb,p,1,c,1,d\n"));
    let copy = write(&directory, "copy.csv", fs::read(&a).expect("read"));
    let print = |paths: &[&Path]| claims(&source(paths)).expect("extracted").fingerprint;
    assert_eq!(print(&[&a, &b]), print(&[&copy, &b]));
    assert_ne!(print(&[&a, &b]), print(&[&b, &a]));
    assert_eq!(print(&[&a]).len(), 64);
    let file = &claims(&source(&[&a])).expect("extracted").files[0];
    assert_eq!(file.fingerprint, blake3::hash(&fs::read(&a).expect("read")).to_hex().to_string());
}

#[test]
fn a_file_that_changes_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(&directory, "claims.csv", format!("{HEADER}\na,p,1,c,1,d\n"));
    let extracted = claims(&source(&[&path])).expect("extracted");
    unchanged(&extracted).expect("unchanged");
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opened");
    file.write_all(b"b,p,1,c,1,d\n").expect("written");
    drop(file);
    let error = unchanged(&extracted).expect_err("changed");
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.message().contains("was changed while it was read"), "{error}");
}

#[test]
fn a_header_alone_gives_no_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    for content in [HEADER.to_owned(), format!("{HEADER}\n"), format!("{HEADER}\r\n")] {
        let path = write(&directory, "claims.csv", content);
        assert!(rows(&source(&[&path])).is_empty());
    }
}

/// Damaged records: number, line and rule.
fn damages(source: &Source) -> Vec<(i64, i64, &'static str)> {
    let extracted = claims(source).expect("extracted");
    let frame = scan(&extracted).all().expect("read").collect().expect("collected");
    let whole = |name: &str| -> Vec<Option<i64>> {
        let column = frame.column(name).and_then(|column| column.cast(&DataType::Int64));
        column.expect("a column").i64().expect("numbers").iter().collect()
    };
    let (origins, lines) = (whole(ORIGIN), whole(SOURCE_LINE));
    let rule = |code: i64| Rule::from_code(i32::try_from(code).expect("small")).expect("a rule");
    whole(DAMAGE)
        .into_iter()
        .enumerate()
        .filter_map(|(row, code)| Some((origins[row]?, lines[row]?, rule(code?).name())))
        .collect()
}

#[test]
fn records_are_numbered_as_they_are_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(
        &directory,
        "claims.csv",
        format!("\n{HEADER}\na,\"p\nq\",1,c,1,d\n\nb,\"p\"\"\",1,c,1,d\nc,p\n{HEADER}\n"),
    );
    let empty = "∅";
    assert_eq!(
        rows(&source(&[&path])),
        [
            vec!["a", "p\nq", "1", "c", "1", "d", empty, &origin(0, 1)],
            vec!["b", "p\"", "1", "c", "1", "d", empty, &origin(0, 2)],
            vec![empty, empty, empty, empty, empty, empty, empty, &origin(0, 3)],
            vec![empty, empty, empty, empty, empty, empty, empty, &origin(0, 4)],
        ]
    );
    assert_eq!(damages(&source(&[&path])), [(3, 7, "too_few_fields"), (4, 8, "header_repeated")]);
}

#[test]
fn a_damaged_record_costs_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut content = format!("{HEADER}\na,p,1,c,1,d,e\nb,p,1,c,1,d\nc,\"p,1,c,1,d\n").into_bytes();
    content.extend_from_slice(b"d,\xff,1,c,1,d\ne,\"p\"x,1,c,1,d\nf,\0,1,c,1,d\ng,p,1,c,1,d\n");
    let path = write(&directory, "claims.csv", content);
    let configured = source(&[&path]);
    let read: Vec<String> = rows(&configured).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(read, ["∅", "b", "∅", "∅", "∅", "∅", "g"]);
    assert_eq!(
        damages(&configured),
        [
            (1, 2, "too_many_fields"),
            (3, 4, "quote_unclosed"),
            (4, 5, "encoding_invalid"),
            (5, 6, "quote_malformed"),
            (6, 7, "nul_character"),
        ]
    );
}

#[test]
fn encodings_line_ends_and_comments() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = format!("{HEADER}\nV\u{ed}ctor,p,1,c,1,d\n");
    let utf16: Vec<u8> =
        format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(c).expect("Latin-1")).collect();
    for (name, content, encoding, comment) in [
        ("utf16.csv", utf16, "auto", None),
        ("latin.csv", latin, "windows-1252", None),
        ("old.csv", text.replace('\n', "\r").into_bytes(), "auto", None),
        ("crlf.csv", text.replace('\n', "\r\n").into_bytes(), "auto", None),
        ("notes.csv", format!("# a,b\n{text}# \"c\n").into_bytes(), "auto", Some('#')),
    ] {
        let path = write(&directory, name, content);
        let configured = Source { encoding: encoding.into(), comment, ..source(&[&path]) };
        assert_eq!(rows(&configured)[0][..2], ["V\u{ed}ctor", "p"], "{name}");
    }
    let path = directory.path().join("old.csv");
    for wrong in [
        Source { encoding: "ebcdic".into(), ..source(&[&path]) },
        Source { comment: Some('a'), ..source(&[&path]) },
    ] {
        assert_eq!(refused(&wrong).kind(), ErrorKind::Config);
    }
}

#[test]
fn what_is_read_must_be_what_was_fingerprinted() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(&directory, "claims.csv", format!("{HEADER}\na,p,1,c,1,d\n"));
    let extracted = claims(&source(&[&path])).expect("extracted");
    // Same length and modification time.
    let modified = fs::metadata(&path).and_then(|found| found.modified()).expect("a time");
    fs::write(&path, format!("{HEADER}\nb,p,1,c,1,d\n")).expect("written");
    let file = fs::OpenOptions::new().append(true).open(&path).expect("opened");
    file.set_modified(modified).expect("set");
    unchanged(&extracted).expect("size and time say nothing");
    let error = scan(&extracted).all().err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.message().ends_with("was changed while it was read"), "{error}");
}

#[test]
fn single_records_are_found_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(
        &directory,
        "claims.csv",
        gzip(&format!("{HEADER}\r\na,\"p\nq\",1,c,1,d\r\n\nb,\"x\nc,p,1,c,1,d")),
    );
    let extracted = claims(&source(&[&path])).expect("extracted");
    let mut found = Vec::new();
    records(Dataset::Claims, &extracted.files[0], &[0, 1, 2, 3].into(), &mut |original| {
        found.push((original.record, original.line, original.bytes.to_vec()));
        Ok(())
    })
    .expect("read");
    let expected: [(u64, u64, &[u8]); 4] = [
        (0, 0, HEADER.as_bytes()),
        (1, 2, b"a,\"p\nq\",1,c,1,d"),
        (2, 5, b"b,\"x"),
        (3, 6, b"c,p,1,c,1,d"),
    ];
    assert_eq!(found, expected.map(|(record, line, bytes)| (record, line, bytes.to_vec())));
}

/// Writes a Parquet file with these columns.
fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    let file = fs::File::create(path).expect("created");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

#[test]
fn parquet_columns_become_exact_text() {
    let directory = tempfile::tempdir().expect("a directory");
    let amount = Decimal128Array::from(vec![1250]).with_precision_and_scale(12, 2);
    let path = directory.path().join("claims");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("Claim_ID", Arc::new(StringArray::from(vec!["007"]))),
        ("patient_id", Arc::new(Int64Array::from(vec![12]))),
        ("provider_id", Arc::new(StringArray::from(vec!["1"]))),
        ("procedure_code", Arc::new(StringArray::from(vec![None::<&str>]))),
        ("amount", Arc::new(amount.expect("a decimal"))),
        ("date_of_service", Arc::new(Date32Array::from(vec![19_724]))),
    ];
    parquet(&path, columns);
    let csv = write(&directory, "b.csv", format!("{HEADER}\na,p,1,c,1,d\n"));
    assert_eq!(
        rows(&source(&[&path, &csv])),
        [
            vec!["007", "12", "1", "∅", "12.50", "2024-01-02", "∅", &origin(0, 1)],
            vec!["a", "p", "1", "c", "1", "d", "∅", &origin(1, 1)],
        ]
    );
}

#[test]
fn an_empty_part_has_no_rows_and_an_empty_file_is_an_error() {
    let directory = tempfile::tempdir().expect("a directory");
    let empty = write(&directory, "a.csv", "");
    write(&directory, "b.csv", format!("{HEADER}\nC1,p,1,c,1,d\n"));
    write(&directory, "c.csv.gz", gzip(""));
    write(&directory, "d.csv.part", "half");
    write(&directory, "_e.csv", "half");
    for sources in [directory.path().to_owned(), directory.path().join("*")] {
        let configured = source(&[&sources]);
        assert_eq!(rows(&configured).len(), 1);
        let left_out = claims(&configured).expect("extracted").left_out;
        assert_eq!((left_out.files, left_out.empty), (2, 2), "{left_out:?}");
        assert_eq!(left_out.names.len(), 2);
    }
    let error = refused(&source(&[&empty]));
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.message().ends_with("a.csv is empty"), "{error}");
    fs::remove_file(directory.path().join("b.csv")).expect("removed");
    let error = refused(&source(&[directory.path()]));
    assert_eq!(error.kind(), ErrorKind::Source);
    assert!(error.message().contains("c.csv.gz"), "{error}");
    fs::remove_file(directory.path().join("c.csv.gz")).expect("removed");
    let error = refused(&source(&[&directory.path().join("*.csv")]));
    assert!(error.message().contains("1 file without rows (0 bytes)"), "{error}");
}

#[test]
fn small_files_share_a_block_and_keep_their_origins() {
    let directory = tempfile::tempdir().expect("a directory");
    for number in 0..50 {
        let text = format!("{HEADER}\nC{number},p,1,c,1,d\nx{number}\nD{number},p,1,c,1,d\n");
        write(&directory, &format!("{number:02}.csv"), text);
    }
    let configured = source(&[directory.path()]);
    let extracted = claims(&configured).expect("extracted");
    let blocks = scan(&extracted);
    let block = blocks.next_block().expect("read").expect("a block");
    assert_eq!(block.records(), 150);
    assert!(blocks.next_block().expect("read").is_none());
    let read = rows(&configured);
    for (number, rows) in (0..).zip(read.chunks(3)) {
        let ids: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(ids, [&format!("C{number}"), "\u{2205}", &format!("D{number}")]);
        let origins: Vec<&str> = rows.iter().map(|row| row[7].as_str()).collect();
        assert_eq!(origins, [origin(number, 1), origin(number, 2), origin(number, 3)]);
    }
    assert_eq!(damages(&configured).len(), 50);
    assert_eq!(damages(&configured)[7].1, 3, "lines are those of their file");
}

/// Time to resolve this many files.
fn finding(files: usize) -> std::time::Duration {
    let directory = tempfile::tempdir().expect("a directory");
    for number in 0..files {
        write(&directory, &format!("{number}.csv"), "x");
    }
    let configured = source(&[directory.path(), &directory.path().join("*.csv")]);
    let began = std::time::Instant::now();
    let cancel = Cancellation::default();
    let origin =
        source_resolver::resolve(Dataset::Claims, &configured, &Interval::default(), &cancel);
    let Ok(Origin::Files { locations, .. }) = origin else { panic!("places") };
    assert_eq!(locations.len(), files, "none twice");
    began.elapsed()
}

#[test]
fn eight_times_the_files_take_about_eight_times_as_long() {
    // It was once quadratic (a factor of 64). A ratio is robust against slow disks and busy
    // machines.
    let ratio = || finding(16_000).as_secs_f64() / finding(2_000).as_secs_f64();
    let best = (0..3).map(|_| ratio()).fold(f64::INFINITY, f64::min);
    assert!(best < 24.0, "{best}");
}
