//! Failures that can pass by themselves: the connection is cut in the middle of a load, and the
//! task is tried again.

use std::io::Write as _;
use std::time::{Duration, Instant};
use std::{fs, thread};

use claims_etl::pipeline::Status;

use crate::support::test_env::{TestEnv, cut_short, succeeded};

/// Claims enough for the load to take a moment.
fn many_claims(env: &mut TestEnv, rows: u32) {
    let path = env.path("many.csv");
    let mut file = std::io::BufWriter::new(fs::File::create(&path).expect("a file"));
    writeln!(file, "claim_id,patient_id,provider_id,procedure_code,amount,date_of_service")
        .expect("written");
    for n in 0..rows {
        writeln!(
            file,
            "C{n:07},P{:05},V{:03},99213,{}.25,2024-01-{:02}",
            n % 9_000,
            n % 300,
            n % 500,
            1 + n % 28
        )
        .expect("written");
    }
    env.settings.claims.sources = vec![path.display().to_string()];
}

/// Ends every backend of the test's database but its own, as soon as `sign` is there.
fn cut_when(env: &TestEnv, sign: &str) -> u64 {
    let mut client = env.database.connect();
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if client.query_one(sign, &[]).is_ok_and(|row| row.get::<_, bool>(0)) {
            let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
            let cut: i64 = client.query_one(cut, &[]).expect("cut").get(0);
            return u64::try_from(cut).expect("a count");
        }
        thread::sleep(Duration::from_millis(1));
    }
    0
}

const STAGING: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE 'COPY%claims_stage%' AND state = 'active')";

#[test]
fn a_lost_connection_is_tried_again() {
    let mut env = TestEnv::new();
    many_claims(&mut env, 400_000);
    let (report, cut) = thread::scope(|scope| {
        let cutter = scope.spawn(|| cut_when(&env, STAGING));
        let report = env.run();
        (report, cutter.join().expect("the cutter"))
    });
    assert!(cut > 0, "no connection was cut");
    succeeded(&report);
    assert_eq!((report.claims.read, report.claims.inserted), (400_000, 400_000));
    let load = report.tasks.iter().find(|task| task.id == "load.load_warehouse").expect("the task");
    assert_eq!((load.state, load.tries), ("success", 2));
    let tries = "SELECT try_number || ' ' || state FROM claims_etl.task_runs
        WHERE task_id = 'load.load_warehouse' ORDER BY try_number";
    assert_eq!(env.rows(tries), ["1 up_for_retry", "2 success"]);
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["400000"]);
    let leftovers = "SELECT relname FROM pg_class WHERE relname LIKE '%stage%'";
    assert_eq!(env.rows(leftovers), [] as [&str; 0]);
}

#[test]
fn a_connection_lost_before_the_load_is_tried_again() {
    let env = TestEnv::new().claims(&["C1,P1,V1,1,1.00,2024-01-01"]);
    succeeded(&env.run());
    // The server ends the session that notes its sources, once: a sequence is not rolled back.
    env.database
        .connect()
        .batch_execute(
            "CREATE SEQUENCE public.cuts;
             CREATE FUNCTION public.cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF nextval('public.cuts') = 1 THEN
                     PERFORM pg_terminate_backend(pg_backend_pid());
                 END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER cut BEFORE UPDATE OF fingerprint ON claims_etl.runs
                 FOR EACH ROW EXECUTE FUNCTION public.cut()",
        )
        .expect("a trap");
    let env = env.claims(&["C1,P1,V1,1,1.00,2024-01-01", "C2,P2,V1,1,2.00,2024-01-01"]);
    let report = env.run();
    succeeded(&report);
    let tries: Vec<_> = report.tasks.iter().map(|task| (task.id.as_str(), task.tries)).collect();
    assert_eq!(tries[2..4], [("transform_join", 2), ("load.load_warehouse", 1)]);
    let ledger = "SELECT concat_ws('|', status, error_kind, error) FROM claims_etl.runs
        ORDER BY run_no DESC LIMIT 1";
    assert_eq!(env.rows(ledger), ["success"], "nothing of the lost try stays");
}

#[test]
fn without_a_retry_the_run_fails_and_the_next_one_finishes() {
    let mut env = TestEnv::new();
    many_claims(&mut env, 400_000);
    env.settings.run.retries = 0;
    let (report, cut) = thread::scope(|scope| {
        let cutter = scope.spawn(|| cut_when(&env, STAGING));
        let report = env.run();
        (report, cutter.join().expect("the cutter"))
    });
    assert!(cut > 0, "no connection was cut");
    assert_eq!((report.status, report.exit_code), (Status::Failed, 5));
    assert_eq!(env.rows("SELECT count(*) FROM healthcare_analytics.claims_fact"), ["0"]);
    let next = env.run();
    succeeded(&next);
    assert_eq!(next.claims.inserted, 400_000);
}

#[test]
fn a_broken_source_is_not_tried_again() {
    let env = TestEnv::new();
    fs::write(env.path("claims.csv"), cut_short()).expect("written");
    let report = env.run();
    assert_eq!(report.exit_code, 3, "{:?}", report.error);
    assert!(report.tasks.iter().all(|task| task.tries <= 1), "{:?}", report.tasks);
    let states: Vec<_> = report.tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, ["success", "success", "failed", "upstream_failed", "upstream_failed"]);
}

#[cfg(feature = "database")]
#[test]
fn claims_can_come_from_a_database() {
    let mut env = TestEnv::new();
    let source = crate::support::server::database();
    source
        .connect()
        .batch_execute(
            "CREATE TABLE c (clm text, pat text, prv text, code text, paid numeric(12,2), day date);
             INSERT INTO c VALUES ('0001', '007', 'V1', '0010', 9999999999.99, '1999-12-31'),
                                  ('0002', NULL, 'V1', NULL, -0.01, '2024-02-29'),
                                  ('0003', '008', NULL, NULL, 10000.10, '2024-02-29')",
        )
        .expect("a source");
    env.settings.claims.sources = vec![source.url().into()];
    env.settings.claims.query =
        Some("SELECT clm AS claim_id, pat AS patient_id, prv AS provider_id, code AS procedure_code, paid AS amount, day AS date_of_service FROM c ORDER BY clm".into());
    let report = env.run();
    succeeded(&report);
    assert_eq!((report.claims.loaded, report.claims.rejected), (2, 1));
    let fact = "SELECT concat_ws('|', provider_id, procedure_code, amount, date_of_service)
        FROM healthcare_analytics.v_claims ORDER BY 1";
    assert_eq!(
        env.rows(fact),
        ["(unknown)|10000.10|2024-02-29", "V1|0010|9999999999.99|1999-12-31"]
    );
}
