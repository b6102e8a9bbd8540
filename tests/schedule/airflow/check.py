"""What Airflow's database and the ledger must contain: check.py PROGRAM HOME EXPECTATION DAG_ID."""

import json
import sqlite3
import subprocess
import sys

program, home, expectation, dag_id = sys.argv[1:]

TASKS = [
    "extract.extract_claims",
    "extract.extract_providers",
    "transform_join",
    "load.load_warehouse",
    "load.refresh_bi",
]
EXPECTED = {
    "success": dict.fromkeys(TASKS, "success"),
    "skipped": dict.fromkeys(TASKS[:2], "success") | dict.fromkeys(TASKS[2:], "skipped"),
    "retried": dict.fromkeys(TASKS, "success"),
}


def equal(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found}, but expected {expected}")
    print(f"ok: {what}: {found}")


def ledger(*arguments):
    call = [program, "runs", *arguments, "--data-dir", f"{home}/data"]
    return json.loads(subprocess.run(call, check=True, capture_output=True).stdout)


airflow = sqlite3.connect(f"file:{home}/airflow/airflow.db?mode=ro", uri=True)
run_id, state = airflow.execute(
    "SELECT run_id, state FROM dag_run WHERE dag_id = ? ORDER BY id DESC LIMIT 1", [dag_id]
).fetchone()
equal("Airflow's run", state, "success")
of_the_run = [dag_id, run_id]
tasks = airflow.execute(
    "SELECT task_id, state, try_number FROM task_instance WHERE dag_id = ? AND run_id = ?", of_the_run
).fetchall()
equal("Airflow's tasks", {task: tasks_state for task, tasks_state, _ in sorted(tasks)},
      dict(sorted(EXPECTED[expectation].items())))
tries = {task: number for task, _, number in tasks}
retried = expectation == "retried"
equal("Airflow's tries of the load", tries["load.load_warehouse"],
      {"success": 1, "skipped": 0, "retried": 2}[expectation])
history = airflow.execute(
    "SELECT task_id, try_number, state FROM task_instance_history WHERE dag_id = ? AND run_id = ?",
    of_the_run,
).fetchall()
equal("Airflow's earlier tries", history, [("load.load_warehouse", 1, "failed")] if retried else [])

# Each task that did something has left one line of JSON.
xcoms = {
    task: json.loads(json.loads(value))
    for task, value in airflow.execute(
        "SELECT task_id, value FROM xcom WHERE dag_id = ? AND run_id = ? AND key = 'return_value'",
        of_the_run,
    )
}
equal("XComs", sorted(xcoms), sorted(task for task, state in EXPECTED[expectation].items() if state == "success"))
for task, kept in xcoms.items():
    equal(f"{task}: XCom", (kept["task"], kept["state"], sorted(kept)),
          (task, "success", ["result", "run_id", "state", "task"]))

last = ledger("--format", "json")[0]
equal("the ledger's name of the run", last["orchestrator_run_id"], f"{dag_id}/{run_id}")
equal("the ledger's run", last["status"], "already_loaded" if expectation == "skipped" else "success")
equal("its id in every XCom", {kept["run_id"] for kept in xcoms.values()}, {last["run_id"]})
details = ledger(last["run_id"])
equal("the ledger's tasks", sorted((task["task_id"], task["state"]) for task in details["tasks"]),
      sorted((task, "skipped" if expectation == "skipped" and task.startswith("load.") else "success")
             for task in TASKS))
if expectation != "skipped":
    loaded = xcoms["load.load_warehouse"]["result"]["account"]["claims"]["loaded"]
    equal("claims loaded", loaded, last["claims_loaded"])
    rows = subprocess.run(
        [program, "warehouse", "psql", "--data-dir", f"{home}/data", "--", "-XAtqc",
         f"SELECT count(*) FROM healthcare_analytics.v_claims WHERE run_id = '{last['run_id']}'"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()
    equal("rows in the warehouse", int(rows), loaded)
