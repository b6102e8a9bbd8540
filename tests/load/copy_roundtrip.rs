//! What COPY BINARY writes, type by type, read back as the server prints it (`::text`), so that the
//! server, not our own decoder, judges the encoding.

use std::cell::RefCell;
use std::sync::Arc;

use adbc_core::options::IngestMode;
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, LargeStringArray, ListArray,
    ListBuilder, RecordBatch, StringArray, StringBuilder, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type};
use chrono::NaiveDate;
use claims_etl::schema;
use claims_etl::warehouse::sql;
use proptest::collection::vec;
use proptest::test_runner::{Config, TestRunner};

use crate::support::sandbox::{Sandbox, batch, load, some};

/// Loads one column with its row numbers into a new table and reads it back as text.
fn roundtrip(sandbox: &mut Sandbox, column: ArrayRef) -> Vec<Option<String>> {
    let rows = i32::try_from(column.len()).expect("few rows");
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..rows));
    let count = load(
        sandbox,
        "roundtrip",
        IngestMode::Replace,
        batch(vec![("n", numbers), ("value", column)]),
    );
    assert_eq!(count.expect("must load"), Some(i64::from(rows)));
    sandbox.texts("SELECT value::text FROM roundtrip ORDER BY n")
}

fn decimals(values: Vec<Option<i128>>, precision: u8, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from(values);
    Arc::new(array.with_precision_and_scale(precision, scale).expect("a valid precision"))
}

/// `value * 10^-scale` by shifting the point in the digits.
fn decimal_text(value: i128, scale: usize) -> String {
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[test]
fn numerics_arrive_exactly() {
    let mut sandbox = Sandbox::new("numerics");
    let ten = |n: u32| 10_i128.pow(n);
    let cents = [0, 1, -1, 99, 100, -100, 12_345, 999_999_999_999, -999_999_999_999];
    let edges = [4, 6, 8, 9, 10, 11]
        .into_iter()
        .flat_map(|n| [ten(n), -ten(n), ten(n) - 1, ten(n) + 1, 7 * ten(n), ten(n) + ten(4)]);
    let money: Vec<i128> = cents.into_iter().chain(edges).filter(|v| v.abs() < ten(12)).collect();
    let wide =
        [0, 1, -1, ten(10), ten(18), ten(19) + 1, -ten(20), ten(38) - 1, 1 - ten(38), ten(14)];
    let scores = [0, 1, 5, 50, 100, 9_999, 10_000, 99_999, -99_999];
    for (values, precision, scale) in
        [(money, 12, 2), (scores.to_vec(), 5, 2), (wide.to_vec(), 38, 10), (wide.to_vec(), 38, 0)]
    {
        let expected: Vec<_> = values
            .iter()
            .map(|v| Some(decimal_text(*v, usize::try_from(scale).expect("not negative"))))
            .chain([None])
            .collect();
        let values = values.into_iter().map(Some).chain([None]).collect();
        let column = decimals(values, precision, scale);
        assert_eq!(roundtrip(&mut sandbox, column), expected, "numeric({precision},{scale})");
        let declared = sandbox.texts(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute \
             WHERE attrelid = 'roundtrip'::regclass AND attname = 'value'",
        );
        assert_eq!(declared, some(&[&format!("numeric({precision},{scale})")]));
    }
}

#[test]
fn random_cents_arrive_exactly() {
    let sandbox = RefCell::new(Sandbox::new("random_cents"));
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let money = vec(-999_999_999_999_i128..=999_999_999_999, 1..400);
    let wide = vec(-(10_i128.pow(38) - 1)..10_i128.pow(38), 1..400);
    TestRunner::new(config)
        .run(&(money, wide), |(money, wide)| {
            for (values, precision, scale) in [(money, 12, 2), (wide, 38, 10)] {
                let digits = usize::try_from(scale).expect("not negative");
                let expected: Vec<_> =
                    values.iter().map(|v| Some(decimal_text(*v, digits))).collect();
                let column = decimals(values.into_iter().map(Some).collect(), precision, scale);
                proptest::prop_assert_eq!(roundtrip(&mut sandbox.borrow_mut(), column), expected);
            }
            Ok(())
        })
        .expect("every decimal must arrive as it was");
}

#[test]
fn texts_of_every_layout_arrive() {
    let mut sandbox = Sandbox::new("texts");
    let long = "ä".repeat(700_000);
    let values = vec![
        Some(""),
        None,
        Some("plain"),
        Some("Grüße, 医療, Ωμέγα"),
        Some("emoji 🩺👩🏽‍⚕️"),
        Some("tab\tnewline\nquote\"back\\slash"),
        Some("longer than the twelve bytes of a view"),
        Some(long.as_str()),
    ];
    let expected: Vec<_> = values.iter().map(|v| v.map(str::to_owned)).collect();
    let layouts: [ArrayRef; 3] = [
        Arc::new(StringArray::from(values.clone())),
        Arc::new(LargeStringArray::from(values.clone())),
        Arc::new(StringViewArray::from(values)),
    ];
    for column in layouts {
        let layout = column.data_type().clone();
        assert!(roundtrip(&mut sandbox, column) == expected, "{layout}");
    }
}

#[test]
fn dates_and_timestamps_arrive() {
    let mut sandbox = Sandbox::new("dates");
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
    let texts = [
        "0001-01-01",
        "1582-10-15",
        "1583-01-01",
        "1969-12-31",
        "1970-01-01",
        "1999-12-31",
        "2000-01-01",
        "2000-02-29",
        "2024-02-29",
        "9999-12-31",
    ];
    let days = texts.map(|text| {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").expect("a date");
        i32::try_from((date - epoch).num_days()).expect("in range")
    });
    let mut expected = some(&texts);
    expected.push(None);
    let column: ArrayRef =
        Arc::new(days.into_iter().map(Some).chain([None]).collect::<Date32Array>());
    assert_eq!(roundtrip(&mut sandbox, column), expected);

    sandbox.run("SET TimeZone = 'UTC'");
    let moments = vec![Some(0), Some(-1), Some(1_700_000_000_123_456), None];
    let plain: ArrayRef = Arc::new(TimestampMicrosecondArray::from(moments.clone()));
    let zoned: ArrayRef = Arc::new(TimestampMicrosecondArray::from(moments).with_timezone("UTC"));
    let printed =
        ["1970-01-01 00:00:00", "1969-12-31 23:59:59.999999", "2023-11-14 22:13:20.123456"];
    let mut expected = some(&printed);
    expected.push(None);
    assert_eq!(roundtrip(&mut sandbox, plain), expected);
    let expected: Vec<_> = expected.into_iter().map(|t| t.map(|t| format!("{t}+00"))).collect();
    assert_eq!(roundtrip(&mut sandbox, zoned), expected);
}

#[test]
fn tokens_integers_floats_and_truth_values_arrive() {
    let mut sandbox = Sandbox::new("scalars");
    let token = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
    let tokens = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        [Some(token), None, Some([0xff; 16])].into_iter(),
        16,
    );
    let mut expected = some(&["00112233-4455-6677-8899-aabbccddeeff"]);
    expected.extend([None, Some("ffffffff-ffff-ffff-ffff-ffffffffffff".into())]);
    let tokens: ArrayRef = Arc::new(tokens.expect("sixteen bytes each"));
    assert_eq!(roundtrip(&mut sandbox, tokens), expected);

    let cases: [(ArrayRef, &[&str]); 6] = [
        (Arc::new(Int16Array::from(vec![i16::MIN, 0, i16::MAX])), &["-32768", "0", "32767"]),
        (Arc::new(Int32Array::from(vec![i32::MIN, i32::MAX])), &["-2147483648", "2147483647"]),
        (
            Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX])),
            &["-9223372036854775808", "9223372036854775807"],
        ),
        (Arc::new(BooleanArray::from(vec![true, false])), &["true", "false"]),
        (
            Arc::new(Float64Array::from(vec![0.1, -0.0, 1e300, f64::NAN, f64::NEG_INFINITY])),
            &["0.1", "-0", "1e+300", "NaN", "-Infinity"],
        ),
        (Arc::new(BinaryArray::from(vec![b"\x00\xff".as_slice(), b""])), &["\\x00ff", "\\x"]),
    ];
    for (column, expected) in cases {
        assert_eq!(roundtrip(&mut sandbox, column), some(expected));
    }
}

#[test]
fn arrays_make_the_round_trip() {
    let mut sandbox = Sandbox::new("arrays");
    sandbox.run("CREATE TABLE lists (n integer[], m bigint[], t text[])");
    let numbers = [Some(vec![Some(1), None, Some(-7)]), Some(vec![]), None];
    let n = ListArray::from_iter_primitive::<Int32Type, _, _>(numbers);
    let m = [Some(vec![Some(i64::MAX)]), None, Some(vec![])];
    let m = ListArray::from_iter_primitive::<Int64Type, _, _>(m);
    let mut t = ListBuilder::new(StringBuilder::new());
    t.append_value([Some("a,\"b\""), Some(""), None]);
    t.append_null();
    t.append_value([] as [Option<&str>; 0]);
    let columns: [(&str, ArrayRef); 3] =
        [("n", Arc::new(n)), ("m", Arc::new(m)), ("t", Arc::new(t.finish()))];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    load(&mut sandbox, "lists", IngestMode::Append, batch.clone()).expect("must load");
    assert_eq!(
        sandbox.texts("SELECT row_to_json(lists)::text FROM lists"),
        some(&[
            r#"{"n":[1,null,-7],"m":[9223372036854775807],"t":["a,\"b\"","",null]}"#,
            r#"{"n":[],"m":null,"t":null}"#,
            r#"{"n":null,"m":[],"t":[]}"#,
        ])
    );
    let read = sql::query(&mut sandbox.connection, "lists", "SELECT n, m, t FROM lists");
    assert_eq!(read.expect("must run").columns(), batch.columns());
}

#[test]
fn a_staged_batch_fits_the_fact_table() {
    let mut sandbox = Sandbox::new("fact");
    let columns: Vec<String> = schema::fact_columns(claims_etl::schema::Shape::WHOLE)
        .iter()
        .map(|c| {
            let null = if c.nullable { "" } else { " NOT NULL" };
            format!("{} {}{null}", c.name, c.postgres)
        })
        .collect();
    sandbox.run(&format!("CREATE TABLE fact ({})", columns.join(", ")));
    let token = |byte: u8| -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::try_from_iter([[byte; 16]].iter()).expect("16 bytes"))
    };
    let text = |value: Option<&str>| -> ArrayRef { Arc::new(StringViewArray::from(vec![value])) };
    let staged = RecordBatch::try_new(
        schema::staged_schema(claims_etl::schema::Shape::WHOLE),
        vec![
            token(1),
            token(2),
            Arc::new(Int64Array::from(vec![i64::MAX])),
            Arc::new(Int32Array::from(vec![7])),
            Arc::new(Date32Array::from(vec![0])),
            Arc::new(Float32Array::from(vec![42.8])),
            Arc::new(Int32Array::from(vec![63])),
            Arc::new(Int16Array::from(vec![1])),
            decimals(vec![Some(-1_050)], 12, 2),
            text(None),
        ],
    );
    load(&mut sandbox, "fact", IngestMode::Append, staged.expect("the contract's columns"))
        .expect("must load");
    assert_eq!(
        sandbox.texts("SELECT fact::text FROM fact"),
        some(&["(01010101-0101-0101-0101-010101010101,02020202-0202-0202-0202-020202020202,\
                9223372036854775807,7,1970-01-01,42.8,63,1,-10.50,)"])
    );
}
