"""The metrics: what is counted, where, and over how many processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from drydock.middleware import Observe

if TYPE_CHECKING:
    from pathlib import Path

    from applications import Build


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_requests_are_counted_by_method_route_and_status(build: Build) -> None:
    client = build().test_client()
    labels = {"method": "GET", "route": "/hello/{name}", "status": "200"}
    before = value("http_requests_total", **labels)
    for name in "abc":
        client.get(f"/hello/{name}")
    assert value("http_requests_total", **labels) == before + 3
    assert value("http_request_duration_seconds_count", method="GET", route="/hello/{name}") >= 3
    assert value("http_requests_in_flight") == 0


def test_a_request_takes_as_long_as_it_takes(build: Build) -> None:
    app = build()

    @app.get("/nap")
    def nap() -> str:
        time.sleep(0.05)
        return "up"

    seconds = ("http_request_duration_seconds_sum", {"method": "GET", "route": "/nap"})
    app.test_client().get("/nap")
    assert 0.05 <= value(seconds[0], **seconds[1]) < 5


def test_a_request_is_a_500_if_the_application_ends_before_it_has_a_status() -> None:
    def ends(*_: object) -> list[bytes]:
        raise SystemExit

    labels = {"method": "GET", "route": "unmatched", "status": "500"}
    before = value("http_requests_total", **labels)
    with pytest.raises(SystemExit):
        Observe(ends)({"REQUEST_METHOD": "GET"}, lambda *_: lambda _: None)
    assert value("http_requests_total", **labels) == before + 1
    assert value("http_requests_in_flight") == 0


def test_what_is_unknown_shares_one_label_value(build: Build) -> None:
    client = build().test_client()
    labels = {"method": "other", "route": "unmatched", "status": "405"}
    before = value("http_requests_total", **labels)
    for method in ("BREW", "WHEN"):
        client.open("/notes", method=method)
    assert value("http_requests_total", **labels) == before + 2
    labels = {"method": "GET", "route": "unmatched", "status": "404"}
    before = value("http_requests_total", **labels)
    for path in ("/a", "/b"):
        client.get(path)
    assert value("http_requests_total", **labels) == before + 2


def test_the_build_is_named(build: Build) -> None:
    build()
    samples = [s for metric in REGISTRY.collect() for s in metric.samples]
    found = [s.labels for s in samples if s.name == "app_build_info"]
    assert "abc123" in [labels["revision"] for labels in found]


def test_the_container_s_start_is_the_same_whenever_it_is_asked_for(build: Build) -> None:
    """A restart is a change of it; so nothing else may be."""
    client = build(metrics_port=9464).test_client()
    seen: set[str] = set()
    for _ in range(2):
        text = client.get("/metrics", base_url="http://localhost:9464").get_data(as_text=True)
        seen.update(line for line in text.splitlines() if line.startswith("app_start_time_seconds"))
    (line,) = seen
    assert 0 < time.time() - float(line.split()[1]) < 3600
    assert f'container="{socket.gethostname()}"' in line


def test_they_are_at_their_own_port_and_nothing_else_is(build: Build) -> None:
    client = build(metrics_port=9464).test_client()
    metrics = client.get("/metrics", base_url="http://localhost:9464")
    assert metrics.status_code == 200
    assert "http_requests_total" in metrics.get_data(as_text=True)
    assert client.get("/metrics").status_code == 404
    assert client.get("/hello/x", base_url="http://localhost:9464").status_code == 404
    assert client.post("/metrics", base_url="http://localhost:9464").status_code == 404


def test_port_0_turns_them_off(build: Build) -> None:
    client = build(metrics_port=0).test_client()
    assert client.get("/metrics", base_url="http://localhost:9464").status_code == 404


def test_the_server_s_settings_are_made_before_the_metrics_are_imported() -> None:
    """They set the directory: later, each worker would show its own numbers alone."""
    code = "import sys, drydock.server.config; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


WORKERS = """
import os, sys
from drydock import metrics
def worker(slot):
    pid = os.fork()
    if pid == 0:
        metrics.enter_slot(slot, 4)
        metrics.in_flight.inc()
        metrics.count("GET", "/x", "200", 0.1)
        os._exit(0)
    os.waitpid(pid, 0)
for life in range(20):
    for slot in (0, 1):
        worker(slot)
        metrics.leave_slot(slot)
worker(0)
def start(*_): pass
out = b"".join(metrics.MetricsPort(None, 9464)(
    {"SERVER_PORT": "9464", "PATH_INFO": "/metrics", "REQUEST_METHOD": "GET"}, start))
print(out.decode())
"""


def test_recycled_workers_lose_no_count_and_leave_no_file_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORKERS],
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    printed = done.stdout
    assert 'http_requests_total{method="GET",route="/x",status="200"} 41.0' in printed
    assert "http_requests_in_flight 1.0" in printed
    assert "app_workers 1.0" in printed
    assert "app_database_connections" not in printed
    assert "app_threads 4.0" in printed
    assert 'app_start_time_seconds{container="' in printed
    assert len(list(tmp_path.iterdir())) <= 8


@pytest.mark.database
def test_each_worker_counts_its_connections_where_there_is_a_database(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import drydock.database\n{WORKERS}"],
        env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "app_database_connections_limit 4.0" in done.stdout


def test_without_them_a_worker_can_end_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception here would end the arbiter, and with it the service."""
    from drydock import metrics

    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics.leave_slot(0)


@pytest.mark.parametrize("again", [False, True])
def test_the_directory_is_wiped_at_start_and_not_at_a_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    from drydock.server.hooks import use_metrics_directory

    directory = tmp_path / "metrics"
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory) if again else "")
    directory.mkdir()
    (directory / "counter_0.db").touch()
    use_metrics_directory(directory, workers=2)
    assert (directory / "counter_0.db").exists() == again
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(directory)
