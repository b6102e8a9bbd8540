//! Materialized views as refresh targets: their order, readers that go on, what cannot be refreshed
//! and why.

use claims_etl::commands::check;
use claims_etl::config::SqlViews;
use claims_etl::event::{Cancellation, NullObserver};
use claims_etl::pipeline::{self, RefreshReport, Which};
use claims_etl::secret::value::Secret;

use crate::support::program::Program;
use crate::support::test_env::{TestEnv, succeeded};

/// An environment with one claim loaded, and views.
fn env(script: &str, views: &[&str]) -> TestEnv {
    let mut env = TestEnv::new().claims(&["A,P,V1,1,1.25,2024-01-01"]);
    env.settings.refresh.dashboard.enabled = false;
    env.settings.refresh.provider_month.enabled = false;
    succeeded(&env.run());
    env.database.connect().batch_execute(script).expect("done");
    let views = views.iter().map(ToString::to_string).collect();
    let target = SqlViews { views, ..SqlViews::default() };
    env.settings.refresh.sql.insert("daily".into(), target);
    env
}

fn views(env: &mut TestEnv) -> &mut SqlViews {
    env.settings.refresh.sql.get_mut("daily").expect("the target")
}

fn refresh(env: &TestEnv) -> RefreshReport {
    let names = ["sql.daily".to_owned()];
    let cancel = Cancellation::default();
    let reports = pipeline::refresh(&env.settings, Which::Named(&names), &NullObserver, &cancel);
    let [report] = <[RefreshReport; 1]>::try_from(reports.expect("reports")).expect("one");
    report
}

/// Amounts by day, and the days of them: the second view needs the first.
const TWO: &str = "
CREATE MATERIALIZED VIEW public.daily AS
    SELECT date_of_service AS day, sum(amount) AS amount
    FROM healthcare_analytics.claims_fact GROUP BY 1;
CREATE MATERIALIZED VIEW public.\"How many 'days'\" AS SELECT count(*) AS days FROM public.daily;
CREATE UNIQUE INDEX ON public.daily (day);
CREATE UNIQUE INDEX ON public.\"How many 'days'\" (days);";

const SHOWN: &str = "SELECT concat_ws('|', (SELECT sum(amount) FROM public.daily), days)
    FROM public.\"How many 'days'\"";

#[test]
fn views_are_refreshed_in_their_order_while_people_read_them() {
    let mut env = env(TWO, &["public.daily", "public.How many 'days'"]);
    assert_eq!(env.rows(SHOWN), ["1.25|1"]);
    env = env.claims(&["A,P,V1,1,1.25,2024-01-01", "B,P,V1,1,2.00,2024-01-02"]);
    // A reader in the middle of a report: only a concurrent refresh goes on beside it.
    let mut reader = env.database.connect();
    reader.batch_execute("BEGIN; SELECT * FROM public.daily").expect("read");
    let report = env.run();
    succeeded(&report);
    let one = report.refresh.last().expect("the target");
    assert_eq!((one.outcome, one.detail.as_str(), one.attempts), ("succeeded", "2 views", 2));
    assert_eq!(env.rows(SHOWN), ["3.25|2"]);

    views(&mut env).concurrently = false;
    views(&mut env).deadline_secs = Some(1);
    let waited = refresh(&env);
    assert_eq!(waited.outcome, "timed_out", "the reader holds it: {}", waited.detail);
    reader.batch_execute("ROLLBACK").expect("done");
    let plain = refresh(&env);
    assert_eq!((plain.outcome, plain.attempts), ("succeeded", 2), "{}", plain.detail);
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND query LIKE 'REFRESH%' AND state = 'active'";
    assert_eq!(env.rows(left), ["0"]);
}

#[test]
fn a_view_that_was_never_filled_is_filled_plainly_once() {
    let script = TWO.replace("GROUP BY 1;", "GROUP BY 1 WITH NO DATA;");
    let script = script.replace(
        "AS SELECT count(*) AS days FROM public.daily",
        "AS SELECT count(*) AS days FROM public.daily WITH NO DATA",
    );
    let env = env(&script, &["public.daily", "public.How many 'days'"]);
    let first = refresh(&env);
    let expected = "2 views; filled for the first time, not concurrently: public.daily, \
                public.How many 'days'";
    assert_eq!((first.outcome, first.detail.as_str()), ("succeeded", expected));
    let second = refresh(&env);
    assert_eq!((second.outcome, second.detail.as_str()), ("succeeded", "2 views"));
    assert_eq!(env.rows(SHOWN), ["1.25|1"]);
}

#[test]
fn what_cannot_be_refreshed_is_reported_before_anything_is_refreshed() {
    let filled = "CREATE MATERIALIZED VIEW public.fine AS SELECT 1 AS one, now() AS at;
        CREATE UNIQUE INDEX ON public.fine (one);";
    for (script, name, says) in [
        ("", "nowhere", "there is no materialized view public.nowhere"),
        (
            "CREATE VIEW public.plain AS SELECT 1 AS one",
            "plain",
            "no materialized view public.plain",
        ),
        (
            "CREATE MATERIALIZED VIEW public.bare AS SELECT 1 AS one",
            "bare",
            "public.bare has no unique index",
        ),
        (
            "CREATE MATERIALIZED VIEW public.part AS SELECT 1 AS one;
             CREATE UNIQUE INDEX ON public.part (one) WHERE one > 0;
             CREATE UNIQUE INDEX ON public.part ((one + 1))",
            "part",
            "public.part has no unique index",
        ),
        (
            "CREATE MATERIALIZED VIEW public.broken AS SELECT 1 / (1 - count(*)) AS one
                 FROM healthcare_analytics.claims_fact WITH NO DATA;
             CREATE UNIQUE INDEX ON public.broken (one)",
            "broken",
            "refreshing public.broken",
        ),
    ] {
        let name = format!("public.{name}");
        let env = env(&format!("{filled}{script}"), &["public.fine", &name]);
        let at = "SELECT at FROM public.fine";
        let before = env.rows(at);
        let report = refresh(&env);
        assert_eq!(report.outcome, "failed");
        assert!(report.detail.contains(says), "{}", report.detail);
        let half = name == "public.broken";
        assert_eq!(env.rows(at) != before, half, "{name}: only its own query shows it");
        let found = check::check(&env.settings, &NullObserver, &Cancellation::default());
        let found = found.findings.iter().find(|one| one.what == "sql.daily").expect("a finding");
        assert_eq!(found.ok, half, "{name}: {}", found.detail);
    }
}

#[test]
fn an_error_of_a_view_holds_no_value() {
    let script = "CREATE MATERIALIZED VIEW public.cast AS
            SELECT (procedure_code || 'secret-7')::integer AS one
            FROM healthcare_analytics.claims_fact WITH NO DATA;
        CREATE UNIQUE INDEX ON public.cast (one);";
    let report = refresh(&env(script, &["public.cast"]));
    assert_eq!(report.outcome, "failed");
    assert!(report.detail.contains("22P02"), "{}", report.detail);
    assert!(!report.detail.contains("secret-7"), "{}", report.detail);
}

#[test]
fn a_missing_right_to_refresh_a_view_is_reported() {
    let mut env = env(TWO, &["public.daily"]);
    let role = format!("viewer_{}", std::process::id());
    let mut client = env.database.connect();
    client.batch_execute(&format!("CREATE ROLE {role}")).expect("a role");
    let url = env.database.url();
    let mark = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{mark}options=-crole%3D{role}");
    env.settings.warehouse.url = Some(Secret::new(url));
    let found = check::check(&env.settings, &NullObserver, &Cancellation::default());
    client.batch_execute(&format!("DROP ROLE {role}")).expect("dropped");
    let found = found.findings.iter().find(|one| one.what == "sql.daily").expect("a finding");
    let says = format!("optional; the role {role} may not refresh public.daily");
    assert!(!found.ok && found.detail.starts_with(&says), "{}", found.detail);
}

#[test]
fn names_that_are_none_are_refused() {
    for name in ["daily", ".daily", "public.", "a.b.c"] {
        let program = Program::new();
        program.write("claims-etl.toml", &format!("[refresh.sql.daily]\nviews = [\"{name}\"]\n"));
        let (code, printed) = program.call("refresh --list").refused();
        assert_eq!(code, 2, "{printed}");
        assert!(printed.contains("refresh.sql.daily.views: a view is schema.view"), "{printed}");
    }
}
