"""Put a version of the stack into a swarm: make deploy IMAGE=name@sha256:... (CONTEXT=name).

First all is checked; nothing is changed where something is missing. Then the migration, as a job,
and only after its end the services. Swarm replaces their tasks and takes a version back that does
not become healthy; the other services then go back as well. UNDO=1 puts back what was there before
the last deployment. The swarm is that of CONTEXT, or of docker's own variables and context.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

import registry
import swarm
from common import capture, die, entry, output, say

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 600  # in which a migration, and after it all services, have to be done
# What the engine calls the task of a job that goes on, and of one that has done its work.
GOES_ON = {"New", "Pending", "Assigned", "Accepted", "Preparing", "Ready", "Starting", "Running"}
DONE = "Complete"
OVER = ("Complete", "Failed", "Rejected", "Orphaned")  # of a task that Swarm has not stopped
# Of an update that was not completed.
TAKEN_BACK = ("rollback_started", "rollback_completed", "rollback_paused", "paused")
LABEL = "label=com.docker.stack.namespace="
DEPLOY = ("stack", "deploy", "--resolve-image=never", "--with-registry-auth", "--compose-file=-")
Thing = dict[str, Any]


def docker(why: str, *arguments: str, text: str | None = None, seconds: int = SECONDS) -> str:
    """Run docker and return what it prints; if it fails, end with `why` and its words.

    `text` goes to its standard input.
    """
    command = ["docker", *arguments]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        die(f"{why}: not done after {seconds} s")
    if done.returncode != 0:
        die(f"{why}: {' '.join(done.stderr.split())}")
    return done.stdout


def check_manager() -> None:
    """End with one line if there is no swarm to be told."""
    where = os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT") or "this machine"
    form = "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}"
    found = docker(f"{where}: no engine", "info", f"--format={form}").split()
    if found != ["active", "true"]:
        state = "a worker of a swarm" if found[0] == "active" else "in no swarm"
        die(f"{where}: the engine is {state}; expected a manager: CONTEXT=..., or DOCKER_HOST")


def check_images(stack: Thing) -> None:
    """End with one line for each service whose image could be another one on another node."""
    images = {name: each["image"] for name, each in stack["services"].items()}
    wrong = [
        f"{name}: {image} has no digest; expected registry.example/name@sha256:<64 digits>"
        for name, image in images.items()
        if not re.search(r"@sha256:[0-9a-f]{64}$", image)
    ]
    if wrong:
        die("nothing was deployed; nodes may pull an image at any time:\n" + "\n".join(wrong))


def take_secrets(stack: Thing) -> None:
    """Have the newest version of each secret: `name`, or the highest of `name.2`, `name.3` ..."""
    there = docker("the secrets can't be listed", "secret", "ls", "--format={{.Name}}").split()
    missing = []
    for each in stack.get("secrets", {}).values():
        name = each["name"]
        versions = {
            int(found[1] or 1): found[0]
            for found in (re.fullmatch(rf"{re.escape(name)}(?:\.(\d+))?", one) for one in there)
            if found
        }
        if versions:
            each["name"] = versions[max(versions)]
        else:
            missing.append(f"docker secret create {name} FILE")
    if missing:
        die("nothing was deployed; the swarm lacks secrets, make them:\n" + "\n".join(missing))


def services(name: str) -> list[Thing]:
    """The stack's services that there are, as the engine describes them."""
    listed = docker(
        "the services can't be listed", "service", "ls", "--quiet", f"--filter={LABEL}{name}"
    ).split()
    found: list[Thing] = json.loads(output("docker", "service", "inspect", *listed) or "[]")
    return found if listed else []


def tasks(service: str) -> list[Thing]:
    """The tasks of a service that the swarm remembers, the newest first, each with its `ID`."""
    listed = output("docker", "service", "ps", "--no-trunc", "--format={{json .}}", service) or ""
    return [json.loads(line) for line in listed.splitlines()]


def states(service: str) -> set[str]:
    """What the tasks of a service are doing, in the engine's words."""
    return {each["CurrentState"].partition(" ")[0] for each in tasks(service)}


def ended(service: str, known: set[str]) -> list[Thing]:
    """The tasks of the service that have ended by themselves, without those whose ids are known."""
    return [
        each
        for each in tasks(service)
        if each["ID"] not in known and each["CurrentState"].startswith(OVER)
    ]


def last_words(found: list[Thing]) -> None:
    """Print where the first of these tasks was, how it ended, and the last lines of its log."""
    for each in found[:1]:
        print(f"{each['Name']} on {each['Node'] or 'no node'}: {each['Error']}")
        done = capture("docker", "service", "logs", "--raw", "--tail=8", each["ID"])
        print(done.stdout + done.stderr, end="")


def run_job(name: str, job: str, stack: Thing) -> None:
    """Run a one-off service and wait for its end; ends with one line if it fails."""
    service = f"{name}_{job}"
    if states(service) & GOES_ON:
        die(f"{service} of an earlier deployment still runs; wait for its end")
    capture("docker", "service", "rm", service)  # a job that has ended does not run again
    say(f"running {job} ...")
    only = stack | {"services": {job: stack["services"][job]}}
    docker(f"{job} can't be started", *DEPLOY, name, text=json.dumps(only))
    deadline = time.monotonic() + SECONDS
    while not (ended := states(service)) or ended & GOES_ON:
        if time.monotonic() > deadline:
            die(f"{job} has not ended after {SECONDS} s, and goes on; no service was touched")
        time.sleep(1)
    if DONE not in ended:
        last_words(tasks(service))
        die(f"{job} failed (its last lines are above); no service was touched")


def same(old: object, now: object) -> bool:
    """Whether a description is as it was: of what is now, the engine also shows the defaults."""
    if isinstance(old, dict) and isinstance(now, dict):
        return all(same(each, now.get(key)) for key, each in old.items())
    return bool(old == now)


def put_back(name: str) -> list[str]:
    """Put each service back to what it was before it last changed; return their names."""
    changed = [
        each["Spec"]["Name"]
        for each in services(name)
        if "PreviousSpec" in each and not same(each["PreviousSpec"], each["Spec"])
    ]
    for service in changed:
        say(f"putting back {service} ...")
        why = f"{service} can't be put back"
        docker(why, "service", "rollback", "--detach=false", "--quiet", service)
    return changed


def told(name: str, stack: Thing, over: Callable[[], bool]) -> str | None:
    """Tell the swarm and wait until all tasks have stayed healthy; None if they have, or why not.

    Not longer than until `over()`, nor than SECONDS.
    """
    command = ["docker", *DEPLOY, "--prune", "--detach=false", "--quiet", name]
    deadline = time.monotonic() + SECONDS
    with tempfile.TemporaryFile("w+") as wanted, tempfile.TemporaryFile("w+") as shown:
        wanted.write(json.dumps(stack))
        wanted.seek(0)
        process = subprocess.Popen(command, stdin=wanted, stdout=shown, stderr=shown, text=True)
        while process.poll() is None and time.monotonic() < deadline and not over():
            time.sleep(1)
        status = process.poll()
        process.kill()
        process.wait()
        shown.seek(0)
        words = " ".join(shown.read().split())
    # Docker's client ends with 0 as well when Swarm has taken a version back.
    for each in services(name):
        state = each.get("UpdateStatus") or {}
        if state.get("State") in TAKEN_BACK:
            return f"{each['Spec']['Name']}: {state['Message']}"
    return None if status == 0 else words or f"not done after {SECONDS} s"


def replace(name: str, stack: Thing) -> None:
    """Replace the services; if one does not become healthy, put the old version of all back."""
    say("replacing the services ...")
    before = {each["Spec"]["Name"] for each in services(name)}
    all_of_them = {f"{name}_{each}" for each in stack["services"]}
    known = {task["ID"] for service in before for task in tasks(service)}

    def over() -> bool:
        """Whether a new service fails: Swarm would start its tasks again for ever."""
        return any(ended(each, known) for each in all_of_them - before)

    reason = told(name, stack, over)
    if reason is None:
        return
    for service in all_of_them:
        last_words(ended(service, known))
    put_back(name)
    state = "the version before serves, as it did all along" if before else "nothing served before"
    die(f"the new version did not become healthy (its last words are above); {state}: {reason}")


def sweep(name: str) -> None:
    """Remove the configs that no service has, nor had before it last changed."""
    used = {
        each["ConfigName"]
        for service in services(name)
        for spec in (service["Spec"], service.get("PreviousSpec"))
        if spec
        for each in spec["TaskTemplate"]["ContainerSpec"].get("Configs") or []
    }
    why = "the configs can't be listed"
    there = docker(why, "config", "ls", "--format={{.Name}}", f"--filter={LABEL}{name}").split()
    if left := set(there) - used:
        capture("docker", "config", "rm", *left)


def deploy(config: Thing) -> None:
    """Deploy what compose has merged."""
    name = config["name"]
    stack = swarm.stack(config)
    check_images(stack)
    take_secrets(stack)
    jobs = swarm.jobs(config)
    for job in jobs:
        run_job(name, job, stack)
    rest = {key: each for key, each in stack["services"].items() if key not in jobs}
    replace(name, stack | {"services": rest})
    sweep(name)


def main() -> None:
    """Deploy the image that $DEPLOYED names, or with $UNDO=1 go back."""
    image, undo = os.environ.get("DEPLOYED", ""), os.environ.get("UNDO", "")
    if undo not in ("", "0", "1"):
        die(f"UNDO={undo}: expected 1 or nothing")
    if undo != "1":
        registry.split(image)
    check_manager()
    config = swarm.merged(image)
    if undo != "1":
        deploy(config)
        say("the new version serves")
    elif not put_back(config["name"]):
        die(
            f"{config['name']}: nothing was changed by the last deployment, so there is no way back"
        )


if __name__ == "__main__":
    with entry():
        main()
