"""Proves the refresh of Apache Superset against a real Superset: `just test-superset`.

Superset comes from PyPI into a virtual environment of its own, the warehouse is the program's private
server in a temporary folder. A chart counts the claims. After a load without a refresh the chart still
shows the old number; after a load that refreshes it shows the new one, from its cache. Then a token
ends in the middle of a refresh, and a chart whose table is gone must fail its own refresh only.

Everything listens on this machine only and is stopped and removed at the end.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, Iterator, NoReturn

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parents[2] / "data" / "sample"
REQUIREMENTS = HERE / "requirements.txt"
CONFIG = HERE / "superset_config.py"
PYTHONS = ("python3.11", "python3.12", "python3.10", "python3")
# Seconds: the installation, what is done once, the start of the server, one load, and all of it.
INSTALL, PREPARE, START, LOAD, ALL = 900, 300, 180, 180, 1800
WORKERS = 2
WARM_UP = "PUT /api/v1/chart/warm_up_cache"
# Seconds that a token lives, and that the slow chart takes, which outlasts it.
TOKEN, SLOW = 8, 10
# What the account needs that warms charts, as docs/superset.md says.
RIGHTS = (
    ("can_read", "SecurityRestApi"),
    ("can_read", "Dashboard"),
    ("can_read", "Chart"),
    ("can_read", "Dataset"),
    ("can_warm_up_cache", "Chart"),
    ("all_datasource_access", "all_datasource_access"),
)


class RecipeError(Exception):
    """Something is not as it should be."""


def log(text: str) -> None:
    print(f"superset: {text}", flush=True)


def check(passed: bool, what: str) -> None:
    if not passed:
        raise RecipeError(f"not so: {what}")
    log(f"✓ {what}")


def plain_environment(**more: str) -> dict[str, str]:
    """No setting of the caller's reaches what is started here."""
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "PIP_INDEX_URL", "PIP_CERT",
            "PIP_CONFIG_FILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
    return {name: os.environ[name] for name in keep if name in os.environ} | more


def quietly(command: list[str], limit: float, **options: Any) -> str:
    """Runs a command; its output is shown only where it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=limit, check=False, **options)
    if done.returncode != 0:
        print("\n".join(done.stdout.splitlines()[-40:]), file=sys.stderr)
        raise RecipeError(f"{Path(command[0]).name} {command[1]} ended with {done.returncode}")
    return done.stdout


# --- Superset, installed once


def python() -> str:
    """A Python that Superset runs on."""
    about = "import sys, venv, ensurepip; print(sys.version_info[:2] in ((3, 10), (3, 11), (3, 12)))"
    for name in PYTHONS:
        found = shutil.which(name)
        if found:
            output = subprocess.run([found, "-c", about], capture_output=True, text=True, check=False)
            if output.stdout.strip() == "True":
                return found
    raise RecipeError("Superset 6.1 needs Python 3.10, 3.11 or 3.12 with its module venv")


def cache() -> Path:
    """The folder of everything that is made once for these requirements."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    folder = base / "claims-etl" / "superset" / name
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def installed(folder: Path) -> Path:
    """The virtual environment; one that was left unfinished is made again."""
    environment, finished = folder / "venv", folder / "venv.finished"
    if not finished.exists():
        shutil.rmtree(environment, ignore_errors=True)
        log(f"installing Superset into {environment} (once, about 800 MB)")
        quietly([python(), "-m", "venv", str(environment)], PREPARE, env=plain_environment())
        pip = [str(environment / "bin" / "pip"), "install", "--no-input", "--quiet",
               "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
        quietly(pip, INSTALL, env=plain_environment())
        finished.touch()
    return environment


def settings(home: Path, secret: str) -> dict[str, str]:
    return plain_environment(
        SUPERSET_HOME=str(home),
        SUPERSET_CONFIG_PATH=str(CONFIG),
        CLAIMS_ETL_SUPERSET_SECRET=secret,
        CLAIMS_ETL_SUPERSET_TOKEN_SECONDS=str(TOKEN),
        FLASK_APP="superset.app:create_app()",
    )


def administrator(folder: Path, environment: Path) -> str:
    """Superset's own database with its roles and an administrator, whose password is returned."""
    made, password = folder / "home", folder / "password"
    if not password.exists():
        log("making Superset's own database (once, about a minute)")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        secret = secrets.token_hex(16)
        superset = str(environment / "bin" / "superset")
        around = settings(made, secrets.token_hex(32))
        quietly([superset, "db", "upgrade"], PREPARE, env=around, cwd=made)
        names = ["--username", "admin", "--firstname", "A", "--lastname", "B"]
        names += ["--email", "admin@localhost", "--password", secret]
        quietly([superset, "fab", "create-admin", *names], PREPARE, env=around, cwd=made)
        quietly([superset, "init"], PREPARE, env=around, cwd=made)
        password.touch(mode=0o600)
        password.write_text(secret)
    return password.read_text()


def prepared() -> tuple[Path, Path, str]:
    """The environment, Superset's own database to start from, the administrator's password."""
    folder = cache()
    with (folder / "lock").open("w") as lock:
        # Two recipes at once would write into one another's files.
        fcntl.flock(lock, fcntl.LOCK_EX)
        environment = installed(folder)
        password = administrator(folder, environment)
    return environment, folder / "home" / "metadata.db", password


# --- Superset at work


class Superset:
    """A running Superset, and an administrator's session with it."""

    def __init__(self, address: str, log: Path) -> None:
        self.address, self.log = address, log
        self.signed_in = ("", "")
        self.headers: dict[str, str] = {}
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        # No proxy is used for this machine's own address.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def call(self, method: str, path: str, body: Any = None, expect: int = 200) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = dict(self.headers)
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with self.opener.open(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        if status == 401 and self.signed_in[0]:
            # The token has ended.
            self.sign_in(*self.signed_in)
            return self.call(method, path, body, expect)
        if status != expect:
            raise RecipeError(f"{method} {path}: {status} {text[:400]!r}")
        return json.loads(text)

    def sign_in(self, name: str, password: str) -> None:
        self.signed_in, self.headers = ("", ""), {}
        body = {"username": name, "password": password, "provider": "db", "refresh": True}
        token = self.call("POST", "/api/v1/security/login", body)["access_token"]
        self.headers = {"Authorization": f"Bearer {token}", "Referer": self.address + "/"}
        self.headers["X-CSRFToken"] = self.call("GET", "/api/v1/security/csrf_token/")["result"]
        self.signed_in = (name, password)

    def heard(self, request: str) -> int:
        """How many requests begin like this."""
        return self.log.read_text().count(f'"{request}')

    def account(self, name: str, password: str) -> None:
        """An account that may warm charts and nothing more."""
        rights: dict[tuple[str, str], int] = {}
        path, page = "/api/v1/security/permissions-resources/?q=(page:{},page_size:100)", 0
        while found := self.call("GET", path.format(page))["result"]:
            rights |= {(one["permission"]["name"], one["view_menu"]["name"]): one["id"] for one in found}
            page += 1
        role = self.call("POST", "/api/v1/security/roles/", {"name": name}, 201)["id"]
        ids = {"permission_view_menu_ids": [rights[right] for right in RIGHTS]}
        self.call("POST", f"/api/v1/security/roles/{role}/permissions", ids)
        person = {"username": name, "first_name": "A", "last_name": "B", "active": True,
                  "email": f"{name}@localhost", "password": password, "roles": [role]}
        self.call("POST", "/api/v1/security/users/", person, 201)

    def dataset(self, database: int, schema: str, table: str) -> int:
        body = {"database": database, "schema": schema, "table_name": table}
        return self.call("POST", "/api/v1/dataset/", body, 201)["id"]

    def chart(self, name: str, dataset: int, sql: str, dashboard: int) -> int:
        """A big number."""
        metric = {"expressionType": "SQL", "sqlExpression": sql, "label": "n"}
        form = {"viz_type": "big_number_total", "datasource": f"{dataset}__table", "metric": metric}
        context = {
            "datasource": {"id": dataset, "type": "table"},
            "force": False,
            "queries": [{"metrics": [metric], "columns": [], "filters": [], "row_limit": 10}],
            "form_data": form,
            "result_format": "json",
            "result_type": "full",
        }
        body = {
            "slice_name": name,
            "viz_type": "big_number_total",
            "datasource_id": dataset,
            "datasource_type": "table",
            "params": json.dumps(form),
            "query_context": json.dumps(context),
            "dashboards": [dashboard],
        }
        return self.call("POST", "/api/v1/chart/", body, 201)["id"]

    def shown(self, chart: int) -> tuple[Any, bool]:
        """The number that a chart shows, and whether it comes from the cache."""
        result = self.call("GET", f"/api/v1/chart/{chart}/data/")["result"][0]
        return result["data"][0]["n"], bool(result["is_cached"])


@contextmanager
def serving(environment: Path, template: Path, home: Path) -> Iterator[Superset]:
    """Superset on a free port, until the block ends."""
    home.mkdir(mode=0o700)
    shutil.copy(template, home / "metadata.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(environment / "bin" / "gunicorn"), "--workers", str(WORKERS), "--threads", "8",
               "--worker-class", "gthread", "--timeout", "120", "--access-logfile", "-", "--bind", f"127.0.0.1:{port}",
               "superset.app:create_app()"]
    log = home / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  env=settings(home, secrets.token_hex(32)), cwd=home,
                                  start_new_session=True)
    try:
        superset = Superset(f"http://127.0.0.1:{port}", log)
        began = time.monotonic()
        while True:
            try:
                superset.opener.open(superset.address + "/health", timeout=5).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() - began > START:
                    print("\n".join(log.read_text().splitlines()[-40:]), file=sys.stderr)
                    raise RecipeError("Superset does not start") from None
                time.sleep(0.2)
        log(f"Superset listens on {superset.address} after {time.monotonic() - began:.1f} s")
        yield superset
    finally:
        # A group of its own: the workers go with it.
        stop_group(server)


def stop_group(server: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    server.wait(20)


# --- The program and its warehouse


class Program:
    """The program with a data directory of its own."""

    def __init__(self, path: Path, folder: Path, python: Path) -> None:
        self.path, self.folder, self.python = path, folder, python
        self.environment = plain_environment(
            CLAIMS_ETL_DATA_DIR=str(folder / "data"), CLAIMS_ETL_RUN_DATE="2024-12-31"
        )

    def call(self, *arguments: str, expect: int = 0, **more: str) -> tuple[str, str]:
        done = subprocess.run([str(self.path), *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=LOAD, check=False,
                              env=self.environment | more, cwd=self.folder)
        if done.returncode != expect:
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
            raise RecipeError(f"claims-etl {arguments[0]} ended with {done.returncode}, not {expect}")
        return done.stdout, done.stderr

    def load(self, claims: Path, expect: int = 0, **more: str) -> dict[str, Any]:
        out, err = self.call("run", "--format", "json", "--claims", str(claims), "--providers",
                             str(SAMPLE / "providers.csv"), expect=expect, **more)
        report = json.loads(out.splitlines()[-1])
        report["output"] = err
        return report

    def url(self) -> str:
        return self.call("warehouse", "url")[0].strip()

    def sql(self, text: str) -> Any:
        """One value of the warehouse; Superset's driver is at hand."""
        code = ("import sys, psycopg2\nc = psycopg2.connect(sys.argv[1]); c.autocommit = True\n"
                "k = c.cursor(); k.execute(sys.argv[2])\n"
                "print(k.fetchone()[0] if k.description else '')")
        out = subprocess.run([str(self.python), "-c", code, self.url(), text], capture_output=True,
                             text=True, timeout=60, check=True, env=self.environment)
        return out.stdout.strip()

    def claims(self) -> int:
        return int(self.sql("SELECT count(*) FROM healthcare_analytics.v_claims"))


def for_superset(url: str) -> str:
    """The warehouse's address as Superset writes it."""
    return "postgresql+psycopg2://" + url.split("://", 1)[1]


def parts_of_the_sample(folder: Path, count: int) -> list[Path]:
    """The sample's claims in files that follow one another."""
    header, *rows = (SAMPLE / "claims.csv").read_text().splitlines(keepends=True)
    size, paths = len(rows) // count, []
    for number in range(count):
        path = folder / f"claims_{number}.csv"
        end = len(rows) if number == count - 1 else (number + 1) * size
        path.write_text(header + "".join(rows[number * size : end]))
        paths.append(path)
    return paths


def configuration(folder: Path, address: str, dashboard: str, more: str = "") -> str:
    """A file with one target, named as its dashboard."""
    # Not the name that is found by itself.
    path = folder / f"with-{dashboard}.toml"
    path.write_text(
        f'[refresh.superset]\nurl = "{address}"\nusername = "claims-etl"\n'
        f'password = {{ env = "SUPERSET_PASSWORD" }}\n{more}\n'
        f'[refresh.superset.targets.{dashboard}]\ndashboard = "{dashboard}"\nrequired = true\n'
    )
    return str(path)


def target(report: dict[str, Any]) -> dict[str, Any]:
    """How the target ended."""
    targets = report["refresh"]
    found = [one for one in targets if one["target"] == "superset.claims"]
    if not found:
        raise RecipeError(f"no superset.claims among {targets}")
    return found[0]


def prove(superset: Superset, program: Program, folder: Path, admin: str) -> None:
    first, second, third, fourth, fifth = parts_of_the_sample(folder, 5)
    program.load(first)
    old = program.claims()

    superset.sign_in("admin", admin)
    warehouse = {"database_name": "warehouse", "sqlalchemy_uri": for_superset(program.url())}
    database = superset.call("POST", "/api/v1/database/", warehouse, 201)["id"]
    dataset = superset.dataset(database, "healthcare_analytics", "v_claims")
    board = {"dashboard_title": "Claims", "slug": "claims", "published": True}
    dashboard = superset.call("POST", "/api/v1/dashboard/", board, 201)["id"]
    chart = superset.chart("claims", dataset, "count(*)", dashboard)
    amount = superset.chart("amount", dataset, "sum(amount)", dashboard)
    password = secrets.token_hex(16)
    superset.account("claims-etl", password)

    superset.shown(chart), superset.shown(amount)
    check(superset.shown(chart) == (old, True), f"the chart shows {old:,}, from its cache")

    program.load(second)
    loaded = program.claims()
    check(loaded > old, f"a load without a refresh: {loaded:,} claims are in the warehouse")
    check(superset.shown(chart) == (old, True), f"the chart still shows {old:,}")
    superset.call("PUT", f"/api/v1/dataset/{dataset}/refresh")
    check(superset.shown(chart) == (old, True), f"after the dataset's own refresh too: {old:,}")
    uid = {"datasource_uids": [f"{dataset}__table"]}
    superset.call("POST", "/api/v1/cachekey/invalidate", uid, 201)
    check(superset.shown(chart) == (old, True), f"after invalidating its cache keys too: {old:,}")

    warm = {"CLAIMS_ETL_CONFIG": configuration(folder, superset.address, "claims"),
            "SUPERSET_PASSWORD": password}
    out, _ = program.call("check", "--format", "json", "--claims", str(third), "--providers",
                          str(SAMPLE / "providers.csv"), **warm)
    found = [one for one in json.loads(out) if "superset.claims" in one["what"]]
    check(len(found) == 1 and found[0]["ok"], f"`check` finds it: {found[0]['detail']}")
    check(superset.heard(WARM_UP) == 0, "and warms nothing")

    began = time.monotonic()
    report = program.load(third, **warm)
    took, new = time.monotonic() - began, program.claims()
    ended = target(report)
    log(f"superset.claims: {ended['outcome']}, {ended.get('detail', '')}")
    check(ended["outcome"] == "succeeded", f"a load with a refresh, {took:.1f} s in all")
    check(new > loaded, f"{new:,} claims are in the warehouse")
    check(superset.shown(chart) == (new, True), f"the chart shows {new:,}, from its cache")
    total = program.sql("SELECT sum(amount) FROM healthcare_analytics.v_claims")
    output, cached = superset.shown(amount)
    check(cached and f"{float(output):.2f}" == total, f"the other chart shows {total}")

    program.load(fourth)
    out, _ = program.call("refresh", "superset.claims", **warm)
    log(" ".join(out.split()))
    later = program.claims()
    check(superset.shown(chart) == (later, True), f"after `refresh superset.claims`: {later:,}")

    program.sql(f"CREATE VIEW public.slow AS SELECT 1 AS n FROM pg_sleep({SLOW})")
    board = {"dashboard_title": "Slow", "slug": "slow", "published": True}
    slow = superset.call("POST", "/api/v1/dashboard/", board, 201)["id"]
    superset.chart("slow", superset.dataset(database, "public", "slow"), "count(*)", slow)
    after = superset.chart("after", dataset, "count(*)", slow)
    before = superset.heard("POST /api/v1/security/login")
    one_by_one = configuration(folder, superset.address, "slow", "parallel = 1\n")
    out, _ = program.call("refresh", "superset.slow", CLAIMS_ETL_CONFIG=one_by_one,
                          SUPERSET_PASSWORD=password)
    log(" ".join(out.split()))
    check(superset.heard("POST /api/v1/security/refresh") > 0, "an ended token is renewed")
    again = superset.heard("POST /api/v1/security/login") - before
    check(again == 1, "without signing in again")
    check(superset.shown(after) == (later, True), f"and the next chart shows {later:,}")

    program.sql("CREATE TABLE public.short_lived (n integer)")
    gone = superset.chart("gone", superset.dataset(database, "public", "short_lived"), "count(*)",
                          dashboard)
    program.sql("DROP TABLE public.short_lived")
    report = program.load(fifth, expect=6, **warm)
    last, ended = program.claims(), target(report)
    log(f"superset.claims: {ended['outcome']}, {ended.get('detail', '')}")
    check(ended["outcome"] == "failed", "a chart whose table is gone fails the refresh, exit code 6")
    check(f"chart {gone}" in ended["detail"], "the failure names the chart")
    everything = json.dumps(report)
    check("short_lived" not in everything, "and repeats nothing of what Superset answers")
    check(superset.shown(chart) == (last, True), f"the other charts are renewed: {last:,}")

    superset.call("DELETE", f"/api/v1/chart/{gone}")
    requests = superset.heard(WARM_UP)
    out, _ = program.call("refresh", "--due", **warm)
    log(" ".join(out.split()))
    check(superset.heard(WARM_UP) == requests + 2, "without that chart the refresh is made up for")
    program.call("refresh", "--due", **warm)
    check(superset.heard(WARM_UP) == requests + 2, "once")

    log(f"report: old number {old:,}, new number {new:,}, load and refresh {took:.1f} s")


def stopped(number: int, _frame: object) -> NoReturn:
    raise RecipeError(f"stopped by signal {number}" if number != signal.SIGALRM else "out of time")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True, help="claims-etl")
    program = parser.parse_args().program.resolve()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stopped)
    signal.alarm(ALL)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="claims-etl-superset-"))
    # The private server runs under another account where root calls this; it must get in.
    folder.chmod(0o711)
    try:
        environment, template, admin = prepared()
        tool = Program(program, folder, environment / "bin" / "python")
        try:
            tool.call("key", "generate")
            with serving(environment, template, folder / "superset") as superset:
                prove(superset, tool, folder, admin)
        finally:
            signal.alarm(0)
            clear(tool)
    except (RecipeError, subprocess.SubprocessError, KeyboardInterrupt) as error:
        log(f"FAILED: {error or 'interrupted'}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    log(f"passed in {time.monotonic() - began:.0f} s; nothing is left running")
    return 0


def clear(program: Program) -> None:
    """Stops the private server and removes its cluster, which may be elsewhere."""
    subprocess.run([str(program.path), "warehouse", "stop"], stdin=subprocess.DEVNULL,
                   capture_output=True, timeout=LOAD, check=False, env=program.environment,
                   cwd=program.folder)
    location = program.folder / "data" / "warehouse" / "location"
    if location.exists():
        shutil.rmtree(location.read_text().strip(), ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
