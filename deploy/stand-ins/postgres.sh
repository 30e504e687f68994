#!/bin/bash
# The first start makes the cluster and its database, and runs the scripts of
# /docker-entrypoint-initdb.d; every start runs the server. Order and options are the official
# image's: https://github.com/docker-library/postgres
set -euo pipefail

if [[ $1 == postgres && ! -s $PGDATA/PG_VERSION ]]; then
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    read -ra arguments <<< "${POSTGRES_INITDB_ARGS:-}"
    # What is given comes last, and so before what is usual.
    initdb --username="$user" --pwfile=<(echo "${POSTGRES_PASSWORD:?is not set}") \
        --auth=trust --encoding=UTF8 "${arguments[@]}"
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
    # With the server's own arguments, but on its socket alone: the database is not there yet.
    pg_ctl --wait --silent --options="$(printf '%q ' "${@:2}" -c listen_addresses=)" start
    sql=(psql --set=ON_ERROR_STOP=1 --username="$user" --no-password --no-psqlrc)
    if [[ $database != postgres ]]; then
        "${sql[@]}" --dbname=postgres --set=db="$database" <<< 'CREATE DATABASE :"db"'
    fi
    for file in /docker-entrypoint-initdb.d/*.sql; do
        if [[ -e $file ]]; then "${sql[@]}" --dbname="$database" --file="$file"; fi
    done
    pg_ctl --wait --silent stop
fi
exec "$@"
