//! Tests of the record grammar.

use proptest::prelude::*;

use super::*;

const PLAIN: Dialect = Dialect { separator: b',', comment: None, fields: 2 };

/// Records and damage according to [`next_record`].
fn records<'a>(bytes: &'a [u8], dialect: &Dialect) -> Vec<(&'a [u8], Option<Damage>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((start, judged)) = next_record(bytes, at, dialect, true) {
        found.push((&bytes[start..judged.end], judged.damage));
        at = judged.end;
    }
    found
}

fn damages(text: &str) -> Vec<Option<Damage>> {
    records(text.as_bytes(), &PLAIN).into_iter().map(|(_, damage)| damage).collect()
}

fn fields(record: &[u8]) -> Vec<String> {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let field = field(record, at, b',').expect("closed");
        let part = std::str::from_utf8(&record[field.range]).expect("text");
        fields.push(if field.doubled { text(part) } else { part.to_owned() });
        at = field.next;
        if field.end != End::Separator {
            return fields;
        }
    }
}

#[test]
fn quotes_count_at_the_start_of_a_field_only() {
    let cases: [(&str, &[&str]); 7] = [
        ("a,b\r\n", &["a", "b"]),
        ("\"a,\nb\",c", &["a,\nb", "c"]),
        ("\"a \"\"b\"\"\",\"\"\r\n", &["a \"b\"", ""]),
        ("5\" bandage,x\n", &["5\" bandage", "x"]),
        ("a\"\"b,\n", &["a\"\"b", ""]),
        ("\"\"\"\"\n", &["\""]),
        ("\"x\" ,y", &["x", "y"]),
    ];
    for (text, expected) in cases {
        assert_eq!(fields(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn damage_is_told_and_kept_to_its_line() {
    use Damage::{QuoteMalformed, QuoteUnclosed, TooFewFields, TooManyFields};
    for (text, expected) in [
        ("a,b\nc\nd,e,f\ng,h", vec![None, Some(TooFewFields), Some(TooManyFields), None]),
        ("\"a\"x,b\nc,d", vec![Some(QuoteMalformed), None]),
        ("\"a\" ,\"b\"\t\nc,d", vec![None, None]),
        // Unclosed; closed by another stray quote; closed by an opening quote.
        ("\"a,b\nc,d\ne,f", vec![Some(QuoteUnclosed), None, None]),
        ("\"a,b\nc,d\nx\"\ng,h", vec![Some(QuoteUnclosed), None, Some(TooFewFields), None]),
        ("\"a,b\nc,d\n\"e\",f\ng,h", vec![Some(QuoteUnclosed), None, None, None]),
        // Valid multi-line record.
        ("\"a\n\nb\",c\nd,e", vec![None, None]),
        // Valid text, wrong number of fields.
        ("\"a\nb\"\nd,e", vec![Some(QuoteUnclosed), Some(TooFewFields), None]),
        ("\n\r\na,b\r\n\n\r", vec![None]),
    ] {
        assert_eq!(damages(text), expected, "{text:?}");
    }
}

#[test]
fn comments_are_no_records_where_they_are_configured() {
    let text = "#a,b,c\na,b\n# \"x\n#\"\"\nc,#d\n#";
    let commented = Dialect { comment: Some(b'#'), ..PLAIN };
    let seen: Vec<&[u8]> = records(text.as_bytes(), &commented).iter().map(|r| r.0).collect();
    assert_eq!(seen, [&b"a,b\n"[..], b"c,#d\n"]);
    let cut = cut(text.as_bytes(), &commented, usize::MAX, true);
    assert_eq!((cut.records, cut.comments, cut.end), (2, 4, text.len()));
}

/// Damaged, quoted and plain records in any order.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a\",\n]{0,40}",
        "[a\", #\r\n]{0,60}",
        "((a,b|\"a\",b|\"a\n\",\"\"|\"a|b\",c|#|)\r?\n){0,12}",
    ]
}

proptest! {
    #[test]
    fn bulk_and_single_steps_find_the_same_records(
        text in any_text(), comment in prop_oneof![Just(None), Just(Some(b'#'))],
    ) {
        let bytes = text.as_bytes();
        let dialect = Dialect { comment, ..PLAIN };
        let single = records(bytes, &dialect);
        let bulk = cut(bytes, &dialect, usize::MAX, true);
        prop_assert_eq!((bulk.end, bulk.records), (bytes.len(), single.len() as u64));
    }

    /// The records do not depend on the buffer size.
    #[test]
    fn pieces_change_nothing(text in any_text(), enough in 1_usize..30, given in 1_usize..30) {
        let bytes = text.as_bytes();
        let (mut start, mut end, mut found) = (0, given.min(bytes.len()), Vec::new());
        loop {
            let ended = end == bytes.len();
            let piece = cut(&bytes[start..end], &PLAIN, enough, ended);
            let cut_off = records(&bytes[start..start + piece.end], &PLAIN);
            prop_assert_eq!(cut_off.len() as u64, piece.records);
            found.extend(cut_off);
            start += piece.end;
            if ended && start == bytes.len() {
                break;
            }
            end = (end + given).min(bytes.len());
        }
        prop_assert_eq!(found, records(bytes, &PLAIN));
    }

    /// Agrees with the `csv` crate on undamaged input. That crate treats a lone carriage return as
    /// a line ending, so the input has none.
    #[test]
    fn the_csv_crate_reads_the_same(
        text in "((a,b|\"a\",b|\"a\n\",\"\"|5\" x,\"q\"\"\"|\"a,\n\n\",c\"|,|\"\" ,d|)\n){0,12}",
    ) {
        let ours = records(text.as_bytes(), &PLAIN);
        prop_assert!(ours.iter().all(|(_, damage)| damage.is_none()));
        let theirs: Vec<Vec<String>> = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes())
            .records()
            .map(|record| record.expect("a record").iter().map(ToOwned::to_owned).collect())
            .collect();
        let trimmed = |fields: Vec<String>| -> Vec<String> {
            // It keeps blanks after a closing quote; we do not.
            fields.into_iter().map(|field| field.trim_end_matches(' ').to_owned()).collect()
        };
        let ours: Vec<_> = ours.iter().map(|(bytes, _)| trimmed(fields(bytes))).collect();
        prop_assert_eq!(ours, theirs.into_iter().map(trimmed).collect::<Vec<_>>());
    }
}
