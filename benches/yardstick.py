"""Clocks processes and reports the figures: seconds, memory, CPU, medians, ratios, targets.

Every contender of every recipe is measured the same way.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

SAMPLE_SECONDS = 0.05
TICKS = os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))
# A share of the machine's CPU time that others take and that a round bears without a remark.
TOLERATED_NOISE = 0.1


class BenchError(Exception):
    """What stops a recipe, in one line."""


@dataclass
class Measured:
    """One run of one contender."""

    seconds: float
    peak_mb: float
    anonymous_mb: float
    client_cpu_seconds: float
    server_cpu_seconds: float
    # CPU time that neither client nor server took; the kernel's writing of pages counts as well.
    other_cpu_seconds: float
    rows: int = 0
    details: dict[str, Any] = field(default_factory=dict)


class Child:
    """A process that is started, sampled while it runs, and reaped with its usage."""

    def __init__(self, command: Sequence[str], stdin: str, environment: dict[str, str]) -> None:
        self.command = [str(word) for word in command]
        self.output = tempfile.TemporaryFile("w+")
        self.errors = tempfile.TemporaryFile("w+")
        self.high_water_kb = self.anonymous_kb = 0
        given = tempfile.TemporaryFile("w+")
        given.write(stdin)
        given.seek(0)
        self.process = subprocess.Popen(
            self.command, stdin=given, stdout=self.output, stderr=self.errors, env=environment
        )
        given.close()
        self.sampler = threading.Thread(target=self._sample, daemon=True)
        self.sampler.start()

    def _sample(self) -> None:
        """Keeps the highest figures of /proc/PID/status until the process is gone."""
        status = Path(f"/proc/{self.process.pid}/status")
        while True:
            try:
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            except (OSError, ValueError):
                return
            if "RssAnon" not in lines:  # A zombie has no memory any more.
                return
            self.anonymous_kb = max(self.anonymous_kb, int(lines["RssAnon"].split()[0]))
            self.high_water_kb = max(self.high_water_kb, int(lines["VmHWM"].split()[0]))
            time.sleep(SAMPLE_SECONDS)

    def reap(self) -> tuple[float, float]:
        """Waits for the end; CPU seconds and peak memory in KB."""
        try:
            _, status, usage = os.wait4(self.process.pid, 0)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.sampler.join()
        # Until its exec a child shares our own memory, and the kernel counts that as the child's.
        ours = getrusage(RUSAGE_SELF).ru_maxrss
        peak = usage.ru_maxrss if usage.ru_maxrss > ours else self.high_water_kb
        return usage.ru_utime + usage.ru_stime, peak

    def result(self) -> str:
        """What it printed; an error if it failed."""
        texts = []
        for file in (self.output, self.errors):
            file.seek(0)
            texts.append(file.read())
            file.close()
        if self.process.returncode != 0:
            reason = (texts[1] or texts[0]).strip() or "no message"
            raise BenchError(
                f"{' '.join(self.command)[:300]}\nended with {self.process.returncode}: {reason}"
            )
        return texts[0]


def clock(
    commands: Sequence[Sequence[str]],
    server_cpu: Callable[[], float] = lambda: 0.0,
    stdin: str = "",
    environment: dict[str, str] | None = None,
) -> tuple[Measured, list[str]]:
    """Runs the commands at the same time; the figures of all together and what each printed."""
    environment = plain_environment() if environment is None else environment
    busy, served = busy_seconds(), server_cpu()
    children: list[Child] = []
    usages = []
    begin = time.perf_counter()
    try:
        for command in commands:
            children.append(Child(command, stdin, environment))
        usages = [child.reap() for child in children]
    finally:
        for child in children:
            if child.process.returncode is None:
                child.process.kill()
                child.process.wait()
    seconds = time.perf_counter() - begin
    cpu = sum(usage[0] for usage in usages)
    served, busy = server_cpu() - served, busy_seconds() - busy
    measured = Measured(
        seconds=seconds,
        peak_mb=sum(usage[1] for usage in usages) / 1024,
        anonymous_mb=sum(child.anonymous_kb for child in children) / 1024,
        client_cpu_seconds=cpu,
        server_cpu_seconds=served,
        other_cpu_seconds=max(0.0, busy - cpu - served),
    )
    return measured, [child.result() for child in children]


def plain_environment() -> dict[str, str]:
    """The environment without what configures the program or psql behind the recipe's back."""
    foreign = ("CLAIMS_ETL_", "DATABASE_URL", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def busy_seconds() -> float:
    """CPU seconds that the whole machine has spent since its start."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(word) for word in words[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS


def process_cpu(pid: int, with_dead_children: bool) -> float:
    """CPU seconds of a process, on demand with those of its children that have ended."""
    try:
        # The name in parentheses may contain spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    own, dead = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
    return (own + (dead if with_dead_children else 0)) / TICKS


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in task.read_text().split()]
    return found


@dataclass
class Summary:
    """All runs of one contender."""

    name: str
    runs: list[Measured]

    @property
    def seconds(self) -> float:
        """The median of the seconds."""
        return self.median(lambda run: run.seconds)

    @property
    def rows(self) -> int:
        """The rows of a run."""
        return self.runs[-1].rows

    def median(self, figure: Callable[[Measured], float]) -> float:
        """The median of a figure."""
        return statistics.median(figure(run) for run in self.runs)

    def peak(self, figure: Callable[[Measured], float]) -> float:
        """The highest value of a figure."""
        return max(figure(run) for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        """Every run, and the figures of the table."""
        return {
            "name": self.name,
            "median_seconds": self.seconds,
            "min_seconds": min(run.seconds for run in self.runs),
            "max_seconds": max(run.seconds for run in self.runs),
            "rows": self.rows,
            "rows_per_second": self.rows / self.seconds,
            "peak_mb": self.peak(lambda run: run.peak_mb),
            "anonymous_mb": self.peak(lambda run: run.anonymous_mb),
            "client_cpu_seconds": self.median(lambda run: run.client_cpu_seconds),
            "server_cpu_seconds": self.median(lambda run: run.server_cpu_seconds),
            "runs": [asdict(run) for run in self.runs],
        }


def part(summary: Summary, name: str, seconds: Callable[[Measured], float]) -> Summary:
    """A part of a contender's runs; memory and CPU time are known of the whole run only."""
    runs = [Measured(seconds(run), 0.0, 0.0, 0.0, 0.0, 0.0, run.rows) for run in summary.runs]
    return Summary(f"{summary.name}: {name}", runs)


@dataclass
class Target:
    """What a figure is held to."""

    name: str
    value: float
    limit: float
    at_least: bool = False
    strictly: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure keeps to it."""
        if self.strictly:
            return self.value < self.limit
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        """One line for people."""
        return f"{'met   ' if self.met else 'MISSED'}  {self.name}: {self.value:.2f}"

    def to_json(self) -> dict[str, Any]:
        """The target and its result."""
        return asdict(self) | {"met": self.met}


def table(summaries: Sequence[Summary], references: dict[str, Summary]) -> str:
    """The contenders, one a line; `references` are what they are compared with."""
    head = ["contender", "median s", "min-max s", *(f"× {name}" for name in references)]
    head += ["rows/s", "peak MB", "anon MB", "client CPU s", "server CPU s"]
    rows = [head]
    for summary in summaries:
        seconds = [run.seconds for run in summary.runs]
        figures = summary.to_json()
        row = [summary.name, f"{summary.seconds:.2f}", f"{min(seconds):.2f}-{max(seconds):.2f}"]
        row += [f"{summary.seconds / other.seconds:.2f}" for other in references.values()]
        row += [f"{figures['rows_per_second']:,.0f}"]
        whole = figures["peak_mb"] > 0
        names = ("peak_mb", "anonymous_mb", "client_cpu_seconds", "server_cpu_seconds")
        row += [f"{figures[n]:.{1 if 'cpu' in n else 0}f}" if whole else "" for n in names]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def noise(summaries: Sequence[Summary]) -> list[str]:
    """Remarks on runs during which somebody else used the machine."""
    remarks = []
    for summary in summaries:
        for number, run in enumerate(summary.runs, 1):
            seconds = run.details.get("process_seconds", run.seconds)
            share = run.other_cpu_seconds / (seconds * CORES)
            if share > TOLERATED_NOISE:
                place = f"{summary.name}, round {number}"
                remarks.append(f"noisy   {place}: {share:.0%} of the CPU time went elsewhere")
    return remarks


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": CORES,
        "memory_mb": memory // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def write_json(path: Path, repository: Path, body: dict[str, Any]) -> None:
    """The report as a file, with commit and date."""
    describe = ["git", "-C", str(repository), "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip()
    head = {
        "commit": commit or "unknown",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".json.new")
    draft.write_text(json.dumps(head | body, indent=2, ensure_ascii=False) + "\n")
    draft.replace(path)
