//! What everybody may see of providers and months: no cell of few patients, and none that could be
//! computed from what is shown and the totals.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::pipeline::{self, Which};
use claims_etl::privacy::settings::{Action, Level};
use postgres::Client;

use crate::support::process;
use crate::support::refresh_probe::{ends, killed};
use crate::support::test_env::{TestEnv, succeeded};

/// A provider and a month, counted from January of the first year.
type Cell = (i32, i32);
/// Patients of each cell that holds any.
type Table = BTreeMap<Cell, i64>;

/// An environment that keeps the months of providers.
fn with_months() -> TestEnv {
    let mut env = TestEnv::new();
    env.settings.refresh.provider_month.enabled = true;
    env
}

/// A warehouse whose claims are taken out and put in by hand.
struct Bench {
    env: TestEnv,
    client: Client,
}

impl Bench {
    fn new() -> Self {
        let env = with_months().claims(&["A,P,V1,1,1.25,2024-01-01"]);
        succeeded(&env.run());
        let client = env.database.connect();
        Self { env, client }
    }

    /// One claim for each patient of each cell.
    fn fill(&mut self, table: &Table) {
        let cells: Vec<String> =
            table.iter().map(|((p, m), patients)| format!("({p},{m},{patients})")).collect();
        let script = format!(
            "DELETE FROM healthcare_analytics.claims_fact;
             INSERT INTO healthcare_analytics.providers_dim (provider_key, provider_id, row_hash, run_no)
             SELECT DISTINCT 1000 + p, 'P' || p, md5('P' || p)::uuid, 1 FROM (VALUES {0}) AS c(p, m, n)
             ON CONFLICT DO NOTHING;
             INSERT INTO healthcare_analytics.claims_fact (claim_token, line_number, patient_token,
                 provider_key, amount, date_of_service, risk_score, risk_components, dq_flags, run_no)
             SELECT gen_random_uuid(), 1, gen_random_uuid(), 1000 + p, 10,
                 (DATE '2020-01-15' + make_interval(months => m))::date, 0, 0, 0, 1
             FROM (VALUES {0}) AS c(p, m, n), generate_series(1, n)",
            cells.join(",")
        );
        self.client.batch_execute(&script).expect("filled");
    }

    fn refresh(&self) {
        let names = ["provider_month".to_owned()];
        let cancel = Cancellation::default();
        let reports =
            pipeline::refresh(&self.env.settings, Which::Named(&names), &NullObserver, &cancel);
        let reports = reports.expect("reports");
        assert_eq!(reports[0].outcome, "succeeded", "{}", reports[0].detail);
    }

    /// Claims of the cells that are shown, null of those that are suppressed.
    fn public(&mut self) -> BTreeMap<Cell, Option<i64>> {
        let query = "SELECT substr(provider_id, 2)::integer,
                 ((extract(year FROM service_month) - 2020) * 12
                  + extract(month FROM service_month) - 1)::integer,
                 claims, is_suppressed, num_nulls(claims, amount, patients, mean_risk_score)
             FROM healthcare_analytics.v_provider_month_public";
        let rows = self.client.query(query, &[]).expect("the view");
        rows.iter()
            .map(|row| {
                let (claims, is_suppressed): (Option<i64>, bool) = (row.get(2), row.get(3));
                assert_eq!(claims.is_none(), is_suppressed);
                assert_eq!(row.get::<_, i32>(4), if is_suppressed { 4 } else { 0 });
                ((row.get(0), row.get(1)), claims)
            })
            .collect()
    }
}

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// A table in which so many of 100 cells hold patients, and so many of these few.
    fn table(&mut self, providers: i32, months: i32, filled: u64, small: u64) -> Table {
        let mut table = Table::new();
        for provider in 0..providers {
            for month in 0..months {
                if self.below(100) < filled {
                    let few = self.below(100) < small;
                    let patients = if few { 1 + self.below(10) } else { 11 + self.below(30) };
                    table.insert((provider, month), i64::try_from(patients).expect("few"));
                }
            }
        }
        table
    }
}

#[test]
fn cells_of_few_patients_have_no_figures() {
    let mut bench = Bench::new();
    let mut dice = Dice(7);
    let (mut suppressed, mut shown) = (0, 0);
    for round in 0..10 {
        let table = dice.table(
            2 + round % 7,
            4 + round % 22,
            85,
            [2, 10, 40][usize::try_from(round).expect("few") % 3],
        );
        bench.fill(&table);
        bench.refresh();
        let public = bench.public();
        assert_eq!(public.len(), table.len(), "empty cells are no rows");
        for (cell, claims) in public {
            assert_eq!(claims, Some(table[&cell]).filter(|patients| *patients >= 11), "{cell:?}");
            suppressed += u32::from(claims.is_none());
            shown += u32::from(claims.is_some());
        }
    }
    assert!(suppressed > 50 && shown > 50, "{suppressed} {shown}");
}

#[test]
fn a_killed_run_leaves_the_months_due_and_whoever_looks_makes_up_for_it() {
    let env = TestEnv::new().claims(&["A,P,V1,1,1.25,2024-01-01"]);
    let config = env.folder.path().join("months.toml");
    fs::write(&config, "[refresh.provider_month]\nenabled = true\n").expect("written");
    let with_months = |mut command: Command| {
        command.env("CLAIMS_ETL_CONFIG", &config);
        command
    };
    let call = |arguments: &[&str]| {
        let mut command = with_months(process::command(&env));
        ends(command.args(arguments), 0)
    };
    let stored = "SELECT claims FROM healthcare_analytics.mv_provider_month";
    killed(&mut with_months(process::reading(&env, &["run"])), "publish.committed");
    assert_eq!(env.rows(stored), [] as [&str; 0]);
    let list = call(&["refresh", "--list"]);
    let due = |list: &str| {
        list.lines().any(|line| line.contains("provider_month") && line.contains("due"))
    };
    assert!(due(&list), "{list}");
    call(&["refresh", "--due"]);
    assert_eq!(env.rows(stored), ["1"]);
    assert!(!due(&call(&["refresh", "--list"])));
}

#[test]
fn a_month_is_the_first_of_its_period_where_dates_are_coarser() {
    let mut env = with_months().claims(&["A,P,V1,1,1.25,2024-05-17", "B,Q,V1,1,1.25,2024-06-30"]);
    let quarter = Action::Generalize(Level::Quarter);
    env.settings.privacy.columns.insert("date_of_service".into(), quarter);
    succeeded(&env.run());
    let months = "SELECT concat_ws('|', service_month, claims, patients)
        FROM healthcare_analytics.mv_provider_month";
    assert_eq!(env.rows(months), ["2024-04-01|2|2"]);
}

#[test]
fn a_refresh_by_hand_suppresses_the_same() {
    let mut bench = Bench::new();
    bench.fill(&[((0, 0), 3), ((0, 1), 20)].into());
    let stored = "REFRESH MATERIALIZED VIEW healthcare_analytics.mv_provider_month";
    bench.client.batch_execute(stored).expect("refreshed by hand");
    let public = bench.public();
    assert_eq!((public[&(0, 0)], public[&(0, 1)]), (None, Some(20)));
}
