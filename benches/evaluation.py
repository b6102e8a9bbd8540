"""How well the score finds anomalies that were put into claims, beside simpler ways.

Anomalies of four kinds are injected with a seed, the claims are loaded through the program into
its private server, and the stored scores are read back and ranked. It is an injection test: it
says what the score does with anomalies of these shapes, not how many real ones it finds.
`just evaluate-risk` runs this; the tables go into docs/risk.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import workbench
from workbench import Server, call, log, positive
from yardstick import BenchError, plain_environment, write_json

EACH = 40
HIGH, TWIN, BUSY, FOREIGN = "amount × 12", "exact duplicate", "impossible day", "wrong specialty"
KINDS = (HIGH, TWIN, BUSY, FOREIGN)
WEIGHTED_MEAN = (0.35, 0.20, 0.20, 0.10, 0.10, 0.05)
RANKINGS = ("score", "weighted mean", "z of the amount")
BANDS = (20.0, 50.0)
# The generator's spread ends at 4.4 times the median, its own outliers begin at 8 times.
TIDY_AMOUNT = 4.5
RARE_LIFT = 0.25
ENOUGH = 10.0
COLUMNS = (
    "claim_id",
    "patient_id",
    "provider_id",
    "procedure_code",
    "amount",
    "date_of_service",
)
CONFIG = """
[rules]
run_date = "2026-12-31"
[quality]
max_reject_ratio = 1.0
[refresh.dashboard]
enabled = false
"""
STORED = """
    COPY (SELECT claim_token, risk_score,
                 {components}
          FROM healthcare_analytics.claims_fact) TO STDOUT (FORMAT csv)
"""
COMPONENT = "coalesce(nullif(risk_components >> {place} & 1023, 1023), 0)"

Row = dict[str, str]


@dataclass
class Claims:
    """The rows of a file, the specialty of each provider, and what was injected."""

    rows: list[Row]
    specialties: dict[str, str]
    injected: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Claims:
        """The claims and providers of a folder; claims without a date do not load."""
        with (folder / "claims.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["date_of_service"]]
        with (folder / "providers.csv").open(newline="") as file:
            known = {row["provider_id"]: row["specialty"] for row in csv.DictReader(file)}
        return cls(rows, known)

    def specialty(self, row: Row) -> str:
        """The specialty of the row's provider; blank if unknown."""
        return self.specialties.get(row["provider_id"], "")

    def priced(self) -> list[Row]:
        """The rows with an amount above zero that nothing was done to."""
        untouched = (row for row in self.rows if row["claim_id"] not in self.injected)
        return [row for row in untouched if float(row["amount"]) > 0]

    def add(self, row: Row, kind: str, **other: str) -> None:
        """Adds a row that is like another one but for some columns."""
        made = row | other | {"claim_id": f"INJECTED{len(self.injected)}"}
        self.rows.append(made)
        self.injected[made["claim_id"]] = kind


def lifts(claims: Claims) -> dict[tuple[str, str], float]:
    """How often a specialty bills a procedure, beside chance, where chance would be often."""
    pairs: Counter[tuple[str, str]] = Counter()
    for row in claims.priced():
        if row["procedure_code"] and claims.specialty(row):
            pairs[row["procedure_code"], claims.specialty(row)] += 1
    procedures: Counter[str] = Counter()
    specialties: Counter[str] = Counter()
    for (procedure, specialty), count in pairs.items():
        procedures[procedure] += count
        specialties[specialty] += count
    expected = {
        (procedure, specialty): procedures[procedure] * specialties[specialty] / pairs.total()
        for procedure in procedures
        for specialty in specialties
    }
    return {pair: pairs[pair] / chance for pair, chance in expected.items() if chance >= ENOUGH}


def tidied(claims: Claims) -> Claims:
    """The claims without what is conspicuous already: high amounts and procedures out of place."""
    amounts = defaultdict(list)
    for row in claims.priced():
        amounts[row["procedure_code"]].append(float(row["amount"]))
    limits = {code: TIDY_AMOUNT * statistics.median(found) for code, found in amounts.items()}
    rare = {pair for pair, lift in lifts(claims).items() if lift < RARE_LIFT}

    def fine(row: Row) -> bool:
        pair = row["procedure_code"], claims.specialty(row)
        return float(row["amount"]) <= limits.get(pair[0], 0.0) and pair not in rare

    return Claims([row for row in claims.rows if fine(row)], claims.specialties)


def inject(claims: Claims, seed: int) -> None:
    """Puts the four kinds in, each into rows of its own."""
    draw = random.Random(seed)
    for row in draw.sample(claims.priced(), EACH):
        row["amount"] = f"{12 * float(row['amount']):.2f}"
        claims.injected[row["claim_id"]] = HIGH
    for row in draw.sample(claims.priced(), EACH):
        # Which of the two is the copy is unknowable.
        claims.add(row, TWIN)
        claims.injected[row["claim_id"]] = TWIN
    day = draw.choice(claims.priced())
    like = [row for row in claims.priced() if row["provider_id"] == day["provider_id"]]
    for number in range(EACH):
        one = draw.choice(like)
        patient = {"patient_id": f"PATIENT{number}", "date_of_service": day["date_of_service"]}
        claims.add(one, BUSY, **patient)
    rare = defaultdict(list)
    for (procedure, specialty), lift in sorted(lifts(claims).items()):
        if lift < RARE_LIFT:
            rare[specialty].append(procedure)
    prices = defaultdict(list)
    for row in claims.priced():
        prices[row["procedure_code"]].append(row["amount"])
    able = [row for row in claims.priced() if rare[claims.specialty(row)]]
    for row in draw.sample(able, EACH if len(able) >= EACH else 0):
        row["procedure_code"] = draw.choice(rare[claims.specialty(row)])
        row["amount"] = draw.choice(prices[row["procedure_code"]])
        claims.injected[row["claim_id"]] = FOREIGN


def z_scores(claims: Claims) -> dict[str, float]:
    """Distance of each amount from the mean of its procedure in standard deviations."""
    amounts = defaultdict(list)
    for row in claims.rows:
        if float(row["amount"]) > 0:
            amounts[row["procedure_code"]].append(float(row["amount"]))
    figures = {code: (statistics.fmean(a), statistics.pstdev(a)) for code, a in amounts.items()}
    found = {}
    for row in claims.rows:
        mean, spread = figures.get(row["procedure_code"], (0.0, 0.0))
        found[row["claim_id"]] = (float(row["amount"]) - mean) / spread if spread else 0.0
    return found


@dataclass
class Loader:
    """Loads claims through the program and reads the scores back."""

    program: Path
    server: Server

    def scores(self, claims: Claims, providers: Path) -> tuple[dict[str, float], dict[str, float]]:
        """Score and weighted mean of each claim id."""
        folder = self.server.home / "evaluation"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(CONFIG)
        with (folder / "claims.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(claims.rows)
        self.server.empty_program_database()
        place = ["--data-dir", self.server.home, "--config", folder / "config.toml"]
        files = ["--claims", folder / "claims.csv", "--providers", providers]
        printed = call([self.program, "run", "--quiet", "--format", "json", *place, *files])
        report = json.loads(printed.splitlines()[-1])
        if report["status"] != "success" or report["claims"]["loaded"] != len(claims.rows):
            raise BenchError(f"loaded {report['claims']['loaded']} of {len(claims.rows)} claims")
        tokens = self.tokens([row["claim_id"] for row in claims.rows])
        score, mean = {}, {}
        components = ",".join(COMPONENT.format(place=10 * place) for place in range(6))
        query = STORED.format(components=components)
        for line in self.server.ask(query, database=self.server.own).splitlines():
            token, stored, *parts = line.split(",")
            score[tokens[token]] = float(stored)
            shares = zip(WEIGHTED_MEAN, parts, strict=True)
            mean[tokens[token]] = sum(weight * int(part) / 10 for weight, part in shares)
        return score, mean

    def tokens(self, ids: Sequence[str]) -> dict[str, str]:
        """The claim id of each token."""
        command = [self.program, "token", "--domain", "claim", "--data-dir", self.server.home]
        done = subprocess.run(
            command,
            input="\n".join(ids) + "\n",
            capture_output=True,
            text=True,
            check=True,
            env=plain_environment(),
        )
        return dict(zip(done.stdout.splitlines(), ids, strict=True))


def chances(values: dict[str, float], k: int) -> dict[str, float]:
    """How likely each row is among the first k, where ties are broken by lot."""
    ranked = sorted(values.values(), reverse=True)
    last = ranked[k - 1]
    above = sum(value > last for value in ranked)
    share = (k - above) / sum(value == last for value in ranked)
    return {
        row: 1.0 if value > last else share if value == last else 0.0
        for row, value in values.items()
    }


def judged(claims: Claims, rankings: dict[str, dict[str, float]]) -> dict[str, float]:
    """All figures of one seed."""
    counts = Counter(claims.injected.values())
    k = len(claims.injected)
    found: dict[str, float] = {}

    def recall(name: str, hit: Callable[[str], float]) -> None:
        hits: dict[str, float] = defaultdict(float)
        for row, kind in claims.injected.items():
            hits[kind] += hit(row)
        for kind, count in counts.items():
            found[f"{name}: {kind}"] = hits[kind] / count

    for name, values in rankings.items():
        chance = chances(values, k)
        found[f"{name}: precision at k"] = sum(chance[row] for row in claims.injected) / k
        recall(f"{name}: top k", chance.__getitem__)
    score = rankings["score"]
    clean = [value for row, value in score.items() if row not in claims.injected]
    for band in BANDS:
        recall(f"score >= {band:.0f}", lambda row, band=band: float(score[row] >= band))
        found[f"score >= {band:.0f}: not injected"] = sum(v >= band for v in clean) / len(clean)
    return found | {"rows": len(claims.rows), "k": k}


def spread(figures: Iterable[dict[str, float]], name: str) -> str:
    """Median and range over the seeds; a dash where there was nothing to find."""
    values = [each[name] for each in figures if name in each]
    if not values:
        return "–"
    digits = 4 if name.endswith("not injected") else 2
    low, middle, high = min(values), statistics.median(values), max(values)
    if low == high:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def tables(name: str, figures: list[dict[str, float]]) -> str:
    """The figures of one data set, as Markdown."""
    rows, k = (sorted({int(each[figure]) for each in figures}) for figure in ("rows", "k"))
    size = f"{rows[0]:,}" if len(rows) == 1 else f"{rows[0]:,} to {rows[-1]:,}"
    lines = [f"### {name}: {size} claims, k = {k[-1]}", ""]
    lines += ["| in the top k | precision | " + " | ".join(KINDS) + " |"]
    lines += ["|---|" + "---|" * (1 + len(KINDS))]
    for ranking in RANKINGS:
        cells = [spread(figures, f"{ranking}: precision at k")]
        cells += [spread(figures, f"{ranking}: top k: {kind}") for kind in KINDS]
        lines += [f"| {ranking} | " + " | ".join(cells) + " |"]
    lines += ["", "| score | " + " | ".join(KINDS) + " | not injected |"]
    lines += ["|---|" + "---|" * (1 + len(KINDS))]
    for band in BANDS:
        names = [*KINDS, "not injected"]
        cells = [spread(figures, f"score >= {band:.0f}: {kind}") for kind in names]
        lines += [f"| ≥ {band:.0f} | " + " | ".join(cells) + " |"]
    return "\n".join([*lines, ""])


def recipe() -> None:
    """The whole recipe."""
    parser = argparse.ArgumentParser(description="Evaluate the risk score by injected anomalies.")
    parser.add_argument("--claims", type=positive, default=20_000, metavar="N")
    parser.add_argument("--providers", type=positive, default=200, metavar="N")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], metavar="S")
    parser.add_argument(
        "--data", type=Path, nargs="*", default=[], metavar="DIR", help="claims.csv, providers.csv"
    )
    parser.add_argument("--out", type=Path, default=workbench.REPOSITORY / "benches/results")
    program = workbench.target() / "release/claims-etl"
    parser.add_argument("--program", type=Path, default=program, help="default: %(default)s")
    options = parser.parse_args()

    everything: dict[str, list[dict[str, float]]] = defaultdict(list)
    with Server(options.program) as server:
        loader = Loader(options.program, server)

        def evaluate(name: str, claims: Claims, folder: Path, seed: int) -> None:
            inject(claims, seed)
            score, mean = loader.scores(claims, folder / "providers.csv")
            ranked = dict(zip(RANKINGS, (score, mean, z_scores(claims)), strict=True))
            everything[name].append(judged(claims, ranked))
            log(f"{name}, seed {seed}: {everything[name][-1]['score: precision at k']:.2f}")

        for seed in options.seeds:
            folder = server.home / f"synthetic-{seed}"
            size = ["--claims", str(options.claims), "--providers", str(options.providers)]
            size += ["--dirty", "0", "--seed", str(seed)]
            call([options.program, "generate", "--quiet", *size, "--out", folder])
            evaluate("synthetic, clean", tidied(Claims.read(folder)), folder, seed)
            evaluate("synthetic, as generated", Claims.read(folder), folder, seed)
            for folder in options.data:
                evaluate(folder.name, Claims.read(folder), folder, seed)
    print("\n".join(tables(name, figures) for name, figures in everything.items()))
    body: dict[str, Any] = {"seeds": options.seeds, "each": EACH, "figures": everything}
    write_json(options.out / "evaluation.json", workbench.REPOSITORY, body)
    log(f"written: {options.out / 'evaluation.json'}")


if __name__ == "__main__":
    workbench.main(recipe)
