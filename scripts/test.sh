#!/usr/bin/env bash
# Installs what is needed, builds, and runs everything that must be green. The last line is ctest's summary.
#
#   scripts/test.sh            all of it
#   scripts/test.sh --quick    the release build's unit tests only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=$(nproc)
scripts/install-packages.sh

# build PRESET [TARGET...]: configures and builds; prints the log only when something fails.
build() {
  local preset=$1 log; shift
  log=$(mktemp)
  echo "== build: $preset ${*:-everything}"
  if ! { cmake --preset "$preset" && cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"}; } > "$log" 2>&1; then
    grep -E "error|FAILED" -A 8 "$log" | head -100 || true
    echo "build of $preset failed; last lines:"; tail -20 "$log"
    rm -f "$log"; exit 1
  fi
  rm -f "$log"
}

# run PRESET CTEST_ARGUMENTS...
run() {
  local preset=$1; shift
  echo "== test: $preset"
  ctest --test-dir "build/$preset" --output-on-failure "$@" | grep -vE '^ *(Start |[0-9]+/[0-9]+ Test .* Passed)|^$'
}

if [ "${1:-}" = --quick ]; then
  build release
  run release -L unit -j "$jobs"
  exit
fi

build asan unit_tests
run asan -L unit -j "$jobs"
build tsan runtime_test storage_test vortex_test http_test rpc_test scheduler_test scheduler_service_test \
  source_test daemon_test download_test proxy_test manager_test manager_service_test manager_jobs_test db_test jobs_test
DF_MIXED_LOAD_SECONDS=60 run tsan -R '^(runtime|storage|vortex|http|rpc|scheduler|scheduler_service|source|daemon|download|proxy|manager|db|jobs)_test\.' -j "$jobs"
# The threads are the same over every database; two managers share only a server's.
run tsan -R '^manager_(service|jobs)_test\..*(SQLite|TwoManagers.*PostgreSQL)' -j "$jobs"
build fuzz fuzzers
scripts/fuzz.sh "${DF_FUZZ_SECONDS:-10}"
build release
run release -j "$jobs"
