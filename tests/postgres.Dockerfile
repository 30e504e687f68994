# A real PostgreSQL server for the tests: Debian's package, with a cluster made in the build so that
# a container of it starts at once. User, password and database are all `app`.
FROM debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f AS base

# Without versions: the archive keeps the newest alone. Slim images have no folders for manuals, in
# which this package's script makes links and fails.
# hadolint ignore=DL3008
RUN mkdir -p /usr/share/man/man1 /usr/share/man/man7 \
    && apt-get update \
    && apt-get install -y --no-install-recommends postgresql-17 \
    && rm -rf /var/lib/apt/lists/*

ENV PATH=$PATH:/usr/lib/postgresql/17/bin PGDATA=/tmp/cluster
# By name: its number is the package's to choose.
# hadolint ignore=DL3066
USER postgres
RUN echo app > /tmp/password \
    && initdb --username=app --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 \
    && echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf" \
    && pg_ctl --wait --silent start \
    && PGPASSWORD=app createdb --host=/var/run/postgresql --username=app app \
    && pg_ctl --wait --silent stop

EXPOSE 5432
# A fast shutdown: clients are cut off, not waited for.
STOPSIGNAL SIGINT
CMD ["postgres", "-c", "listen_addresses=*"]
