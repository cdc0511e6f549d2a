#!/usr/bin/env bash
# Measures the hot paths on this machine and prints a table of ratios; each figure stands beside the machine's limit or a
# peer of the same run.
#
#   bench/run.sh [--json FILE] [--runs N] [NAME ...]
#
# Names: limit piece_tcp piece_quic piece_grpc piece_grpc_tls parents tasks_100 dfget_cold small_files scheduler memory proxy persistent
# (default: all). Runs as root in a network namespace of its own whose loopback uses CUBIC; rows that transfer are repeated
# once under BBR where the kernel has it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${DF_BENCH_NAMESPACE:-}" != yes ]; then
  scripts/install-packages.sh
  cmake --preset release > /dev/null
  cmake --build build/release -j "$(nproc)" | tail -n 1
  [ "$(id -u)" -eq 0 ] || { echo "bench/run.sh: run as root (it makes a network namespace)" >&2; exit 1; }
  DF_BENCH_NAMESPACE=yes exec unshare --net --mount-proc --fork --pid --kill-child "$0" "$@"
fi
ip link set lo up
exec python3 bench/run.py "$@"
