#!/usr/bin/env bash
# Measure, in one run: raw signatures through the signer pool, durable commits, CRLs, whole enrollments, memory.
# Numbers mean something only beside the baselines of the same run: machines differ, and are shared.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked -p ca-server -p ca-cli
export HOLDFAST_BENCH=1
echo '== signatures: raw C_Sign and our session pool'
cargo bench --locked -q -p hsm --bench pool
echo
echo '== durable commits'
cargo bench --locked -q -p schema --bench commits
echo
echo '== CRLs'
cargo bench --locked -q -p issuance --bench crl
echo
echo '== enrollments'
cargo bench --locked -q -p tests --bench enrollment -- --postgres "$@"
