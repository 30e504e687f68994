# A node of a swarm for the tests: Debian's engine, in a container of its own.
FROM debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f AS base

# Without versions: the archive keeps the newest alone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates containerd docker.io iptables runc \
    && rm -rf /var/lib/apt/lists/*

COPY --chmod=755 <<'EOF' /node.sh
#!/bin/bash
# Runs an engine in a container. With control groups of version 2, a group that has processes can't
# have groups with limits below it: so the processes that are here get a group of their own.
set -euo pipefail

groups=/sys/fs/cgroup
if [[ -f $groups/cgroup.controllers ]]; then
    mkdir -p "$groups/node"
    while read -r process; do echo "$process" > "$groups/node/cgroup.procs" || true; done < "$groups/cgroup.procs"
    sed 's/[^ ]*/+&/g' "$groups/cgroup.controllers" > "$groups/cgroup.subtree_control"
fi
exec dockerd "$@"
EOF

ENTRYPOINT ["/node.sh"]
