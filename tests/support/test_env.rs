//! A run's surroundings for the tests: a folder, a database of its own, settings.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use claims_etl::config::Settings;
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::key::MasterKey;
use claims_etl::pipeline::{self, RunOptions, RunReport, Status};
use claims_etl::secret::value::Secret;
use claims_etl::totals::Amounts;
use flate2::Compression;
use flate2::write::GzEncoder;
use postgres::Client;

use crate::support::server::{self, Database};

/// The day of all runs: tests must not depend on the calendar.
pub(crate) const RUN_DATE: &str = "2024-12-31";

/// A run's surroundings: a folder, a database, settings.
pub(crate) struct TestEnv {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: Database,
    pub(crate) settings: Settings,
}

impl TestEnv {
    pub(crate) fn new() -> Self {
        Self::at(server::database())
    }

    /// An environment at a database of the caller's choice.
    pub(crate) fn at(database: Database) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = Settings::default();
        settings.run.data_dir = folder.path().join("data");
        settings.run.retry_delay_secs = 0;
        settings.warehouse.url = Some(Secret::new(database.url()));
        MasterKey::generate(&settings.key_path()).expect("a key");
        settings.quality.max_reject_ratio = 1.0;
        settings.quality.max_conflict_ratio = 1.0;
        settings.rules.run_date = Some(RUN_DATE.into());
        let env = Self { folder, database, settings };
        env.claims(&[]).providers(&[])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, header: &str, rows: &[&str]) -> String {
        let path = self.path(name);
        let mut text = header.to_owned();
        for row in rows {
            text += "\n";
            text += row;
        }
        fs::write(&path, text + "\n").expect("written");
        path.display().to_string()
    }

    pub(crate) fn claims(mut self, rows: &[&str]) -> Self {
        let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service";
        self.settings.claims.sources = vec![self.write("claims.csv", header, rows)];
        self
    }

    pub(crate) fn providers(mut self, rows: &[&str]) -> Self {
        let header = "provider_id,provider_name,specialty,location";
        self.settings.providers.sources = vec![self.write("providers.csv", header, rows)];
        self
    }

    pub(crate) fn run(&self) -> RunReport {
        self.run_with(&RunOptions::default())
    }

    pub(crate) fn run_with(&self, options: &RunOptions) -> RunReport {
        pipeline::run(&self.settings, options, &NullObserver, &Cancellation::default())
    }

    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        rows(&mut self.database.connect(), sql)
    }
}

/// Each row of a one-column query as text.
fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    client
        .query(&format!("SELECT q::text FROM ({sql}) AS sub(q)"), &[])
        .expect("an answer")
        .iter()
        .map(|row| row.get::<_, Option<String>>(0).unwrap_or_else(|| "null".into()))
        .collect()
}

pub(crate) fn succeeded(report: &RunReport) {
    assert_eq!(report.status, Status::Success, "{:?}", report.error);
    assert_eq!(report.exit_code, 0);
    let (claims, amount) = (&report.claims, &report.amount);
    let dropped = claims.duplicates + claims.conflicts;
    assert_eq!(claims.read, claims.loaded + claims.rejected + dropped);
    let Amounts { loaded, rejected, duplicates, conflicts, generalized, .. } = *amount;
    assert_eq!(amount.read, loaded + rejected + duplicates + conflicts + generalized);
}

/// Claims whose compressed file is cut off, far behind the header.
pub(crate) fn cut_short() -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let header = "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service\n";
    let rows = "C1,P1,V1,1,1.00,2024-01-01\n".repeat(500_000);
    packed.write_all((header.to_owned() + &rows).as_bytes()).expect("packed");
    let mut packed = packed.finish().expect("packed");
    packed.truncate(packed.len() - 100);
    packed
}
