#!/bin/sh
# The passwords of the cluster, made once, into the folder that docker-compose.yml reads them from. As root, so that they can
# belong to the user of the containers.
set -eu
umask 077
to=${1:-.run/secrets}
mkdir -p "$to"
for name in db-password replication-password; do
    [ -e "$to/$name" ] || od -An -N 24 -tx1 /dev/urandom | tr -d ' \n' >"$to/$name"
    chown 10001:10001 "$to/$name"
    chmod 0400 "$to/$name"
done
