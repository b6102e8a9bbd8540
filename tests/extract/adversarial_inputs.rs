//! Files as they really arrive, and worse: each made here, under the name that the table of outcomes
//! knows it by.

use std::io::Write as _;

const HEADER: &str = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
const NOTED: &str = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service,note";

/// A good record. Its identifiers are canaries: no output may hold one.
fn good(number: u32) -> String {
    format!("CANARYC{number:03},CANARYP{number:03},V1,99213,{number}.00,2024-01-02")
}

/// A file with a header, good records 1, 2 and 3, and `odd` between the first and the second.
fn with(header: &str, odd: &[u8]) -> Vec<u8> {
    let note = if header == NOTED { ",n" } else { "" };
    let mut file = format!("{header}\n{}{note}\n", good(1)).into_bytes();
    file.extend_from_slice(odd);
    file.extend_from_slice(format!("{}{note}\n{}{note}\n", good(2), good(3)).as_bytes());
    file
}

/// The plain file: a header and good records 1, 2 and 3.
fn plain() -> String {
    String::from_utf8(with(HEADER, b"")).expect("text")
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
    text.encode_utf16().flat_map(bytes).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("packed")
}

fn half(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

/// All files: name and content.
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = line_ends();
    files.extend(quotes());
    files.extend(records());
    files.extend(encodings());
    files.extend(packed());
    files.extend(headers());
    files.extend(large());
    files.extend(values());
    files
}

fn line_ends() -> Vec<(&'static str, Vec<u8>)> {
    let plain = plain();
    vec![
        ("lf", plain.clone().into_bytes()),
        ("crlf", plain.replace('\n', "\r\n").into_bytes()),
        ("cr", plain.replace('\n', "\r").into_bytes()),
        ("mixed", plain.replacen('\n', "\r\n", 2).into_bytes()),
        ("no_last_line_end", plain.trim_end().into()),
        ("last_line_ends_with_cr", format!("{}\r", plain.trim_end()).into()),
        ("blank_lines_around", format!("\n\r\n\n{plain}\n\r\n\n").into()),
        ("blank_lines_between", plain.replace('\n', "\n\n").into()),
        ("blank_lines_of_crlf", plain.replace('\n', "\r\n\r\n").into()),
        ("line_of_blanks", with(HEADER, b"   \n")),
        ("cr_inside_a_field", with(NOTED, format!("{},a\rb\n", good(4)).as_bytes())),
        ("comments", format!("# an export\n{plain}# \"the end\n").into()),
        ("comments_not_configured", with(HEADER, b"# a remark, of \"them\"\n")),
    ]
}

fn quotes() -> Vec<(&'static str, Vec<u8>)> {
    let quoted = |n| format!("\"{}\"\n", good(n).replace(',', "\",\""));
    vec![
        ("all_quoted", with(HEADER, quoted(4).as_bytes())),
        ("doubled_quotes", with(NOTED, format!("{},\"a \"\"b\"\" c\"\n", good(4)).as_bytes())),
        ("quote_inside_a_field", with(NOTED, format!("{},5\" bandage\n", good(4)).as_bytes())),
        ("quotes_inside_quotes", with(NOTED, format!("{},\"a \"b\" c\"\n", good(4)).as_bytes())),
        ("blanks_after_a_quote", with(HEADER, quoted(4).replace("\",", "\" ,").as_bytes())),
        ("line_breaks_in_quotes", with(NOTED, format!("{},\"a\n\nb\r\n\"\n", good(4)).as_bytes())),
        ("separators_in_quotes", with(NOTED, format!("{},\"a,b,c\"\n", good(4)).as_bytes())),
        ("unclosed_quote", with(HEADER, format!("\"{}\n", good(4)).as_bytes())),
        ("unclosed_quote_at_the_end", format!("{}\"{}", plain(), good(4)).into()),
        ("two_stray_quotes", {
            let mut file = with(HEADER, format!("\"{}\n", good(4)).as_bytes());
            file.extend(format!("x\"\n{}\n", good(5)).bytes());
            file
        }),
        ("stray_quote_before_quoted", {
            let mut file = with(HEADER, format!("\"{}\n", good(4)).as_bytes());
            file.extend(quoted(5).bytes());
            file
        }),
        ("line_break_in_an_identifier", with(HEADER, quoted(4).replace("C004", "C\n4").as_bytes())),
        ("nothing_but_quotes", with(HEADER, b"\"\"\"\"\"\"\"\"\"\"\"\"\n")),
        ("quoted_empty_fields", with(HEADER, b"\"\",\"\",\"\",\"\",\"\",\"\"\n")),
    ]
}

fn records() -> Vec<(&'static str, Vec<u8>)> {
    let plain = plain();
    let body = plain.split_once('\n').expect("a header").1;
    vec![
        ("too_few_fields", with(HEADER, b"CANARYC004,CANARYP004,V1\n")),
        ("too_many_fields", with(HEADER, format!("{},more\n", good(4)).as_bytes())),
        ("a_separator_too_many", with(HEADER, format!("{},\n", good(4)).as_bytes())),
        ("a_separator_at_every_end", format!("{HEADER}\n{}", body.replace('\n', ",\n")).into()),
        ("a_separator_at_every_end_and_the_header", plain.replace('\n', ",\n").into()),
        ("only_separators", with(HEADER, b",,,,,\n")),
        ("header_again", with(HEADER, format!("{HEADER}\n").as_bytes())),
        ("two_files_in_one", format!("{plain}\u{feff}{}", plain.replace("00", "10")).into()),
        ("semicolons", plain.replace(',', ";").into()),
        ("pipes", plain.replace(',', "|").into()),
        ("tabs", plain.replace(',', "\t").into()),
        ("another_separator_configured", plain.clone().into()),
        ("one_column", "claim_id\nCANARYC001\n".into()),
        ("footer", format!("{plain}Total: 3 records\n").into()),
    ]
}

fn encodings() -> Vec<(&'static str, Vec<u8>)> {
    let plain = plain();
    let latin = with(NOTED, format!("{},caf\u{e9}\n", good(4)).replace('\u{e9}', "_").as_bytes());
    let latin: Vec<u8> = latin.into_iter().map(|b| if b == b'_' { 0xe9 } else { b }).collect();
    // The header's underscores are none.
    let latin = [NOTED.as_bytes(), &latin[NOTED.len()..]].concat();
    let mut half_pair = utf16(&format!("\u{feff}{HEADER}\n"), false);
    half_pair.extend([b'x', 0, 0, 0xd8]);
    half_pair.extend(utf16(&format!("{}\n{}\n", &good(4)[1..], good(5)), false));
    let bad = |n| [good(n).as_bytes(), b"\xff\xfe\n"].concat();
    vec![
        ("utf8_with_mark", format!("\u{feff}{plain}").into()),
        ("utf8_with_mark_and_quotes", format!("\u{feff}\"claim_id\"{}", &plain[8..]).into()),
        ("utf16le", utf16(&format!("\u{feff}{plain}"), false)),
        ("utf16be", utf16(&format!("\u{feff}{plain}"), true)),
        ("utf16le_without_mark", utf16(&plain, false)),
        ("utf16_with_half_a_character", half_pair),
        ("utf16_cut_in_a_character", {
            let mut file = utf16(&format!("\u{feff}{plain}"), false);
            file.push(b'x');
            file
        }),
        ("latin1_taken_for_utf8", latin.clone()),
        ("latin1_configured", latin),
        ("bytes_that_are_no_text", with(HEADER, &bad(4))),
        ("nothing_is_text", [format!("{HEADER}\n").into_bytes(), bad(1), bad(2)].concat()),
        ("nul_in_an_identifier", with(HEADER, (good(4).replacen('C', "\0", 2) + "\n").as_bytes())),
        ("nul_in_a_note", with(NOTED, format!("{},a\0b\n", good(4)).as_bytes())),
        ("accents", with(NOTED, format!("{},V\u{ed}ctor \u{1f600}\n", good(4)).as_bytes())),
        (
            "random_bytes",
            (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
        ),
    ]
}

fn packed() -> Vec<(&'static str, Vec<u8>)> {
    let plain = plain().into_bytes();
    let (first, rest) = plain.split_at(100);
    let mut wrong = gzip(&plain);
    let place = wrong.len() - 6;
    wrong[place] ^= 0xff;
    vec![
        ("gzip", gzip(&plain)),
        ("gzip_of_two_members", [gzip(first), gzip(rest)].concat()),
        ("gzip_cut_short", half(&gzip(&plain))),
        ("gzip_with_a_wrong_checksum", wrong),
        ("gzip_of_nothing", gzip(b"")),
        ("zstd", zstd(&plain)),
        ("zstd_of_two_frames", [zstd(first), zstd(rest)].concat()),
        ("zstd_cut_short", half(&zstd(&plain))),
        ("zip", b"PK\x03\x04 and the rest".to_vec()),
        ("parquet_that_is_none", b"PAR1 and the rest".to_vec()),
    ]
}

fn headers() -> Vec<(&'static str, Vec<u8>)> {
    let plain = plain();
    let wide = |text: &str, filler: &str| {
        let more =
            (0..494).map(|n| filler.to_owned() + &n.to_string()).collect::<Vec<_>>().join(",");
        text.replace('\n', &format!(",{more}\n"))
    };
    vec![
        ("empty", Vec::new()),
        ("only_a_mark", "\u{feff}".into()),
        ("only_line_ends", b"\n\r\n\n".to_vec()),
        ("header_only", format!("{HEADER}\n").into()),
        ("header_without_line_end", HEADER.into()),
        ("odd_names", plain.replace("claim_id,patient_id", " Claim_ID ,PATIENT_ID").into()),
        ("a_column_missing", plain.replace("amount", "price").into()),
        ("a_column_twice", plain.replace("date_of_service\n", "claim_id\n").into()),
        ("other_names_twice", with(&format!("{HEADER},n,n"), b"").into_iter().collect()),
        ("no_header", plain.split_once('\n').expect("a header").1.into()),
        ("500_columns", wide(&plain, "c").into()),
    ]
}

fn large() -> Vec<(&'static str, Vec<u8>)> {
    let field = "x".repeat(10 << 20);
    let body: String = (1..=999).map(|n| good(n) + "\n").collect();
    vec![
        ("note_of_10_mb", with(NOTED, format!("{},\"{field}\"\n", good(4)).as_bytes())),
        ("code_of_10_mb", with(HEADER, (good(4).replace("99213", &field) + "\n").as_bytes())),
        ("line_without_end", format!("{HEADER}\n{}", "x".repeat(40 << 20)).into()),
        ("unclosed_quote_before_much", {
            let much = body.repeat(700);
            format!("{HEADER}\n\"{}\n{much}", good(4)).into()
        }),
    ]
}

fn values() -> Vec<(&'static str, Vec<u8>)> {
    let odd = |n, from: &str, to: &str| with(HEADER, (good(n).replace(from, to) + "\n").as_bytes());
    vec![
        ("amount_as_a_float", odd(4, "4.00", "4e2")),
        ("amount_not_a_number", odd(4, "4.00", "NaN")),
        ("amount_beyond_any", odd(4, "4.00", "99999999999999999999")),
        ("amount_in_parentheses", odd(4, "4.00", "($4.00)")),
        ("no_amount", odd(4, "4.00", "")),
        ("date_that_is_none", odd(4, "2024-01-02", "2024-02-30")),
        ("date_in_the_future", odd(4, "2024-01-02", "2999-01-01")),
        ("no_claim_id", odd(4, "CANARYC004", " ")),
        ("placeholder_for_a_patient", odd(4, "CANARYP004", "UNKNOWN")),
        (
            "line_break_in_a_code",
            with(HEADER, (good(4).replace("99213", "\"99\n213\"") + "\n").as_bytes()),
        ),
        ("the_same_again", with(HEADER, (good(1) + "\n").as_bytes())),
        ("another_patient", with(HEADER, (good(1).replace("P001", "P009") + "\n").as_bytes())),
    ]
}
