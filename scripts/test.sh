#!/usr/bin/env bash
# Run every test. What a test needs running (PostgreSQL, SoftHSM, swtpm, ca-server) it starts itself and stops by pid.
set -euo pipefail
cd "$(dirname "$0")/.."

# End-to-end tests run the real binaries: build them all first, with the flags of the tests, so nothing is built twice.
cargo build --workspace --all-targets --locked
# Nothing of ours believes the machine's own list of CAs, but OpenSSL reads all of it for every new client: two fifths of
# the tests' processor time. Whatever depended on that list would fail here.
export SSL_CERT_FILE=/dev/null
told=$(mktemp)
trap 'rm -f "$told"' EXIT
status=0
mkdir -p .run/report
# Tests that play a fault many times write here how often.
export HOLDFAST_TRIALS="$PWD/.run/report/trials.jsonl"
rm -f "$HOLDFAST_TRIALS"
cargo test --workspace --locked --no-fail-fast -- "$@" 2>&1 | tee "$told" || status=$?
# Fault by fault (docs/reference/attack-tests.md): tests, trials, violations.
printf '\n'
scripts/report.py "$told" "$HOLDFAST_TRIALS" .run/report/faults.md .run/report/faults.json || status=1
# Every test program closes with a summary of its own: the sum of them comes last.
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
    END { printf "\n%d passed, %d failed, %d skipped\n", passed, failed, ignored }' "$told"
exit "$status"
