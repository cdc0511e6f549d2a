#!/usr/bin/env bash
# Runs every fuzzer of build/fuzz for SECONDS (default 60) each, beginning with the corpus in tests/fuzz/corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work  # of the programs that some fuzzers run
for fuzzer in build/fuzz/bin/*_fuzz; do
  name=$(basename "$fuzzer" _fuzz)
  corpus=tests/fuzz/corpus/$name
  mkdir -p "$work/$name"
  seeds=()
  [ -d "$corpus" ] && seeds=("$corpus")
  echo "== fuzz: $name, $seconds s"
  "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$work/$name-" "$work/$name" "${seeds[@]}" > "$work/log" 2>&1 || { tail -40 "$work/log"; exit 1; }
  grep -E "number_of_executed_units" "$work/log"
done
