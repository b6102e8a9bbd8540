//! Structure as a property: whatever lines a file is made of, the `csv` crate counts the records, and
//! the account agrees.

use claims_etl::config::Settings;
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::key::MasterKey;
use claims_etl::pipeline::{self, RunOptions, RunReport};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const HEADER: &str = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service,note";

/// Lines of a file, with their ends: good, odd and damaged.
const LINES: [&[u8]; 22] = [
    b"C1,P1,V1,99213,1.00,2024-01-01,n\n",
    b"C2,P1,V1,99213,2.00,2024-01-01,n\r\n",
    b"C3,P1,V1,99213,3.00,2024-01-01,\n",
    b"\"C4\",\"P1\",\"V1\",\"99213\",\"4.00\",\"2024-01-01\",\"n\"\n",
    b"C5,P1,V1,99213,5.00,2024-01-01,\"a\nb\"\n",
    b"C6,P1,V1,99213,6.00,2024-01-01,\"a \"\"b\"\"\r\n\n c\"\r\n",
    b"C7,P1,V1,99213,7.00,2024-01-01,5\" bandage\n",
    b"C8,P1,V1,99213,8.00,2024-01-01,\"n\" \n",
    b"\n",
    b"\r\n",
    b",,,,,,\n",
    b"C9,P1,V1\n",
    b"C10,P1,V1,99213,1.00,2024-01-01,n,more\n",
    b"C11,P1,V1,99213,1.00,2024-01-01,\xff\n",
    b"C12,P1,V1,99213,1.00,2024-01-01,\0\n",
    b"claim_id,patient_id,provider_id,procedure_code,amount,date_of_service,note\n",
    b"# a remark\n",
    b"C13,P1,V1,99213,a lot,2024-01-01,n\n",
    b"C14,P1,V1,99213,1.00,2024-01-01,\"n\"x\n",
    b"C15,P1,V1,99213,1.00,2024-01-01,\"never closed\n",
    b"\"C16,P1,V1,99213,1.00,2024-01-01,n\n",
    b"C17,P1,V1,99213,1.00,2024-01-01,\"\n",
];
/// Those from here on are damaged in their quotes, and what a record is then our grammar says alone.
const UNRELIABLE: usize = 18;

/// The records after the header, as the `csv` crate counts them.
fn counted(content: &[u8]) -> u64 {
    let reader = csv::ReaderBuilder::new().flexible(true).from_reader(content);
    reader.into_byte_records().flatten().count() as u64
}

/// A dry run over a file of that content.
fn run(content: &[u8]) -> RunReport {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("claims.csv"), content).expect("written");
    std::fs::write(path("providers.csv"), "provider_id,provider_name,specialty,location\n")
        .expect("written");
    let mut settings = Settings::default();
    settings.run.data_dir = path("data");
    settings.claims.sources = vec![path("claims.csv").display().to_string()];
    settings.providers.sources = vec![path("providers.csv").display().to_string()];
    settings.quality.max_reject_ratio = 1.0;
    MasterKey::generate(&settings.key_path()).expect("a key");
    let options = RunOptions { dry_run: true, ..RunOptions::default() };
    pipeline::run(&settings, &options, &NullObserver, &Cancellation::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_account_counts_what_the_csv_crate_counts(
        lines in vec(select((0..LINES.len()).collect::<Vec<_>>()), 0..25),
        crlf: bool,
        ended: bool,
    ) {
        let mut content = HEADER.as_bytes().to_vec();
        content.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
        for &line in &lines {
            content.extend_from_slice(LINES[line]);
        }
        if !ended {
            content.pop();
        }
        let report = run(&content);
        let claims = &report.claims;
        prop_assert!(report.error.is_none(), "{:?}", report.error);
        let dropped = claims.duplicates + claims.conflicts;
        prop_assert_eq!(claims.read, claims.loaded + claims.rejected + dropped);
        prop_assert_eq!(claims.rejected, report.reject_reasons.values().sum::<u64>());
        if lines.iter().all(|&line| line < UNRELIABLE) {
            prop_assert_eq!(claims.read, counted(&content));
        }
    }
}
