//! Known layouts: the publishers' own files load with a preset and nothing else, and a file that
//! does not fit gets a mapping proposed.

use insta::assert_snapshot;
use serde_json::json;

use crate::support::program::{KEY, Program};

fn program() -> Program {
    let program = Program::new();
    program.write("claims-etl.key", KEY).private("claims-etl.key");
    program
}

fn report(program: &Program, arguments: &str) -> serde_json::Value {
    let run = "run --dry-run --format json --key-file claims-etl.key";
    let call = program.call(&format!("{run} {arguments}"));
    assert_eq!(call.code, Some(0), "{}", call.stderr);
    call.json()
}

const TRANSACTIONS: &str = "\
ID,CLAIMID,CHARGEID,PATIENTID,TYPE,AMOUNT,METHOD,FROMDATE,TODATE,PLACEOFSERVICE,PROCEDURECODE,MODIFIER1,UNITS,PAYMENTS,PROVIDERID
47cd1dc0,9120543f,0,3edac2e3,CHARGE,77.49,,2023-01-27T16:17:47Z,2023-01-27T16:32:47Z,e002090d,185345009,,1,77.49,2d85c411
46eb1b67,9120543f,1,3edac2e3,TRANSFEROUT,,,2023-01-27T16:17:47Z,2023-01-27T16:32:47Z,e002090d,185345009,,1,,2d85c411
18fe25dc,9120543f,2,3edac2e3,TRANSFERIN,77.49,,2023-01-27T16:17:47Z,2023-01-27T16:32:47Z,e002090d,185345009,,1,,2d85c411
28fe25dc,9120543f,3,3edac2e3,CHARGE,10.1,,2023-01-27T16:17:47Z,2023-01-27T16:32:47Z,e002090d,140,,1,,0f4db68f
";

const SYNTHEA_PROVIDERS: &str = "\
Id,ORGANIZATION,NAME,GENDER,SPECIALITY,ADDRESS,CITY,STATE,ZIP,LAT,LON,UTILIZATION
0f4db68f,5e765f2b,Ludivina884 Steuber698,F,GENERAL PRACTICE,211 PARK STREET,ATTLEBORO,MA,02703,41.9,-71.2,46
2d85c411,e002090d,V\u{ed}ctor493 Noriega353,M,GENERAL PRACTICE,1493 CAMBRIDGE STREET,CAMBRIDGE,MA,,42.3,-71.1,5
";

#[test]
fn synthea_loads_as_it_is_exported() {
    let program = program();
    program.write("t.csv", TRANSACTIONS).write("p.csv", SYNTHEA_PROVIDERS);
    let report = report(&program, "--preset synthea --claims t.csv --providers p.csv");
    assert_eq!(report["claims"]["read"], 2);
    assert_eq!(report["claims"]["filtered"], 2);
    assert_eq!(report["claims"]["loaded"], 2);
    assert_eq!(report["amount"]["loaded"], "87.59");
    assert_eq!(report["providers"]["loaded"], 2);
    assert_eq!(report["flags"]["provider_not_in_directory"], serde_json::Value::Null);
}

#[test]
fn the_public_use_file_loads_as_it_is_published() {
    let program = program();
    let file = "\
\"DESYNPUF_ID\",\"CLM_ID\",\"SEGMENT\",\"CLM_FROM_DT\",\"CLM_THRU_DT\",\"PRVDR_NUM\",\"CLM_PMT_AMT\",\"AT_PHYSN_NPI\",\"ICD9_PRCDR_CD_1\",\"HCPCS_CD_45\"\r
00016F745862898F,196201177000368,1,20090412,20090418,3900MB,26000.00,6476809087,7866,\r
00016F745862898F,196661177015632,1,20090831,20090902,3900MB,-5000.00,0611998537,0040,\r
00016F745862898F,196661177015632,2,,,3900HM,0.00,0611998537,,\r
";
    program.write("inpatient.csv", file);
    program.write("claims-etl.toml", "preset = \"desynpuf\"\n[claims]\nsources = [\"inpatient.csv\"]\n[providers]\nsources = [\"inpatient.csv\"]\n");
    let report = report(&program, "--max-reject-ratio 1");
    assert_eq!(report["claims"]["loaded"], 2);
    assert_eq!(report["reject_reasons"], json!({ "date_missing": 1 }));
    assert_eq!(report["amount"]["loaded"], "21000.00");
    assert_eq!(report["providers"]["loaded"], 2);
    assert_eq!(report["providers"]["duplicates"], 1);
}

#[test]
fn cms_lines_load_from_carrier_and_outpatient_files() {
    let program = program();
    program.write(
        "carrier.txt",
        "BENE_ID|CLM_ID|CLM_FROM_DT|PRF_PHYSN_NPI|LINE_NUM|PRVDR_SPCLTY|PRVDR_STATE_CD|LINE_1ST_EXPNS_DT|HCPCS_CD|LINE_NCH_PMT_AMT|LINE_SBMTD_CHRG_AMT\n\
         -1001|-9|30-May-2015|9999999999|1|01|34|30-May-2015|99213|40.10|100\n\
         -1001|-9|30-May-2015|9999999999|2|01|34|31-May-2015||0|55.5\n",
    );
    program.write(
        "outpatient.txt",
        "BENE_ID|CLM_ID|CLM_LINE_NUM|ORG_NPI_NUM|CLM_FROM_DT|HCPCS_CD|REV_CNTR_TOT_CHRG_AMT|REV_CNTR_DT\n\
         -1002|-7|1|8888888888|01-Jun-2015|36415|12.34|\n",
    );
    let files = "carrier.txt outpatient.txt";
    let report =
        report(&program, &format!("--preset cms_lines --claims {files} --providers {files}"));
    assert_eq!(report["claims"]["loaded"], 3);
    assert_eq!(report["amount"]["loaded"], "52.44");
    assert_eq!(report["providers"]["loaded"], 2);
}

#[test]
fn presets_are_listed_and_printed_as_configurations() {
    let program = program();
    assert_snapshot!(program.call("presets").done(), @"
    synthea    Synthea: claims_transactions.csv and providers.csv as they are exported
    desynpuf   CMS 2008-2010 DE-SynPUF: inpatient claims as CMS publishes them
    cms_lines  CMS-style claim lines, one row a line, named as in Medicare's research identifiable files
    nppes      NPPES: the national directory of providers as CMS disseminates it (npidata_pfile_….csv)
    ");
    let synthea = program.call("presets synthea").done();
    assert!(synthea.starts_with("# Synthea"), "{synthea}");
    program
        .write("claims-etl.toml", &synthea)
        .write("t.csv", TRANSACTIONS)
        .write("p.csv", SYNTHEA_PROVIDERS);
    let report = report(&program, "--claims t.csv --providers p.csv");
    assert_eq!(report["claims"]["loaded"], 2);
    let (code, message) = program.call("presets nothing").refused();
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("synthea, desynpuf, cms_lines, nppes"), "{message}");
}

#[test]
fn a_header_that_does_not_fit_gets_a_mapping_proposed() {
    let program = Program::with_claims();
    program.write(
        "unknown.csv",
        "Claim Nbr;MBR_ID;Rendering NPI;CPT;Billed Amt;Paid Amt;Allowed Amt;DOS;Note\nSECRET1;SECRET2;3;4;5;6;7;8;9\n",
    );
    program.write("t.csv", TRANSACTIONS);
    let unknown = program.call("check --claims unknown.csv");
    assert_eq!(unknown.code, Some(2), "{}", unknown.stdout);
    let claims: Vec<&str> =
        unknown.stdout.lines().take_while(|line| !line.contains("providers:")).collect();
    assert_snapshot!(claims.join("\n"), @r#"
    ✗ claims: unknown.csv: no column for claim_id, patient_id, provider_id, procedure_code, amount, date_of_service; the header has: Claim Nbr, MBR_ID, Rendering NPI, CPT, Billed Amt, Paid Amt, Allowed Amt, DOS, Note
        hint: set in the configuration how they are named:
      [claims.columns]
      claim_id = "Claim Nbr"
      patient_id = "MBR_ID"
      provider_id = "Rendering NPI"
      procedure_code = "CPT"
      amount = "Paid Amt"   # or "Billed Amt", "Allowed Amt"
      date_of_service = "DOS"
    "#);
    let synthea = program.call("check --claims t.csv").stdout;
    assert!(synthea.contains("this looks like preset synthea: --preset synthea"), "{synthea}");
    let wrong = program.call("check --claims t.csv --preset desynpuf").stdout;
    assert!(wrong.contains("this looks like preset synthea: --preset synthea"), "{wrong}");
}
