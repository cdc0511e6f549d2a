#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# wire_contract.sh PROJECT_DIR WORK_DIR PROTOC API_TEST
#
# Checks the .proto files against the original's API with a checker outside of the project, named by DF_WIRE_CHECK or
# found beside the project; without one, against our own table (contract.tsv).
set -eu
project=$1 work=$2 protoc=$3 api_test=$4

checker=${DF_WIRE_CHECK:-$project/../shared/reference/wire/check_wire.py}
if [ ! -f "$checker" ]; then
  exec "$api_test" --gtest_filter='WireContract.*'
fi

cd "$project/api"
set=$work/wire_contract.pb
"$protoc" -I . --include_imports --descriptor_set_out="$set" */v*/*.proto
# The second form accepts what one set for both versions cannot help: a reused number and a request that became a message.
python3 "$checker" "$set" --api-version 2.2.32 --strict
python3 "$checker" "$set" --api-version 2.1.40 --union --strict
