"""How a container of the image behaves."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from api import EXAMPLES, check_api
from containers import Container, docker, ended, eventually, inspect
from database import HAS_DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Container]

# Every process of the container, from inside: no ps, but /proc.
PROCESSES = """
import json, pathlib
found = []
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        text = (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        continue
    status = dict(line.split(":", 1) for line in text.splitlines())
    # This one, say, or a health check: begun from outside.
    if process.name != "1" and int(status["PPid"]) == 0:
        continue
    found.append({
        "pid": int(process.name),
        "parent": int(status["PPid"]),
        "command": (process / "cmdline").read_text().split("\\0")[:-1],
        "uids": sorted(set(status["Uid"].split())),
        "gids": sorted(set(status["Gid"].split())),
        "groups": status["Groups"].split(),
        "capabilities": [status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd")],
        "no_new_privileges": status["NoNewPrivs"].strip(),
        "seccomp": status["Seccomp"].strip(),
    })
print(json.dumps(found))
"""


def processes(container: Container) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(container.python(PROCESSES))
    return found


def test_runs_read_only_without_capabilities_within_limits(service: Container) -> None:
    host = inspect(service.name)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["PidsLimit"] == 64
    assert host["Memory"] == 256 * 2**20
    assert service.get("/health").status == 200


def test_the_kernel_holds_it_to_that(service: Container) -> None:
    for process in processes(service):
        assert set(process["capabilities"]) == {"0" * 16}
        assert process["no_new_privileges"] == "1"
        assert process["seccomp"] == "2"


def test_only_the_server_runs_and_not_as_root(service: Container) -> None:
    found = processes(service)
    assert all("gunicorn" in " ".join(process["command"]) for process in found), found
    for process in found:
        assert process["uids"] == ["65532"]
        assert process["gids"] == ["65532"]
        assert set(process["groups"]) <= {"65532"}


def test_the_server_is_process_1_so_that_signals_reach_it(service: Container) -> None:
    found = {process["pid"]: process for process in processes(service)}
    assert any(word.endswith("gunicorn") for word in found[1]["command"])
    assert len(found) > 1
    assert {process["parent"] for pid, process in found.items() if pid != 1} == {1}


@pytest.mark.parametrize("path", ["/", "/app", "/opt/venv", "/etc", "/usr/bin", "/var"])
def test_cannot_write_even_where_the_root_is_not_read_only(image: str, path: str) -> None:
    code = f"open('{path}/x', 'w')"
    done = docker("run", "--rm", image, "python3", "-c", code, check=False)
    assert done.returncode == 1
    assert "PermissionError" in done.stderr


@pytest.mark.parametrize("user", ["12345:54321", "1000", "65532:0", "0:0"])
def test_runs_as_any_user(run: Run, user: str) -> None:
    container = run("--user", user).wait_until_healthy()
    assert container.get("/health").status == 200
    assert {uid for p in processes(container) for uid in p["uids"]} == {user.partition(":")[0]}


def test_listens_where_app_port_says_and_its_health_check_follows(run: Run) -> None:
    container = run("-e", "APP_PORT=9000").wait_until_healthy()
    assert container.get("/health").status == 200


@pytest.mark.parametrize("ipv6", [True, False])
def test_listens_on_both_families_also_where_there_is_no_ipv6(run: Run, ipv6: bool) -> None:
    switch = f"net.ipv6.conf.all.disable_ipv6={int(not ipv6)}"
    container = run("-e", "APP_HOST=::", "--sysctl", switch).wait_until_healthy()
    assert container.get("/health").status == 200
    code = "import socket; print(socket.socket(socket.AF_INET6).connect_ex(('::1', 5000)))"
    assert (int(container.python(code)) == 0) == ipv6
    docker("stop", container.name)
    assert inspect(container.name)["State"]["ExitCode"] == 0
    assert "Listening at: http://[::]:5000" in container.logs()


def test_serves_plainly_as_in_the_readme(service: Container) -> None:
    assert service.get("/health").json() == {"status": "healthy", "environment": "production"}
    checks = {"database": "ok"} if HAS_DATABASE else {}
    assert service.get("/readyz").json() == {"status": "ok", "checks": checks}


def test_the_service_s_own_api_is_as_it_describes_itself(run: Run, tmp_path: Path) -> None:
    """Whatever the fork's service is: no 5xx, no status that its description does not name."""
    token = "a-token-for-the-tests"
    container = run("-e", f"API_TOKEN={token}", "-e", "LOG_LEVEL=error").wait_until_healthy()
    assert check_api(container, token, tmp_path, examples=EXAMPLES) > 0
    assert container.logs() == ""


@pytest.mark.parametrize(
    "path", ["/nope", "/no/such/path", "/static/x", "/.env", "/%2e%2e/etc/passwd"]
)
def test_an_unknown_path_gets_a_json_404(service: Container, path: str) -> None:
    answer = service.get(path)
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 404


def test_goes_from_starting_to_healthy(run: Run) -> None:
    container = run()
    seen = {container.health()}

    def healthy() -> bool:
        seen.add(container.health())
        return "healthy" in seen

    eventually(healthy, 60, "healthy")
    assert seen == {"starting", "healthy"}


def test_turns_unhealthy_when_it_hangs_and_healthy_again_after(run: Run) -> None:
    fast = ("--health-interval", "1s", "--health-retries", "2", "--health-start-period", "0s")
    # Docker's own timeout is for what the check's does not end.
    container = run(*fast, "--health-timeout", "10s").wait_until_healthy()
    workers = [p["pid"] for p in processes(container) if p["pid"] != 1]
    assert workers

    def send(number: signal.Signals) -> None:
        container.python(f"import os\nfor pid in {workers}: os.kill(pid, {int(number)})")

    send(signal.SIGSTOP)
    eventually(lambda: container.health() == "unhealthy", 30, "unhealthy")
    assert "timed out" in inspect(container.name)["State"]["Health"]["Log"][-1]["Output"]
    send(signal.SIGCONT)
    eventually(lambda: container.health() == "healthy", 30, "healthy again")


def test_the_health_check_costs_little(service: Container, config: dict[str, Any]) -> None:
    """As a ratio to starting Python at all, so that no machine is too slow for it."""
    check = config["Healthcheck"]["Test"][1:]
    code = f"""
import resource, subprocess
def cpu(command):
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
    before = used()
    for _ in range(20):
        subprocess.run(command, check=True)
    return used() - before
print(cpu({check!r}) / cpu(["python3", "-IS", "-c", "import socket, time"]))
"""
    assert float(service.python(code)) < 2


def test_what_it_prints_is_what_docker_logs_shows(service: Container) -> None:
    service.get("/a-line-to-look-for")
    logs = service.logs()
    assert "/a-line-to-look-for" in logs
    assert "Listening at" in logs


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_a_stop_is_clean_and_well_inside_ten_seconds(run: Run, signal_name: str) -> None:
    container = run("--stop-signal", signal_name).wait_until_healthy()
    container.get("/")
    start = time.monotonic()
    docker("stop", container.name)
    assert time.monotonic() - start < 8
    state = inspect(container.name)["State"]
    assert state["ExitCode"] == 0
    assert not state["OOMKilled"]


def test_another_command_is_stopped_as_well(run: Run) -> None:
    """As process 1 it would not hear of it, and a migration would have to be killed."""
    container = run(command=("python", "-c", "import time; time.sleep(60)"))
    time.sleep(0.5)
    start = time.monotonic()
    docker("stop", container.name)
    assert time.monotonic() - start < 8
    assert inspect(container.name)["State"]["ExitCode"] == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("APP_HOST=localhost", "Not an IPv4 or IPv6 address"),
        ("APP_HOST=", "Not an IPv4 or IPv6 address"),
        ("APP_PORT=abc", "Not a valid integer"),
        ("APP_PORT=70000", "Out of range"),
        ("APP_ENV=no way", "Not a name"),
        ("WEB_CONCURRENCY=0", "Out of range"),
    ],
)
def test_a_bad_setting_ends_it_with_one_clear_line(image: str, variable: str, reason: str) -> None:
    done = ended(image, "-e", variable)
    name, _, value = variable.partition("=")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {name}='{value}': {reason}")
    assert done.stderr.count("\n") == 1


def test_another_machine_s_address_ends_it_with_one_clear_line(image: str) -> None:
    done = ended(image, "-e", "APP_HOST=192.0.2.1")
    assert done.returncode == 1
    assert "error: APP_HOST=192.0.2.1: Cannot assign requested address. Expected " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_ends_it_with_one_clear_line(service: Container, image: str) -> None:
    network = f"container:{service.name}"
    done = ended(image, "--network", network)
    assert done.returncode == 1
    assert "error: APP_PORT=5000: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 2


def test_flask_s_own_server_works_in_it(run: Run) -> None:
    """With the factory and the port found without options, as in development."""
    container = run("-e", "APP_PORT=8000", command=("python", "-m", "flask", "run"))
    container.wait_until_healthy()
    assert container.get("/livez").status == 200


def test_the_command_line_explains_itself(image: str) -> None:
    shown = docker("run", "--rm", image, "app", "--help").stdout
    assert "serve" in shown
    assert "settings" in shown
    effective = docker("run", "--rm", "-e", "APP_PORT=9000", image, "app", "settings").stdout
    assert "APP_PORT=9000" in effective


def test_serves_with_app_serve_too(run: Run) -> None:
    container = run(command=("app", "serve")).wait_until_healthy()
    assert any("gunicorn" in word for word in processes(container)[0]["command"])


def test_serves_with_stock_gthread_too(run: Run) -> None:
    """The way out for a gunicorn that the template's own worker does not fit yet."""
    stock = ("-e", "GUNICORN_CMD_ARGS=--worker-class gthread", "-e", "WEB_CONCURRENCY=2")
    container = run(*stock).wait_until_healthy()
    for path in ("/livez", "/readyz", "/openapi.json"):
        assert container.get(path).status == 200

    def reloaded_often() -> bool:
        # A signal during a reload has no effect.
        docker("kill", "--signal", "SIGHUP", container.name)
        # More workers than may end, of the template's own, before they have responded.
        return container.logs().count("Booting worker") >= 10

    eventually(reloaded_often, 60, "all workers are new, several times over")
    eventually(lambda: len(processes(container)) == 3, 20, "the last reload is over")
    assert container.get("/readyz").status == 200
    docker("stop", container.name)
    state = inspect(container.name)["State"]
    assert state["ExitCode"] == 0
    assert "Traceback" not in container.logs()
