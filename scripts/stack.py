"""Start the stack of compose.yaml, and clean up after it."""

from __future__ import annotations

import argparse
import functools
import ipaddress
import json
import os
import re
import secrets
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import image
import stand_ins
from common import ROOT, capture, die, entry, output, say, says_yes

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPOSE = ("docker", "compose", "--ansi=never", "--project-directory", str(ROOT))
ALL_PROFILES = ("--profile", "*")  # what was switched off meanwhile may still run
SECRETS = ("db_owner_password", "db_password", "api_token")
FOLDER = ROOT / "secrets"


def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `docker compose` on this checkout and keep what it prints."""
    return capture(*COMPOSE, *arguments)


@functools.cache
def config() -> dict[str, Any]:
    """The stack as compose understands it, with what .env and the environment say.

    Read once, for compose takes its time: whatever changes it clears the cache.
    """
    done = compose("config", "--format", "json")
    if done.returncode != 0:
        die(f"compose.yaml: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def port() -> int:
    """The host's port to publish, from $PORT or .env."""
    given = os.environ.get("PORT", "")
    if given and not (given.isdecimal() and 1 <= int(given) <= 65535):
        die(f"PORT={given}: expected a whole number from 1 to 65535")
    return int(given or config()["services"]["gateway"]["ports"][0]["published"])


def gateway() -> tuple[str, urllib.request.Request]:
    """Where the stack is: its address as a client writes it, and a request for the service's root.

    The request goes to where the port is published, and has the name that the gateway answers for.
    """
    found = config()["services"]["gateway"]
    ports = {each["target"]: each for each in found["ports"]}
    scheme, published = ("https", ports[8443]) if 8443 in ports else ("http", ports[8080])
    bound = ipaddress.ip_address(published.get("host_ip") or "::")
    host = f"[{bound}]" if bound.version == 6 else str(bound)
    if bound.is_loopback or bound.is_unspecified:
        host = "localhost"
    names = re.split("[, ]+", found["environment"].get("GATEWAY_NAMES") or host)
    name = next((each for each in names if each and "*" not in each), host)
    number = published["published"]
    headers = {"Host": f"{name}:{number}"}
    request = urllib.request.Request(f"{scheme}://{host}:{number}/api/", headers=headers)  # noqa: S310
    return f"{scheme}://{name}:{number}/", request


def projects() -> tuple[str, str]:
    """Compose's names for the stack, by default the folder's, and for that of `make dev`."""
    name: str = config()["name"]
    return name, f"{name}-dev"


def volumes(*names: str) -> list[str]:
    """Those of the stack's volumes with these names that there are, by the engine's names."""
    found = [f"{project}_{name}" for project in projects() for name in names]
    return [name for name in found if output("docker", "volume", "inspect", name) is not None]


def databases() -> list[str]:
    """The volumes with databases that there are."""
    return volumes("db")


def make_secrets() -> None:
    """Make each secret's file that is missing, and check that those of compose.yaml are there.

    Compose mounts these files into containers whose users are not the one here, so anyone may
    read them; but their folder lets nobody else in, so on this machine nobody can.
    """
    # Without a database compose.yaml names less.
    for name in (name for name in SECRETS if name in config().get("secrets", {})):
        if name != "api_token" and not has_secret(name) and databases():
            die(
                f"secrets/{name} is missing, but there is a database already: put the file back,"
                " or choose a new password. If an older version made the database, with one role"
                " for all, it has to be taken over. docs/stack.md tells how to do either"
            )
        make_secret(name)
    for each in config().get("secrets", {}).values():
        if "file" in each:
            check_secret(Path(each["file"]))


def has_secret(name: str) -> bool:
    """Whether there is a file for the secret, of whatever kind."""
    return (FOLDER / name).exists() or (FOLDER / name).is_symlink()


def make_secret(name: str) -> None:
    """Make the secret's file, if it is missing."""
    FOLDER.mkdir(exist_ok=True)
    FOLDER.chmod(0o700)
    if has_secret(name):
        return
    descriptor = os.open(FOLDER / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o444)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(stream.fileno(), 0o444)  # whatever the umask took away
        stream.write(secrets.token_urlsafe(32) + "\n")
    say(f"made secrets/{name}")


def check_secret(file: Path) -> None:
    """Check that the containers' users can read a secret in the file, and that there is one."""
    shown = os.path.relpath(file, ROOT)
    remedy = "remove it to have one made" if file.name in SECRETS else "put the secret there"
    if not file.is_file():
        state = "is no file" if file.exists() or file.is_symlink() else "is missing"
        die(f"{shown} {state}; {remedy}")
    if file.stat().st_mode & 0o444 != 0o444:
        die(f"{shown} can't be read by the containers' users; chmod 444 {shown}")
    if file.stat().st_size == 0:
        die(f"{shown} is empty; {remedy}")


def check_modes() -> None:
    """Check that the containers' users can read what is mounted; a strict umask forbids that."""
    for folder in ("gateway", "grafana", "monitoring", "postgres", "tls"):
        for file in (ROOT / "deploy" / folder).rglob("*"):
            # The gateway's entry point leaves out, without a word, what it may not run.
            needed = 0o555 if file.is_dir() or file.suffix == ".envsh" else 0o444
            if file.stat().st_mode & needed != needed:
                shown = file.relative_to(ROOT)
                die(f"{shown} can't be read or run by all: chmod -R a+rX deploy src")


def prepare() -> None:
    """Have everything at hand that compose needs: engine, images, secrets.

    With $IMAGE_AS_IS=1 the image is not built: it has to exist, and is the one to be tried. So is
    one that is named by its digest.
    """
    check_modes()
    if os.environ.get("IMAGE_AS_IS") == "1" or "@" in image.name():
        image.find()
    else:
        image.build("runtime")
    use_stand_ins()
    make_secrets()


def use_stand_ins() -> None:
    """Have compose take the stand-ins where it needs them, whatever files it has to read."""
    wanted = stand_ins.put_in_place()
    config.cache_clear()
    if wanted and config()["services"]["gateway"]["image"] != stand_ins.stand_in("gateway"):
        die(
            f"COMPOSE_FILE leaves out {stand_ins.LINK.name}, which no registry can be reached"
            f" without: COMPOSE_FILE=compose.yaml:{stand_ins.LINK.name}:..."
        )


def fail(what: str, done: subprocess.CompletedProcess[str], *services: str) -> NoReturn:
    """End with what compose says, and with the last that the services said."""
    if services:
        subprocess.run([*COMPOSE, "logs", "--no-color", "--tail=8", *services], check=False)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    die(f"{what}: {lines[-1].strip() if lines else 'no reason given'}")


def ask(request: urllib.request.Request) -> str:
    """The status and body of the response, in one line; not by way of a proxy.

    Whether there is anything at that path is up to the service. The certificate is for clients to
    check, who know whom it is from and what name it has to have.
    """
    unchecked = ssl.create_default_context()
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unchecked)
    )
    address = request.full_url
    try:
        with opener.open(request, timeout=10) as response:
            return f"{response.status} {response.read().decode().strip()}"
    except urllib.error.HTTPError as error:
        if error.code < 500:
            return f"{error.code} {error.read().decode().strip()}"
        die(f"the stack is healthy, but {address} responds with {error.code}; see `make logs`")
    except OSError as error:
        die(f"the stack is healthy, but {address} can't be reached from here: {error}")


def up() -> None:
    """Start what does not run, in order, and wait until all is healthy."""
    if os.environ.get("PORT"):
        port()  # so that an error in it is reported before the build
    prepare()
    say("starting the stack and waiting until it is healthy ...")
    done = start()
    if done.returncode != 0:
        if any(word in done.stderr for word in ("already allocated", "address already in use")):
            die(f"port {port()} is in use on this machine; choose another: make up PORT=8081")
        fail("the stack did not become healthy", done, *unhealthy())
    address, request = gateway()
    print(f"GET {address}api/\n{ask(request)}")
    print(f"The page is at {address}")
    say("`make logs` shows what it prints, `make down` stops it and keeps the data")


def start() -> subprocess.CompletedProcess[str]:
    """Start all services, and wait until those that go on running are healthy."""
    found = config()["services"]
    once = [name for name, each in found.items() if each.get("restart") == "no"]
    # As many replicas as there are: compose would go back to the number in compose.yaml.
    counts = [
        f"--scale={name}={max(wanted(found[name]), len(replicas(name)))}" for name in services()
    ]
    options = ("--detach", "--no-build", *counts)
    # By their names, and with them what they depend on: compose takes one that has ended, as it
    # should, for a failure.
    done = compose("up", *options, "--wait", *(name for name in found if name not in once))
    if done.returncode == 0 and set(once) - {"migrate"}:
        done = compose("up", *options)
    stop_switched_off(set(found))
    return done


def wanted(service: dict[str, Any]) -> int:
    """The number of replicas that compose.yaml asks for."""
    count: int = service.get("scale") or service.get("deploy", {}).get("replicas") or 1
    return count


def stop_switched_off(on: set[str]) -> None:
    """Stop services whose profile is off: they would go on with an old image. A job will end."""
    found = json.loads(compose(*ALL_PROFILES, "config", "--format", "json").stdout)["services"]
    running = compose(*ALL_PROFILES, "ps", "--services").stdout.split()
    going_on = {name for name, each in found.items() if each.get("restart") != "no"}
    if off := sorted((going_on & set(running)) - on):
        say(f"stopping what is switched off: {', '.join(off)}")
        compose(*ALL_PROFILES, "rm", "--stop", "--force", *off)


def containers(*services: str) -> list[dict[str, Any]]:
    """The stack's containers as compose lists them; not those of `docker compose run`."""
    listed = output(*COMPOSE, "ps", "--all", "--format", "json", *services)
    if listed is None:  # if that counted as none, replicas that serve would be removed
        die("`docker compose ps` failed: which containers there are is not known")
    # One object a line; older versions of compose print one list.
    found: list[dict[str, Any]] = []
    for line in listed.splitlines():
        parsed = json.loads(line)
        found += parsed if isinstance(parsed, list) else [parsed]
    return [each for each in found if re.fullmatch(r".*-\d+", each["Name"])]


def unhealthy() -> list[str]:
    """The services that do not run as they should; one that restarts has no health."""
    return [
        each["Service"]
        for each in containers()
        if each["Health"] not in ("healthy", "")
        or each["State"] not in ("running", "exited")
        or (each["State"] == "exited" and each["ExitCode"] != 0)
    ]


def services() -> list[str]:
    """The services of this project's image that go on running: app, and what a fork adds."""
    all_of_them: dict[str, Any] = config()["services"]
    own = all_of_them["app"]["image"]
    return [
        name
        for name, each in all_of_them.items()
        if each.get("image") == own and each.get("restart") != "no"
    ]


def replicas(service: str) -> list[str]:
    """The ids of the service's containers, the oldest first."""
    numbered = sorted(containers(service), key=lambda each: int(each["Name"].rpartition("-")[2]))
    return [each["ID"] for each in numbered]


def agreed(question: str) -> bool:
    """Whether the person at the terminal says yes; $YES=1 says it for a script."""
    if os.environ.get("YES") == "1":
        return True
    if not sys.stdin.isatty():
        say(f"{question} Nobody to ask here: no. (YES=1 is a yes.)")
        return False
    return says_yes(question)


def clean() -> None:
    """Remove the stack's containers and networks; its data only if somebody says so."""
    for project in projects():
        done = compose("--project-name", project, *ALL_PROFILES, "down", "--remove-orphans")
        if done.returncode != 0:
            fail(f"the stack {project} could not be removed", done)
    for volume in (*databases(), *volumes("prometheus", "alertmanager")):
        what = "the database" if volume.endswith("_db") else "what was measured,"
        if not agreed(f"Delete {what} in the volume {volume} for good?"):
            say(f"kept {volume}")
            continue
        removed = capture("docker", "volume", "rm", volume)
        if removed.returncode != 0:
            fail(f"{volume} was not deleted", removed)
        say(f"deleted {volume}")
    say("secrets/ is kept: delete it yourself")


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=("up", "clean"))
    verb = parser.parse_args(arguments).verb
    {"up": up, "clean": clean}[verb]()


if __name__ == "__main__":
    with entry():
        main()
