#!/usr/bin/env bash
# Measure, in one run: raw signatures through the signer pool, durable commits, CRLs, chains, OCSP answers,
# manifests of a million devices, whole enrollments, memory.
# Numbers mean something only beside the baselines of the same run: machines differ, and are shared.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked -p ca-server -p ca-cli
export HOLDFAST_BENCH=1
echo '== signatures: raw C_Sign and our session pool'
cargo bench --locked -q -p hsm --bench pool
echo
echo '== durable commits'
cluster=$(mktemp -d /tmp/holdfast-bench-XXXXXX)
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
as_postgres=()
if [ "$(id -u)" = 0 ]; then
    chown postgres "$cluster"
    as_postgres=(runuser -u postgres --)
fi
stop() {
    (cd / && "${as_postgres[@]}" "$bin/pg_ctl" -D "$cluster/data" -m immediate -w stop) >/dev/null 2>&1 || true
    rm -rf "$cluster"
}
trap stop EXIT
(
    cd /
    "${as_postgres[@]}" "$bin/initdb" -D "$cluster/data" -A trust -U bench -E UTF8 --no-locale
    "${as_postgres[@]}" "$bin/pg_ctl" -D "$cluster/data" -w -l "$cluster/log" \
        -o "-c listen_addresses='' -c unix_socket_directories='$cluster'" start
) >/dev/null
STORE_BENCH_POSTGRES="postgres:///postgres?host=$cluster&user=bench" cargo bench --locked -q -p schema --bench commits
echo
echo '== CRLs'
cargo bench --locked -q -p issuance --bench crl
CRL_BENCH_POSTGRES="postgres:///postgres?host=$cluster&user=bench" cargo bench --locked -q -p ca-server --bench crl
stop
trap - EXIT
echo
echo '== chains of EK certificates'
cargo bench --locked -q -p tests --bench chain
echo
echo '== proofs of the ledger, 10^3 to 10^8 entries'
cargo bench --locked -q -p ledger --bench proof
echo
echo '== OCSP answers'
cargo bench --locked -q -p tests --bench ocsp -- --postgres
echo
echo '== device find'
cargo bench --locked -q -p tests --bench recall
echo
echo '== growth of the record'
# Ten million (--identities 10000,1000000,10000000) take 30 GB and a quarter of an hour.
cargo bench --locked -q -p tests --bench growth -- --identities 10000,1000000
echo
echo '== manifests'
cargo bench --locked -q -p tests --bench manifest
echo
echo '== renewals'
cargo bench --locked -q -p tests --bench renewal -- --postgres
echo
echo '== enrollments'
cargo bench --locked -q -p tests --bench enrollment -- --postgres "$@"
