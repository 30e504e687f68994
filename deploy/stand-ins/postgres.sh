#!/bin/bash
# The first start makes the cluster and its database; every start runs the server.
set -euo pipefail

if [[ $1 == postgres && ! -s $PGDATA/PG_VERSION ]]; then
    password=${POSTGRES_PASSWORD:-$(<"${POSTGRES_PASSWORD_FILE:?neither it nor POSTGRES_PASSWORD is set}")}
    user=${POSTGRES_USER:-postgres}
    initdb --username="$user" --pwfile=<(echo "$password") --auth=trust --encoding=UTF8
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
    # On its socket alone: the database is not there yet.
    pg_ctl --wait --silent --options="-c listen_addresses=''" start
    createdb --username="$user" --maintenance-db=postgres "${POSTGRES_DB:-$user}"
    pg_ctl --wait --silent stop
fi
exec "$@"
