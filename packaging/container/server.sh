#!/bin/sh
# One server on SoftHSM and SQLite: its hierarchy, then itself.
set -eu
home=/var/lib/holdfast/ca
hierarchy.sh /etc/holdfast/answers.toml
export SOFTHSM2_CONF=$home/softhsm2.conf
umask 077
exec ca-server --config "$home/server.toml" "$@"
