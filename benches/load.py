"""How long a load takes, beside the ways to fill a PostgreSQL table that people have today.

The contenders take turns within each round, so that a noisy minute hits all of them alike, and the
table is empty, the server settled and every input file warm before each. `just bench-load` runs
this; the figures go to load.json in the folder of results.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workbench
from workbench import Duck, Inputs, Program, Server, log, warm
from yardstick import Measured, Summary, Target, clock, machine, noise, part, table, write_json

FACT = "healthcare_analytics.claims_fact"
COPY_CSV = "(a) psql \\copy of the raw CSV"
COPY_ONE = "(b) COPY of finished rows"
COPY_TWO = "(c) the same, 2 connections"
DUCKDB = "(d) DuckDB postgres extension"
FIRST = "claims-etl, first load"
REPLACE = "claims-etl, replace"
MERGE = "claims-etl, merge, 1 % changed"
SCALED = "claims-etl, first load, 3 × rows"
STAGING = "staging"
SCALE = 3

RAW_COLUMNS = (
    "claim_id text, patient_id text, provider_id text, procedure_code text, "
    "amount numeric, date_of_service date"
)
DUCKDB_COLUMNS = (
    "claim_token uuid, patient_token uuid, provider_id text, procedure_code text, "
    "amount numeric(12,2), date_of_service date, specialty text, location text"
)
# What an able user writes: text in, casts that spare the odd row, a provider once, a keyed hash.
DUCKDB_INSERT = """
    INSERT INTO warehouse.public.target
    SELECT left(sha256('{key}' || claim_id), 32)::UUID,
           left(sha256('{key}' || patient_id), 32)::UUID,
           provider_id, procedure_code, TRY_CAST(amount AS DECIMAL(12, 2)),
           TRY_CAST(date_of_service AS DATE), specialty, location
    FROM read_csv('{claims}', header = true, all_varchar = true)
    LEFT JOIN (SELECT DISTINCT ON (provider_id) provider_id, specialty, location
               FROM read_csv('{providers}', header = true, all_varchar = true)) USING (provider_id)
"""
KEY = "0123456789abcdef0123456789abcdef"


@dataclass
class Finished:
    """The finished rows in files of the server, and the columns they fit in."""

    columns: str
    whole: Path
    halves: tuple[Path, Path]

    @classmethod
    def exported(cls, server: Server, program: Program, inputs: Inputs) -> Finished:
        """Loads once, unmeasured, and has the server write what was loaded."""
        log("loading once, to export the finished rows")
        server.empty_program_database()
        loaded = program.clock(inputs, inputs.claims, None)
        rows = loaded.details["claims"]["loaded"]
        columns = server.ask(
            "SELECT string_agg(format('%I %s%s', attname, format_type(atttypid, atttypmod), "
            "CASE WHEN attnotnull THEN ' NOT NULL' END), ', ' ORDER BY attnum) "
            f"FROM pg_attribute WHERE attrelid = '{FACT}'::regclass "
            "AND attnum > 0 AND NOT attisdropped",
            database=server.own,
        )
        names = ("claims_fact", "claims_fact_1", "claims_fact_2")
        whole, *halves = (server.folder / f"{name}.bin" for name in names)
        parts = ["", f" LIMIT {rows // 2}", f" OFFSET {rows // 2}"]
        server.ask(
            # In stored order, so that the halves are halves.
            "SET synchronize_seqscans = off",
            "SET max_parallel_workers_per_gather = 0",
            *(
                f"COPY (SELECT * FROM {FACT}{part}) TO '{path}' (FORMAT binary)"
                for part, path in zip(parts, (whole, *halves), strict=True)
            ),
            database=server.own,
        )
        server.empty_program_database()
        return cls(columns, whole, (halves[0], halves[1]))


@dataclass
class Contender:
    """A way to load: what must be there before, and the measured run."""

    name: str
    prepare: Callable[[], None]
    run: Callable[[], Measured]


def copied(server: Server, statements: list[str]) -> Measured:
    """Measures one psql for each statement, all at once."""
    measured, printed = clock([server.psql(server.bench, text) for text in statements], server.cpu)
    measured.rows = sum(int(text.strip().removeprefix("COPY ")) for text in printed)
    return measured


def contenders(
    server: Server, duck: Duck, program: Program, inputs: Inputs, finished: Finished
) -> list[Contender]:
    """All of them, in the order of the table; the last three build upon each other."""

    def empty(columns: str, inputs: list[Path], kind: str = "") -> Callable[[], None]:
        def prepare() -> None:
            made = f"CREATE {kind} TABLE target ({columns})"
            server.ask("DROP TABLE IF EXISTS target", made, database=server.bench)
            ready(server, inputs)

        return prepare

    def from_files(*files: Path) -> Callable[[], Measured]:
        return lambda: copied(
            server, [f"COPY target FROM '{file}' (FORMAT binary)" for file in files]
        )

    def duckdb() -> Measured:
        query = DUCKDB_INSERT.format(key=KEY, claims=inputs.claims, providers=inputs.providers)
        attach = f"ATTACH '{server.bench}' AS warehouse (TYPE postgres)"
        return duck.clock(
            server,
            extensions=["postgres_scanner"],
            prepare=[attach],
            query=query,
            deliver="count",
        )

    def ours(claims: Path, *options: str) -> Callable[[], Measured]:
        return lambda: program.clock(inputs, claims, server, *options)

    def fresh() -> None:
        server.ask("DROP TABLE IF EXISTS target", database=server.bench)
        server.empty_program_database()
        ready(server, [inputs.claims])

    raw = f"\\copy target FROM '{inputs.copyable}' (FORMAT csv, HEADER)"
    copies = [
        Contender(f"{name}, {kind.lower() or 'logged'}", empty(finished.columns, files, kind), run)
        for name, files, run in (
            (COPY_ONE, [finished.whole], from_files(finished.whole)),
            (COPY_TWO, list(finished.halves), from_files(*finished.halves)),
        )
        for kind in ("", "UNLOGGED")
    ]
    return [
        Contender(COPY_CSV, empty(RAW_COLUMNS, [inputs.copyable]), lambda: copied(server, [raw])),
        *copies,
        Contender(DUCKDB, empty(DUCKDB_COLUMNS, [inputs.claims]), duckdb),
        Contender(FIRST, fresh, ours(inputs.claims)),
        Contender(
            REPLACE,
            lambda: ready(server, [inputs.claims]),
            ours(inputs.claims, "--mode", "replace", "--force"),
        ),
        Contender(
            MERGE,
            lambda: ready(server, [inputs.changed]),
            ours(inputs.changed, "--mode", "merge"),
        ),
    ]


def scaled(server: Server, program: Program, inputs: Inputs) -> Contender:
    """The first load of three times as many rows."""

    def fresh() -> None:
        server.empty_program_database()
        ready(server, [inputs.claims])

    return Contender(SCALED, fresh, lambda: program.clock(inputs, inputs.claims, server))


def ready(server: Server, files: list[Path]) -> None:
    """Nothing left to write, nothing left to read from the disk."""
    server.settle()
    warm(files)


def measure(contestants: list[Contender], rounds: int) -> list[Summary]:
    """Runs all contenders in turn, round after round."""
    runs: dict[str, list[Measured]] = {contender.name: [] for contender in contestants}
    for number in range(1, rounds + 1):
        for contender in contestants:
            contender.prepare()
            measured = contender.run()
            runs[contender.name].append(measured)
            log(f"round {number} of {rounds}: {contender.name}: {measured.seconds:.2f} s")
    return [Summary(name, measured) for name, measured in runs.items()]


def phase_seconds(name: str) -> Callable[[Measured], float]:
    """Reads a phase of a run."""
    return lambda run: float(run.details["phases"][name])


def phases(first: Summary) -> tuple[list[Summary], str]:
    """The phases of the first load, and where they come from."""
    names = [set(run.details["phases"]) for run in first.runs]
    if all(STAGING in each for each in names):
        shared = set.intersection(*names)
        order = [name for name in first.runs[0].details["phases"] if name in shared]
        parts = [part(first, name, phase_seconds(name)) for name in order]
        return parts, "what the program reports as the phase of that name"
    source = "the task load.load_warehouse, which also builds the key and publishes"
    return [part(first, STAGING, lambda run: run.details["tasks"]["load.load_warehouse"])], source


def targets(by_name: dict[str, Summary], staging: Summary) -> list[Target]:
    """The limits that the project sets itself."""
    raw, duckdb, first = by_name[COPY_CSV], by_name[DUCKDB], by_name[FIRST]
    ours = [by_name[name] for name in (FIRST, REPLACE, MERGE)]
    memory = max(summary.peak(lambda run: run.peak_mb) for summary in ours)
    found = [
        Target("first load : (a) ≤ 1.5", first.seconds / raw.seconds, 1.5),
        Target("first load : (d) < 1.0", first.seconds / duckdb.seconds, 1.0, strictly=True),
        Target("staging : (a) ≤ 1.0", staging.seconds / raw.seconds, 1.0),
        Target("replace : first load ≤ 1.1", by_name[REPLACE].seconds / first.seconds, 1.1),
        Target("merge : first load ≤ 2.0", by_name[MERGE].seconds / first.seconds, 2.0),
        Target("peak memory < 500 MB", memory, 500.0, strictly=True),
    ]
    if SCALED in by_name:
        large = by_name[SCALED]
        peaks = [summary.peak(lambda run: run.peak_mb) for summary in (large, first)]
        found += [
            Target(f"memory {SCALE}N : N ≤ 1.2", peaks[0] / peaks[1], 1.2),
            Target(f"time {SCALE}N : N ≤ 3.3", large.seconds / first.seconds, 3.3),
        ]
    return found


def report(options: Namespace, server: dict[str, str], summaries: list[Summary]) -> None:
    """The table on stdout, everything in the file."""
    by_name = {summary.name: summary for summary in summaries}
    parts, source = phases(by_name[FIRST])
    staging = next(one for one in parts if one.name.endswith(f": {STAGING}"))
    place = [summary.name for summary in summaries].index(FIRST) + 1
    lines = summaries[:place] + parts + summaries[place:]
    judged = targets(by_name, staging)
    references = {"(a)": by_name[COPY_CSV], "(d)": by_name[DUCKDB]}

    print(table(lines, references))
    print(f"\nStaging is {source}.")
    print("The program's figures are those of the whole process with default settings, the page included.")
    if SCALED in by_name:
        anonymous = [by_name[n].peak(lambda run: run.anonymous_mb) for n in (SCALED, FIRST)]
        print(f"Anonymous memory {SCALE}N : N is {anonymous[0] / anonymous[1]:.2f}.")
    print("\n" + "\n".join([*(target.line() for target in judged), *noise(summaries)]))

    body: dict[str, Any] = {
        "machine": machine() | {"postgres": server, "duckdb": workbench.DUCKDB},
        "parameters": {
            "claims": options.claims,
            "providers": options.providers,
            "runs": options.runs,
            "scale": options.scale,
        },
        "staging_is": source,
        "contenders": [
            summary.to_json()
            | {"ratio_to_a": summary.seconds / references["(a)"].seconds}
            | {"ratio_to_d": summary.seconds / references["(d)"].seconds}
            for summary in summaries
        ],
        "phases": {
            one.name.rsplit(": ", 1)[1]: {
                "median_seconds": one.seconds,
                "seconds": [run.seconds for run in one.runs],
            }
            for one in parts
        },
        "targets": [target.to_json() for target in judged],
    }
    path = options.out / "load.json"
    write_json(path, workbench.REPOSITORY, body)
    log(f"written: {path}")


def recipe() -> None:
    """The whole recipe."""
    parser = workbench.parser("Benchmark a load against COPY and DuckDB.")
    parser.add_argument("--scale", action="store_true", help=f"also load {SCALE} × N claims")
    options = parser.parse_args()
    duck = Duck()
    inputs = Inputs.made(options.program, options.claims, options.providers)
    inputs.derive()
    large = None
    if options.scale:
        large = Inputs.made(options.program, SCALE * options.claims, options.providers)
    with Server(options.program) as server:
        program = Program(options.program, server.home)
        finished = Finished.exported(server, program, inputs)
        contestants = contenders(server, duck, program, inputs, finished)
        if large is not None:
            contestants.append(scaled(server, program, large))
        settings = server.settings()
        summaries = measure(contestants, options.runs)
    report(options, settings, summaries)


if __name__ == "__main__":
    workbench.main(recipe)
