#!/usr/bin/env bash
# scripts/upgrade.sh REVISION: build that revision, and let its servers and those of this one work side by side (F17, docs/how-to/upgrade.md).
set -euo pipefail
cd "$(dirname "$0")/.."
from=${1:-}
if [ -z "$from" ] || ! revision=$(git rev-parse --verify --quiet "$from^{commit}"); then
    echo "usage: make upgrade FROM=REVISION, a commit or tag of this repository: the version that is there before the upgrade" >&2
    exit 2
fi
folder="$PWD/.run/before/$revision"
if [ ! -d "$folder/source" ]; then
    rm -rf "$folder/unpacked"
    mkdir -p "$folder/unpacked"
    git archive "$revision" | tar -x -C "$folder/unpacked"
    mv "$folder/unpacked" "$folder/source"
fi
echo "building $revision in $folder"
(cd "$folder/source" && CARGO_TARGET_DIR="$folder/target" cargo build -p ca-server -p ca-cli --locked)
cargo build --workspace --locked
export SSL_CERT_FILE=/dev/null HOLDFAST_BEFORE="$folder/target/debug"
cargo test -p tests --test cluster --locked -- --ignored --nocapture --test-threads 1 two_builds
