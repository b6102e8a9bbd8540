//! What people do with rejects: look at them, mend them, load them again, throw them away.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use insta::{assert_snapshot, with_settings};
use serde_json::Value;

use crate::support::program::{Call, KEY, Program};
use crate::support::server;

/// Two good claims, and one for each of some reasons; records of several lines, quotes, blanks.
const CLAIMS: &str = "\u{feff}claim_id,patient_id,provider_id,procedure_code,amount,date_of_service\r\n\
    CANARY-C1,CANARY-P1,V1,99213,1.00,2024-01-01\r\n\
    CANARY-C2,\"CANARY-P2\n\",V1,99213,\"one, or two\",2024-01-02\r\n\
    \"CANARY-C3\",\"CANARY \"\"P3\"\"\",V1,99213,3.00,2024-01-03\r\n\
    CANARY-C4, CANARY-P4 ,V1,99213,4.00,someday\r\n\
    CANARY-C5,CANARY-P5,V1\r\n\
    ,CANARY-P6,V1,99213,6.00,2024-01-06\r\n";

const PROVIDERS: &str =
    "provider_id,provider_name,specialty,location\nV1,Ann,Cardiology,Boston\n,Nobody,,\n";

/// The program with a database.
struct Site {
    program: Program,
    database: server::Database,
}

impl Site {
    fn new(claims: &[u8]) -> Self {
        let program = Program::new();
        fs::write(program.path().join("claims.csv"), claims).expect("written");
        program.write("providers.csv", PROVIDERS);
        Self { program, database: server::database() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.program.path().join(name)
    }

    fn call(&self, arguments: &str) -> Call {
        let mut command = self.program.command(arguments);
        command.env("CLAIMS_ETL_KEY", KEY).env("DATABASE_URL", self.database.url());
        Call::of(&mut command)
    }

    /// Loads; the run's id.
    fn load(&self, options: &str) -> String {
        let call = self.call(&format!(
            "run --providers providers.csv --max-reject-ratio 1 --format json {options}"
        ));
        assert_eq!(call.code, Some(0), "{}", call.stderr);
        call.json()["run_id"].as_str().expect("an id").to_owned()
    }
}

fn redacted(assertions: impl FnOnce()) {
    with_settings!({
        filters => vec![
            (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "[RUN]"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[TIME]"),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "[TIME]"),
            (r"\d+\.\d kB", "[SIZE]"),
            (r"\d+ min", "[AGE]"),
        ],
    }, { assertions() });
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("there").permissions().mode() & 0o777
}

#[test]
fn rejects_are_a_screen_a_list_and_a_spreadsheet() {
    let site = Site::new(CLAIMS.as_bytes());
    let run = site.load("--claims claims.csv");
    let shown = site.call(&format!("quarantine {run}")).done();
    assert!(shown.lines().count() < 24, "{shown}");
    redacted(|| {
        assert_snapshot!(shown, @"
5 rejected records of run [RUN]
of 2 sources

reason                records   share  first records
amount_unparseable          1  20.0 %  claims.csv 2
  A1 The amount is not a decimal number.
date_unparseable            1  20.0 %  claims.csv 4
  D1 The date matches none of the configured formats.
too_few_fields              1  20.0 %  claims.csv 5
  S2 The record has fewer fields than the header.
claim_id_missing            1  20.0 %  claims.csv 6
  C1 The record has no claim id.
directory_id_missing        1  20.0 %  providers.csv 2
  V3 A directory record has no provider id.

source         record  line  column           reason
claims.csv          2     3  amount           amount_unparseable
claims.csv          4     6  date_of_service  date_unparseable
claims.csv          5     7  (record)         too_few_fields
claims.csv          6     8  claim_id         claim_id_missing
providers.csv       2     3  provider_id      directory_id_missing
");
    });
    let few = site.call("quarantine last --limit 1 --dataset claims").done();
    redacted(|| {
        assert_snapshot!(few, @"
4 rejected records of run [RUN]
of claims.csv (claims)

reason              records   share  first records
amount_unparseable        1  25.0 %  2
  A1 The amount is not a decimal number.
date_unparseable          1  25.0 %  4
  D1 The date matches none of the configured formats.
too_few_fields            1  25.0 %  5
  S2 The record has fewer fields than the header.
claim_id_missing          1  25.0 %  6
  C1 The record has no claim id.

record  line  column  reason
     2     3  amount  amount_unparseable
… and 3 more: --limit N, or --format csv --output FILE
");
    });

    let listed = site.call(&format!("quarantine {run} --format json")).json();
    let place = |reject: &Value| {
        let of = |name: &str| reject[name].as_u64();
        (of("record"), of("line"), reject["reason"].as_str().map(ToOwned::to_owned))
    };
    let places: Vec<_> = listed.as_array().expect("a list").iter().map(place).collect();
    let expected = [
        (2, 3, "amount_unparseable"),
        (4, 6, "date_unparseable"),
        (5, 7, "too_few_fields"),
        (6, 8, "claim_id_missing"),
        (2, 3, "directory_id_missing"),
    ];
    let expected = expected.map(|(r, l, name)| (Some(r), Some(l), Some(name.to_owned())));
    assert_eq!(places, expected);
    assert_eq!(listed[0]["source_fingerprint"].as_str().map(str::len), Some(64));

    let file = site.path("rejects.csv");
    let written = site.call(&format!("quarantine {run} --format csv --output rejects.csv"));
    assert_eq!(written.done(), "");
    assert_eq!(mode(&file), 0o600);
    let text = fs::read_to_string(&file).expect("text");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "RFC 4180");
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(rows.headers().expect("a header").get(6), Some("reason"));
    let rows: Vec<csv::StringRecord> = rows.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[0].get(7), Some("The amount is not a decimal number."));

    let (code, refusal) =
        site.call(&format!("quarantine {run} --format csv --output rejects.csv")).refused();
    assert_eq!(code, 2);
    assert!(refusal.contains("nothing is overwritten"), "{refusal}");
    assert_eq!(fs::read_to_string(&file).expect("text"), text);
    let everything = [shown, few, listed.to_string(), text].concat();
    assert!(!everything.contains("CANARY"), "{everything}");
}

#[test]
fn rejected_records_are_mended_and_loaded_again() {
    let site = Site::new(CLAIMS.as_bytes());
    let run = site.load("--claims claims.csv");
    let call = site.call(&format!("quarantine {run} --source --format csv --output mend.csv"));
    assert!(call.stderr.contains("mend.csv contains patient identifiers"), "{}", call.stderr);
    assert!(call.stderr.contains("1 rejected providers are left out"), "{}", call.stderr);
    assert_eq!(call.done(), "");
    assert_eq!(mode(&site.path("mend.csv")), 0o600);
    let expected = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service\n\
        CANARY-C2,\"CANARY-P2\n\",V1,99213,\"one, or two\",2024-01-02\n\
        CANARY-C4, CANARY-P4 ,V1,99213,4.00,someday\n\
        CANARY-C5,CANARY-P5,V1\n\
        ,CANARY-P6,V1,99213,6.00,2024-01-06\n";
    let mend = fs::read_to_string(site.path("mend.csv")).expect("text");
    assert_eq!(mend, expected);
    let mended = mend
        .replace("\"one, or two\"", "2.00")
        .replace("someday", "2024-01-04")
        .replace("CANARY-P5,V1", "CANARY-P5,V1,99213,5.00,2024-01-05")
        .replace("\n,CANARY-P6", "\nCANARY-C6,CANARY-P6");
    site.program.write("mended.csv", &mended);
    site.load("--claims mended.csv");
    let sums = "SELECT count(*), sum(amount)::text FROM healthcare_analytics.claims_fact";
    let row = site.database.connect().query_one(sums, &[]).expect("a row");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, String>(1)), (6, "21.00".to_owned()));

    let reasons = format!("quarantine {run} --source --with-reasons --format csv --limit 1");
    assert_eq!(
        site.call(&reasons).done(),
        "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service,_reason,_source,_record,_line\n\
         CANARY-C2,\"CANARY-P2\n\",V1,99213,\"one, or two\",2024-01-02,amount_unparseable,claims.csv,2,3\n"
    );
    let providers = format!("quarantine {run} --source --format csv --dataset providers");
    assert_eq!(
        site.call(&providers).done(),
        "provider_id,provider_name,specialty,location\n,Nobody,,\n"
    );
    let shown = site.call(&format!("quarantine {run} --source"));
    assert!(shown.stderr.contains("the output contains patient identifiers"), "{}", shown.stderr);
    assert_snapshot!(shown.done(), @r#"
claims.csv (claims)
reason                claim_id,patient_id,provider_id,procedure_code,amount,date_of_service
amount_unparseable    CANARY-C2,"CANARY-P2\n",V1,99213,"one, or two",2024-01-02
date_unparseable      CANARY-C4, CANARY-P4 ,V1,99213,4.00,someday
too_few_fields        CANARY-C5,CANARY-P5,V1
claim_id_missing      ,CANARY-P6,V1,99213,6.00,2024-01-06
providers.csv (providers)
reason                provider_id,provider_name,specialty,location
directory_id_missing  ,Nobody,,
"#);
}

#[test]
fn records_are_only_shown_from_the_file_that_the_run_has_read() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(CLAIMS.as_bytes()).expect("packed");
    let packed = packed.finish().expect("packed");
    let site = Site::new(&packed);
    let run = site.load("--claims claims.csv");
    let source = format!("quarantine {run} --source --format csv --dataset claims");
    let records = site.call(&source).done();
    assert_eq!(records.matches("CANARY").count(), 7, "{records}");

    // Moved, and something else in its place.
    fs::rename(site.path("claims.csv"), site.path("moved.gz")).expect("moved");
    let (code, refusal) = site.call(&source).refused();
    assert_eq!(code, 3);
    assert!(refusal.contains("claims.csv is missing"), "{refusal}");
    assert_eq!(site.call(&format!("{source} --claims providers.csv moved.gz")).code, Some(2));
    assert_eq!(site.call(&format!("{source} --claims moved.gz")).done(), records);
    fs::write(site.path("claims.csv"), CLAIMS.replace("CANARY-C1", "CANARY-C9")).expect("written");
    for arguments in [source.clone(), format!("{source} --claims claims.csv")] {
        let (code, refusal) = site.call(&arguments).refused();
        assert_eq!(code, 3, "{refusal}");
        assert!(refusal.contains("claims.csv is not what the run has read"), "{refusal}");
        assert!(!refusal.contains("CANARY"), "{refusal}");
    }
    let call = site.call(&format!("{source} --output mend.csv"));
    assert_eq!(call.code, Some(3));
    assert!(!site.path("mend.csv").exists());
}

#[test]
fn rejects_of_the_second_pass_have_lines_too() {
    let site = Site::new(
        b"claim_id,patient_id,provider_id,procedure_code,amount,date_of_service\n\
          C1,P1,V1,99213,1.00,2024-01-01\nC2,P2,V1,99213,2.00,\"2024-01-01\n\"\n\n\
          C1,P1,V1,99213,9.00,2024-01-01\n",
    );
    let run = site.load("--claims claims.csv --on-duplicate reject");
    let listed = site.call(&format!("quarantine {run} --format json --dataset claims")).json();
    let places: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|reject| (reject["record"].as_u64(), reject["line"].as_u64()))
        .collect();
    assert_eq!(places, [(Some(1), Some(2)), (Some(3), Some(6))]);
}

#[test]
fn what_was_read_from_standard_input_is_gone() {
    let site = Site::new(b"");
    let mut command = site
        .program
        .command("run --providers providers.csv --max-reject-ratio 1 --format json --claims -");
    command.env("CLAIMS_ETL_KEY", KEY).env("DATABASE_URL", site.database.url());
    let run = Call::of(command.write_stdin(CLAIMS)).json();
    let run = run["run_id"].as_str().expect("an id");
    let source = format!("quarantine {run} --source --dataset claims");
    let (code, refusal) = site.call(&source).refused();
    assert_eq!(code, 2);
    assert!(refusal.contains("standard input was read once and is gone"), "{refusal}");
    site.program.write("saved.csv", CLAIMS);
    let shown = site.call(&format!("{source} --claims saved.csv")).done();
    assert!(shown.contains("CANARY-C4"), "{shown}");
}

#[test]
fn rows_of_parquet_come_as_csv() {
    use arrow::array::{ArrayRef, RecordBatch, StringArray};

    let site = Site::new(b"");
    let column = |texts: [Option<&str>; 3]| -> ArrayRef {
        std::sync::Arc::new(StringArray::from(texts.to_vec()))
    };
    let batch = RecordBatch::try_from_iter([
        ("claim_id", column([Some("C1"), Some("C2"), None])),
        ("patient_id", column([Some("P1"), Some("P \"2\", x"), Some("P3")])),
        ("provider_id", column([Some("V1"); 3])),
        ("procedure_code", column([None, Some(""), Some("1")])),
        ("amount", column([Some("1.00"), Some("two"), Some("3")])),
        ("date_of_service", column([Some("2024-01-01"); 3])),
        ("note", column([None, Some("kept"), None])),
    ])
    .expect("a batch");
    let file = fs::File::create(site.path("claims.parquet")).expect("a file");
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    let run = site.load("--claims claims.parquet");
    let records = site.call(&format!("quarantine {run} --source --format csv --dataset claims"));
    assert_eq!(
        records.done(),
        "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service,note\n\
         C2,\"P \"\"2\"\", x\",V1,\"\",two,2024-01-01,kept\n,P3,V1,1,3,2024-01-01,\n"
    );
}

#[test]
fn files_with_other_headers_are_written_one_by_one() {
    let site = Site::new(CLAIMS.as_bytes());
    site.program.write(
        "more.csv",
        "patient_id,claim_id,provider_id,procedure_code,amount,date_of_service\nP7,C7,V1,1,x,2024-01-01\n",
    );
    let run = site.load("--claims claims.csv more.csv");
    let source = format!("quarantine {run} --source --format csv");
    let call = site.call(&format!("{source} --output mend.csv"));
    assert_eq!(call.code, Some(2));
    assert!(call.stderr.contains("more.csv has another header"), "{}", call.stderr);
    assert!(!site.path("mend.csv").exists(), "half a file");
    let one = site.call(&format!("{source} --only more.csv")).done();
    assert!(one.ends_with("\nP7,C7,V1,1,x,2024-01-01\n"), "{one}");
    let (code, refusal) = site.call(&format!("{source} --only other.csv")).refused();
    assert_eq!(code, 2);
    assert!(refusal.contains("claims.csv, more.csv"), "{refusal}");
}

#[test]
fn old_rejects_are_thrown_away_and_nothing_else() {
    let site = Site::new(CLAIMS.as_bytes());
    let none = site.call("quarantine list").done();
    assert_eq!(none, "no rejects are kept\n");
    let run = site.load("--claims claims.csv");
    let folder = site.path("data/quarantine");
    fs::write(folder.join("notes.txt"), "mine").expect("written");
    let old = "018d6c3a-5c00-7000-8000-000000000001.parquet";
    fs::copy(folder.join(format!("{run}.parquet")), folder.join(old)).expect("copied");

    let mut listed = site.program.command("quarantine list");
    let listed = Call::of(listed.env("CLAIMS_ETL_DATA_DIR", "data")).done();
    assert!(listed.contains(&run) && listed.contains("018d6c3a"), "{listed}");
    let dry = site.call("quarantine prune --older-than 30d --dry-run").done();
    assert!(dry.starts_with("would be removed: the rejects of 1 runs"), "{dry}");
    assert!(folder.join(old).exists());
    let pruned = site.call("quarantine prune --older-than 30d --format json").json();
    assert_eq!(pruned.as_array().map(Vec::len), Some(1));
    assert_eq!(pruned[0]["rejects"], 5);
    let left: Vec<_> = fs::read_dir(&folder).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let none = site.call("quarantine prune --older-than 2024-01-01").done();
    assert!(none.starts_with("removed: the rejects of 0 runs"), "{none}");
    for arguments in ["quarantine prune", "quarantine prune --older-than soon", "quarantine"] {
        assert_eq!(site.call(arguments).refused().0, 2, "{arguments}");
    }
    let (code, refusal) = site.call(&format!("quarantine {}", &old[..36])).refused();
    assert_eq!(code, 2);
    assert!(refusal.contains("quarantine list"), "{refusal}");
}
