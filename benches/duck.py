"""One job of DuckDB, given as JSON on stdin, its figures as JSON on stdout.

It runs in the virtual environment, as a process that is measured.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import duckdb


def extension(name: str) -> Path:
    """The file of an extension that pip has installed: LOAD takes a path, so nothing is fetched."""
    found = find_spec(f"duckdb_extension_{name}")
    if found is None or found.origin is None:
        raise SystemExit(f"the package duckdb-extension-{name} is not installed")
    folder = Path(found.origin).parent / "extensions" / f"v{duckdb.__version__}"
    return folder / f"{name}.duckdb_extension"


def main() -> None:
    """Prepares, then runs and times the query."""
    job = json.load(sys.stdin)
    connection = duckdb.connect(config={"threads": job["threads"]})
    connection.execute("SET autoinstall_known_extensions = false")
    # Order costs memory and time, and nobody asks for it here.
    connection.execute("SET preserve_insertion_order = false")
    for name in job.get("extensions", []):
        connection.execute(f"LOAD '{extension(name)}'")
    for statement in job.get("prepare", []):
        connection.execute(statement)

    begin = time.perf_counter()
    if job["deliver"] == "batches":
        reader = connection.execute(job["query"]).to_arrow_reader(65_536)
        rows = sum(batch.num_rows for batch in reader)
    else:
        ((rows,),) = connection.execute(job["query"]).fetchall()
    seconds = time.perf_counter() - begin
    json.dump({"seconds": seconds, "rows": rows}, sys.stdout)


if __name__ == "__main__":
    main()
