//! Tests of the block parser.

use proptest::prelude::*;

use super::super::record::{cut, next_record};
use super::*;

fn layout(comment: Option<u8>) -> Layout {
    Layout {
        fields: vec![Some(1), None, Some(0)],
        names: vec!["b".into(), "a".into()],
        separator: b',',
        comment,
        header: b"a,x,b".to_vec(),
    }
}

fn table(text: impl Into<Vec<u8>>) -> Table {
    read(text.into(), 4, &layout(None)).expect("short")
}

/// Columns `b` and `a` of a file with the header `a,x,b`.
fn texts(table: &Table) -> Vec<Vec<Option<String>>> {
    let text = |column: &Column| -> Vec<Option<String>> {
        column.str().expect("text").iter().map(|text| text.map(ToOwned::to_owned)).collect()
    };
    table.columns.iter().map(text).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| (*text != "∅").then(|| (*text).to_owned())).collect()
}

#[test]
fn a_quote_changes_nothing_else() {
    let plain = "1,x,2\r\n\n4,,\nlonger than twelve,x,5";
    let expected = vec![some(&["2", "∅", "5"]), some(&["1", "4", "longer than twelve"])];
    assert_eq!(texts(&table(plain)), expected);
    assert_eq!(table(plain).lines, [0, 2, 3]);
    let quoted = plain.replacen(",x,", ",\"x\",", 1);
    assert_eq!(texts(&table(quoted)), expected);
}

#[test]
fn quoted_fields_keep_what_is_in_them() {
    let table = table("\"a,\n\"\"b\"\"\",\"\",\"\"\n\"c\",\"d\",\n");
    assert_eq!(texts(&table), [some(&["", "∅"]), some(&["a,\n\"b\"", "c"])]);
    assert_eq!((table.lines, table.damaged), (vec![0, 2], vec![]));
}

#[test]
fn a_damaged_record_is_a_row_of_nulls_and_the_rest_is_read() {
    let text =
        b"1,x,2\n3\n\"4\"x,y,5\na,x,b\n6,\"y,7\n8,x,\xff\xfe\n9,x,\0\n10,x,11,\n12,x,13".to_vec();
    let table = table(text);
    let nulls = ["∅"; 7];
    assert_eq!(texts(&table)[0], some(&[&["2"], &nulls[..], &["13"]].concat()));
    let found: Vec<_> = table.damaged.iter().map(|d| (d.row, d.damage, d.raw.as_str())).collect();
    assert_eq!(
        found,
        [
            (1, Damage::TooFewFields, "3"),
            (2, Damage::QuoteMalformed, "\"4\"x,y,5"),
            (3, Damage::HeaderRepeated, "a,x,b"),
            (4, Damage::QuoteUnclosed, "6,\"y,7"),
            (5, Damage::EncodingInvalid, "8,x,??\u{ff}\u{fe}"),
            (6, Damage::NulCharacter, "9,x,\0"),
            (7, Damage::TooManyFields, "10,x,11,"),
        ]
    );
    assert_eq!(table.lines, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_trailing_separator_at_the_end_is_a_field() {
    assert_eq!(texts(&table("1,2,")), [some(&["∅"]), some(&["1"])]);
    assert_eq!(texts(&table("\"1\",2,")), [some(&["∅"]), some(&["1"])]);
}

proptest! {
    /// The block parser and the record grammar agree on every record.
    #[test]
    fn columns_and_grammar_agree(
        text in prop_oneof![
            "[a\",\n]{0,40}",
            "[a\", #\r\n]{0,60}",
            "((1,2,3|\"a\",b,c|\"a\n\",\"\",|\"a|b,,\",c|#,\"|#,|)\r?\n){0,12}",
        ],
        comment in prop_oneof![Just(None), Just(Some(b'#'))],
    ) {
        let bytes = text.as_bytes();
        let dialect = Dialect { separator: b',', comment, fields: 3 };
        let records = cut(bytes, &dialect, usize::MAX, true).records;
        let table = read(text.clone().into(), 0, &layout(comment)).expect("short");
        prop_assert_eq!(table.lines.len() as u64, records);
        prop_assert_eq!(table.columns[0].len() as u64, records);
        let (mut at, mut row) = (0, 0);
        let mut damaged = table.damaged.iter().peekable();
        while let Some((start, validated)) = next_record(bytes, at, &dialect, true) {
            let reported = damaged.next_if(|damaged| damaged.row == row);
            let repeated = reported.is_some_and(|reported| reported.damage == Damage::HeaderRepeated);
            prop_assert!(repeated || reported.map(|reported| reported.damage) == validated.damage);
            let lines = memchr_iter(b'\n', &bytes[..start]).count();
            prop_assert_eq!(table.lines[row], i64::try_from(lines).expect("few"));
            (at, row) = (validated.end, row + 1);
        }
    }
}
