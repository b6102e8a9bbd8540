"""What the recipes measure with: the program, the input files, DuckDB, the private server.

Shared by the recipes.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from yardstick import (
    CORES,
    BenchError,
    Measured,
    children_of,
    clock,
    plain_environment,
    process_cpu,
)

REPOSITORY = Path(__file__).resolve().parent.parent
DUCKDB = "1.5.5"
PACKAGES = (
    f"duckdb=={DUCKDB}",
    # The extension's version is DuckDB's. It comes from PyPI: no other host is contacted.
    f"duckdb-extension-postgres-scanner=={DUCKDB}",
    "pyarrow==26.0.1",
)
# One row in so many of the changed file has another amount.
CHANGED_EVERY = 100
# A line that COPY takes into text, numeric and date columns.
PLAIN = re.compile(rb"([^\",]*,[^\",]*,[^\",]*,[^\",]*,)(-?\d+\.?\d*)?,(\d{4}-\d\d-\d\d)?\n")


def target() -> Path:
    """The folder of everything that is built or made."""
    default = Path.home() / ".cache/claims-etl/target"
    return Path(os.environ.get("CARGO_TARGET_DIR") or default).resolve()


def parser(about: str) -> argparse.ArgumentParser:
    """The options that the recipes share."""
    options = argparse.ArgumentParser(description=about)
    options.add_argument("--claims", type=positive, default=10_000_000, metavar="N")
    options.add_argument("--providers", type=positive, default=50_000, metavar="N")
    options.add_argument("--runs", type=positive, default=3, metavar="R", help="rounds")
    options.add_argument("--out", type=Path, default=REPOSITORY / "benches/results", metavar="DIR")
    program = target() / "release/claims-etl"
    options.add_argument("--program", type=Path, default=program, help="default: %(default)s")
    return options


def positive(text: str) -> int:
    """A number above zero."""
    number = int(text.replace("_", ""))
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def log(text: str) -> None:
    """Talk goes to stderr, the report to stdout."""
    print(text, file=sys.stderr, flush=True)


def call(command: Sequence[str | Path]) -> str:
    """Runs a command that is not measured; what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        env=plain_environment(),
    )
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip() or "no message"
        line = " ".join(map(str, command))[:300]
        raise BenchError(f"{line}\nended with {done.returncode}: {reason}")
    return str(done.stdout)


def main(recipe: Callable[[], None]) -> NoReturn:
    """Runs a recipe; an interrupt and a termination unwind it, so that the server is stopped."""

    def stop(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        target().mkdir(parents=True, exist_ok=True)
        # Two at once would measure each other, and the second would clear away the first's server.
        with (target() / "bench-lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            recipe()
    except BlockingIOError:
        log("error: another benchmark is running")
        raise SystemExit(1) from None
    except (BenchError, OSError) as error:
        log(f"error: {error}")
        raise SystemExit(1) from None
    raise SystemExit(0)


@dataclass
class Inputs:
    """The files of one size."""

    claims: Path
    providers: Path

    @classmethod
    def made(cls, program: Path, claims: int, providers: int) -> Inputs:
        """Generates the files, unless an earlier recipe has."""
        folder = target() / f"bench-data/claims-{claims}-providers-{providers}"
        files = cls(folder / "claims.csv", folder / "providers.csv")
        if not (folder / "complete").exists():
            log(f"generating {claims:,} claims in {folder}")
            shutil.rmtree(folder, ignore_errors=True)
            size = ["--claims", str(claims), "--providers", str(providers)]
            call([program, "generate", "--quiet", *size, "--out", folder])
            (folder / "complete").touch()
        return files

    @property
    def copyable(self) -> Path:
        """The claims without the few rows that a numeric or a date column refuses."""
        return self.claims.with_name("claims-copyable.csv")

    @property
    def changed(self) -> Path:
        """The claims with another amount in every hundredth row."""
        return self.claims.with_name("claims-changed.csv")

    def derive(self) -> None:
        """Writes the copyable and the changed claims."""
        if self.copyable.exists() and self.changed.exists():
            return
        log("writing the copyable and the changed claims")
        drafts = [path.with_suffix(".new") for path in (self.copyable, self.changed)]
        with (
            self.claims.open("rb") as source,
            drafts[0].open("wb") as copyable,
            drafts[1].open("wb") as changed,
        ):
            header = next(source)
            copyable.write(header)
            changed.write(header)
            days: dict[bytes | None, bool] = {None: True}
            due = 0
            for line in source:
                due += 1
                parts = PLAIN.fullmatch(line)
                if parts and days.setdefault(parts[3], is_day(parts[3])):
                    copyable.write(line)
                    if due >= CHANGED_EVERY and parts[2]:
                        due -= CHANGED_EVERY
                        line = parts[1] + dearer(parts[2]) + line[parts.end(2) :]
                changed.write(line)
        for draft, path in zip(drafts, (self.copyable, self.changed), strict=True):
            draft.replace(path)


def is_day(text: bytes | None) -> bool:
    """Whether the calendar has this day."""
    try:
        return text is None or bool(date.fromisoformat(text.decode()))
    except ValueError:
        return False


def dearer(amount: bytes) -> bytes:
    """Another amount: a dollar more, or a dollar further below zero."""
    whole, point, rest = amount.partition(b".")
    sign, digits = (b"-", whole[1:]) if whole.startswith(b"-") else (b"", whole)
    return sign + str(int(digits) + 1).encode() + point + rest


def warm(paths: Iterable[Path]) -> None:
    """Reads files to the end, so that no contender finds them cold."""
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.read(2**22):
                pass


class Duck:
    """DuckDB in a virtual environment of its own."""

    def __init__(self) -> None:
        self.home = target() / "bench-venv"
        self.python = self.home / "bin/python"
        wanted = "\n".join(PACKAGES) + "\n"
        stamp = self.home / "packages"
        if not (stamp.exists() and stamp.read_text() == wanted and self.python.exists()):
            log(f"installing {', '.join(PACKAGES)} in {self.home}")
            call([sys.executable, "-m", "venv", "--clear", self.home])
            options = ["--quiet", "--disable-pip-version-check"]
            call([self.python, "-m", "pip", "install", *options, *PACKAGES])
            stamp.write_text(wanted)

    def clock(self, server: Server | None, **job: Any) -> Measured:
        """Measures one job of `duck.py`."""
        command = [str(self.python), str(Path(__file__).with_name("duck.py"))]
        given = json.dumps({"threads": CORES} | job)
        cpu = server.cpu if server else lambda: 0.0
        measured, (printed,) = clock([command], cpu, stdin=given)
        result = json.loads(printed)
        measured.rows = result["rows"]
        measured.details = {"query_seconds": result["seconds"]}
        return measured


class Server:
    """The program's private server, with the settings that its users get."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.home = target() / "bench-warehouse"
        self.psql_program = shutil.which("psql")
        if self.psql_program is None:
            raise BenchError("psql is not installed")

    def __enter__(self) -> Server:
        self.clear()
        try:
            call([self.program, "warehouse", "start", "--quiet", "--data-dir", self.home])
            url = call([self.program, "warehouse", "url", "--data-dir", self.home]).strip()
            # The program's own database is dropped and made again, so others live in the next.
            self.own, self.maintenance = url, url.replace("///claims?", "///postgres?")
            self.postmaster = int(self.ask("SELECT pg_read_file('postmaster.pid')").split()[0])
            self.ask("CREATE DATABASE bench")
            self.bench = url.replace("///claims?", "///bench?")
            # The server reads files with the rights of its account: this folder is its own.
            self.folder = Path(self.ask("SHOW data_directory")).parent
        except BaseException:
            self.clear()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Stops the server, if it runs, and deletes its cluster."""
        if not self.home.exists():
            return
        call([self.program, "warehouse", "stop", "--quiet", "--data-dir", self.home])
        # Where the server's account may not enter the folder, the cluster is elsewhere.
        elsewhere = self.home / "warehouse/location"
        if elsewhere.exists():
            shutil.rmtree(elsewhere.read_text().strip(), ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def psql(self, url: str, *statements: str) -> list[str]:
        """The command line of psql for these statements."""
        words = [str(self.psql_program), url, "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        return words + [word for text in statements for word in ("-c", text)]

    def ask(self, *statements: str, database: str | None = None) -> str:
        """What psql prints for these statements, unmeasured."""
        words = self.psql(database or self.maintenance, *statements)
        return call([*words, "-q"]).strip()

    def cpu(self) -> float:
        """CPU seconds of the server's processes so far, ended ones included."""
        living = sum(process_cpu(pid, False) for pid in children_of(self.postmaster))
        return living + process_cpu(self.postmaster, True)

    def settings(self) -> dict[str, str]:
        """The settings that decide what a commit costs."""
        names = ["server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_level"]
        names += ["shared_buffers", "max_wal_size"]
        values = self.ask(*(f"SHOW {name}" for name in names)).splitlines()
        return dict(zip(names, values, strict=True))

    def settle(self) -> None:
        """Writes out what earlier runs left to be written."""
        self.ask("CHECKPOINT")
        os.sync()
        time.sleep(1)

    def empty_program_database(self) -> None:
        """Drops what the program has loaded."""
        self.ask("DROP DATABASE IF EXISTS claims WITH (FORCE)", "CREATE DATABASE claims")
        shutil.rmtree(self.home / "quarantine", ignore_errors=True)


@dataclass
class Program:
    """The program under measurement."""

    path: Path
    data_dir: Path

    def clock(self, inputs: Inputs, claims: Path, server: Server | None, *options: str) -> Measured:
        """Measures one run with default settings, the page included; its time is that of the whole process."""
        config = self.data_dir / "bench.toml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text("")
        files = ["--claims", str(claims), "--providers", str(inputs.providers)]
        place = ["--data-dir", str(self.data_dir), "--config", str(config)]
        command = [str(self.path), "run", "--quiet", "--format", "json", *place, *files, *options]
        measured, (printed,) = clock([command], server.cpu if server else lambda: 0.0)
        report = json.loads(printed.splitlines()[-1])
        if report["status"] != "success":
            raise BenchError(f"the run ended as {report['status']}")
        tasks = {task["id"]: task["seconds"] for task in report["tasks"]}
        measured.rows = report["claims"]["read"]
        measured.details = {
            "process_seconds": measured.seconds,
            "reported_seconds": report["seconds"],
            "tasks": tasks,
            "phases": report.get("phases") or {},
            "claims": report["claims"],
        }
        return measured
