//! Where files come from: folders, days, templates, standard input.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claims_etl::commands::verify::recompute;
use claims_etl::pipeline::{RunSelector, VerifyOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::support::program::{Call, Program};
use crate::support::server;
use crate::support::test_env::{TestEnv, succeeded};

const HEADER: &str = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";

fn day(program: &Program, place: &str, id: &str) {
    let path = program.path().join(place);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    std::fs::write(path, format!("{HEADER}\n{id},P1,V1,99213,1.00,2024-01-01\n")).expect("written");
}

fn loaded(call: &Call) -> Value {
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    call.json()["claims"]["loaded"].clone()
}

#[test]
fn folders_are_loaded_by_days() {
    let program = Program::with_claims();
    day(&program, "in/date=2024-01-30/a.csv", "C1");
    day(&program, "in/date=2024-01-31/a.csv", "C2");
    day(&program, "in/date=2024-01-31/b/c.csv", "C3");
    day(&program, "in/date=2024-02-01/a.csv", "C4");
    std::fs::write(program.path().join("in/_SUCCESS"), "").expect("written");
    let load =
        |claims: &str| program.call(&format!("run --dry-run --format json --claims {claims}"));
    assert_eq!(loaded(&load("in")), 4);
    let month = "--interval-start 2024-01-01 --interval-end 2024-02-01";
    assert_eq!(loaded(&load(&format!("in {month}"))), 3);
    assert_eq!(loaded(&load("in/ --interval-start 2024-01-31")), 3);
    assert_eq!(loaded(&load("in/*/*.csv --interval-end 2024-01-31")), 1);
    let template = "in/date={interval_start:%Y-%m-%d}/*.csv";
    assert_eq!(loaded(&load(&format!("{template} --interval-start 2024-01-31"))), 1);

    let later = load("in --interval-start 2024-03-01 --interval-end 2024-03-02");
    assert_eq!(later.code, Some(3), "{}", later.stderr);
    assert_eq!(
        later.json()["error"]["message"],
        "extract.extract_claims: claims: no file below in is of [2024-03-01, 2024-03-02)"
    );
    let without = load(template);
    assert_eq!(without.code, Some(2), "{}", without.stderr);
    assert_eq!(
        without.json()["error"]["hint"],
        "pass --interval-start YYYY-MM-DD, or set run.interval_start"
    );
    let empty = load("in --interval-start 2024-01-31 --interval-end 2024-01-31");
    assert_eq!(empty.code, Some(2), "{}", empty.stderr);
    let wrong = load("in --interval-start 31.01.2024");
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);

    // The variable and the file say the same.
    let mut command = program.command("run --dry-run --format json --claims in");
    command.env("CLAIMS_ETL_INTERVAL_END", "2024-01-31");
    assert_eq!(loaded(&Call::of(&mut command)), 1);
}

#[test]
fn standard_input_is_read_like_a_file() {
    let program = Program::with_claims();
    let csv = std::fs::read(program.path().join("claims.csv")).expect("read");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&csv).expect("packed");
    let packed = packed.finish().expect("packed");
    let piped = |bytes: &[u8], arguments: &str| {
        let mut command = program.command(&format!("run --dry-run --format json {arguments}"));
        command.write_stdin(bytes);
        Call::of(&mut command)
    };
    let expected = piped(&[], "").json();
    for bytes in [&csv, &packed, &parquet()] {
        let call = piped(bytes, "--claims -");
        assert_eq!(loaded(&call), 2);
        assert_eq!(call.json()["amount"], expected["amount"]);
    }
    let spill = program.path().join("data/spill");
    assert_eq!(std::fs::read_dir(spill).expect("the folder").count(), 0, "nothing has a name");

    let nothing = piped(&[], "--claims -");
    assert_eq!(nothing.code, Some(3), "{}", nothing.stderr);
    let message = "extract.extract_claims: claims: standard input is empty";
    assert_eq!(nothing.json()["error"]["message"], message);
    let twice = piped(&csv, "--claims - --providers -");
    assert_eq!(twice.code, Some(2), "{}", twice.stderr);
}

/// The two claims as Parquet.
fn parquet() -> Vec<u8> {
    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    let column = |name: &'static str, values: [&str; 2]| -> (&'static str, ArrayRef) {
        (name, Arc::new(StringArray::from(values.to_vec())))
    };
    let columns = vec![
        column("claim_id", ["C1", "C2"]),
        column("patient_id", ["P1", "P2"]),
        column("provider_id", ["V1", "V1"]),
        column("procedure_code", ["99213", "99214"]),
        column("amount", ["10.00", "20.00"]),
        column("date_of_service", ["2024-01-01", "2024-01-02"]),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.into_inner().expect("closed")
}

#[test]
fn a_run_that_waits_for_standard_input_can_be_stopped() {
    let program = Program::with_claims();
    let mut child = program
        .process("run --dry-run --format json --claims -")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let spill = program.path().join("data/spill");
    let began = Instant::now();
    while !spill.exists() {
        assert!(began.elapsed() < Duration::from_mins(1), "it never began to read");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Waiting would close it.
    let open = child.stdin.take();
    let id = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(id), Signal::SIGTERM).expect("alive");
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
    drop(open);
}

#[test]
fn what_came_from_standard_input_is_verified_with_the_same_bytes() {
    let (program, database) = (Program::with_claims(), server::database());
    let csv = std::fs::read(program.path().join("claims.csv")).expect("read");
    let call = |arguments: &str, bytes: &[u8]| {
        let mut command = program.command(arguments);
        command.env("DATABASE_URL", database.url()).write_stdin(bytes);
        Call::of(&mut command)
    };
    assert_eq!(loaded(&call("run --format json --claims -", &csv)), 2);
    let without = call("verify last", &[]);
    assert_eq!(without.code, Some(2), "{}", without.stdout);
    assert!(without.stderr.contains("the run has read standard input"), "{}", without.stderr);
    for claims in ["claims.csv", "-"] {
        let verified = call(&format!("verify last --claims {claims}"), &csv);
        assert_eq!(verified.code, Some(0), "{} {}", verified.stdout, verified.stderr);
    }
}

#[test]
fn rows_that_are_no_claims_are_counted_apart() {
    let mut env = TestEnv::new().providers(&["V1,Ann,Cardiology,Boston"]);
    let header = "CLAIM,LINE,KIND,patient_id,PROV,procedure_code,amount,date_of_service";
    let rows = [
        "1,0,CHARGE,P1,V1,99213,1.00,2024-01-01",
        "1,1,PAYMENT,P1,V1,99213,1.00,2024-01-01",
        "1,2, CHARGE ,P1,,99213,2.00,2024-01-01",
        "2,,CHARGE,P1,V1,99213,4.00,2024-01-01",
        "2,0,,P1,V1,99213,8.00,2024-01-01",
        "2,1,charge,P1,V1,99213,8.00,2024-01-01",
    ];
    let path = env.write("transactions.csv", header, &rows);
    let toml = format!(
        "[claims]\nsources = [{path:?}]\n[claims.where]\nKIND = \"CHARGE\"\n[claims.columns]\n\
         claim_id = \"{{CLAIM}}-{{LINE}}\"\nprovider_id = [\"NPI\", \"prov\"]\n\
         line_number = {{ constant = \"7\" }}\n"
    );
    let file = env.path("claims-etl.toml");
    std::fs::write(&file, toml).expect("written");
    let overrides = toml::Table::new();
    env.settings.claims =
        claims_etl::config::load(Some(&file), overrides).expect("settings").claims;

    let report = env.run();
    succeeded(&report);
    let counts = serde_json::to_value(report.claims).expect("JSON");
    assert_eq!(counts["filtered"], json!(3));
    assert_eq!((report.claims.read, report.claims.loaded), (3, 2));
    assert_eq!(report.reject_reasons.get("claim_id_missing"), Some(&1), "a part was missing");
    assert_eq!(report.amount.read.to_string(), "7.00");
    let lines = "SELECT string_agg(line_number || provider_id, ' ' ORDER BY provider_id)
        FROM healthcare_analytics.v_claims";
    assert_eq!(env.rows(lines), ["7(unknown) 7V1"]);
    assert_eq!(env.rows("SELECT claims_filtered FROM claims_etl.runs"), ["3"]);

    let which = RunSelector::parse(&report.run_id).expect("an id");
    let verification = recompute::verify(
        &env.settings,
        VerifyOptions::default(),
        which,
        &claims_etl::event::NullObserver,
        &claims_etl::event::Cancellation::default(),
    );
    let verification = verification.expect("verified");
    assert!(verification.equal, "{verification:?}");
}

#[test]
fn an_unfinished_upload_is_not_loaded() {
    let program = Program::with_claims();
    for (number, name) in [
        "part-0.csv",
        "part-2.csv.filepart",
        "part-3.csv.tmp",
        "_x.csv",
        ".hidden.csv",
        "~$claims.csv",
        "_temporary/0/part-4.csv",
        "__MACOSX/._part-0.csv",
    ]
    .into_iter()
    .enumerate()
    {
        day(&program, &format!("in/{name}"), &format!("C{number}"));
    }
    for name in ["in/part-1.csv", "in/_SUCCESS"] {
        std::fs::write(program.path().join(name), "").expect("written");
    }
    program.write("in/Thumbs.db", "\u{1}\u{2}");
    for claims in ["in", "in/*", "in/**/*"] {
        let call = program.call(&format!("run --dry-run --format json --claims {claims}"));
        assert_eq!(loaded(&call), 1, "{claims}");
        for printed in ["not read, unfinished or no data by name", "1 file without rows (0 bytes)"]
        {
            assert!(call.stderr.contains(printed), "{claims}: {}", call.stderr);
        }
    }
    assert_eq!(loaded(&program.call("run --dry-run --format json --claims in/_*.csv")), 1);
    let alone = program.call("run --dry-run --format json --claims in/part-1.csv");
    assert_eq!(alone.code, Some(3), "{}", alone.stderr);
    let message = "extract.extract_claims: claims: in/part-1.csv is empty";
    assert_eq!(alone.json()["error"]["message"], message);
}

/// A Parquet file whose footer counts other rows than there are.
fn counting(file: &[u8], rows: i64) -> Vec<u8> {
    use ::parquet::file::metadata::{
        ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
    };
    let found = ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(file.to_vec()));
    let found = found.expect("a footer");
    let group = found.row_group(0).clone().into_builder().set_num_rows(rows);
    let changed = ParquetMetaData::new(
        found.file_metadata().clone(),
        vec![group.build().expect("a row group")],
    );
    let tail = file.len() - 8;
    let length: [u8; 4] = file[tail..tail + 4].try_into().expect("four bytes");
    let mut bytes = file[..tail - u32::from_le_bytes(length) as usize].to_vec();
    ParquetMetaDataWriter::new(&mut bytes, &changed).finish().expect("a footer");
    bytes
}

#[test]
fn a_parquet_file_whose_footer_lies_is_not_loaded() {
    let (program, database) = (Program::with_claims(), server::database());
    let load = |name: &str| {
        let arguments = "run --providers providers.csv --mode replace --format json --claims";
        let mut command = program.command(&format!("{arguments} {name}"));
        command.env("DATABASE_URL", database.url());
        Call::of(&mut command)
    };
    let sound = parquet();
    std::fs::write(program.path().join("claims.parquet"), &sound).expect("written");
    assert_eq!(loaded(&load("claims.parquet")), 2);
    for (name, rows) in [("fewer.parquet", 1), ("none.parquet", 0), ("more.parquet", 4)] {
        std::fs::write(program.path().join(name), counting(&sound, rows)).expect("written");
        let call = load(name);
        assert_eq!(call.code, Some(3), "{name}: {}", call.stderr);
        let message = call.json()["error"]["message"].to_string();
        assert!(message.contains(&format!("its footer counts {rows} rows")), "{message}");
        assert!(message.contains("its pages hold 2"), "{message}");
        assert!(!call.stderr.contains("panic"), "{}", call.stderr);
    }
    let published = "SELECT count(*) FROM healthcare_analytics.claims_fact";
    let row = database.connect().query_one(published, &[]).expect("an answer");
    assert_eq!(row.get::<_, i64>(0), 2, "what was published stays");
}

#[test]
fn a_format_that_is_not_read_is_named() {
    let program = Program::with_claims();
    for (name, bytes, what) in [
        ("a.csv.bz2", &b"BZh91AY&SY\x01"[..], "a.csv.bz2 is a bzip2 file"),
        ("a.csv", b"PK\x03\x04\x14\0xl/workbook.xml", "a.csv is an Excel workbook"),
        ("a.csv.xz", b"\xfd7zXZ\0\0", "a.csv.xz is an xz file"),
    ] {
        std::fs::write(program.path().join(name), bytes).expect("written");
        for call in [format!("run --dry-run --claims {name}"), format!("inspect {name}")] {
            let call = program.call(&call);
            assert_eq!(call.code, Some(3), "{name}: {}", call.stderr);
            let printed = call.stdout + &call.stderr;
            assert!(printed.contains(what), "{name}: {printed}");
            assert!(!printed.contains("windows-1252"), "{name}: {printed}");
        }
    }
}

#[test]
fn files_are_not_written_through_links() {
    let (program, database) = (Program::with_claims(), server::database());
    program.write("other", "kept");
    let link = |name: &str| {
        std::os::unix::fs::symlink(program.path().join("other"), program.path().join(name))
            .expect("a link");
    };
    for name in ["dashboard.html", "claims.prom", "xcom.json", "dag.py", "lineage.ndjson"] {
        link(name);
    }
    let toml = std::fs::read_to_string(program.path().join("claims-etl.toml")).expect("read");
    let more = "[refresh.dashboard]\npath = \"dashboard.html\"\n[metrics]\n\
                textfile = \"claims.prom\"\n[lineage]\nfile = \"lineage.ndjson\"\n";
    program.write("claims-etl.toml", &format!("{toml}{more}"));
    let mut command = program.command("run --format json --xcom-file xcom.json");
    command.env("DATABASE_URL", database.url());
    let call = Call::of(&mut command);
    assert_eq!(loaded(&call), 2);
    assert!(call.stderr.contains("symbolic link"), "the lineage's file: {}", call.stderr);
    program.call("airflow dag --output dag.py").done();
    let kept = std::fs::read_to_string(program.path().join("other")).expect("read");
    assert_eq!(kept, "kept");
    for name in ["dashboard.html", "claims.prom", "xcom.json", "dag.py"] {
        let found = program.path().join(name).symlink_metadata().expect("there");
        assert!(found.is_file(), "{name} has taken the link's place");
    }
}
