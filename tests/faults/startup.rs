//! The server is away, or ends the session, in the first moments: before any task has begun.

use std::thread;
use std::time::Duration;

use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::pipeline::{self, RunName, RunOptions, RunSelector, Status, Task};
use claims_etl::secret::value::Secret;
use claims_etl::warehouse::location;

use crate::support::own_server::OwnServer;
use crate::support::process::{self, Running};
use crate::support::proxy::{Fault, Proxy};
use crate::support::test_env::{TestEnv, succeeded};

const CLAIMS: [&str; 2] = ["A,P,V1,99213,1.25,2024-01-01", "B,P,V1,99213,2.00,2024-01-02"];

fn env() -> TestEnv {
    TestEnv::new().claims(&CLAIMS).providers(&["V1,Ada,Cardiology,Here"])
}

/// Ends the session that enters a run into the ledger, each of the first `times` times after `before`.
pub(crate) fn end_sessions(env: &TestEnv, before: u32, times: u32) {
    location::migrate(&env.settings, &NullObserver, &Cancellation::default()).expect("migrated");
    let script = format!(
        "CREATE SEQUENCE public.begun;
         CREATE FUNCTION public.boom() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE n bigint := pg_catalog.nextval('public.begun');
         BEGIN
             IF n > {before} AND n <= {before} + {times} THEN
                 PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid());
             END IF;
             RETURN new;
         END $$;
         CREATE TRIGGER boom BEFORE INSERT ON claims_etl.runs
             FOR EACH ROW EXECUTE FUNCTION public.boom()"
    );
    env.database.connect().batch_execute(&script).expect("a trigger");
}

#[test]
fn a_session_that_is_ended_while_a_run_begins_costs_a_try() {
    let mut env = env();
    end_sessions(&env, 0, 2);
    env.settings.run.retries = 0;
    let report = env.run();
    assert_eq!((report.status, report.exit_code), (Status::Failed, 5), "{:?}", report.error);
    // The server's word for it, or only the end of the connection, whichever comes first.
    let error = report.error.expect("an error");
    assert!(error.is_transient, "{error:?}");
    env.settings.run.retries = 1;
    succeeded(&env.run());
    assert_eq!(env.rows("SELECT status FROM claims_etl.runs"), ["success"]);
}

#[test]
fn a_session_that_is_ended_while_a_task_begins_costs_a_try() {
    let env = env();
    end_sessions(&env, 0, 2);
    let name = RunName::parse("etl/opening").expect("a name");
    let (options, cancel) = (RunOptions::default(), Cancellation::default());
    for task in Task::ALL {
        let end = pipeline::run_task(&env.settings, &options, task, &name, &NullObserver, &cancel);
        assert_eq!(end.exit_code, 0, "{:?}", end.error);
    }
    assert_eq!(env.rows("SELECT nextval('public.begun') > 2"), ["true"]);
}

#[test]
fn a_server_that_is_away_at_the_start_is_waited_for() {
    let server = OwnServer::start();
    let env = server.env().claims(&CLAIMS);
    location::migrate(&env.settings, &NullObserver, &Cancellation::default()).expect("migrated");
    server.crash();
    let mut command = process::reading(&env, &["run", "--retries", "20"]);
    let mut running = Running::start(command.env("CLAIMS_ETL_RETRY_DELAY_SECS", "1"));
    thread::sleep(Duration::from_millis(1500));
    assert!(running.goes_on(), "it waits");
    server.start_again();
    let (status, printed) = running.end();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert!(printed.contains("retry 1 of 20 in 1 s"), "{printed}");
}

#[test]
fn a_lost_answer_about_an_open_run_begins_no_other_run() {
    let name = RunName::parse("etl/open").expect("a name");
    let (options, cancel) = (RunOptions::default(), Cancellation::default());
    let mut refused = 0;
    // One of the first connections finds out how far the run is, a later one whose tasks are missing.
    for number in 2..=4 {
        let env = env();
        for task in &Task::ALL[..3] {
            let end =
                pipeline::run_task(&env.settings, &options, *task, &name, &NullObserver, &cancel);
            assert_eq!(end.exit_code, 0, "{:?}", end.error);
        }
        let resume = |retries: u32| {
            let proxy = Proxy::new(env.database.url(), Fault::Refuse(number));
            let mut settings = env.settings.clone();
            settings.warehouse.url = Some(Secret::new(proxy.url(env.database.url())));
            settings.run.retries = retries;
            let which = RunSelector::Run(name.id());
            let report = pipeline::resume(&settings, &options, which, &NullObserver, &cancel);
            assert_eq!(proxy.faults(), 1);
            report
        };
        let runs = "SELECT run_id || ' ' || status FROM claims_etl.runs";
        let report = resume(0);
        if report.status == Status::Success {
            assert_eq!(env.rows(runs), [format!("{} success", name.id())], "{number}");
            continue;
        }
        refused += 1;
        assert_eq!(report.exit_code, 5, "{:?}", report.error);
        assert_eq!(env.rows(runs), [format!("{} open", name.id())], "{number}");
        succeeded(&resume(1));
        assert_eq!(env.rows(runs), [format!("{} success", name.id())], "{number}");
    }
    assert!(refused > 0, "no connection mattered");
}
