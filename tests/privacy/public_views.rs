//! What everybody may see of providers and months: no cell of few patients, and none that could be
//! computed from what is shown and the totals.

use std::collections::{BTreeMap, BTreeSet};

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

/// A warehouse whose claims are taken out and put in by hand.
struct Bench {
    env: TestEnv,
    client: Client,
}

/// What the public view says of a cell: its claims, or why they are not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    Claims(i64),
    Hidden(String),
}

impl Bench {
    fn new() -> Self {
        let env = TestEnv::new().claims(&["A,P,V1,1,1.25,2024-01-01"]);
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

    fn public(&mut self) -> BTreeMap<Cell, Told> {
        let query = "SELECT substr(provider_id, 2)::integer,
                 ((extract(year FROM service_month) - 2020) * 12
                  + extract(month FROM service_month) - 1)::integer,
                 claims, suppressed, num_nulls(claims, amount, patients, mean_risk_score)
             FROM healthcare_analytics.v_provider_month_public";
        let rows = self.client.query(query, &[]).expect("the view");
        rows.iter()
            .map(|row| {
                let reported = match row.get::<_, Option<String>>(3) {
                    Some(why) => Told::Hidden(why),
                    None => Told::Claims(row.get(2)),
                };
                let nulls: i32 = row.get(4);
                assert_eq!(nulls, if matches!(reported, Told::Hidden(_)) { 4 } else { 0 });
                ((row.get(0), row.get(1)), reported)
            })
            .collect()
    }

    /// What is hidden, after a refresh with this table; none of it is small and shown.
    fn hidden(&mut self, table: &Table) -> BTreeSet<Cell> {
        self.fill(table);
        self.refresh();
        let public = self.public();
        assert_eq!(public.len(), table.len(), "empty cells are no rows");
        for (cell, expected) in &public {
            match expected {
                Told::Claims(claims) => assert!(table[cell] >= 11 && *claims == table[cell]),
                Told::Hidden(why) => assert_eq!(why == "primary", table[cell] < 11, "{cell:?}"),
            }
        }
        let is_hidden = |(cell, expected)| matches!(expected, Told::Hidden(_)).then_some(cell);
        public.into_iter().filter_map(is_hidden).collect()
    }
}

/// A total that an attacker knows: of a provider's year, or of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Year(i32, i32),
    Month(i32),
}

fn lines((provider, month): Cell) -> [Line; 2] {
    [Line::Year(provider, month / 12), Line::Month(month)]
}

/// The hidden cells of each line whose total may be published: not where the line hides all that it
/// has, and that is one cell or too few patients.
fn totals(table: &Table, hidden: &BTreeSet<Cell>) -> BTreeMap<Line, BTreeSet<Cell>> {
    let mut all: BTreeMap<Line, Vec<Cell>> = BTreeMap::new();
    for cell in table.keys() {
        for line in lines(*cell) {
            all.entry(line).or_default().push(*cell);
        }
    }
    all.retain(|_, cells| {
        let patients: i64 = cells.iter().map(|cell| table[cell]).sum();
        !cells.iter().all(|cell| hidden.contains(cell)) || cells.len() > 1 && patients >= 11
    });
    let of = |cells: Vec<Cell>| cells.into_iter().filter(|cell| hidden.contains(cell)).collect();
    all.into_iter().map(|(line, cells)| (line, of(cells))).collect()
}

/// What subtraction gives: a total less what is known of its line, again and again.
fn by_subtraction(table: &Table, hidden: &BTreeSet<Cell>) -> BTreeSet<Cell> {
    let mut unknown = totals(table, hidden);
    let mut found = BTreeSet::new();
    while let Some(cell) =
        unknown.values().find(|cells| cells.len() == 1).and_then(|cells| cells.first().copied())
    {
        found.insert(cell);
        for cells in unknown.values_mut() {
            cells.remove(&cell);
        }
    }
    found
}

/// What all totals together give: cells on no circle of lines. Whoever hides a circle can move claims
/// around it; lines without a total are one place, from which anything can come.
fn by_all_totals(table: &Table, hidden: &BTreeSet<Cell>) -> BTreeSet<Cell> {
    let known = totals(table, hidden);
    let ends = |cell: &Cell| lines(*cell).map(|line| known.contains_key(&line).then_some(line));
    let joined = |without: &Cell| {
        let (from, to) = {
            let [a, b] = ends(without);
            (a, b)
        };
        let mut reached = BTreeSet::from([from]);
        loop {
            let before = reached.len();
            for cell in hidden.iter().filter(|cell| *cell != without) {
                let [a, b] = ends(cell);
                if reached.contains(&a) || reached.contains(&b) {
                    reached.extend([a, b]);
                }
            }
            if reached.len() == before {
                return reached.contains(&to);
            }
        }
    };
    hidden.iter().filter(|cell| !joined(cell)).copied().collect()
}

/// Whether a cell stands on a rectangle of cells that hold patients: two providers, two months of one
/// year. Where it does not, nothing keeps it from whoever has all totals of a year.
fn has_rectangle(table: &Table, (provider, month): Cell) -> bool {
    let of_year = |other: &&Cell| other.1 / 12 == month / 12 && other.1 != month;
    table.keys().filter(of_year).filter(|cell| cell.0 == provider).any(|(_, other)| {
        let mut others = table.keys().filter(|cell| cell.0 != provider && cell.1 == month);
        others.any(|(neighbour, _)| table.contains_key(&(*neighbour, *other)))
    })
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
fn no_attacker_with_all_totals_computes_a_hidden_cell() {
    let mut bench = Bench::new();
    let mut dice = Dice(7);
    let (mut hidden_cells, mut shown, mut given_up) = (0, 0, 0);
    for round in 0..40 {
        let (providers, months) = (2 + round % 7, 4 + round % 22);
        let table = dice.table(
            providers,
            months,
            85,
            [2, 10, 40][usize::try_from(round).expect("small") % 3],
        );
        let hidden = bench.hidden(&table);
        assert_eq!(by_subtraction(&table, &hidden), BTreeSet::new(), "{table:?}\n{hidden:?}");
        let reported = by_all_totals(&table, &hidden);
        assert!(
            !reported.iter().any(|cell| has_rectangle(&table, *cell)),
            "{reported:?}\n{table:?}\n{hidden:?}"
        );
        given_up += reported.len();
        hidden_cells += hidden.len();
        shown += table.len() - hidden.len();
    }
    assert!(hidden_cells > 200 && shown > 200, "{hidden_cells} {shown}");
    assert!(given_up * 100 < hidden_cells, "{given_up} of {hidden_cells}");
}

#[test]
fn sparse_tables_give_nothing_to_subtraction() {
    let mut bench = Bench::new();
    let mut dice = Dice(11);
    for round in 0..30 {
        let table = dice.table(3 + round % 5, 14, 25, 25);
        if !table.is_empty() {
            let hidden = bench.hidden(&table);
            assert_eq!(by_subtraction(&table, &hidden), BTreeSet::new(), "{table:?}\n{hidden:?}");
        }
    }
}

#[test]
fn the_attack_finds_what_is_left_open() {
    // One small cell alone: its provider's year reveals it.
    let table: Table = [((0, 0), 3), ((0, 1), 20), ((1, 0), 20), ((1, 1), 20)].into();
    let alone = BTreeSet::from([(0, 0)]);
    assert_eq!(by_subtraction(&table, &alone), alone);
    assert_eq!(by_all_totals(&table, &alone), alone);
    // Two circles joined by one cell: no single subtraction reveals it, but all totals do.
    let square = |p: i32, m: i32| [(p, m), (p, m + 1), (p + 1, m), (p + 1, m + 1)];
    let mut hidden: BTreeSet<Cell> = square(0, 0).into_iter().chain(square(2, 2)).collect();
    hidden.insert((0, 2));
    let table: Table = (0..4).flat_map(|p| (0..4).map(move |m| ((p, m), 20))).collect();
    assert_eq!(by_subtraction(&table, &hidden), BTreeSet::new());
    assert_eq!(by_all_totals(&table, &hidden), BTreeSet::from([(0, 2)]));
}

#[test]
fn one_small_cell_takes_the_cheapest_rectangle_with_it() {
    let mut bench = Bench::new();
    let mut table: Table = (0..3).flat_map(|p| (0..3).map(move |m| ((p, m), 50))).collect();
    table.extend([((0, 0), 3), ((0, 2), 12), ((1, 2), 13), ((1, 0), 14), ((2, 0), 20)]);
    let hidden = bench.hidden(&table);
    assert_eq!(hidden, [(0, 0), (0, 2), (1, 0), (1, 2)].into());
    // Nothing small: nothing is hidden any more.
    table.insert((0, 0), 30);
    assert_eq!(bench.hidden(&table), BTreeSet::new());
}

#[test]
fn a_killed_run_leaves_the_months_due_and_whoever_looks_makes_up_for_it() {
    let env = TestEnv::new().claims(&["A,P,V1,1,1.25,2024-01-01"]);
    let stored = "SELECT claims FROM healthcare_analytics.mv_provider_month";
    killed(&mut process::reading(&env, &["run"]), "publish.committed");
    assert_eq!(env.rows(stored), [] as [&str; 0]);
    let list = ends(process::command(&env).args(["refresh", "--list"]), 0);
    let due = |list: &str| {
        list.lines().any(|line| line.contains("provider_month") && line.contains("due"))
    };
    assert!(due(&list), "{list}");
    ends(process::command(&env).args(["refresh", "--due"]), 0);
    assert_eq!(env.rows(stored), ["1"]);
    assert!(!due(&ends(process::command(&env).args(["refresh", "--list"]), 0)));
}

#[test]
fn a_refresh_that_fails_is_a_warning_and_stays_due() {
    let env = TestEnv::new().claims(&["A,P,V1,1,1.25,2024-01-01"]);
    succeeded(&env.run());
    let refuse = "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT OR DELETE ON claims_etl.suppressed_cells
            FOR EACH STATEMENT EXECUTE FUNCTION public.refuse()";
    env.database.connect().batch_execute(refuse).expect("a trigger");
    let env = env.claims(&["A,P,V1,1,1.25,2024-01-01", "B,P,V1,1,1.25,2024-01-01"]);
    let report = env.run();
    succeeded(&report);
    let reported: Vec<_> =
        report.refresh.iter().map(|one| (one.target.as_str(), one.outcome)).collect();
    assert_eq!(reported, [("provider_month", "failed"), ("dashboard", "succeeded")]);
    let stored = "SELECT claims FROM healthcare_analytics.mv_provider_month";
    assert_eq!(env.rows(stored), ["1"], "one transaction: the rows stay with what hides them");
    let due = "SELECT target FROM claims_etl.refresh_outbox
        WHERE desired_run_no IS DISTINCT FROM refreshed_run_no";
    assert_eq!(env.rows(due), ["provider_month"]);
}

#[test]
fn a_month_is_the_first_of_its_period_where_dates_are_coarser() {
    let mut env = TestEnv::new().claims(&["A,P,V1,1,1.25,2024-05-17", "B,Q,V1,1,1.25,2024-06-30"]);
    let quarter = Action::Generalize(Level::Quarter);
    env.settings.privacy.columns.insert("date_of_service".into(), quarter);
    succeeded(&env.run());
    let months = "SELECT concat_ws('|', service_month, claims, patients)
        FROM healthcare_analytics.mv_provider_month";
    assert_eq!(env.rows(months), ["2024-04-01|2|2"]);
}

#[test]
fn small_cells_are_hidden_also_before_the_list_is_brought_up() {
    let mut bench = Bench::new();
    bench.fill(&[((0, 0), 3), ((0, 1), 20)].into());
    let stored = "REFRESH MATERIALIZED VIEW healthcare_analytics.mv_provider_month";
    bench.client.batch_execute(stored).expect("refreshed by hand");
    let public = bench.public();
    assert_eq!(public[&(0, 0)], Told::Hidden("primary".into()));
    assert_eq!(public[&(0, 1)], Told::Claims(20));
}
