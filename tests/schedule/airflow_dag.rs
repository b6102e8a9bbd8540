//! The DAG file for Airflow: what it looks like, that Python takes it, that it follows the settings.
//! That Airflow runs it is tested by `just test-airflow`.

use std::process::Command;

use claims_etl::commands::airflow::{Caller, dag};
use claims_etl::config::Settings;
use claims_etl::pipeline::Task;
use insta::{assert_snapshot, with_settings};

use crate::support::program::Program;

fn caller() -> Caller {
    Caller {
        dag_id: "healthcare_claims_etl".into(),
        program: "/usr/local/bin/claims-etl".into(),
        config: Some("/etc/claims-etl/nightly.toml".into()),
        data_dir: None,
        cwd: "/etc/claims-etl".into(),
    }
}

#[test]
fn the_dag_is_a_text_to_read() {
    let text = dag(&Settings::default(), &caller()).expect("a DAG");
    let version = [(env!("CARGO_PKG_VERSION"), "[version]")];
    with_settings!({ snapshot_path => "snapshots", prepend_module_to_snapshot => false,
        filters => version }, {
        assert_snapshot!("airflow_dag", text);
    });
}

#[test]
fn it_has_every_task_and_what_the_settings_say() {
    let mut settings = Settings::default();
    settings.schedule.cron = "30 5 * * 1-5".into();
    settings.schedule.timezone = "Europe/Berlin".into();
    settings.schedule.start_date = "2025-06-01".into();
    settings.schedule.catchup = true;
    settings.schedule.depends_on_past = true;
    settings.run.retries = 4;
    settings.run.retry_delay_secs = 90;
    let text = dag(&settings, &caller()).expect("a DAG");
    for expected in [
        "CronDataIntervalTimetable(\"30 5 * * 1-5\", timezone=TIMEZONE)",
        "TIMEZONE = \"Europe/Berlin\"",
        "datetime.fromisoformat(\"2025-06-01\")",
        "catchup=True",
        "\"depends_on_past\": True",
        "\"retries\": 4",
        "timedelta(seconds=90)",
        "\"owner\": \"healthcare_analytics\"",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    for task in Task::ALL {
        let (group, name) = task.id().split_once('.').unwrap_or(("", task.id()));
        assert!(text.contains(&format!("task(\"{group}\", \"{name}\")")), "{}", task.id());
        assert!(group.is_empty() || text.contains(&format!("TaskGroup(\"{group}\")")));
    }
}

#[test]
fn python_takes_it() {
    let program = Program::with_claims();
    program.write("a b@c \"d\".toml", "");
    let arguments = ["airflow", "dag", "--output", "dag.py", "--config", "a b@c \"d\".toml"];
    let mut command = program.process("");
    let wrote = command.args(arguments).args(["--program", "/opt/it's here/claims-etl"]).output();
    let wrote = wrote.expect("the program starts");
    assert!(wrote.status.success(), "{}", String::from_utf8_lossy(&wrote.stderr));
    assert_eq!(wrote.stdout, b"wrote dag.py\n");
    let check = "import ast, sys; tree = ast.parse(open('dag.py').read())
values = {n.targets[0].id: n.value.value for n in tree.body
          if isinstance(n, ast.Assign) and isinstance(n.value, ast.Constant)}
assert max(map(len, open('dag.py'))) <= 110
print(values['PROGRAM'], values['CONFIG'].rsplit('/', 1)[1], values['DATA_DIR'], sep='|')";
    let python = Command::new("python3").current_dir(program.path()).args(["-c", check]).output();
    let Ok(python) = python else {
        #[expect(clippy::print_stderr, reason = "a skipped test is reported")]
        {
            eprintln!("skipped: python3 is not here");
        }
        return;
    };
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let printed = String::from_utf8_lossy(&python.stdout);
    assert_eq!(printed.trim_end(), "/opt/it's here/claims-etl|a b@c \"d\".toml|None");
    let compiled = Command::new("python3")
        .current_dir(program.path())
        .args(["-m", "py_compile", "dag.py"])
        .output()
        .expect("it was there a moment ago");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
}

#[test]
fn the_program_writes_it_to_stdout_too() {
    let program = Program::with_claims();
    let text = program.call("airflow dag --dag-id claims_of_today --data-dir there").done();
    assert!(text.contains("dag_id=\"claims_of_today\""), "{text}");
    let there = program.path().join("there");
    assert!(text.contains(&format!("DATA_DIR = \"{}\"", there.display())), "{text}");
    let (code, printed) = program.call("airflow dag --dag-id {{x}}").refused();
    assert_eq!(code, 2, "{printed}");
}
