//! Tests of Parquet sources: column types, false footers, arbitrary bytes.

use ::parquet::basic::{BrotliLevel, Compression as Codec, GzipLevel, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType, Int96, Int96Type};
use ::parquet::file::metadata::{
    ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use arrow::array::{
    BinaryArray, BooleanArray, Decimal256Array, DictionaryArray, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int32Array, LargeStringArray, NullArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Int32Type, Schema, i256};
use bytes::Bytes;

use super::*;

type Named = (&'static str, ArrayRef);
type Change = fn(i64) -> i64;

fn text(values: [&str; 4]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Four claims; `other` columns replace those with the same name or are added.
fn columns(other: Vec<Named>) -> Vec<Named> {
    let mut columns: Vec<Named> = vec![
        ("claim_id", text(["C1", "C2", "C3", "C4"])),
        ("patient_id", text(["P1", "P2", "P3", "P4"])),
        ("provider_id", text(["V1", "V1", "V1", "V1"])),
        ("procedure_code", text(["99213", "99214", "99215", "00100"])),
        ("amount", text(["12.30", "0.05", "-7.25", "1000.00"])),
        ("date_of_service", text(["2024-01-31", "2024-01-31", "2024-02-29", "2024-01-01"])),
    ];
    for (name, column) in other {
        match columns.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = column,
            None => columns.push((name, column)),
        }
    }
    columns
}

fn bytes(columns: Vec<Named>, properties: WriterProperties) -> Vec<u8> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties));
    let writer = writer.as_mut().expect("a writer");
    writer.write(&batch).expect("written");
    writer.finish().expect("written");
    writer.inner().clone()
}

fn plain(other: Vec<Named>) -> Vec<u8> {
    bytes(columns(other), WriterProperties::default())
}

/// Values of one column as read.
fn read(file: &[u8], column: &str) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(&directory, "claims.parquet", file);
    let index = Dataset::Claims.columns().position(|name| name == column).expect("a column");
    rows(&source(&[&path])).into_iter().map(|mut row| row.swap_remove(index)).collect()
}

fn refusal(file: &[u8]) -> Error {
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(&directory, "claims.parquet", file);
    refused(&source(&[&path]))
}

#[test]
fn types_of_the_field_are_read_as_they_are() {
    let plain_amounts = ["12.30", "0.05", "-7.25", "1000.00"];
    let cents = [1230, 5, -725, 100_000];
    let decimal256 = Decimal256Array::from(cents.map(i256::from).to_vec());
    let decimal256 = decimal256.with_precision_and_scale(50, 2).expect("a decimal");
    let keys = Int32Array::from(vec![0, 1, 2, 3]);
    let category = DictionaryArray::<Int32Type>::new(keys, text(plain_amounts));
    let large = LargeStringArray::from(plain_amounts.to_vec());
    let amounts: [ArrayRef; 4] =
        [Arc::new(decimal256), Arc::new(category), Arc::new(large), text(plain_amounts)];
    for amount in amounts {
        let kind = amount.data_type().to_string();
        assert_eq!(read(&plain(vec![("amount", amount)]), "amount"), plain_amounts, "{kind}");
    }
    let wide = cents.map(|cents: i64| i128::from(cents) * 10_i128.pow(16));
    let wide = Decimal128Array::from(wide.to_vec()).with_precision_and_scale(38, 18);
    let wide = read(&plain(vec![("amount", Arc::new(wide.expect("a decimal")))]), "amount");
    assert_eq!(wide[0], "12.300000000000000000");

    let doubles = Float64Array::from(vec![0.3, 19.99, -7.25, 1_234_567.89]);
    let doubles = read(&plain(vec![("amount", Arc::new(doubles))]), "amount");
    assert_eq!(doubles, ["0.3", "19.99", "-7.25", "1234567.89"]);
    let singles = Float32Array::from(vec![0.3, 19.99, -7.25, 200_000.01]);
    let singles = read(&plain(vec![("amount", Arc::new(singles))]), "amount");
    assert_eq!(singles, ["0.3", "19.99", "-7.25", "2.0000002E5"], "the last one's cents are lost");

    let ids = Int64Array::from(vec![900_000_000_000_000_001, 2, 3, 4]);
    let ids = read(&plain(vec![("claim_id", Arc::new(ids))]), "claim_id");
    assert_eq!(ids[0], "900000000000000001");
    let ids = Float64Array::from(vec![Some(1001.0), None, Some(9e17), Some(f64::NAN)]);
    let ids = read(&plain(vec![("claim_id", Arc::new(ids))]), "claim_id");
    assert_eq!(ids, ["1001", "\u{2205}", "9E17", "NaN"]);
    let ids = FixedSizeBinaryArray::try_from_iter(["C1", "C2", "C3", "C4"].iter());
    let ids = plain(vec![("claim_id", Arc::new(ids.expect("bytes")))]);
    assert_eq!(read(&ids, "claim_id"), ["C1", "C2", "C3", "C4"]);

    let nothing = plain(vec![("provider_id", Arc::new(NullArray::new(4)))]);
    assert_eq!(read(&nothing, "provider_id"), ["\u{2205}"; 4]);
    let inner = Arc::new(Field::new("amount", arrow::datatypes::DataType::Utf8, true));
    let nested = StructArray::from(vec![(inner, text(["1", "2", "3", "4"]))]);
    let beside = plain(vec![("detail", Arc::new(nested))]);
    assert_eq!(read(&beside, "amount"), plain_amounts);
    let bytes = BinaryArray::from(vec![&b"C1"[..], b"C\xff", b"C\0", b"C4"]);
    let bytes = plain(vec![("claim_id", Arc::new(bytes))]);
    assert_eq!(read(&bytes, "claim_id"), ["C1", "\u{2205}", "\u{2205}", "C4"]);
}

#[test]
fn days_are_those_of_the_columns_zone() {
    let days = Date32Array::from(vec![19_753, 19_753, 19_782, 19_723]);
    let expected = ["2024-01-31", "2024-01-31", "2024-02-29", "2024-01-01"];
    let day = "date_of_service";
    assert_eq!(read(&plain(vec![(day, Arc::new(days))]), day), expected);
    let late = TimestampMicrosecondArray::from(vec![1_706_745_600_000_000; 4]);
    assert_eq!(read(&plain(vec![(day, Arc::new(late.clone()))]), day), ["2024-02-01"; 4]);
    let late = late.with_timezone("America/New_York");
    assert_eq!(read(&plain(vec![(day, Arc::new(late))]), day), ["2024-01-31"; 4]);
}

/// A file with one row whose date is stored as INT96, which Arrow does not write.
fn int96(julian: u32) -> Vec<u8> {
    let texts = ["claim_id", "patient_id", "provider_id", "procedure_code", "amount"];
    let fields: String = texts.map(|name| format!("required binary {name} (STRING);")).concat();
    let schema =
        parse_message_type(&format!("message m {{{fields} required int96 date_of_service;}}"));
    let mut file = Vec::new();
    let schema = Arc::new(schema.expect("a schema"));
    let mut writer =
        SerializedFileWriter::new(&mut file, schema, Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a group");
    for _ in texts {
        let mut column = group.next_column().expect("a column").expect("one more");
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&[ByteArray::from("1")], None, None).expect("written");
        column.close().expect("closed");
    }
    let mut column = group.next_column().expect("a column").expect("one more");
    let mut day = Int96::new();
    day.set_data(0, 0, julian);
    column.typed::<Int96Type>().write_batch(&[day], None, None).expect("written");
    column.close().expect("closed");
    group.close().expect("closed");
    writer.close().expect("closed");
    file
}

#[test]
fn the_days_of_int96_reach_beyond_nanoseconds() {
    // 2024-01-31, and a date more than 292 years from 1970.
    assert_eq!(read(&int96(2_460_341), "date_of_service"), ["2024-01-31"]);
    assert_eq!(read(&int96(5_373_484), "date_of_service"), ["9999-12-31"]);
}

#[test]
fn what_cannot_be_exact_is_refused_by_name() {
    let inner = Arc::new(Field::new("SECRET", arrow::datatypes::DataType::Utf8, true));
    let nested: ArrayRef = Arc::new(StructArray::from(vec![(inner, text(["1", "2", "3", "4"]))]));
    let error = refusal(&plain(vec![("amount", nested)]));
    assert_eq!(error.kind(), ErrorKind::Config);
    let message = error.message();
    assert!(
        message.ends_with(
            "column \"amount\" (amount) has the type struct, which cannot be read exactly"
        ),
        "{message}"
    );
    let unknown = TimestampMicrosecondArray::from(vec![0; 4]).with_timezone("Nowhere/At_All");
    let error = refusal(&plain(vec![("date_of_service", Arc::new(unknown))]));
    assert!(error.message().contains("timestamp of the unknown zone Nowhere/At_All"), "{error}");
    let mut twice = columns(Vec::new());
    twice.push(("amount", text(["1", "2", "3", "4"])));
    let error = refusal(&bytes(twice, WriterProperties::default()));
    assert!(error.message().contains("2 columns are named \"amount\""), "{error}");
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true, true]));
    let directory = tempfile::tempdir().expect("a directory");
    let path = write(&directory, "claims.parquet", plain(vec![("final", flags)]));
    let mut configured = source(&[&path]);
    configured.filter.insert("final".into(), Values(vec!["true".into()]));
    let extracted = claims(&configured).expect("extracted");
    let frame = scan(&extracted).all().expect("read").collect().expect("collected");
    assert_eq!(frame.height(), 3);
}

/// Files with every codec, page version and encoding, and one or several row groups.
fn files() -> Vec<(String, Vec<u8>)> {
    let codecs = [
        Codec::UNCOMPRESSED,
        Codec::SNAPPY,
        Codec::GZIP(GzipLevel::default()),
        Codec::ZSTD(ZstdLevel::default()),
        Codec::LZ4_RAW,
        Codec::BROTLI(BrotliLevel::default()),
    ];
    let mut files = Vec::new();
    for codec in codecs {
        for (version, dictionary, group) in [
            (WriterVersion::PARQUET_1_0, true, 4),
            (WriterVersion::PARQUET_2_0, false, 4),
            (WriterVersion::PARQUET_1_0, false, 1),
            (WriterVersion::PARQUET_2_0, true, 3),
        ] {
            let properties = WriterProperties::builder()
                .set_compression(codec)
                .set_writer_version(version)
                .set_dictionary_enabled(dictionary)
                .set_max_row_group_row_count(Some(group))
                .build();
            let name = format!("{codec} {version:?} dictionary {dictionary} groups of {group}");
            let day = TimestampMicrosecondArray::from(vec![1_706_659_200_000_000; 4]);
            let amount = Decimal128Array::from(vec![1230, 5, -725, 100_000]);
            let amount = amount.with_precision_and_scale(12, 2).expect("a decimal");
            let other: Vec<Named> =
                vec![("date_of_service", Arc::new(day)), ("amount", Arc::new(amount))];
            files.push((name, bytes(columns(other), properties)));
        }
    }
    files
}

#[test]
fn every_codec_and_encoding_is_read() {
    for (name, file) in files() {
        assert_eq!(read(&file, "amount"), ["12.30", "0.05", "-7.25", "1000.00"], "{name}");
    }
}

/// The file with a modified footer.
fn with_footer(file: &[u8], change: impl Fn(&ParquetMetaData) -> ParquetMetaData) -> Vec<u8> {
    let found = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(file.to_vec()));
    let found = found.expect("a footer");
    let tail = file.len() - 8;
    let length: [u8; 4] = file[tail..tail + 4].try_into().expect("four bytes");
    let length = usize::try_from(u32::from_le_bytes(length)).expect("small");
    let mut changed = file[..tail - length].to_vec();
    ParquetMetaDataWriter::new(&mut changed, &change(&found)).finish().expect("a footer");
    changed
}

/// The footer with modified counts: for the row groups and the file, and for the columns.
fn counting(
    found: &ParquetMetaData,
    group: impl Fn(i64) -> i64,
    column: impl Fn(i64) -> i64,
) -> ParquetMetaData {
    let groups = found.row_groups().iter().map(|found: &RowGroupMetaData| {
        let columns = found.columns().iter().map(|chunk| {
            let values = column(chunk.num_values());
            chunk.clone().into_builder().set_num_values(values).build().expect("a column")
        });
        let rows = group(found.num_rows());
        let builder = found.clone().into_builder().set_num_rows(rows);
        builder.set_column_metadata(columns.collect()).build().expect("a group")
    });
    ParquetMetaData::new(found.file_metadata().clone(), groups.collect())
}

/// The file with half its row count in the footer or in its first row group. The footer's own count
/// comes first.
fn halved(file: &[u8], own: bool) -> Vec<u8> {
    let mut whole = with_footer(file, ParquetMetaData::clone);
    let half = with_footer(file, |found| counting(found, |count| count / 2, |count| count));
    assert_eq!(half.len(), whole.len());
    let mut unlike = (0..whole.len()).filter(|&index| whole[index] != half[index]);
    let index = if own { unlike.next() } else { unlike.nth(1) }.expect("two counts");
    whole[index] = half[index];
    whole
}

#[test]
fn a_footer_that_counts_other_rows_than_its_pages_loads_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let same = |count: i64| count;
    for (name, file) in files() {
        let unchanged = with_footer(&file, ParquetMetaData::clone);
        assert_eq!(read(&unchanged, "amount").len(), 4, "{name}");
        let changes: [(&str, Change); 5] = [
            ("fewer", |count| count / 2),
            ("more", |count| count * 2),
            ("none", |_| 0),
            ("far too many", |_| 1 << 40),
            ("negative", |_| -1),
        ];
        for (how, change) in changes {
            let mut all = vec![
                ("both", with_footer(&file, |found| counting(found, change, same))),
                ("all", with_footer(&file, |found| counting(found, change, change))),
            ];
            if how == "fewer" {
                all.extend([("file", halved(&file, true)), ("group", halved(&file, false))]);
            }
            for (which, bytes) in all {
                let path = write(&directory, "claims.parquet", bytes);
                let error = refused(&source(&[&path]));
                assert_eq!(error.kind(), ErrorKind::Source, "{name}: {how}, {which}: {error}");
                let message = error.message();
                if how == "fewer" || how == "more" {
                    assert!(message.contains("its footer counts"), "{name}: {which}: {message}");
                }
            }
            // The value counts of a column chunk are not used.
            let bytes = with_footer(&file, |found| counting(found, same, change));
            let path = write(&directory, "claims.parquet", bytes);
            match claims(&source(&[&path])) {
                Ok(_) => assert_eq!(rows(&source(&[&path])).len(), 4, "{name}: {how}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Source, "{name}: {how}"),
            }
        }
    }
}

#[test]
fn the_count_is_compared_with_what_was_read_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, file) = files().swap_remove(0);
    let path = write(&directory, "claims.parquet", &file);
    let extracted = claims(&source(&[&path])).expect("extracted");
    let less = |count: i64| count / 2;
    fs::write(&path, with_footer(&file, |found| counting(found, less, less))).expect("written");
    let error = scan(&extracted).all().err().expect("refused");
    assert!(error.message().contains("its footer counts 2 rows, but its pages hold 4"), "{error}");
}

/// Deterministic pseudo-random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("small") % limit
    }
}

#[test]
fn no_bytes_panic_or_change_the_number_of_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut dice = Dice(0);
    let (mut loaded, mut refused) = (0, 0);
    for (name, file) in files() {
        for _ in 0..150 {
            let mut bytes = file.clone();
            for _ in 0..=dice.below(3) {
                // Half of the changes hit the footer, with its offsets and lengths.
                let from = if dice.below(2) == 0 { 4 } else { file.len() / 2 };
                let at = from + dice.below(bytes.len() - from);
                match dice.below(4) {
                    0 => bytes[at] = bytes[at].wrapping_add(1),
                    1 => bytes[at] = 0xff,
                    2 => bytes[at] ^= 1 << dice.below(8),
                    _ => bytes[at] = u8::try_from(dice.below(256)).expect("a byte"),
                }
            }
            if dice.below(20) == 0 {
                bytes.truncate(4 + dice.below(bytes.len() - 4));
            }
            let path = write(&directory, "claims.parquet", &bytes);
            let read = claims(&source(&[&path])).and_then(|extracted| {
                let frame = scan(&extracted).all()?;
                Ok(frame.collect().expect("a frame in memory").height())
            });
            match read {
                Ok(rows) => {
                    assert_eq!(rows, 4, "{name}");
                    loaded += 1;
                }
                Err(error) => {
                    let kind = error.kind();
                    assert!(
                        matches!(kind, ErrorKind::Source | ErrorKind::Config),
                        "{name}: {error}"
                    );
                    refused += 1;
                }
            }
        }
    }
    assert!(loaded > 100 && refused > 1000, "{loaded} loaded, {refused} refused");
}
