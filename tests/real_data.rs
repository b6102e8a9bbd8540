//! Files that nobody here wrote: third-party claims in the contract's columns, when they lie beside
//! the checkout or where `CLAIMS_ETL_REAL_DATA` says; and the layouts of their publishers, read
//! with the configurations in `docs/examples`.

use std::path::{Path, PathBuf};

use claims_etl::account::Cents;
use claims_etl::config::{self, Overrides};
use claims_etl::key::{Domain, MasterKey};
use claims_etl::pipeline::RunReport;

use crate::desk::{Desk, succeeded};

/// The folder of a data set; says so when it is not there.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
fn data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var("CLAIMS_ETL_REAL_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data").into());
    let folder = Path::new(&folder).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    {
        eprintln!("skipped: no {}; CLAIMS_ETL_REAL_DATA names another place", folder.display());
    }
    None
}

fn load(folder: &Path) -> (Desk, RunReport) {
    let mut desk = Desk::new();
    desk.settings.claims.sources = vec![folder.join("claims.csv").display().to_string()];
    desk.settings.providers.sources = vec![folder.join("providers.csv").display().to_string()];
    let report = desk.run();
    succeeded(&report);
    (desk, report)
}

#[test]
fn synthea_loads_whole() {
    let Some(folder) = data("synthea") else { return };
    let (desk, report) = load(&folder);
    assert_eq!((report.claims.read, report.claims.loaded), (1_545, 1_545));
    assert_eq!(report.amount.loaded, Cents(109_240_273));
    assert_eq!(report.providers.inferred, 0);
    assert_eq!(report.flags.get("amount_zero"), Some(&127));
    let dates = "SELECT concat_ws(' ', min(date_of_service), max(date_of_service))
        FROM healthcare_analytics.claims_fact";
    assert_eq!(desk.rows(dates), ["1968-01-21 2024-02-02"]);
}

#[test]
fn surakanti_loads_whole() {
    let Some(folder) = data("surakanti") else { return };
    let (desk, report) = load(&folder);
    assert_eq!((report.claims.read, report.claims.loaded), (5_000, 5_000));
    assert_eq!(report.amount.loaded, Cents(3_192_587_118));
    let with_zip =
        "SELECT count(*) FROM healthcare_analytics.providers_dim WHERE location ~ ' 0[0-9]{4}$'";
    assert_eq!(desk.rows(with_zip), ["9"], "leading zeros of ZIP codes stay");
}

#[test]
fn desynpuf_loads_but_for_its_empty_dates() {
    let Some(folder) = data("desynpuf") else { return };
    let (desk, report) = load(&folder);
    assert_eq!((report.claims.read, report.claims.loaded), (102_933, 102_841));
    assert_eq!(report.reject_reasons.get("date_missing"), Some(&92));
    assert_eq!(report.amount.read, Cents(98_205_651_000));
    assert_eq!(report.amount.loaded, Cents(98_022_051_000));
    assert_eq!(report.flags.get("amount_negative"), Some(&102));
    let zeros =
        "SELECT count(*) FROM healthcare_analytics.claims_fact WHERE procedure_code LIKE '0%'";
    assert_eq!(desk.rows(zeros), ["4535"], "no leading zero is lost");
    // A patient id that looks like a number in scientific notation.
    let key = MasterKey::load(&desk.settings.key_path()).expect("the run's key");
    let token = key.tokenizer(Domain::Patient).token("100571169204E347").expect("a token");
    let token = uuid::Uuid::from_bytes(token);
    let claims = format!(
        "SELECT count(*) || ' ' || sum(amount) FROM healthcare_analytics.claims_fact WHERE patient_token = '{token}'"
    );
    assert_eq!(desk.rows(&claims), ["2 23000.00"]);
}

/// Files in a publisher's layout, read with an example of the documentation.
fn with_example(example: &str, claims: &str, providers: &str) -> (Desk, RunReport) {
    let mut desk = Desk::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples").join(example);
    let settings = config::load(Some(&path), Overrides::default()).expect("the example is valid");
    for (name, text) in [("upstream-claims.csv", claims), ("upstream-providers.csv", providers)] {
        std::fs::write(desk.path(name), text).expect("written");
    }
    desk.settings.claims = settings.claims;
    desk.settings.providers = settings.providers;
    desk.settings.claims.sources = vec![desk.path("upstream-claims.csv").display().to_string()];
    desk.settings.providers.sources =
        vec![desk.path("upstream-providers.csv").display().to_string()];
    let report = desk.run();
    succeeded(&report);
    (desk, report)
}

const FACT: &str =
    "SELECT concat_ws('|', line_number, provider_id, procedure_code, amount, date_of_service,
    specialty) FROM healthcare_analytics.claims_fact ORDER BY 1";

#[test]
fn the_example_for_de_synpuf_reads_its_layout() {
    let claims = "\"DESYNPUF_ID\",\"CLM_ID\",\"SEGMENT\",\"CLM_FROM_DT\",\"CLM_THRU_DT\",\"PRVDR_NUM\",\"CLM_PMT_AMT\",\"ICD9_PRCDR_CD_1\"\r\n\
        00AB,1962,1,20090412,20090418,3900MB,26000.00,0010\r\n\
        00AB,1962,2,20090412,20090418,3900MB,-300.00,\r\n";
    let (desk, report) = with_example(
        "desynpuf.toml",
        claims,
        "PRVDR_NUM,provider_name,specialty,location\r\n3900MB,,INPATIENT HOSPITAL,SSA-STATE-39\r\n",
    );
    assert_eq!(report.claims.loaded, 2);
    assert_eq!(
        desk.rows(FACT),
        [
            "1|3900MB|0010|26000.00|2009-04-12|INPATIENT HOSPITAL",
            "2|3900MB|-300.00|2009-04-12|INPATIENT HOSPITAL"
        ]
    );
}

#[test]
fn the_example_for_synthea_reads_its_layout() {
    let claims = "ID,CLAIMID,CHARGEID,PATIENTID,TYPE,AMOUNT,METHOD,FROMDATE,PROCEDURECODE,PROVIDERID\n\
        47cd,9120,0,3eda,CHARGE,77.49,,2023-01-27T16:17:47Z,185345009,2d85\n\
        47ce,9120,1,3eda,CHARGE,129.16,,2023-01-27T16:17:47Z,410620009,2d85\n";
    let providers = "Id,ORGANIZATION,NAME,GENDER,SPECIALITY,CITY\n2d85,x,V\u{ed}ctor,M,GENERAL PRACTICE,CAMBRIDGE\n";
    let (desk, report) = with_example("synthea.toml", claims, providers);
    assert_eq!(report.claims.loaded, 2);
    assert_eq!(desk.rows(FACT)[0], "0|2d85|185345009|77.49|2023-01-27|GENERAL PRACTICE");
}
