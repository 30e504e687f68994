# A stand-in for the official images of Prometheus, Alertmanager and two exporters, for machines that
# reach no registry: Debian's packages, in one image. deploy/monitoring/stand-ins.yaml says which
# program each service runs.
FROM debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f AS base

# The folders of the data belong to the user that the official images have. Without versions: the
# archive keeps the newest alone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends prometheus prometheus-alertmanager \
        prometheus-blackbox-exporter prometheus-postgres-exporter wget \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 65534 -g 65534 /prometheus /alertmanager

USER 65534:65534
