"""How long a day's load takes: 20,000 new claims into a small and into a large warehouse, default settings.

The days alternate between the two warehouses, so that a noisy minute hits both alike. `just bench-daily` runs
this; the figures go to daily.json in the folder of results.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import workbench
from workbench import Inputs, Program, Server, log, warm
from yardstick import Measured, Summary, Target, clock, machine, noise, table, write_json

DAY = 20_000
SMALL = 1_000_000
COPY_CSV = "(a) psql \\copy of the raw CSV"
RAW_COLUMNS = (
    "claim_id text, patient_id text, provider_id text, procedure_code text, "
    "amount numeric, date_of_service date"
)


def days(program: Path, providers: int, count: int, folder: Path) -> list[Path]:
    """Claims of so many days, with ids that no other file has."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(1, count + 1):
        made = folder / f"made-{number}"
        file = folder / f"day-{number}.csv"
        if not file.exists():
            # The providers of the base; another number of claims gives other patients.
            size = ["--claims", str(DAY + number), "--providers", str(providers)]
            workbench.call([program, "generate", "--quiet", *size, "--out", made])
            header, *lines = (made / "claims.csv").read_text().splitlines()
            renamed = [f"D{number}-{line}" if line else line for line in lines]
            file.write_text("\n".join([header, *renamed]) + "\n")
        files.append(file)
    return files


def with_database(server: Server, name: str) -> str:
    """A new database of the server; its address."""
    server.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    return server.own.replace("///claims?", f"///{name}?")


def report(options: Namespace, server: dict[str, str], summaries: list[Summary]) -> None:
    """The table on stdout, everything in the file."""
    by_name = {summary.name: summary for summary in summaries}
    large, small = by_name["a day into N"], by_name["a day into 1 M"]
    judged = [
        Target("a day into N ≤ 1.5 s", large.seconds, 1.5),
        Target("a day into N : into 1 M ≤ 1.3", large.seconds / small.seconds, 1.3),
        Target("the first day into N ≤ 8 s", by_name["the first day into N"].seconds, 8.0),
        Target(
            "first load : (a) ≤ 2.2",
            by_name["first load of N"].seconds / by_name[COPY_CSV].seconds,
            2.2,
        ),
    ]
    print(table(summaries, {"(a)": by_name[COPY_CSV]}))
    print("\nDefault settings, the page included; the figures are those of the whole process.")
    print("\n" + "\n".join([*(target.line() for target in judged), *noise(summaries)]))
    body = {
        "machine": machine() | {"postgres": server},
        "parameters": {"claims": options.claims, "providers": options.providers, "day": DAY},
        "contenders": [summary.to_json() for summary in summaries],
        "targets": [target.to_json() for target in judged],
    }
    path = options.out / "daily.json"
    write_json(path, workbench.REPOSITORY, body)
    log(f"written: {path}")


def recipe() -> None:
    """The whole recipe: one first load of each size, then a day into each, `--runs` times after the first."""
    options = workbench.parser("Benchmark a day's load into a small and a large warehouse.").parse_args()
    large = Inputs.made(options.program, options.claims, options.providers)
    small = Inputs.made(options.program, SMALL, options.providers)
    large.derive()
    runs: dict[str, list[Measured]] = {}
    with Server(options.program) as server:
        program = Program(options.program, server.home)
        # Only a private server's own database gets a key by itself.
        workbench.call([options.program, "key", "generate", "--quiet", "--data-dir", server.home])
        files = days(
            options.program,
            options.providers,
            options.runs + 1,
            workbench.target() / f"bench-data/daily-{options.providers}",
        )
        raw = f"\\copy target FROM '{large.copyable}' (FORMAT csv, HEADER)"
        warm([large.copyable])
        server.ask(f"CREATE TABLE target ({RAW_COLUMNS})", database=server.bench)
        server.settle()
        measured, printed = clock([server.psql(server.bench, raw)], server.cpu)
        measured.rows = sum(int(text.strip().removeprefix("COPY ")) for text in printed)
        runs[COPY_CSV] = [measured]
        server.ask("DROP TABLE target", database=server.bench)
        places = {"N": (large, with_database(server, "large")), "1 M": (small, with_database(server, "small"))}
        for name, (inputs, url) in places.items():
            warm([inputs.claims])
            server.settle()
            measured = program.clock(inputs, inputs.claims, server, "--warehouse", url)
            runs[f"first load of {name}"] = [measured]
            log(f"first load of {name}: {measured.seconds:.2f} s")
        for number, file in enumerate(files):
            for name, (inputs, url) in places.items():
                warm([file])
                server.settle()
                measured = program.clock(inputs, file, server, "--warehouse", url)
                what = "the first day into" if number == 0 else "a day into"
                runs.setdefault(f"{what} {name}", []).append(measured)
                log(f"{what} {name}: {measured.seconds:.2f} s {measured.details['phases']}")
        settings = server.settings()
    report(options, settings, [Summary(name, measured) for name, measured in runs.items()])


if __name__ == "__main__":
    workbench.main(recipe)
