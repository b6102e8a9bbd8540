//! `check FILE` on files that nobody has seen before: a screen of use for each, good or damaged,
//! the exit code that a run has, and never an identifier.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use insta::assert_snapshot;

use crate::extract::real_data::data;
use crate::support::program::{Call, KEY, Program};

const HEADER: &str = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";

/// A file's text of so many good claims.
fn good(rows: u32) -> String {
    let mut text = format!("{HEADER}\n");
    for row in 1..=rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "CANARY-C{row},CANARY-P{row},1234567893,99213,10.00,2024-01-01");
    }
    text
}

fn program() -> Program {
    let program = Program::new();
    program.write(
        "providers.csv",
        "provider_id,provider_name,specialty,location\n\
         1234567893,CANARY-NAME,Cardiology,Boston\n,CANARY-NOBODY,,\n",
    );
    program.write("claims-etl.toml", "[rules]\nrun_date = \"2024-06-30\"\n");
    program
}

/// The screen of a file.
fn screen(program: &Program, arguments: &str) -> Call {
    let call = program.call(&format!("inspect {arguments}"));
    let all = format!("{}{}", call.stdout, call.stderr);
    assert!(!all.contains("CANARY"), "{arguments}: {all}");
    assert!(call.stdout.lines().count() < 24, "{arguments}: {}", call.stdout);
    call
}

#[test]
fn a_clean_file() {
    let program = program();
    program.write("claims.csv", &good(1_200));
    let call = screen(&program, "claims.csv --providers providers.csv");
    assert_snapshot!(call.done(), @r#"
claims.csv: claims
  delimited text · 69.9 kB · UTF-8 · LF · "," · 6 columns · 1,200 records

column           from             filled  texts          length
claim_id         claim_id          100 %  mixed            9–12
patient_id       patient_id        100 %  mixed            9–12
provider_id      provider_id       100 %  digits             10
procedure_code   procedure_code    100 %  digits              5
amount           amount            100 %  decimal             5
date_of_service  date_of_service   100 %  date %Y-%m-%d      10
line_number      –
amounts add up to 12,000.00 · dates from 2024-01-01 to 2024-01-01
procedure codes look like hcpcs 100 %

no row breaks a rule
✓ ready to load: 0 of 1,200 rejected (0 %; at most 20 % may be)
"#);
}

#[test]
fn a_dirty_file() {
    let program = program();
    let rows = [
        "CANARY-1,CANARY-2,1234567893,99213,10.00,2024-01-01",
        "CANARY-1,CANARY-2,V9,45.13,-10.00,01/31/2024",
        "CANARY-1,CANARY-2",
        "CANARY-1,CANARY-2,,,0,20240131",
        ",CANARY-2,V9,99213,10.00,2024-01-01",
        "CANARY-1,,V9,J1100,CANARY,2024-01-01",
        "CANARY-1,CANARY-2,V9,99213-25,1.005,CANARY",
        "CANARY-1,CANARY-2,V9,99213,12,1999-01-01",
    ];
    let text = format!("\u{feff}{HEADER}\r\n{}", rows.join("\r\n"));
    program.write("claims.csv", &text);
    let call = screen(&program, "claims.csv --providers providers.csv");
    assert_eq!(call.code, Some(4), "{}", call.stderr);
    assert_snapshot!(call.stdout, @r#"
claims.csv: claims
  delimited text · 383 B · UTF-8 with BOM · CRLF · "," · 6 columns · 8 records

column           from             filled  texts                        length
claim_id         claim_id         85.7 %  mixed                             8
patient_id       patient_id       85.7 %  mixed                             8
provider_id      provider_id      85.7 %  mixed 83.3 %, digits 16.7 %    2–10
procedure_code   procedure_code   85.7 %  digits 50.0 %, …                5–8
amount           amount            100 %  decimal 57.1 %, …               1–6
date_of_service  date_of_service   100 %  date %Y-%m-%d 57.1 %, …        6–10
line_number      –
procedure codes look like hcpcs 66.7 %, icd9 16.7 %
repeated claim lines: 0 duplicates, 3 conflicts · lines whose amounts cancel: 1

        rule                       rows   share  first records
reject  too_few_fields                1  12.5 %  3
reject  claim_id_missing              1  12.5 %  5
reject  patient_id_missing            1  12.5 %  6
reject  date_unparseable              1  12.5 %  7
flag    provider_not_in_directory     1  12.5 %
… and 2 more rules; --format json lists them
✗ a run would fail with exit code 4:
  4 of 8 claims were rejected (50.0 %), but max_reject_ratio is 0.2
"#);
    let call = program.call("inspect claims.csv --format json");
    assert!(!call.stdout.contains("CANARY"), "{}", call.stdout);
    let report = &call.json()[0];
    assert_eq!((&report["exit_code"], &report["read"]), (&4.into(), &8.into()));
    assert_eq!(report["shape"]["line_ends"], "CRLF");
    let rules = report["rules"].as_array().expect("rules");
    let fewer = rules.iter().find(|rule| rule["name"] == "too_few_fields").expect("there");
    assert_eq!(fewer["examples"][0]["record"], 3);
    let unknown = rules.iter().any(|rule| rule["name"] == "provider_not_in_directory");
    assert!(!unknown, "there is no directory to be missing from");
}

#[test]
fn a_file_of_another_layout() {
    let program = program();
    program.write(
        "export.txt",
        "CLM_ID|BENE_ID|PRVDR_NPI|HCPCS_CD|LINE_AMT|SVC_DT|LINE_NUM\n\
         CANARY1|CANARY2|1234567893|99213|10.00|2024-01-01|1\n",
    );
    let call = screen(&program, "export.txt");
    assert_eq!(call.code, Some(2), "{}", call.stderr);
    assert_snapshot!(call.stdout, @r#"
export.txt: claims, read with the likeliest columns
  delimited text · 111 B · UTF-8 · LF · "|" · 7 columns · 1 record

column           from        filled  texts          length
claim_id         CLM_ID?      100 %  mixed               7
patient_id       BENE_ID?     100 %  mixed               7
provider_id      PRVDR_NPI?   100 %  digits             10
procedure_code   HCPCS_CD?    100 %  digits              5
amount           LINE_AMT?    100 %  decimal             5
date_of_service  SVC_DT?      100 %  date %Y-%m-%d      10
line_number      LINE_NUM     100 %  digits              1
✗ a run would fail with exit code 2:
  no column for claim_id, patient_id, provider_id, procedure_code, amount, date_of_service
  set in the configuration how they are named:
    [claims.columns]
    claim_id = "CLM_ID"
    patient_id = "BENE_ID"
    provider_id = "PRVDR_NPI"
    procedure_code = "HCPCS_CD"
    amount = "LINE_AMT"
    date_of_service = "SVC_DT"
    line_number = "LINE_NUM"   # if it numbers the lines of each claim
"#);
    program.write("other.csv", "colour,size\nCANARY,1\n");
    let call = screen(&program, "other.csv");
    assert_eq!(call.code, Some(2), "{}", call.stderr);
    assert_snapshot!(call.stdout, @r#"
other.csv: no header found
  delimited text · 21 B · UTF-8 · LF · ","
✗ a run would fail with exit code 2:
  no column for claim_id, patient_id, provider_id, procedure_code, amount, date_of_service; line 1 is no header (2 fields, only 1 known column name)
  line 1 must name the columns; check the delimiter too
    if it does, set how they are named:
    [claims.columns]
    claim_id = "…"
    patient_id = "…"
    provider_id = "…"
    procedure_code = "…"
    amount = "…"
    date_of_service = "…"
"#);
}

/// 60 lines of 20 claims, with their number in the last column.
fn claim_lines(header: &str) -> String {
    let mut text = format!("{header}\n");
    for row in 0..60 {
        let (claim, line) = (row / 3, row % 3 + 1);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "CANARY-C{claim},CANARY-P{claim},1234567893,99213,{line}0.00,2024-01-01,2024-01-09,90.00,{line}"
        );
    }
    text
}

const LINES: &str = "CLM_NO,MBR_ID,RNDRNG_NPI,CPT_CD,SVC_LN_CHRG_AMT,SVC_START_DT,SVC_END_DT,CLM_TOT_CHRG_AMT,SVC_LN";

#[test]
fn repeats_are_judged_and_the_mapping_that_was_read_is_shown_whole() {
    let program = program();
    program.write("lines.csv", &claim_lines(LINES));
    let call = screen(&program, "lines.csv --providers providers.csv");
    assert_eq!(call.code, Some(2), "{}", call.stderr);
    let columns = [
        ("claim_id", "CLM_NO"),
        ("patient_id", "MBR_ID"),
        ("provider_id", "RNDRNG_NPI"),
        ("procedure_code", "CPT_CD"),
        ("amount", "SVC_LN_CHRG_AMT"),
        ("date_of_service", "SVC_START_DT"),
        ("line_number", "SVC_LN"),
    ];
    for (column, name) in columns {
        assert!(call.stdout.contains(&format!("{column} = \"{name}\"")), "{}", call.stdout);
    }
    assert!(call.stdout.contains("the start of service, not its end; or \"SVC_END_DT\""));
    assert!(
        call.stdout.contains("the amount of the line, not of the claim; or \"CLM_TOT_CHRG_AMT\"")
    );
    let report = program.call("inspect lines.csv --format json").json();
    for (place, (column, name)) in columns.into_iter().enumerate() {
        let found = &report[0]["columns"][place];
        assert_eq!((&found["column"], &found["from"]), (&column.into(), &name.into()));
    }
    assert_eq!(report[0]["repeats"]["conflicts"], 0);
    // The names of the contract, and lines that are not numbered by name.
    let header = format!("{HEADER},end,total,pos");
    program.write("lines.csv", &claim_lines(&header));
    let call = screen(&program, "lines.csv --providers providers.csv");
    assert_eq!(call.code, Some(4), "{}", call.stderr);
    for expected in [
        "repeated claim lines: 0 duplicates, 40 conflicts",
        "perhaps pos",
        "40 of 60 claim lines (66.7 %)",
        "line_number = \"pos\"",
    ] {
        assert!(call.stdout.contains(expected), "{expected}: {}", call.stdout);
    }
    let call = screen(&program, "lines.csv --providers providers.csv --on-duplicate last");
    assert_eq!(call.code, Some(0), "{}", call.stdout);
    // The same for what is configured.
    let call = program.call("check --claims lines.csv --providers providers.csv");
    assert_eq!(call.code, Some(4), "{}", call.stdout);
    assert!(call.stdout.contains("✗ claim lines: 40 of 60"), "{}", call.stdout);
    program.write("lines.csv", &claim_lines(&format!("{HEADER},end,total,LINE_NO")));
    let call = screen(&program, "lines.csv --providers providers.csv");
    assert_eq!(call.code, Some(0), "{}", call.stdout);
    assert!(call.stdout.contains("line_number is read from LINE_NO"), "{}", call.stdout);
    let call = program.call("check --claims lines.csv --providers providers.csv");
    let expected = "✓ claim lines: 60 read, 0 rejected, 0 duplicates, 0 conflicts";
    assert!(call.stdout.contains(expected), "{}", call.stdout);
    assert!(call.stdout.contains("line_number = LINE_NO"), "{}", call.stdout);
    assert!(!program.path().join("data/spill").exists(), "nothing is made");
}

#[test]
fn a_directory() {
    let program = program();
    let call = screen(&program, "providers.csv");
    assert_snapshot!(call.done(), @r#"
providers.csv: providers
  delimited text · 103 B · UTF-8 · LF · "," · 4 columns · 2 records

column         from           filled  texts    length
provider_id    provider_id    50.0 %  digits       10
provider_name  provider_name   100 %  letters   11–13
specialty      specialty      50.0 %  letters      10
location       location       50.0 %  letters       6
1 providers; 0 duplicates, 0 conflicts

        rule                  rows   share  first records
reject  directory_id_missing     1  50.0 %  2
✓ ready to load: 1 of 2 rejected
"#);
}

/// Files as they should not be.
fn damaged(folder: &Path) -> Vec<&'static str> {
    let row = "CANARY-C,CANARY-P,V1,99213,10.00,2024-01-01";
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).expect("written");
    let utf16 = |text: &str| -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let gzip = |text: &str| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).expect("packed");
        packed.finish().expect("packed")
    };
    let packed = gzip(&good(20_000));
    let latin1 = good(2).replace("99213", "V~").into_bytes();
    let latin1 = latin1.into_iter().map(|byte| if byte == b'~' { 0xed } else { byte }).collect();
    fs::create_dir(folder.join("folder")).expect("made");
    let files: [(&'static str, Vec<u8>); 17] = [
        ("empty.csv", Vec::new()),
        ("header.csv", format!("{HEADER}\n").into()),
        ("headless.csv", format!("{row}\n{row}\n").into()),
        ("blank.csv", b"\n\n\n".to_vec()),
        ("binary.csv", (0..=255).cycle().take(4_000).collect()),
        ("zip.csv", b"PK\x03\x04CANARY".to_vec()),
        ("cut.csv.gz", packed[..packed.len() / 2].to_vec()),
        ("cut_header.csv.gz", packed[..20].to_vec()),
        ("no.parquet", b"PAR1CANARY-CANARY-CANARY".to_vec()),
        ("utf16.csv", utf16(&good(3))),
        ("latin1.csv", latin1),
        ("semicolon.csv", good(3).replace(',', ";").into()),
        ("macintosh.csv", good(3).replace('\n', "\r").into()),
        ("mixed.csv", format!("{HEADER}\r\n{row}\n{row}\r\n").into()),
        ("twice.csv", good(1).replace("amount", "claim_id").into()),
        ("unclosed.csv", format!("{}CANARY,\"CANARY\n{row}\n", good(2)).into()),
        ("nul.csv", good(2).replace("99213", "\0CANARY").into()),
    ];
    let mut names = vec!["folder", "missing.csv"];
    for (name, bytes) in &files {
        write(name, bytes);
        names.push(name);
    }
    names
}

#[test]
fn any_file_has_a_screen_and_the_exit_code_of_a_run() {
    let program = program();
    for name in damaged(program.path()) {
        let call = screen(&program, name);
        assert!(call.stdout.starts_with(&format!("{name}: ")), "{name}: {}", call.stdout);
        let mut run = program.command(&format!(
            "run --dry-run --providers providers.csv --format json --claims {name}"
        ));
        let run = Call::of(run.env("CLAIMS_ETL_KEY", KEY));
        assert_eq!(call.code, run.code, "{name}: {}\n{}", call.stdout, run.stderr);
        let json = program.call(&format!("inspect {name} --format json"));
        assert_eq!(json.code, call.code);
        assert!(!json.stdout.contains("CANARY"), "{name}: {}", json.stdout);
        assert_eq!(json.json()[0]["source"], name);
    }
}

#[test]
fn files_that_nobody_here_wrote_have_a_screen() {
    for (name, rows, codes) in [
        ("synthea", "1,545", "snomed"),
        ("surakanti", "5,000", "hcpcs"),
        ("desynpuf", "102,933", "icd9"),
    ] {
        let Some(folder) = data(name) else { continue };
        let (claims, providers) = (folder.join("claims.csv"), folder.join("providers.csv"));
        let program = program();
        // The latest of the claims is of June 2026.
        program.write("claims-etl.toml", "[rules]\nrun_date = \"2026-12-31\"\n");
        let call = program.call(&format!(
            "inspect {} --providers {}",
            claims.display(),
            providers.display()
        ));
        let shown = format!("{}{}", call.stdout, call.stderr);
        assert_eq!(call.code, Some(0), "{shown}");
        assert!(call.stdout.lines().count() < 24, "{shown}");
        for expected in [format!("{rows} records"), format!("procedure codes look like {codes}")] {
            assert!(shown.contains(&expected), "{expected}: {shown}");
        }
        let mut records = csv::Reader::from_path(&claims).expect("readable");
        for record in records.records().take(1_000) {
            let record = record.expect("a record");
            for identifier in record.iter().take(2) {
                assert!(!shown.contains(identifier), "{name}: an identifier is shown");
            }
        }
    }
}

#[test]
fn the_first_failure_is_the_exit_code_of_several_files() {
    let program = program();
    program.write("good.csv", &good(2));
    let call = program.call("inspect good.csv missing.csv providers.csv");
    assert_eq!(call.code, Some(3));
    let heads = ["good.csv: claims", "missing.csv: ", "providers.csv: providers"];
    assert!(heads.iter().all(|head| call.stdout.contains(head)), "{}", call.stdout);
    assert!(!program.path().join("data").exists(), "nothing is made");
}

#[test]
fn without_files_the_settings_are_checked() {
    let program = Program::with_claims();
    let call = program.call("check");
    assert!(call.done().starts_with("✓ claims: 1 file"));
}
