#!/bin/bash
# Exit 0 when the PostgreSQL here takes connections.
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
exec "$bin/pg_isready" -q -h 127.0.0.1
