#!/usr/bin/env bash
# scripts/storm.sh KIND SEED TRIALS: a storm on SQLite and PostgreSQL, with one server and with three (docs/reference/storm.md). Reports: .run/storm.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() {
    cat <<'TEXT'
make storm KIND=all   SEED=7 TRIALS=200    every fault, one in each trial: SQLite, PostgreSQL, and three servers on PostgreSQL
make storm KIND=three SEED=7 TRIALS=200    the last of them alone
make storm KIND=kill  SEED=7 TRIALS=10000  kills alone: at fail-points, inside of the token, anywhere
make storm KIND=point                      each fail-point once, by its name
make soak  MINUTES=30 SEED=7               one server under faults that it lives through
TEXT
}
kind=${1:-} seed=${2:-1} trials=${3:-200}
case "$kind" in
    all) only=a_storm_o ;;
    three) only=a_storm_over_three ;;
    kill) only=killed_again_and_again ;;
    point) only=killed_at_every_point ;;
    soak) only=f25_what_a_soak_leaves ;;
    *) usage >&2; exit 2 ;;
esac
usage
cargo build --workspace --locked
mkdir -p .run/storm
# OpenSSL reads the machine's whole list of CAs for every new client, and nobody here believes one of them.
export SSL_CERT_FILE=/dev/null HOLDFAST_STORM_REPORT="$PWD/.run/storm"
export HOLDFAST_STORM_SEED=$seed HOLDFAST_STORM_TRIALS=$trials HOLDFAST_STORM_KILLS=$trials HOLDFAST_STORM_SOAK=$trials
export HOLDFAST_TRIALS="$HOLDFAST_STORM_REPORT/trials.jsonl"
told="$HOLDFAST_STORM_REPORT/told" status=0
rm -f "$HOLDFAST_TRIALS"
cargo test -p tests --test storm --locked -- --nocapture "$only" 2>&1 | tee "$told" || status=$?
printf '\nseed %s; the same again: make %s SEED=%s %s\n' "$seed" \
    "$([ "$kind" = soak ] && echo soak || echo "storm KIND=$kind")" "$seed" \
    "$([ "$kind" = soak ] && echo "MINUTES=$((trials / 60))" || echo "TRIALS=$trials")"
printf 'What the reader counted stands above; fault by fault:\n\n'
scripts/report.py "$told" "$HOLDFAST_TRIALS" "$HOLDFAST_STORM_REPORT/$kind-$seed.md" "$HOLDFAST_STORM_REPORT/$kind-$seed.json" || status=1
if [ "$status" = 0 ]; then echo $'\nVERDICT: no violation'; else echo $'\nVERDICT: VIOLATED, or not played to the end: read what failed above'; fi
exit "$status"
