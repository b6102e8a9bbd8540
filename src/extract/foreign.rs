//! Recognises unsupported formats by their first bytes and names a way to convert them. An encoding
//! error instead would mislead people into configuring an encoding.

use memchr::memmem::find;

use super::source_file::SourceFile;
use crate::error::{Error, Result};
use crate::schema::Dataset;

/// Bytes read for recognition: enough for the first names in a ZIP archive and for the tar magic.
pub(super) const START_BYTES: usize = 4096;

const UNPACK: &str = "unpack it; plain, gzip and zstd files are read as they are";
const UNPACK_ONCE: &str =
    "unpack it once: a file in gzip or zstd is read, but not one inside another";
const SHEET: &str =
    "save its sheet as CSV UTF-8, then check that long numbers and leading zeros are still whole";
const EXPORT: &str = "export it as CSV or Parquet";
const DECRYPT: &str = "decrypt it first; in the spill folder nothing is decrypted";
const CONVERT: &str = "convert it to one row for each claim line, as CSV or Parquet";
const FETCH: &str = "fetch it again: what came is not the file";

/// An unsupported format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foreign {
    what: &'static str,
    way_out: &'static str,
}

/// Offset, magic bytes, format name, hint.
#[rustfmt::skip]
const MAGIC: [(usize, &[u8], &str, &str); 41] = [
    // Compressed, doubly or with another algorithm.
    (0, b"\x1f\x8b", "a gzip file", UNPACK_ONCE),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file", UNPACK_ONCE),
    (0, b"PAR1", "a Parquet file", "unpack it: Parquet is packed inside its own format"),
    (4, b"\x31\x41\x59\x26\x53\x59", "a bzip2 file", UNPACK),
    (0, b"\xfd7zXZ\0", "an xz file", UNPACK),
    (0, b"\x5d\0\0\x80\0\xff\xff\xff", "an LZMA file", UNPACK),
    (0, b"\x04\x22\x4d\x18", "an LZ4 file", UNPACK),
    (0, b"LZIP\x01", "an lzip file", UNPACK),
    (0, b"\x1f\x9d", "a file packed by compress (.Z)", UNPACK),
    (0, b"\xff\x06\0\0sNaPpY", "a snappy file", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (0, b"MSCF\0\0\0\0", "a CAB archive", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"PK\x03\x04", "a ZIP archive", UNPACK),
    (0, b"PK\x05\x06", "a ZIP archive without files", UNPACK),
    // Encrypted.
    (0, b"-----BEGIN PGP MESSAGE", "a PGP-encrypted file", DECRYPT),
    (0, b"age-encryption.org/", "an age-encrypted file", DECRYPT),
    (0, b"Salted__", "a file encrypted by OpenSSL", DECRYPT),
    (0, b"PARE", "an encrypted Parquet file", DECRYPT),
    // Spreadsheets and documents.
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls), an encrypted one or another Office document", SHEET),
    (0, b"%PDF-", "a PDF document", "ask for the data as CSV or Parquet"),
    (0, b"{\\rtf", "an RTF document", "ask for the data as CSV or Parquet"),
    (0, b"\x89PNG\r\n", "a picture (PNG)", "ask for the data as CSV or Parquet"),
    (0, b"\xff\xd8\xff", "a picture (JPEG)", "ask for the data as CSV or Parquet"),
    // Table formats of other programs.
    (0, b"Obj\x01", "an Avro file", EXPORT),
    (0, b"ORC\x0a", "an ORC file", EXPORT),
    (0, b"ARROW1", "an Arrow IPC (Feather) file", EXPORT),
    (0, b"FEA1", "a Feather file", EXPORT),
    (0, b"\x89HDF\r\n", "an HDF5 file", EXPORT),
    (0, b"SQLite format 3\0", "a SQLite database", EXPORT),
    (8, b"DUCK", "a DuckDB database", EXPORT),
    (4, b"Standard Jet DB", "an Access database", EXPORT),
    (4, b"Standard ACE DB", "an Access database", EXPORT),
    (12, b"\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92\x08\0", "a SAS data set", EXPORT),
    (0, b"HEADER RECORD*******LIB", "a SAS transport file", EXPORT),
    (0, b"$FL2@(#)", "an SPSS file", EXPORT),
    (0, b"<stata_dta>", "a Stata file", EXPORT),
    // Other text formats.
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file", "fetch the file with `git lfs pull`"),
    (0, b"MSH|", "an HL7 message", CONVERT),
    (0, b"<?xml", "an XML document", CONVERT),
];

/// Recognises an unsupported format.
pub(super) fn recognise(start: &[u8]) -> Option<Foreign> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let known = MAGIC.iter().find(|(offset, magic, ..)| {
        let bytes = if *offset == 0 { text } else { start };
        bytes.get(*offset..).is_some_and(|bytes| bytes.starts_with(magic))
    });
    if let Some(&(_, magic, what, way_out)) = known {
        return Some(match magic {
            b"PK\x03\x04" => zip(start),
            _ => Foreign { what, way_out },
        });
    }
    let text = text.trim_ascii_start();
    let of = |what, way_out| Some(Foreign { what, way_out });
    if is_x12(text) {
        return of("an X12 interchange (837, 835 …)", CONVERT);
    }
    if is_json(text) {
        return of("a JSON document", CONVERT);
    }
    let lower = text[..text.len().min(16)].to_ascii_lowercase();
    if lower.starts_with(b"<!doctype html") || lower.starts_with(b"<html") {
        return of("a web page (HTML)", FETCH);
    }
    None
}

/// Names a ZIP archive by its first entries: spreadsheets are ZIP archives, too.
fn zip(start: &[u8]) -> Foreign {
    let start = &start[..start.len().min(START_BYTES)];
    let has = |name: &[u8]| find(start, name).is_some();
    if has(b"xl/") || has(b"[Content_Types].xml") {
        Foreign { what: "an Excel workbook (.xlsx) or another Office document", way_out: SHEET }
    } else if has(b"mimetypeapplication/vnd.oasis.opendocument") {
        Foreign { what: "an OpenDocument sheet (.ods) or text", way_out: SHEET }
    } else {
        Foreign { what: "a ZIP archive", way_out: UNPACK }
    }
}

/// An ISA segment has 106 bytes; bytes 4 and 104 are the separator.
fn is_x12(text: &[u8]) -> bool {
    text.starts_with(b"ISA") && text.get(3).is_some_and(|mark| text.get(103) == Some(mark))
}

/// A JSON object or array; a header in brackets is not JSON.
fn is_json(text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else { return false };
    let next = rest.trim_ascii_start().first();
    match first {
        b'{' => matches!(next, Some(b'"' | b'}')),
        b'[' => matches!(next, Some(b'{' | b'[' | b']')),
        _ => false,
    }
}

/// Rejects unsupported formats.
///
/// # Errors `Source`, naming the file, its format and the hint.
pub(super) fn refuse(
    dataset: Dataset,
    file: &SourceFile,
    start: &[u8],
    is_packed: bool,
) -> Result<()> {
    let Some(Foreign { what, way_out }) = recognise(start) else { return Ok(()) };
    let verb = if is_packed { "holds" } else { "is" };
    Err(Error::source(format!("{dataset}: {} {verb} {what}", file.path.display())).hint(way_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_has_a_name() {
        let mut tar = vec![b'a'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let mut x12 = b"ISA*00*".to_vec();
        x12.resize(103, b' ');
        x12.extend_from_slice(b"*:~GS*HC");
        for (start, what) in [
            (&b"BZh91AY&SY\x01\x02"[..], "a bzip2 file"),
            (b"\xfd7zXZ\0\0\x04", "an xz file"),
            (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive"),
            (&tar, "a tar archive"),
            (b"PK\x03\x04\x14\0claims.csv", "a ZIP archive"),
            (
                b"PK\x03\x04\x14\0[Content_Types].xml",
                "an Excel workbook (.xlsx) or another Office document",
            ),
            (b"%PDF-1.7\n", "a PDF document"),
            (b"Obj\x01\x04\x16avro.schema", "an Avro file"),
            (b"ORC\x0a\x0b", "an ORC file"),
            (b"SQLite format 3\0\x10", "a SQLite database"),
            (b"\x1f\x8b\x08\0", "a gzip file"),
            (b"\xef\xbb\xbf<?xml version", "an XML document"),
            (b"\xef\xbb\xbf [\n {\"resourceType\"", "a JSON document"),
            (b"{\"resourceType\":\"Claim\"}", "a JSON document"),
            (b"\n<!DOCTYPE HTML><title>Sign in", "a web page (HTML)"),
            (b"MSH|^~\\&|", "an HL7 message"),
            (&x12, "an X12 interchange (837, 835 \u{2026})"),
        ] {
            assert_eq!(recognise(start).map(|found| found.what), Some(what));
        }
    }

    #[test]
    fn a_header_is_no_other_format() {
        for start in [
            &b"claim_id,patient_id\n"[..],
            b"[claim_id],[patient_id]\n",
            b"{claim},x\n",
            b"ORC,amount\n",
            b"BZhealth,amount\n",
            b"ISA,amount\n1,2\n",
            b"ISABEL*claims\n",
            b"<claim>,x\n",
            b"\xff\xfec\0l\0",
            b"",
            b"[",
        ] {
            assert_eq!(recognise(start), None, "{start:?}");
        }
    }
}
