# A real registry for the test of `make push`: Debian's package, on loopback, gone after the test.
FROM debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f AS base

# The archive keeps only its newest version, so a pinned one would soon not be found.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends docker-registry \
    && rm -rf /var/lib/apt/lists/*
# Anyone may push: it is published on loopback, for the length of one test.
RUN sed -i '/^auth:/,/^health:/{/^health:/!d}' /etc/docker/registry/config.yml
EXPOSE 5000
CMD ["docker-registry", "serve", "/etc/docker/registry/config.yml"]
