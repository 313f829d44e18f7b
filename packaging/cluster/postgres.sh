#!/bin/bash
# PostgreSQL: `primary`, whose commits wait for its standby; or `standby`, a copy that follows it.
set -euo pipefail
umask 077
data=/var/lib/holdfast/postgres
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
secret() { cat "/run/secrets/$1"; }
case $1 in
    primary)
        if [ ! -e "$data/ready" ]; then
            rm -rf "$data"
            "$bin/initdb" --pgdata "$data" --username postgres --encoding UTF8 --locale C --data-checksums \
                --auth-local reject --auth-host scram-sha-256 --no-instructions
            cat >>"$data/postgresql.conf" <<'CONF'
listen_addresses = '*'
unix_socket_directories = '/tmp'
# A commit is one when both have it. With the standby away, commits wait: `ALTER SYSTEM SET synchronous_standby_names = ''`
# is a person's decision.
synchronous_commit = on
synchronous_standby_names = 'standby'
CONF
            printf 'host all ca all scram-sha-256\nhost replication replicator all scram-sha-256\n' >"$data/pg_hba.conf"
            # Here, and not over a connection: nobody may connect as postgres.
            "$bin/postgres" --single -D "$data" -c synchronous_standby_names= postgres >/dev/null <<SQL
CREATE ROLE ca LOGIN PASSWORD '$(secret db-password)'
CREATE ROLE replicator LOGIN REPLICATION PASSWORD '$(secret replication-password)'
CREATE DATABASE ca OWNER ca ENCODING 'UTF8' TEMPLATE template0
SQL
            touch "$data/ready"
        fi
        ;;
    standby)
        if [ ! -e "$data/ready" ]; then
            rm -rf "$data"
            printf '*:*:*:replicator:%s\n' "$(secret replication-password)" >/var/lib/holdfast/pgpass
            "$bin/pg_basebackup" --pgdata "$data" --write-recovery-conf --wal-method stream --checkpoint fast \
                --dbname 'host=primary user=replicator application_name=standby passfile=/var/lib/holdfast/pgpass'
            touch "$data/ready"
        fi
        ;;
    *)
        echo "usage: postgres.sh primary|standby" >&2
        exit 2
        ;;
esac
exec "$bin/postgres" -D "$data"
