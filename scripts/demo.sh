#!/usr/bin/env bash
# From a bare machine to a certificate bound to a TPM, told step by step. Everything lives in .run/demo and on loopback;
# every process started here is stopped here, by pid. Can be run again.
set -euo pipefail
cd "$(dirname "$0")/.."

run=$PWD/.run/demo
bin=$PWD/target/debug
pids=()
lot=${HOLDFAST_DEMO_LOT:-10}

# -- telling the story ------------------------------------------------------------------------------------------------
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
number=0
step() {
    number=$((number + 1))
    printf '\n%s%2d  %s%s\n' "$bold" "$number" "$1" "$plain"
}
say() { printf '    %s\n' "$*"; }
show() { sed "s|$run/||g; s/^/    /"; }
# Print a command as one would type it, then run it.
type_and_run() {
    local word typed=''
    for word in "$@"; do
        case $word in *[!A-Za-z0-9_./:=,@+-]*) word="'$word'" ;; esac
        typed+="$word "
    done
    printf '    %s$ %s%s\n' "$dim" "$(printf '%s' "$typed" | sed "s|$bin/||g; s|$run/||g; s|$PWD/||g")" "$plain"
    "$@" 2>&1 | show
    return "${PIPESTATUS[0]}"
}
fail() {
    printf '\ndemo: %s\n' "$*" >&2
    exit 1
}

# -- processes ----------------------------------------------------------------------------------------------------------
stop_all() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    pids=()
}
finish() {
    local code=$?
    stop_all
    if ((code != 0)); then
        printf '\nThe demo stopped with exit code %s. Logs: %s\n' "$code" "$run" >&2
        [ -f "$run/ca/server.log" ] && tail -n 5 "$run/ca/server.log" >&2
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Wait until a command succeeds: readiness is asked for, never slept for. At most about ten seconds.
until_true() {
    local tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        ((tries < 200)) || return 1
        read -rt 0.05 <> <(:) || true
    done
}
# Two free neighbouring TCP ports: swtpm takes one for commands and the next for control. Below the ports the kernel gives to
# clients, and never one drawn before: who drew it may not listen yet.
free_port() {
    local port
    while :; do
        port=$((20000 + 2 * (RANDOM % 6000)))
        grep -qsx "$port" "$run/ports" && continue
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
        (exec 3<>"/dev/tcp/127.0.0.1/$((port + 1))") 2>/dev/null && continue
        echo "$port" | tee -a "$run/ports"
        return
    done
}
json() { # json FILE KEY: one string value of a flat JSON document
    sed -nE "s/^ *\"$2\": \"([^\"]*)\".*/\1/p" "$1" | head -n 1
}

# -- 1 ------------------------------------------------------------------------------------------------------------------
printf '%sHoldfast: from a bare machine to a certificate bound to a TPM%s\n' "$bold" "$plain"
step 'Build (the first time takes a few minutes)'
cargo build --workspace --bins --locked 2>&1 | grep -E '^(error|warning: unused)|Finished' | show
rm -rf "$run"
mkdir -p "$run"
export TSS2_LOG=all+none
# Nothing here leaves this machine, so no proxy is asked for the CRL and the OCSP answer.
export no_proxy=localhost,127.0.0.1 NO_PROXY=localhost,127.0.0.1

# -- 2 ------------------------------------------------------------------------------------------------------------------
step 'A rehearsal root and an issuing CA, each in a SoftHSM token of its own'
# Certificates say where relying parties find CRLs and OCSP responder, so that port is chosen before the first of them.
status=$(free_port)
{
    printf 'organization = "Example Devices"\nlisten = "127.0.0.1:0"\nmetrics = "127.0.0.1:0"\n'
    printf 'status = "127.0.0.1:%s"\npki_url = "http://localhost:%s"\ncrl_shards = 4\n' "$status" "$status"
} >"$run/init.toml"
type_and_run "$bin/ca-cli" init --dir "$run/ca" --answers "$run/init.toml"
export SOFTHSM2_CONF=$run/ca/softhsm2.conf HOLDFAST_ADMIN_SOCKET=$run/ca/admin.sock
root_sha256=$(openssl x509 -in "$run/ca/ca/root.pem" -outform der | sha256sum | cut -d' ' -f1)

# -- 3 ------------------------------------------------------------------------------------------------------------------
step 'A TPM vendor manufactures a TPM 2.0 (swtpm) and certifies its endorsement key'
mkdir -p "$run/vendor" "$run/tpm"
cat >"$run/vendor/swtpm-localca.conf" <<CONF
statedir = $run/vendor
signingkey = $run/vendor/signkey.pem
issuercert = $run/vendor/issuercert.pem
certserial = $run/vendor/certserial
CONF
printf -- '--platform-manufacturer Example\n--platform-version 1\n--platform-model demo\n' >"$run/vendor/swtpm-localca.options"
cat >"$run/vendor/swtpm_setup.conf" <<CONF
create_certs_tool = swtpm_localca
create_certs_tool_config = $run/vendor/swtpm-localca.conf
create_certs_tool_options = $run/vendor/swtpm-localca.options
active_pcr_banks = sha256
CONF
swtpm_setup --tpm2 --tpmstate "$run/tpm" --config "$run/vendor/swtpm_setup.conf" --create-ek-cert --lock-nvram --overwrite \
    >"$run/vendor/setup.log" 2>&1 || fail "swtpm_setup failed: $run/vendor/setup.log"
port=$(free_port)
swtpm socket --tpm2 --tpmstate "dir=$run/tpm" --flags not-need-init,startup-clear \
    --server "type=tcp,port=$port,bindaddr=127.0.0.1" --ctrl "type=tcp,port=$((port + 1)),bindaddr=127.0.0.1" \
    >"$run/tpm/log" 2>&1 &
pids+=($!)
tcti=swtpm:host=127.0.0.1,port=$port
until_true bash -c "exec 3<>/dev/tcp/127.0.0.1/$((port + 1))" || fail 'swtpm does not answer'
say 'EK certificate:'
openssl x509 -in "$run/vendor/swtpm-localca-rootca-cert.pem" -noout -subject | show
{
    printf '[[anchor]]\nname = "demo-tpm-vendor"\nkind = "software"\nmanufacturers = ["id:00001014"]\n'
    printf 'source = "swtpm_localca in this folder"\nadded = %s\nwhy = "the demo vendor"\n' "$(date -u +%F)"
    printf 'certificate = """\n%s\n"""\n' "$(cat "$run/vendor/swtpm-localca-rootca-cert.pem")"
} >"$run/ca/trust/vendor.toml"
mkdir -p "$run/ca/trust/intermediates"
cp "$run/vendor/issuercert.pem" "$run/ca/trust/intermediates/"
sed -i 's|^files = \["trust"\]|files = ["trust"]\nintermediates = ["trust/intermediates"]|' "$run/ca/server.toml"
say 'its root is now an anchor of the CA, for software TPMs only: identities will say so'

# -- 4 ------------------------------------------------------------------------------------------------------------------
step 'Two witnesses of the ledger, as two others would run them: they sign that nothing they saw was taken back'
"$bin/ca-cli" ledger key "$run/ca/ledger.key" --origin "localhost:$status/ledger" >"$run/ledger.vkey"
for name in w1.example.org w2.example.org; do
    (umask 077 && openssl genpkey -algorithm ed25519 -out "$run/$name.key")
    "$bin/ca-cli" ledger key "$run/$name.key" --origin "$name" --witness >"$run/$name.vkey"
    witness=$(free_port)
    "$bin/ca-witness" --listen "127.0.0.1:$witness" --key "$run/$name.key" --name "$name" --state "$run/$name" \
        --ledger "$run/ledger.vkey" >"$run/$name.log" 2>&1 &
    pids+=($!)
    until_true grep -q '^ready' "$run/$name.log" || fail "a witness did not start: $run/$name.log"
    printf '\n[[ledger.witness]]\nurl = "http://127.0.0.1:%s"\nkey = "%s"\n' "$witness" "$(cat "$run/$name.vkey")" >>"$run/ca/server.toml"
    say "$name at http://127.0.0.1:$witness"
done
say 'each has a key and a memory of its own, and the server is told to show them every checkpoint first'

step 'ca-server on embedded SQLite, over TLS 1.3'
type_and_run "$bin/ca-server" --config "$run/ca/server.toml" --check
mkfifo "$run/ready"
"$bin/ca-server" --config "$run/ca/server.toml" >"$run/ready" 2>"$run/ca/server.log" &
pids+=($!)
read -r ready <"$run/ready" || fail 'ca-server did not start'
public=$(sed -E 's/.*public=127\.0\.0\.1:([0-9]+).*/\1/' <<<"$ready")
server=https://localhost:$public
say "listening at $server; for relying parties, in plain HTTP, at http://localhost:$status"

# -- 5 ------------------------------------------------------------------------------------------------------------------
step 'Who is this device? Its agent asks the TPM'
agent() { "$bin/ca-agent" --tcti "$tcti" "$@"; }
agent identify | show
agent identify -o json >"$run/identify.json"
ek=$(json "$run/identify.json" ek_spki_sha256)
type_and_run "$bin/ca-cli" device allow gateway-1 --ek "$ek" --reason 'demo'

# -- 6 ------------------------------------------------------------------------------------------------------------------
step 'Enrollment: the CA challenges the TPM, and certifies the key that lives in it'
say 'The answer needs the private endorsement key: only this TPM can open the challenge, and only with that AK in it.'
type_and_run "$bin/ca-agent" --tcti "$tcti" --state-dir "$run/device" enroll --server "$server" \
    --root-sha256 "$root_sha256" --profile device-ldevid --device gateway-1

# -- 7 ------------------------------------------------------------------------------------------------------------------
step 'The certificate, in words'
type_and_run "$bin/ca-cli" cert inspect "$run/device/cert.pem"
step 'Two chains meet at the key of the device'
type_and_run "$bin/ca-cli" device tree gateway-1

# -- 8 ------------------------------------------------------------------------------------------------------------------
step 'Verified by our verifier, and by one that is not ours'
type_and_run "$bin/ca-cli" verify "$run/device/cert.pem" --trust "$run/ca/ca/root.pem" --untrusted "$run/ca/ca/issuing.pem" \
    --level software --rehearsal
type_and_run openssl verify -x509_strict -CAfile "$run/ca/ca/root.pem" -untrusted "$run/ca/ca/issuing.pem" "$run/device/cert.pem"

# -- 9 ------------------------------------------------------------------------------------------------------------------
step 'Mutual TLS 1.3: the device signs with its key inside the TPM (OpenSSL, tpm2 provider)'
tls=$(free_port)
openssl s_server -accept "127.0.0.1:$tls" -tls1_3 -Verify 3 -verify_return_error -quiet -www \
    -cert "$run/ca/server-tls.pem" -key "$run/ca/server-tls.key" -CAfile "$run/ca/ca/root.pem" \
    -chainCAfile "$run/ca/ca/issuing.pem" >"$run/s_server.log" 2>&1 &
pids+=($!)
until_true bash -c "exec 3<>/dev/tcp/127.0.0.1/$tls" || fail "s_server does not answer: $(tail -n 3 "$run/s_server.log")"
# The resource manager stands between OpenSSL and the TPM: OpenSSL keeps more objects open than a TPM has slots for.
# Its bus and itself are started, and ended, with this one command. It takes the port of the TLS server.
cat >"$run/handshake.sh" <<HANDSHAKE
set -eu
tpm2-abrmd --session --allow-root --tcti="$tcti" >"$run/abrmd.log" 2>&1 &
abrmd=\$!
trap 'kill \$abrmd; wait \$abrmd 2>/dev/null || true' EXIT
export TPM2OPENSSL_TCTI=tabrmd:bus_type=session TSS2_LOG=all+none
tries=0
until TPM2TOOLS_TCTI=tabrmd:bus_type=session tpm2_getcap properties-fixed >/dev/null 2>&1; do
    tries=\$((tries + 1)); [ \$tries -lt 100 ]
done
printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -connect "127.0.0.1:\$1" -servername localhost -tls1_3 -ign_eof \
    -verify_return_error -CAfile "$run/ca/ca/root.pem" -cert "$run/device/cert.pem" -cert_chain "$run/ca/ca/issuing.pem" \
    -provider tpm2 -provider default -propquery '?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes' \
    -key "$run/device/key.tss2.pem"
HANDSHAKE
handshake() { dbus-run-session -- bash "$run/handshake.sh" "$1"; }
handshake "$tls" >"$run/handshake.log" 2>&1 || fail "the handshake failed: $run/handshake.log"
grep -E '^(Protocol|New, TLS|Verify return code|Server certificate)|^subject=|Verification' "$run/handshake.log" | sort -u | show
grep -aE 'Client certificate|Subject: ' "$run/handshake.log" | head -n 2 | show
say 'Both sides proved their keys; the private key of the device never left its TPM.'

# -- 10 -----------------------------------------------------------------------------------------------------------------
step 'Refused: a software key that poses as an attestation key'
# The imposter shows a genuine endorsement, read from the real TPM, beside an attestation key made in software.
export TPM2TOOLS_TCTI=$tcti
tpm2_nvread 0x1c00002 -o "$run/ek.der" >/dev/null 2>&1
tpm2_readpublic -c 0x81010001 -o "$run/ek.tpm2b" >/dev/null
"$bin/imposter" --server "$server" --root "$run/ca/ca/root.pem" --ek-certificate "$run/ek.der" --ek-public "$run/ek.tpm2b" \
    --vendor-issuer "$run/vendor/issuercert.pem" >"$run/imposter.json" && fail 'the imposter was let in'
show <"$run/imposter.json"
incident=$(json "$run/imposter.json" incident)
say 'The caller learns no more than that. The audit record has the reason:'
grep -F "$incident" "$run/ca/audit.jsonl" | show

step 'Refused: the same TPM claims a second identity'
type_and_run "$bin/ca-cli" device allow gateway-2 --first-contact 10min --reason 'demo: an open name'
"$bin/ca-agent" --tcti "$tcti" --state-dir "$run/second" enroll --server "$server" --root-sha256 "$root_sha256" \
    --profile device-ldevid --device gateway-2 >"$run/second.log" 2>&1 && fail 'one TPM got two identities'
show <"$run/second.log"
incident=$(sed -nE 's/.*(inc_[0-9a-f]{32}).*/\1/p' "$run/second.log" | head -n 1)
say 'An operator may see why:'
type_and_run "$bin/ca-cli" audit show "$incident"
say 'gateway-2 stays free, gateway-1 keeps its identity:'
type_and_run "$bin/ca-cli" device find

# -- 11 -----------------------------------------------------------------------------------------------------------------
step 'Renewal: the certificate is shown, and the same TPM answers a new challenge'
before=$(openssl x509 -in "$run/device/cert.pem" -noout -serial)
type_and_run "$bin/ca-agent" --tcti "$tcti" --state-dir "$run/device" renew --force
after=$(openssl x509 -in "$run/device/cert.pem" -noout -serial)
serial=$(tr '[:upper:]' '[:lower:]' <<<"${after#serial=}")
[ "$before" != "$after" ] || fail 'the renewed certificate is the old one'
say 'The record knows the descent: same device, same TPM, one certificate from the other.'
type_and_run "$bin/ca-cli" cert status "$serial"

step 'A stranger keeps a copy of the ledger: every entry, and the tree that they make. Python alone'
until_true "$bin/ca-cli" cert bundle "$serial" --out "$run/gateway-1.bundle.tar" || fail "no bundle"
mkdir -p "$run/elsewhere/trust/"{ca,tpm,ledger}
cp docs/verify/{bundle,ledger}.py "$run/gateway-1.bundle.tar" "$run/elsewhere/"
cp "$run/device/cert.pem" "$run/elsewhere/gateway-1.pem"
cp "$run/ca/ca/root.pem" "$run/elsewhere/trust/ca/"
cp "$run/vendor/swtpm-localca-rootca-cert.pem" "$run/elsewhere/trust/tpm/"
origin=$(sed -nE 's/^origin *= *"(.*)"/\1/p' "$run/ca/server.toml")
"$bin/ca-cli" ledger key "$run/ca/ledger.key" --origin "$origin" >"$run/elsewhere/trust/ledger/key"
cd "$run/elsewhere"
type_and_run python3 -B ledger.py "http://localhost:$status/ledger" --key trust/ledger/key --keep ledger-then
cd - >/dev/null

step 'Two TLS servers that check at each handshake, where the certificate says: ours by CRL and OCSP, OpenSSL by CRL'
openssl x509 -in "$run/device/cert.pem" -noout -ext crlDistributionPoints,authorityInfoAccess | show
crl=$(openssl x509 -in "$run/device/cert.pem" -noout -ext crlDistributionPoints | sed -nE 's/^ *URI:(.*)$/\1/p')
until_true "$bin/ca-cli" crl fetch "$crl" || fail "no CRL at $crl"
type_and_run "$bin/ca-cli" crl fetch "$crl"
relying=$(free_port)
asking=$(free_port)
"$bin/relying-party" --listen "127.0.0.1:$asking" --cert "$run/ca/server-tls.pem" --key "$run/ca/server-tls.key" \
    --root "$run/ca/ca/root.pem" >"$run/relying-party.log" 2>"$run/relying-party.err" &
pids+=($!)
until_true bash -c "exec 3<>/dev/tcp/127.0.0.1/$asking" || fail 'the relying party does not answer'
handshake "$asking" >"$run/asked.log" 2>&1 || fail "a good device was refused: $run/asked.log, $run/relying-party.log"
say 'ours, CRL and OCSP:'
tail -n 1 "$run/relying-party.log" | show
say 'OpenSSL, the CRL of the device in the handshake; the one of the issuing CA, which the ceremony of the root made, before it:'
type_and_run openssl verify -CAfile "$run/ca/ca/root.pem" -crl_check -crl_download "$run/ca/ca/issuing.pem"
openssl s_server -accept "127.0.0.1:$relying" -tls1_3 -Verify 3 -verify_return_error -crl_check -crl_download -quiet -www \
    -cert "$run/ca/server-tls.pem" -key "$run/ca/server-tls.key" -CAfile "$run/ca/ca/root.pem" \
    -verifyCAfile "$run/ca/ca/root.pem" -chainCAfile "$run/ca/ca/issuing.pem" >"$run/relying.log" 2>&1 &
pids+=($!)
until_true bash -c "exec 3<>/dev/tcp/127.0.0.1/$relying" || fail "s_server does not answer: $(tail -n 3 "$run/relying.log")"
handshake "$relying" >"$run/accepted.log" 2>&1 || fail "a good device was refused: $run/accepted.log, $run/relying.log"
grep -aE '^New, TLS' "$run/accepted.log" | sort -u | show
grep -aE 'Client certificate|Subject: ' "$run/accepted.log" | head -n 2 | show
say 'Both accept it. OpenSSL asks our OCSP responder:'
ask_ocsp() {
    type_and_run openssl ocsp -issuer "$run/ca/ca/issuing.pem" -cert "$run/device/cert.pem" -CAfile "$run/ca/ca/root.pem" \
        -verify_other "$run/ca/ca/issuing.pem" -url "http://localhost:$status/ocsp"
}
ask_ocsp

step 'The key may be in other hands: revoked, with every certificate of its descent'
type_and_run "$bin/ca-cli" revoke "$serial" --lineage --reason keyCompromise --comment 'demo: stolen from its cabinet'
say 'OCSP knows at once, so the server that asks both refuses it already:'
handshake "$asking" >"$run/refused-at-once.log" 2>&1 && fail 'a revoked device was let in'
tail -n 1 "$run/relying-party.log" | show
grep -qE '^REFUSED: .*OCSP says revoked' "$run/relying-party.log" || fail 'refused for another reason'
type_and_run "$bin/ca-cli" crl publish
say 'It would have been due within a minute (after_revocation); the demo does not wait.'
type_and_run "$bin/ca-cli" crl fetch "$crl"

step 'Refused: the same device, key and certificate before the same two servers, which nobody told'
handshake "$asking" >"$run/refused-by-both.log" 2>&1 && fail 'a revoked device was let in'
say 'ours, CRL and OCSP:'
tail -n 1 "$run/relying-party.log" | show
tail -n 1 "$run/relying-party.log" | grep -qE '^REFUSED: CRL .* lists it .*OCSP says revoked' || fail 'refused for another reason'
handshake "$relying" >"$run/refused.log" 2>&1 && fail 'a revoked device was let in'
say 'OpenSSL, CRL: what the device saw, and what the server says'
grep -aE 'alert certificate revoked' "$run/refused.log" | show
grep -aE 'verify error.*certificate revoked' "$run/relying.log" | show
say 'The responder says the same:'
ask_ocsp

# -- 12 -----------------------------------------------------------------------------------------------------------------
step "A small lot as a factory line sees it: $lot TPMs, IAK and IDevID each in one conversation"
"$bin/factory-line" --devices "$lot" --server "$server" --root-sha256 "$root_sha256" --vendor "$run/vendor" \
    --state-dir "$run/lot" --batch 2026-47-B

step 'Seen from outside: the first certificate is in the ledger, and two witnesses saw its tree'
ledger=(--from "http://localhost:$status/ledger" --key "$run/ledger.vkey"
    --cosigned-by "$run/w1.example.org.vkey" --cosigned-by "$run/w2.example.org.vkey")
type_and_run "$bin/ca-cli" ledger head "${ledger[@]}"
type_and_run "$bin/ca-cli" ledger proof "$run/device/cert.pem" "${ledger[@]}" --out "$run/device.tlog-proof"

step 'Proof that outlives the server: what the identity stands on, checked again where nothing of ours is'
cd "$run/elsewhere"
find . -maxdepth 1 -type f -printf '%f\n' | sort | paste -sd ' ' | show
say 'Root of the CA, root of the TPM vendor and key of the ledger are the verifier'"'"'s own. Python alone:'
type_and_run python3 -B bundle.py gateway-1.pem gateway-1.bundle.tar --trust trust --level software --rehearsal
type_and_run python3 -B ledger.py "http://localhost:$status/ledger" --key trust/ledger/key --seen ledger-then/checkpoint --keep ledger-now

step 'Refused, each for what it is: a tampered bundle, a cut ledger, a forged checkpoint'
# Run it, and see that it is refused in these words.
named() {
    local words=$1
    shift
    type_and_run "$@" >refused.log && fail "not refused: $words"
    cat refused.log
    grep -qE "$words" refused.log || fail "refused for another reason than: $words"
}
say 'Somebody writes another device into the bundle:'
LC_ALL=C sed 's/"device":"gateway-1"/"device":"gateway-2"/g' gateway-1.bundle.tar >tampered.tar
python3 -B bundle.py gateway-1.pem tampered.tar --trust trust --level software --rehearsal >tampered.log && fail 'a tampered bundle passed'
grep -E '^(NO|refused)' tampered.log | show
grep -qx 'refused: ledger' tampered.log || fail 'refused for another reason'
say 'The ledger of before the revocation is put in the place of the one of now; its signature is genuine:'
named 'NO +CUT: ' python3 -B ledger.py ledger-then --key trust/ledger/key --seen ledger-now/checkpoint
say 'The same tree under a checkpoint that says one entry less; its key never signed that:'
cp -r ledger-now forged
sed -i "2s/.*/$(($(sed -n 2p ledger-now/checkpoint) - 1))/" forged/checkpoint
named 'NO +FORGED: ' python3 -B ledger.py forged --key trust/ledger/key
cd - >/dev/null

# -- end ----------------------------------------------------------------------------------------------------------------
step 'What you saw'
say 'A certificate that says, and lets anyone check, that its key lives in one TPM: the CA proved it before it signed.'
say 'Renewed only after the same TPM answered again; revoked, and refused by servers that were told nothing but what we publish.'
say 'All of it in a ledger that anybody reads, and on evidence that anybody checks again, without us.'
say 'This was a rehearsal with software tokens and software TPMs; its certificates are marked, and refused elsewhere.'
say 'Look around: .run/demo   Learn more: README.md, docs/ISSUANCE-CYCLE.md, docs/TRUST.md'
