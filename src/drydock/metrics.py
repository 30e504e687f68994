"""Metrics for Prometheus, summed over all workers.

Each worker keeps its numbers in files that all can read (prometheus_client's multiprocess mode).
They are named by the worker's slot and not by its process id: the worker that replaces another
goes on counting in the same files. So their number is bounded however often workers are recycled,
and no count is lost. https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

import functools
import os
import socket
import threading
import time
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Literal, get_args
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from drydock.failures import not_bound
from drydock.server import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"  # the variable that prometheus_client reads
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

STARTED = time.time()  # seconds since 1970: of the service, for workers are forked later

_slots = ["main"]  # the one that this process counts in
on_entry: list[Callable[[int], None]] = []  # each gets the number of a new worker's threads


def _current_slot() -> str:
    return _slots[0]


if DIRECTORY in os.environ:
    values.ValueClass = values.MultiProcessValue(_current_slot)

requests = Counter("http_requests_total", "Requests served.", ("method", "route", "status"))
durations = Histogram(
    "http_request_duration_seconds", "Time until the response was ready.", ("method", "route")
)
writers = Counter(
    "app_token_requests_total",
    "Requests with a valid token, by its place in API_TOKEN: 2 is the old one, while it changes.",
    ("place",),
)
in_flight = Gauge("http_requests_in_flight", "Requests in flight.", multiprocess_mode="livesum")
queued = Gauge(
    "http_requests_queued", "Requests that wait for a thread.", multiprocess_mode="livesum"
)
open_connections = Gauge(
    "http_connections", "Connections that clients have open.", multiprocess_mode="livesum"
)
open_connections_limit = Gauge(
    "http_connections_limit", "Connections that clients may have.", multiprocess_mode="livesum"
)
workers = Gauge("app_workers", "Worker processes.", multiprocess_mode="livesum")
threads = Gauge("app_threads", "Threads that serve requests.", multiprocess_mode="livesum")
workers_crashed = Counter(
    "app_workers_crashed_total", "Worker processes that ended without being asked to."
)
dropped = Counter(
    "http_connections_dropped_total",
    "Connections that the server dropped, by the bound that they exceeded.",
    ("reason",),
)
DropReason = Literal["body", "head", "idle", "memory", "overload", "send", "slow"]
# There from the start, as 0: of a series that begins with 5 Prometheus sees no increase.
for _reason in get_args(DropReason):
    dropped.labels(_reason)
rejected = Counter(
    "http_requests_rejected_total",
    "Requests that were not valid or too large, and never reached the application.",
    ("status",),
)
log_lines_dropped = Counter("log_lines_dropped_total", "Log lines that were not read in time.")
build = Gauge(
    "app_build_info",
    "Always 1; its labels say what runs.",
    ("version", "revision", "python"),
    multiprocess_mode="max",
)


@functools.lru_cache(maxsize=1024)
def _labelled(method: str, route: str, status: str) -> tuple[Counter, Histogram]:
    return requests.labels(method, route, status), durations.labels(method, route)


def count(method: str, route: str | None, status: str, seconds: float) -> None:
    """Count a request that was served; all unknown methods share one label value, as do routes."""
    method = method if method in METHODS else "other"
    counter, histogram = _labelled(method, route or "unmatched", status)
    counter.inc()
    histogram.observe(seconds)


def enter_slot(slot: int, size: int) -> None:
    """Make this process, a new worker with `size` threads, count in the files of `slot`."""
    _slots[0] = str(slot)
    workers.set(1)
    threads.set(size)
    for note in on_entry:
        note(size)


def leave_slot(slot: int) -> None:
    """Remove what a worker that has ended had in flight; its counts stay."""
    if DIRECTORY in os.environ:  # otherwise there is nothing to remove, and it would fail
        mark_process_dead(slot)


class Container(Collector):
    """What is true of the container as a whole, read when it is asked for."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield its start, its memory, and the limit of that if there is one."""
        start = GaugeMetricFamily(
            "app_start_time_seconds",
            "When the service started; the label says in which container, by its host name.",
            labels=("container",),
        )
        start.add_metric([socket.gethostname()], STARTED)
        yield start
        used, limit = limits.memory_used(), limits.read().memory
        if used is not None:
            about = "Memory of the container, without files that the kernel can drop."
            yield GaugeMetricFamily("app_memory_bytes", about, used)
        if limit is not None:
            yield GaugeMetricFamily("app_memory_limit_bytes", "Memory allowed.", limit)


REGISTRY.register(Container())


def _registry() -> CollectorRegistry:
    if DIRECTORY not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    registry.register(Container())
    return registry


def render(accept: str) -> tuple[bytes, str]:
    """All metrics, and their type, for a client that sent `accept` in its field Accept."""
    encoder, content_type = choose_encoder(accept)
    return encoder(_registry()), content_type


class MetricsPort:
    """Serves the metrics at their own port, and nothing else there."""

    def __init__(self, application: WSGIApplication, port: int) -> None:
        """Wrap `application`, which is served at every other port."""
        self.application = application
        self.port = str(port)
        self.metrics = make_wsgi_app(_registry())

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:  # noqa: ANN401
        """Respond to a request."""
        # The server takes SERVER_PORT from its own socket, not from what the client says.
        if environ["SERVER_PORT"] != self.port:
            return self.application(environ, start_response)
        environ["app.metrics"] = True
        if environ["PATH_INFO"] == "/metrics" and environ["REQUEST_METHOD"] == "GET":
            return self.metrics(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"the metrics are at /metrics\n"]


class _Handler(WSGIRequestHandler):
    timeout = 5  # seconds, for a client that sends nothing or reads nothing

    def log_message(self, *_: object) -> None:
        """Log nothing: nobody asks who reads the metrics."""


class _Server(ThreadingMixIn, WSGIServer):
    """Serves a few clients at a time, and closes the connection of any further one."""

    daemon_threads = True
    room = threading.Semaphore(4)

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of the host's name: a resolver can hang."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve a client in a thread, if there is room."""
        if self.room.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no thread could be started
                self.room.release()
                self.shutdown_request(request)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve a client, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()

    def handle_error(self, *_: object) -> None:
        """Nothing: a client that goes away would print a trace."""


class _Server6(_Server):
    address_family = socket.AF_INET6


def serve(host: str, port: int) -> None:
    """Serve the metrics of this process alone at `host` and `port`, in a thread: it is no worker.

    Raises:
        StartError: with one line, if they can't be listened on.

    """
    application = MetricsPort(make_wsgi_app(), port)
    try:
        kind = _Server6 if ":" in host else _Server
        server = make_server(host, port, application, kind, _Handler)
    except OSError as error:
        raise not_bound(host, "METRICS_PORT", port, error) from None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
