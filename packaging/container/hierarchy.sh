#!/bin/sh
# Make a rehearsal hierarchy and its configuration once, from the answers that are named; then there is nothing to do.
set -eu
home=/var/lib/holdfast/ca
umask 077
if [ ! -e "$home/server.toml" ]; then
    ca-cli init --dir "$home" --answers "$1" --no-input
    sed -i 's|^files = \["trust"\]|&\nintermediates = ["trust/intermediates"]|' "$home/server.toml"
    mkdir -p "$home/trust/intermediates"
    # The server wants at least one anchor and, here, one intermediate: this one vouches for no TPM.
    cp /usr/local/share/holdfast/trust/example.toml "$home/trust/"
    sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' "$home/trust/example.toml" >"$home/trust/intermediates/example.pem"
fi
if [ -e /vendor/vendor.toml ]; then
    cp /vendor/vendor.toml "$home/trust/"
    cp /vendor/issuercert.pem "$home/trust/intermediates/vendor.pem"
fi
# What devices pin; nothing secret.
(umask 022 && cp "$home/ca/root.pem" /public/root.pem && chmod 0644 /public/root.pem)
