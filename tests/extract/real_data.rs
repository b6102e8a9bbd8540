//! Files that nobody here wrote: third-party claims in the contract's columns, when they lie beside
//! the checkout or where `CLAIMS_ETL_REAL_DATA` says. The layouts of their publishers are read in
//! `presets`.

use std::path::{Path, PathBuf};

use claims_etl::key::{Domain, MasterKey};
use claims_etl::pipeline::RunReport;
use claims_etl::totals::Cents;

use crate::support::test_env::{TestEnv, succeeded};

/// The folder of a data set; says so when it is not there.
#[expect(clippy::disallowed_methods, reason = "the tests' own setting")]
pub(crate) fn data(name: &str) -> Option<PathBuf> {
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

pub(crate) fn load(folder: &Path) -> (TestEnv, RunReport) {
    let mut env = TestEnv::new();
    // The latest of the claims is of June 2026.
    env.settings.rules.run_date = Some("2026-12-31".into());
    env.settings.claims.sources = vec![folder.join("claims.csv").display().to_string()];
    env.settings.providers.sources = vec![folder.join("providers.csv").display().to_string()];
    let report = env.run();
    succeeded(&report);
    (env, report)
}

#[test]
fn synthea_loads_whole() {
    let Some(folder) = data("synthea") else { return };
    let (env, report) = load(&folder);
    assert_eq!((report.claims.read, report.claims.loaded), (1_545, 1_545));
    assert_eq!(report.amount.loaded, Cents(109_240_273));
    assert_eq!(report.providers.inferred, 0);
    assert_eq!(report.flags.get("amount_zero"), Some(&127));
    let dates = "SELECT concat_ws(' ', min(date_of_service), max(date_of_service))
        FROM healthcare_analytics.claims_fact";
    assert_eq!(env.rows(dates), ["1968-01-21 2024-02-02"]);
}

#[test]
fn surakanti_loads_whole() {
    let Some(folder) = data("surakanti") else { return };
    let (env, report) = load(&folder);
    assert_eq!((report.claims.read, report.claims.loaded), (5_000, 5_000));
    assert_eq!(report.amount.loaded, Cents(3_192_587_118));
    let with_zip =
        "SELECT count(*) FROM healthcare_analytics.providers_dim WHERE location ~ ' 0[0-9]{4}$'";
    assert_eq!(env.rows(with_zip), ["9"], "leading zeros of ZIP codes stay");
}

#[test]
fn desynpuf_loads_but_for_its_empty_dates() {
    let Some(folder) = data("desynpuf") else { return };
    let (env, report) = load(&folder);
    assert_eq!((report.claims.read, report.claims.loaded), (102_933, 102_841));
    assert_eq!(report.reject_reasons.get("date_missing"), Some(&92));
    assert_eq!(report.amount.read, Cents(98_205_651_000));
    assert_eq!(report.amount.loaded, Cents(98_022_051_000));
    assert_eq!(report.flags.get("amount_negative"), Some(&102));
    let zeros =
        "SELECT count(*) FROM healthcare_analytics.claims_fact WHERE procedure_code LIKE '0%'";
    assert_eq!(env.rows(zeros), ["4535"], "no leading zero is lost");
    // A patient id that looks like a number in scientific notation.
    let key = MasterKey::load(&env.settings.key_path()).expect("the run's key");
    let token = key.tokenizer(Domain::Patient).token("100571169204E347").expect("a token");
    let token = uuid::Uuid::from_bytes(token);
    let claims = format!(
        "SELECT count(*) || ' ' || sum(amount) FROM healthcare_analytics.claims_fact WHERE patient_token = '{token}'"
    );
    assert_eq!(env.rows(&claims), ["2 23000.00"]);
}
