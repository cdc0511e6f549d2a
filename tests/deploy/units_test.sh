#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# units_test.sh UNIT_DIR PROGRAM_DIR
#
# Lets systemd check the unit files, with the programs that were built in place of the installed ones. Ends with 77
# (skipped) where there is no systemd.
set -eu
units=$1 programs=$2

command -v systemd-analyze >/dev/null || { echo "no systemd-analyze"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for unit in "$units"/*.service; do
  copy=$work/$(basename "$unit")
  sed "s,^ExecStart=/usr/bin/,ExecStart=$programs/," "$unit" >"$copy"
  grep -q "^ExecStart=$programs/" "$copy" || { echo "$unit: starts no program of ours"; exit 1; }
  # What it does not understand it only prints.
  said=$(systemd-analyze verify --man=no --recursive-errors=no "$copy" 2>&1) || { echo "$said"; exit 1; }
  case $said in *"$(basename "$unit")"*) echo "$said"; exit 1 ;; esac
done
