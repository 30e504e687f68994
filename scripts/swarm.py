"""Make of compose.yaml and deploy/swarm/stack.yaml what `docker stack deploy` takes.

Compose merges them. What the older format of stacks calls otherwise is translated here: limits,
file systems in memory, files of this checkout (they become configs, which are on each node),
secrets (the swarm's own) and one-off services (jobs).
https://docs.docker.com/reference/compose-file/legacy-versions/
"""

from __future__ import annotations

import graphlib
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import ROOT, die
from observe import files

if TYPE_CHECKING:
    from collections.abc import Iterator

Thing = dict[str, Any]
OVERRIDE = "deploy/swarm/stack.yaml"
# Compose's names of limits, and those of Swarm with their type.
LIMITS = {"mem_limit": ("memory", str), "cpus": ("cpus", str), "pids_limit": ("pids", int)}
# What compose alone needs, or Swarm can't set: docs/swarm.md.
DROPPED = ("build", "depends_on", "profiles", "pull_policy", "restart", "security_opt", "tmpfs")
# A task that ends within this time after it was healthy is a failed one; none may be.
CHANGE: Thing = {"monitor": "10s", "max_failure_ratio": 0}
BRIDGE = "com.docker.network.bridge."  # of a network on one machine
UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def merged(image: str) -> Thing:
    """Both files as compose understands them, with `image` as the service's, and .env's settings.

    Raises:
        SystemExit: with compose's reason in one line.
    """
    chosen = ":".join([*(file for file in files() if file != OVERRIDE), OVERRIDE])
    done = subprocess.run(
        ["docker", "compose", "--project-directory", str(ROOT), "config", "--format=json"],
        cwd=ROOT,
        env={**os.environ, "COMPOSE_FILE": chosen, "IMAGE": image},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        die(f"{chosen}: {' '.join(done.stderr.split())}")
    found: Thing = json.loads(done.stdout)
    return found


def stack(config: Thing) -> Thing:
    """What `docker stack deploy` takes, of what compose has merged.

    Names of configs have a hash of the content, as a swarm's can't be changed. The secrets are the
    swarm's own, by compose's names for them.

    Raises:
        SystemExit: with one line, if a service needs something of this machine.
    """
    configs: Thing = {}
    services = {
        name: service(config["name"], name, each, configs)
        for name, each in config["services"].items()
    }
    mounted = {m["source"] for one in services.values() for m in one["volumes"] if "source" in m}
    used = {each["source"] for one in services.values() for each in one.get("secrets", [])}
    found = {
        "services": services,
        "networks": {name: network(each) for name, each in config.get("networks", {}).items()},
        "volumes": {name: None for name in config.get("volumes", {}) if name in mounted},
        "configs": configs,
        "secrets": {
            name: {"external": True, "name": each["name"]}
            for name, each in config.get("secrets", {}).items()
            if name in used
        },
    }
    return {key: value for key, value in found.items() if value}


def service(stack: str, name: str, each: Thing, configs: Thing) -> Thing:
    """A service of Swarm's; the configs that it needs are added to `configs`."""
    found = {key: value for key, value in each.items() if value is not None and key not in DROPPED}
    deploy = found.setdefault("deploy", {})
    for level in ("limits", "reservations"):
        amounts = deploy.setdefault("resources", {}).setdefault(level, {})
        if "cpus" in amounts:
            amounts["cpus"] = str(amounts["cpus"])
    for key, (word, kind) in LIMITS.items():
        if key in found:
            deploy["resources"]["limits"].setdefault(word, kind(found.pop(key)))
    if each.get("restart") == "no":
        deploy["mode"] = "replicated-job"
        deploy["restart_policy"] = {"condition": "none"}
        # Swarm ends a task that is unhealthy, and a job does not serve what the image's check asks.
        found["healthcheck"] = {"disable": True}
    else:
        for change in ("update_config", "rollback_config"):
            deploy[change] = CHANGE | deploy.get(change, {})
        deploy["update_config"].setdefault("failure_action", "rollback")
        # A name stands for the addresses of all healthy tasks, each of which the gateway tries. The
        # other way, one address for all, needs IPVS in each node's kernel.
        deploy.setdefault("endpoint_mode", "dnsrr")
    found["ports"] = [
        {"target": p["target"], "published": int(p["published"]), "mode": "host"}
        for p in each.get("ports", [])
    ]
    found["volumes"] = [mount for mount in each.get("volumes", []) if mount["type"] != "bind"]
    found["volumes"] += [in_memory(mount) for mount in each.get("tmpfs", [])]
    found["configs"] = each.get("configs", [])
    for mount in each.get("volumes", []):
        if mount["type"] == "bind":
            for file, target in contents(name, mount):
                key = config_name(stack, file, target)
                configs[key] = {"name": key, "file": str(file)}
                mode = 0o555 if os.access(file, os.X_OK) else 0o444
                found["configs"].append({"source": key, "target": target, "mode": mode})
    return found


def in_memory(mount: str) -> Thing:
    """The mount of a file system in memory: Swarm always adds noexec, nosuid, nodev, mode=1777."""
    target, _, options = mount.partition(":")
    size = re.search(r"(?:^|,)size=(\d+)([bkmg]?)", options)
    return {
        "type": "tmpfs",
        "target": target,
        "tmpfs": {"size": int(size[1]) * UNITS[size[2]]} if size else {},
    }


def contents(service: str, mount: Thing) -> Iterator[tuple[Path, str]]:
    """The files of a mount, each with its place in the container."""
    source, target = Path(mount["source"]), mount["target"]
    if not mount.get("read_only") or not source.is_relative_to(ROOT) or not source.exists():
        die(
            f"{service}: {source} is mounted, but is of this machine alone; expected files of this"
            " checkout, read-only, or a volume"
        )
    if source.is_file():
        yield source, target
    for file in sorted(source.rglob("*")):
        if file.is_file():
            yield file, f"{target}/{file.relative_to(source)}"


def config_name(stack: str, file: Path, target: str) -> str:
    """A config's name, at most 64 characters; another one for each place that a file has.

    For docker sorts a service's configs by their names alone: with two of one name their order is
    any, so a deployment would replace a service that has not changed.
    """
    digest = hashlib.sha256(file.read_bytes() + target.encode()).hexdigest()[:12]
    return f"{stack[:20]}_{file.name[:30]}-{digest}"


def network(each: Thing) -> Thing:
    """A network across all nodes."""
    options = each.get("driver_opts", {})
    return {
        "driver": "overlay",
        "internal": each.get("internal", False),
        "driver_opts": {key: o for key, o in options.items() if not key.startswith(BRIDGE)},
    }


def is_job(service: Thing) -> bool:
    """Whether it ends by itself."""
    return "job" in service["deploy"].get("mode", "")


def jobs(config: Thing) -> list[str]:
    """The names of the one-off services, each after those that it depends on."""
    services = config["services"]
    order = graphlib.TopologicalSorter(
        {n: each.get("depends_on", {}) for n, each in services.items()}
    )
    return [name for name in order.static_order() if services[name].get("restart") == "no"]
