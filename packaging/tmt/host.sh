#!/bin/sh
# Qualifies this machine, and writes tmt's results.yaml with a result for each capability of each profile.
set -eu

out=$TMT_TEST_DATA/run
code=0
kata-qualify run --in host --retries 1 --out "$out" || code=$?
"$(dirname "$0")/results" "$out/results.json" >"$TMT_TEST_DATA/results.yaml"
exit "$code"
