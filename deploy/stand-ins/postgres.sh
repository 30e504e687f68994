#!/bin/bash
# The first start makes the cluster and its database; every start runs the server.
set -euo pipefail

if [[ $1 == postgres && ! -s $PGDATA/PG_VERSION ]]; then
    user=${POSTGRES_USER:-postgres}
    read -ra arguments <<< "${POSTGRES_INITDB_ARGS:-}"
    # What is given comes last, and so before what is usual.
    initdb --username="$user" --pwfile=<(echo "${POSTGRES_PASSWORD:?is not set}") \
        --auth=trust --encoding=UTF8 "${arguments[@]}"
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
    # On its socket alone: the database is not there yet.
    pg_ctl --wait --silent --options="-c listen_addresses=''" start
    createdb --username="$user" --maintenance-db=postgres "${POSTGRES_DB:-$user}"
    pg_ctl --wait --silent stop
fi
exec "$@"
