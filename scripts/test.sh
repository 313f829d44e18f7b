#!/usr/bin/env bash
# Run every test. What a test needs running (PostgreSQL, SoftHSM, swtpm, ca-server) it starts itself and stops by pid.
set -euo pipefail
cd "$(dirname "$0")/.."

# End-to-end tests run the real binaries: build them all first, with the flags of the tests, so nothing is built twice.
cargo build --workspace --all-targets --locked
exec cargo test --workspace --locked --no-fail-fast -- "$@"
