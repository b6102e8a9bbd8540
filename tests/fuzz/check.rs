//! What must hold of any bytes as a delimited file.
//!
//! The fuzzer and the tests share it: the fuzzer looks for bytes that break
//! it for as long as it is let, the tests try some thousands each time.

// Not all of the grammar is used here.
#[allow(dead_code)]
#[path = "../../src/extract/delimited/record.rs"]
mod record;

use record::{Damage, Dialect, End, cut, field, next_record, text};

/// Reads the bytes in every way there is, and compares. The first two bytes choose how.
///
/// # Panics
/// When two readings differ, or bytes are lost.
pub fn check(bytes: &[u8]) {
    let [choice, step, bytes @ ..] = bytes else { return };
    let dialect = Dialect {
        separator: [b',', b';', b'|', b'\t'][usize::from(choice & 3)],
        comment: (choice & 4 != 0).then_some(b'#'),
        fields: usize::from((choice >> 3) & 7),
    };
    let whole = single(bytes, &dialect);
    let bulk = cut(bytes, &dialect, usize::MAX, true);
    assert_eq!((bulk.end, bulk.records), (bytes.len(), whole.len() as u64), "counts differ");
    pieces(bytes, &dialect, usize::from(*step) + 1, &whole);
    against_csv(bytes, &dialect, &whole);
}

type Record<'a> = (&'a [u8], Option<Damage>);

/// The records one by one. What lies between them is blank or a comment.
fn single<'a>(bytes: &'a [u8], dialect: &Dialect) -> Vec<Record<'a>> {
    let mut records = Vec::new();
    let mut at = 0;
    while let Some((start, judged)) = next_record(bytes, at, dialect, true) {
        passed_over(&bytes[at..start], dialect);
        assert!(judged.end > start, "a record without bytes");
        records.push((&bytes[start..judged.end], judged.damage));
        at = judged.end;
    }
    passed_over(&bytes[at..], dialect);
    records
}

fn passed_over(bytes: &[u8], dialect: &Dialect) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let nothing = matches!(line, [] | [b'\r']);
        assert!(nothing || line.first().copied() == dialect.comment, "bytes were lost");
    }
}

/// The same records whatever the sizes of blocks.
fn pieces(bytes: &[u8], dialect: &Dialect, step: usize, whole: &[Record<'_>]) {
    let (mut start, mut end, mut records) = (0, step.min(bytes.len()), Vec::new());
    loop {
        let ended = end == bytes.len();
        let piece = cut(&bytes[start..end], dialect, step, ended);
        let found = single(&bytes[start..start + piece.end], dialect);
        assert_eq!(found.len() as u64, piece.records, "a piece's count differs");
        records.extend(found);
        start += piece.end;
        if ended && start == bytes.len() {
            break;
        }
        end = (end + step).min(bytes.len());
    }
    assert!(records == whole, "pieces changed the records");
}

/// The `csv` crate reads the same where nothing is damaged. It takes a lone carriage return for a
/// line's end, and keeps blanks after a closing quote.
fn against_csv(bytes: &[u8], dialect: &Dialect, whole: &[Record<'_>]) {
    let lone = bytes
        .iter()
        .enumerate()
        .any(|(at, byte)| *byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
    // And it passes over a byte-order mark, which ours never sees.
    if lone
        || bytes.starts_with(b"\xef\xbb\xbf")
        || whole.iter().any(|(_, damage)| damage.is_some())
    {
        return;
    }
    // A comment that ends with the file would be a record to it.
    let ended = [bytes, b"\n"].concat();
    let mut theirs = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(dialect.separator)
        .comment(dialect.comment)
        .from_reader(&ended[..]);
    let mut records = whole.iter();
    for theirs in theirs.byte_records() {
        let theirs = theirs.expect("bytes in memory can be read");
        let (record, _) = records.next().expect("the csv crate finds no more records");
        let ours = fields(record, dialect.separator);
        assert_eq!(ours.len(), theirs.len(), "the csv crate finds other fields");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(
                ours.trim_ascii_end() == theirs.trim_ascii_end(),
                "the csv crate reads other text"
            );
        }
    }
    assert!(records.next().is_none(), "the csv crate finds fewer records");
}

fn fields(record: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let found = field(record, at, separator).expect("an undamaged field is closed");
        let part = &record[found.range];
        fields.push(match std::str::from_utf8(part) {
            Ok(part) if found.doubled => text(part).into_bytes(),
            _ if found.doubled => doubled(part),
            _ => part.to_vec(),
        });
        at = found.next;
        if found.end != End::Separator {
            return fields;
        }
    }
}

/// As [`text`], of bytes that are no text.
fn doubled(part: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut quote = false;
    for &byte in part {
        quote = byte == b'"' && !quote;
        if byte != b'"' || quote {
            bytes.push(byte);
        }
    }
    bytes
}
