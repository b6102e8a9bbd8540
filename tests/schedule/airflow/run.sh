#!/usr/bin/env bash
# Runs the generated DAG in a real Airflow: `tests/schedule/airflow/run.sh PROGRAM`, or `just test-airflow`.
#
# Airflow comes from PyPI into a virtual environment that is kept in the cache; everything else is
# in a folder that is gone at the end: Airflow's database, the DAGs, a private warehouse.
set -euo pipefail

program="$(realpath "$1")"
here="$(cd "$(dirname "$0")" && pwd)"
sample="$(cd "$here/../../../data/sample" && pwd)"
python="${PYTHON:-python3}"

say() { printf '\n== %s\n' "$*"; }

# -- Airflow -----------------------------------------------------------------------------------
version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
pins="$(cat "$here/requirements.txt" <(echo "$version") | cksum | cut -d' ' -f1)"
venv="${XDG_CACHE_HOME:-$HOME/.cache}/claims-etl/airflow/$pins"
if [ ! -f "$venv/complete" ]; then
    say "installing Airflow into $venv"
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    "$python" -m venv "$venv"
    timeout 900 "$venv/bin/pip" install --quiet --no-deps --only-binary :all: \
        --disable-pip-version-check -r "$here/requirements.txt"
    "$venv/bin/pip" check
    touch "$venv/complete"
fi
airflow() { timeout 300 "$venv/bin/airflow" "$@"; }

# -- A folder for everything else --------------------------------------------------------------
home="$(mktemp -d)"
tidy() {
    "$program" warehouse stop --data-dir "$home/data" > /dev/null 2>&1 || true
    # Where the server's account may not enter the folder, the cluster is elsewhere.
    [ -f "$home/data/warehouse/location" ] && rm -rf "$(cat "$home/data/warehouse/location")"
    rm -rf "$home"
}
trap tidy EXIT
chmod 755 "$home"
# Nothing of the caller's settings.
for name in $(compgen -e | grep -E '^(CLAIMS_ETL_|AIRFLOW|PG[A-Z]+$|DATABASE_URL$)' || true); do
    unset "$name"
done
export AIRFLOW_HOME="$home/airflow" AIRFLOW__CORE__DAGS_FOLDER="$home/dags"
export AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False
export NO_COLOR=1
mkdir -p "$home/dags" "$home/first" "$home/second"

configure() { # FOLDER CLAIMS PROVIDERS
    cat > "$1/claims-etl.toml" << END
[claims]
sources = ["$2"]
[providers]
sources = ["$3"]
[run]
data_dir = "$home/data"
retries = 2
retry_delay_secs = 2
[rules]
run_date = "2024-12-31"
END
}
check() { "$venv/bin/python" "$here/check.py" "$program" "$home" "$@"; }
# Shows the errors and warnings of Airflow, and the output of the program.
test_run() { # DAG DATE
    local log="$home/$1-$2.log" status=0
    airflow dags test "$1" "$2" > "$log" 2>&1 || status=$?
    grep -E 'SubprocessHook|new_state=|DagRun Finished|\[error' "$log" \
        | sed -E 's/ +\[(airflow\.task\.hooks|airflow\.api_fastapi)[^ ]*//; s/ loc=[a-z_]+\.py:[0-9]+//' \
        | cut -c 1-400
    [ "$status" -eq 0 ] || { tail -n 60 "$log"; echo "airflow dags test: exit code $status"; return 1; }
}

say "versions"
airflow version
"$program" --version
airflow db migrate > "$home/migrate.log" 2>&1 || { cat "$home/migrate.log"; exit 1; }

# -- The sample --------------------------------------------------------------------------------
configure "$home/first" "$sample/claims.csv" "$sample/providers.csv"
"$program" airflow dag --config "$home/first/claims-etl.toml" --program "$program" \
    --output "$home/dags/claims.py"
"$venv/bin/python" -W error -m py_compile "$home/dags/claims.py"
airflow dags reserialize > /dev/null 2>&1
say "import errors"
airflow dags list-import-errors 2> /dev/null | tee "$home/imports"
grep -q "No data found" "$home/imports"

say "1. the sample: five tasks succeed"
test_run healthcare_claims_etl 2024-03-05
check success healthcare_claims_etl

say "2. the next day, the same input: it is loaded already, and the tasks are skipped"
test_run healthcare_claims_etl 2024-03-06
check skipped healthcare_claims_etl

# -- A task that fails once --------------------------------------------------------------------
# Its first call finds no server where the warehouse should be.
cat > "$home/second/claims-etl" << END
#!/bin/sh
case "\$*" in
    *load.load_warehouse*)
        if [ ! -e "$home/second/failed" ]; then
            touch "$home/second/failed"
            export CLAIMS_ETL_WAREHOUSE=postgres://nobody@127.0.0.1:1/none CLAIMS_ETL_KEY_FILE="$home/data/claims-etl.key"
        fi
        ;;
esac
exec "$program" "\$@"
END
chmod 755 "$home/second/claims-etl"
"$program" generate --quiet --claims 500 --providers 20 --seed 5 --out "$home/second" > /dev/null
configure "$home/second" "$home/second/claims.csv" "$home/second/providers.csv"
"$program" airflow dag --config "$home/second/claims-etl.toml" --program "$home/second/claims-etl" \
    --dag-id claims_that_fail_once --output "$home/dags/fails_once.py"

say "3. a load that fails once: it is tried again, and all five tasks succeed"
test_run claims_that_fail_once 2024-03-05
[ "$(grep -c 'new_state=up_for_retry' "$home/claims_that_fail_once-2024-03-05.log")" -eq 1 ]
check retried claims_that_fail_once

say "the ledger"
"$program" runs --data-dir "$home/data"
say "all of it is as it should be"
