#!/bin/sh
# One of three servers.
set -eu
export SOFTHSM2_CONF=/var/lib/holdfast/ca/softhsm2.conf
umask 077
exec ca-server --config /var/lib/holdfast/ca/server.toml "$@"
