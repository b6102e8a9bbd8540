"""How fast claims become finished rows, beside DuckDB, without a database on either side.

DuckDB answers the same question: read both files, join, two tokens, typed columns. It hands its
rows out in two ways, and the faster one counts: as Arrow batches, which is what the program makes
too, and as a table in its own memory, which spares it the conversion. Writing CSV to /dev/null
would charge it for printing text. Not done by DuckDB: reject reasons, flags, the risk score and
the totals; the program does all of that in the measured time. `just bench-peers` runs this.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import Any

import workbench
from workbench import Duck, Inputs, Program, log, warm
from yardstick import Measured, Summary, Target, machine, noise, table, write_json

OURS = "claims-etl, dry run"
TASKS = ("transform_join", "load.load_warehouse")
AHEAD = 1.3
KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "left(sha256('{key}' || {column}), 32)"
QUERY = """
    SELECT {claim} AS claim_token, {patient} AS patient_token, provider_id, procedure_code,
           TRY_CAST(amount AS DECIMAL(12, 2)) AS amount,
           TRY_CAST(date_of_service AS DATE) AS date_of_service, specialty, location
    FROM read_csv('{claims}', header = true, all_varchar = true)
    LEFT JOIN (SELECT DISTINCT ON (provider_id) provider_id, specialty, location
               FROM read_csv('{providers}', header = true, all_varchar = true)) USING (provider_id)
"""


def query(inputs: Inputs, hashed: bool) -> str:
    """The rows, with tokens or with the identifiers themselves."""
    token = TOKEN if hashed else "{column}"
    return QUERY.format(
        claim=token.format(key=KEY, column="claim_id"),
        patient=token.format(key=KEY, column="patient_id"),
        claims=inputs.claims,
        providers=inputs.providers,
    )


def duck_runs(duck: Duck, inputs: Inputs) -> dict[str, Callable[[], Measured]]:
    """DuckDB with and without the hash, either way of delivery."""

    def run(hashed: bool, deliver: str) -> Callable[[], Measured]:
        text = query(inputs, hashed)
        if deliver == "table":
            text = f"CREATE TEMP TABLE finished AS {text}"

        def measured() -> Measured:
            figures = duck.clock(None, query=text, deliver=deliver)
            # The query alone: neither the start of Python nor its end.
            figures.details["process_seconds"] = figures.seconds
            figures.seconds = figures.details["query_seconds"]
            return figures

        return measured

    return {
        name(hashed, deliver): run(hashed, deliver)
        for hashed in (True, False)
        for deliver in ("batches", "table")
    }


def name(hashed: bool, deliver: str) -> str:
    """A contender of DuckDB."""
    form = {"batches": "Arrow batches", "table": "a table in memory"}[deliver]
    return f"DuckDB {'sha256' if hashed else 'no hash'}, {form}"


def our_run(program: Program, inputs: Inputs) -> Callable[[], Measured]:
    """A run without a warehouse, timed by its two tasks that transform."""

    def measured() -> Measured:
        figures = program.clock(inputs, inputs.claims, None, "--dry-run")
        figures.seconds = sum(figures.details["tasks"][task] for task in TASKS)
        return figures

    return measured


def report(options: Namespace, summaries: list[Summary]) -> None:
    """The table on stdout, everything in the file."""
    by_name = {summary.name: summary for summary in summaries}
    ours = by_name[OURS]
    best = {
        hashed: min(
            (by_name[name(hashed, deliver)] for deliver in ("batches", "table")),
            key=lambda summary: summary.seconds,
        )
        for hashed in (True, False)
    }
    ahead = Target(
        f"claims/s : DuckDB sha256 ≥ {AHEAD}",
        best[True].seconds / ours.seconds,
        AHEAD,
        at_least=True,
    )
    references = {"DuckDB sha256": best[True], "DuckDB no hash": best[False]}
    print(table(summaries, references))
    print(f"\nThe program's seconds are its tasks {' and '.join(TASKS)}, DuckDB's are its query.")
    print("Memory and CPU are those of the whole process, DuckDB's with Python and pyarrow.")
    print(f"Compared with the faster form: {best[True].name}; {best[False].name}.")
    print("\n" + "\n".join([ahead.line(), *noise(summaries)]))
    body: dict[str, Any] = {
        "machine": machine() | {"duckdb": workbench.DUCKDB},
        "parameters": {
            "claims": options.claims,
            "providers": options.providers,
            "runs": options.runs,
        },
        "contenders": [summary.to_json() for summary in summaries],
        "compared_with": {"sha256": best[True].name, "no_hash": best[False].name},
        "ahead_of_duckdb_sha256": ahead.value,
        "ahead_of_duckdb_no_hash": best[False].seconds / ours.seconds,
        "targets": [ahead.to_json()],
    }
    path = options.out / "peers.json"
    write_json(path, workbench.REPOSITORY, body)
    log(f"written: {path}")


def recipe() -> None:
    """The whole recipe."""
    options = workbench.parser("Benchmark the transform against DuckDB.").parse_args()
    duck = Duck()
    inputs = Inputs.made(options.program, options.claims, options.providers)
    # Holds nothing but the key that the program makes for itself.
    program = Program(options.program, workbench.target() / "bench-dry-run")
    contestants = {OURS: our_run(program, inputs)} | duck_runs(duck, inputs)
    runs: dict[str, list[Measured]] = {contender: [] for contender in contestants}
    for number in range(1, options.runs + 1):
        for contender, run in contestants.items():
            warm([inputs.claims])
            measured = run()
            runs[contender].append(measured)
            log(f"round {number} of {options.runs}: {contender}: {measured.seconds:.2f} s")
    report(options, [Summary(contender, measured) for contender, measured in runs.items()])


if __name__ == "__main__":
    workbench.main(recipe)
