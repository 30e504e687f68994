"""Traces of running containers, in a real receiver; and what they cost where nobody takes them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chaos.harness import Result, exit_status, load, report, server, workers
from checkouts import CHECKOUT
from containers import HARDENED, Container, docker, ended, eventually, inspect, on_host
from database import HAS_DATABASE
from tracing.conftest import names_tracing

if TYPE_CHECKING:
    from stacks import Stack
    from tracing.conftest import Receiver

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
ENDPOINT = ("--env", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9")
# Far below what the machine can do: the receiver takes some of it, too.
STEADY = ("--clients", 8, "--keep-alive", "--pause", 0.03)
# So few that spans are dropped while nobody takes them.
SMALL_QUEUE = ("OTEL_BSP_MAX_QUEUE_SIZE=256", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=128")
SECONDS = 4  # of load, with the receiver and without
# What p99 may become without it; below so many seconds the machine's own noise decides.
RATIO, FLOOR = 1.2, 0.005


def logged(stack: Stack, service: str, field: str, value: str) -> list[dict[str, Any]]:
    """The lines of a service's log, JSON all of them, that have the value."""
    (container,) = stack.containers(service)
    lines = [line for line in docker("logs", container).stdout.splitlines() if line[:1] == "{"]
    return [found for found in map(json.loads, lines) if found.get(field) == value]


def test_a_trace_goes_through_the_gateway_the_service_and_the_database(
    stack: Stack, receiver: Receiver
) -> None:
    """One id is in the client's traceparent, in each span, and in the service's log."""
    response = stack.get("/api/notes", headers=TRACEPARENT)
    assert response.status == 200
    found = eventually(lambda: receiver.spans("GET /notes"), 20, "the request's span")
    (request,) = found
    assert (request["trace_id"], request["parent_id"]) == (TRACE, PARENT)
    below = [span for span in receiver.spans() if span["parent_id"] == request["span_id"]]
    assert len(below) == (2 if HAS_DATABASE else 0)
    for span in below:
        assert span["trace_id"] == TRACE
        assert span["name"] == "SELECT app"
        assert span["attributes"]["db.system.name"] == "postgresql"
        assert span["attributes"]["server.address"] == "db"
    (line,) = eventually(lambda: logged(stack, "app", "trace_id", TRACE), 10, "the log's line")
    request_id = response.headers["X-Request-ID"]
    assert line["request_id"] == request["attributes"]["app.request_id"] == request_id
    assert eventually(lambda: logged(stack, "gateway", "request_id", request_id), 10, "its line")


def own_packages(image: str) -> set[str]:
    """What the image has of the packages that traces need."""
    code = "import importlib.metadata;print(*(d.name for d in importlib.metadata.distributions()))"
    found = docker("run", "--rm", "--network=none", image, "python3", "-c", code).stdout.split()
    return {name for name in found if re.match("opentelemetry|protobuf|requests|googleapis", name)}


def test_an_image_has_the_packages_only_if_the_fork_names_them(
    named_image: str, image: str
) -> None:
    assert bool(own_packages(named_image)) is names_tracing(CHECKOUT)
    assert own_packages(image) >= {"opentelemetry-sdk", "requests"}


def test_a_worker_imports_nothing_of_it_until_an_endpoint_is_named(image: str) -> None:
    for options, expected in (((), False), (ENDPOINT, True)):
        with server(image, *options) as container:
            assert container.get("/notes").status == 200
            modules = container.get("/chaos/modules").data.decode().split()
            assert "drydock.tracing" in modules
            assert bool({"opentelemetry", "requests"} & set(modules)) is expected


def test_each_worker_sends_its_own_spans_after_it_was_forked(
    image: str, receiver: Receiver
) -> None:
    with server(image, *receiver.options, "--env", "WEB_CONCURRENCY=3") as container:
        first = workers(container)[0]

        def instances() -> set[str]:
            with load(container, "--clients", 24, "--seconds", 1) as clients:
                assert clients.result().all_served()
            spans = receiver.spans("GET /hello/{name}")
            return {span["resource"]["service.instance.id"] for span in spans}

        eventually(lambda: len(instances()) == 3, 30, "spans of each worker")
        before = instances()
        docker("exec", container.name, "python3", "-c", f"import os; os.kill({of(first)}, 9)")
        eventually(lambda: first not in workers(container), 10, "it is gone")
        eventually(lambda: instances() - before, 30, "spans of its successor")
        spans = receiver.spans("GET /hello/{name}")
        assert len({span["trace_id"] for span in spans}) == len(spans)
        # The process that forks has none: what a thread holds at that moment, nobody frees.
        assert (
            len(list(Path(f"/proc/{inspect(container.name)['State']['Pid']}/task").iterdir())) == 1
        )


def of(pid: int) -> int:
    """A process's id in its container."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^NSpid:.*\s(\d+)$", status, re.MULTILINE)[0])


def test_a_stop_sends_the_spans_of_the_last_requests(image: str, receiver: Receiver) -> None:
    """Of each request that was served, though none is due for a minute."""
    late = (*receiver.options, "--env", "OTEL_BSP_SCHEDULE_DELAY=60000")
    with server(image, *late) as container:
        with load(container, "--clients", 8, "--pause", 0.05, "--until-refused") as clients:
            time.sleep(1.5)
            began = time.monotonic()
            docker("stop", container.name)
            took = time.monotonic() - began
            result = clients.result()
        assert result.all_served(), result
        assert exit_status(container) == 0
        assert took < 9
        assert container.logs() == ""
        sent = len(receiver.spans("GET /hello/{name}"))
        report(f"{sent} spans of {len(result.seconds)} requests, stopped in {took:.1f} s")
        assert sent == len(result.seconds)


def test_a_step_of_the_background_process_is_a_trace(image: str, receiver: Receiver) -> None:
    command = ("app", "work")
    options = (*HARDENED, *receiver.options, "--env", "WORK_INTERVAL=1", "--no-healthcheck")
    with on_host(image, *options, command=command):
        steps = eventually(lambda: receiver.spans("step"), 20, "a step's span")
        found = [span for span in receiver.spans() if span["trace_id"] == steps[0]["trace_id"]]
        below = [span for span in found if span["parent_id"] == steps[0]["span_id"]]
        statements = ["SELECT"] if HAS_DATABASE else []
        assert [span["attributes"]["db.operation.name"] for span in below] == statements


def served(container: Container, seconds: float = SECONDS) -> Result:
    with load(container, *STEADY, "--path", "/notes", "--seconds", seconds) as clients:
        return clients.result()


@pytest.mark.alone
@pytest.mark.parametrize("how", ["is killed", "hangs"])
def test_a_receiver_that_is_gone_costs_no_request_and_no_time(
    image: str, receiver: Receiver, how: str
) -> None:
    """Killed while requests are served, or alive and mute; and the stop is in time all the same."""
    small = [word for variable in SMALL_QUEUE for word in ("--env", variable)]
    with server(image, *receiver.options, *small) as container:
        served(container, 1)
        for _ in range(3):  # once, unless the machine was busy with something else
            before = served(container)
            with load(container, *STEADY, "--path", "/notes", "--seconds", SECONDS) as clients:
                time.sleep(0.5)
                if how == "is killed":
                    receiver.kill()
                    after = clients.result()
                else:
                    with receiver.hanging():
                        after = clients.result()
            assert before.all_served(), before
            assert after.all_served(), f"{after}\n{container.logs()}"
            if after.percentile(99) < max(RATIO * before.percentile(99), FLOOR):
                break
            if how == "is killed":
                receiver.start()
        p99 = before.percentile(99) * 1000, after.percentile(99) * 1000
        report(f"p99 {p99[0]:.1f} ms; while the receiver {how} {p99[1]:.1f} ms; {after}")
        assert after.percentile(99) < max(RATIO * before.percentile(99), FLOOR)
        if how == "is killed":
            stop_in_time(container)
        else:
            with receiver.hanging():
                container.get("/notes")
                stop_in_time(container)
            assert "the collector did not take the last spans within 2 s" in container.logs()


def stop_in_time(container: Container) -> None:
    began = time.monotonic()
    docker("stop", container.name)
    assert time.monotonic() - began < 9
    assert exit_status(container) == 0


def test_an_image_without_the_packages_serves_and_says_so(probe: str) -> None:
    """A platform may set the variables for all that it runs."""
    if names_tracing(CHECKOUT):
        return
    with server(probe, *ENDPOINT) as container:
        assert container.get("/notes").status == 200
        (line,) = container.logs().splitlines()
        found: dict[str, Any] = json.loads(line)
        assert (found["level"], found["logger"]) == ("warning", "app.tracing")
        assert "requirements/optional.list" in found["message"]


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_PROTOCOL='grpc': Expected http/"),
        ("OTEL_PROPAGATORS=carrier-pigeon", "OpenTelemetry's variables: Propagator carrier-pigeon"),
    ],
)
def test_what_is_wrong_with_a_variable_is_one_line(image: str, variable: str, message: str) -> None:
    done = ended(image, *ENDPOINT, "--env", variable)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {message}")
