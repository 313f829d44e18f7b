#!/usr/bin/env bash
# No fail-point is in a release binary: none of their names, nor the variable that orders them.
# scripts/no-failpoints.sh [BINARY...]   (default: target/release/ca-server)
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- target/release/ca-server
names=$(grep -oE '^    [A-Z][A-Za-z]+ "[a-z.]+"$' crates/failpoint/src/lib.rs | cut -d'"' -f2)
[ "$(wc -l <<<"$names")" -ge 40 ] || { echo "the names of the fail-points are not where they were" >&2; exit 1; }
for binary; do
    [ -f "$binary" ] || { echo "$binary is not built" >&2; exit 2; }
    while read -r name; do
        if grep -qaF -- "$name" "$binary"; then
            echo "$binary holds the fail-point $name" >&2
            exit 1
        fi
    done <<<"$names"$'\nHOLDFAST_FAILPOINT\nHOLDFAST_NEXT_MIGRATIONS'
    echo "$binary: no fail-point"
done
