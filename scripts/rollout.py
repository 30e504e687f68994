"""Replace what runs this project's image in the stack, without a pause."""

from __future__ import annotations

import subprocess

from common import capture, die, entry, output, say
from stack import compose, config, fail, prepare, replicas, services, stop_switched_off


def scale(service: str, count: int) -> subprocess.CompletedProcess[str]:
    """Have `count` replicas, all healthy; those that run are left as they are."""
    options = ("--detach", "--no-build", "--no-deps", "--no-recreate", "--wait")
    return compose("up", *options, "--scale", f"{service}={count}", service)


def replace(service: str) -> None:
    """Replace the service's containers one by one, each after its successor is healthy.

    One that has none, as it is new in compose.yaml, gets its first.
    """
    old = replicas(service)
    for number in range(max(1, len(old))):
        title = f"replacing replica {number + 1} of {len(old)} of" if old else "starting"
        say(f"{title} {service} ...")
        start_one_more(service, f"{number} of {len(old)} replicas are new")
        if old:
            # The grace period is the container's own.
            stopped = output("docker", "stop", old[number])
            if stopped is None or output("docker", "rm", "--volumes", old[number]) is None:
                die(f"the replica {old[number]} could not be stopped; all its successors serve")
    say(f"replaced {len(old)} of {len(old)} of {service}" if old else f"started {service}")


def start_one_more(service: str, progress: str) -> None:
    """Start a replica and wait until it is healthy; else remove it, and end with `progress`."""
    before = set(replicas(service))
    ready = False
    try:
        ready = scale(service, len(before) + 1).returncode == 0
    finally:  # on an interruption too, a replica that is not healthy must be removed
        if not ready:
            for failed in set(replicas(service)) - before:
                subprocess.run(["docker", "logs", "--tail=8", failed], check=False)
                capture("docker", "rm", "--force", "--volumes", failed)
    if not ready:
        die(
            f"the new replica of {service} did not become healthy (its last lines are above) and"
            f" was removed; {progress}, all others still serve"
        )


def main() -> None:
    """Migrate the database, if there is one, then replace the containers of each service."""
    if not replicas("app"):
        die("the stack is not running; `make up` starts it")
    for name, each in config()["services"].items():
        if name in services() and each.get("container_name"):
            die(f"compose.yaml: {name} has a container_name, so there can't be two; remove it")
    prepare()
    if "migrate" in config()["services"]:
        say("migrating the database ...")
        migrated = compose("run", "--rm", "--no-deps", "migrate")
        if migrated.returncode != 0:
            fail("the migration failed, and nothing was replaced", migrated)
    for service in services():
        replace(service)
    stop_switched_off(set(config()["services"]))


if __name__ == "__main__":
    with entry():
        main()
