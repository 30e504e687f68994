"""Traces: a span for each request and each of its statements, and what they cost nobody."""

from __future__ import annotations

import json
import logging
import os
import re
import ssl
import threading
import time
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from drydock import State, logs, spans, tracing
from drydock.failures import StartError
from drydock.info import Info

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from applications import Build

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
ABOUT = Info(
    name="notes",
    version="1.2.3",
    revision=None,
    environment="staging",
    python_version="3",
    started_at="",
)
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the developer's machine do not count."""
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Keep spans here in place of sending them, as soon as each ends."""
    memory = InMemorySpanExporter()
    monkeypatch.setattr(spans, "OTLPSpanExporter", lambda **_: memory)
    monkeypatch.setattr(spans, "Processor", SimpleSpanProcessor)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    return memory


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str], restored_logging: None) -> Any:  # noqa: ARG001
    """What has been logged since, as objects."""
    return lambda: [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def made(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """The one request's span, and those of its statements."""
    finished = exporter.get_finished_spans()
    (request,) = [span for span in finished if span.kind is SpanKind.SERVER]
    return request, [span for span in finished if span.kind is SpanKind.CLIENT]


def trace_id(span: ReadableSpan | trace.Span) -> str:
    context = span.get_span_context()
    assert context is not None
    return trace.format_trace_id(context.trace_id)


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://[::1]:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SERVICE_NAME": "notes"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": " TRUE "}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": ""}, True),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_an_endpoint_turns_it_on(environ: dict[str, str], wanted: bool) -> None:
    assert tracing.is_wanted(environ) is wanted


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
            "OTEL_EXPORTER_OTLP_ENDPOINT: Not an address. Expected one such as"
            " http://collector:4318.",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1"},
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Not an address. Expected one such as"
            " http://collector:4318.",
        ),
        (
            ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL='grpc': Expected http/protobuf, for which collectors have"
            " port 4318.",
        ),
        (
            ENDPOINT
            | {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json",
            },
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL='http/json': Expected http/protobuf, for which"
            " collectors have port 4318.",
        ),
        (
            ENDPOINT | {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER='zipkin': Expected otlp or none.",
        ),
    ],
)
def test_what_it_can_t_do_is_one_clear_line(environ: dict[str, str], message: str) -> None:
    with pytest.raises(StartError) as error:
        tracing.is_wanted(environ)
    assert str(error.value) == message


def test_an_image_without_the_packages_serves_and_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "drydock.spans", None)
    monkeypatch.delattr("drydock.spans")
    with pytest.raises(ModuleNotFoundError):  # something else that is missing is not hidden
        tracing.begin(ABOUT, ENDPOINT)
    monkeypatch.delitem(__import__("sys").modules, "drydock.spans")
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    assert tracing.begin(ABOUT, ENDPOINT) is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "requirements/optional.list" in record.message


def test_a_variable_that_the_sdk_rejects_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(_about: Info) -> None:
        raise ValueError("Propagator x not found.")

    monkeypatch.setattr(spans, "Tracing", reject)
    with pytest.raises(StartError, match=r"^OpenTelemetry's variables: Propagator x not found\.$"):
        tracing.begin(ABOUT, ENDPOINT)


def test_a_request_is_a_span_below_its_client_s(
    build: Build, exporter: InMemorySpanExporter
) -> None:
    client = build().test_client()
    response = client.get(
        "/notes/7?secret=1",
        headers=TRACEPARENT | {"tracestate": "vendor=1", "User-Agent": "x" * 500},
    )
    request, _ = made(exporter)
    assert request.name == "GET /notes/{note_id}"
    assert trace_id(request) == TRACE
    assert request.parent is not None
    assert trace.format_span_id(request.parent.span_id) == PARENT
    assert request.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "http.route": "/notes/{note_id}",
        "url.path": "/notes/7",
        "url.scheme": "http",
        "client.address": "127.0.0.1",
        "user_agent.original": "x" * 128,
        "app.request_id": response.headers["X-Request-ID"],
    }
    assert request.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("traceparent", [None, "00-" + "0" * 32 + f"-{PARENT}-01", "nonsense"])
def test_without_a_valid_parent_it_begins_a_trace(
    build: Build, exporter: InMemorySpanExporter, traceparent: str | None
) -> None:
    client = build().test_client()
    client.get("/", headers={"traceparent": traceparent} if traceparent else {})
    request, _ = made(exporter)
    assert request.parent is None


@pytest.mark.parametrize(
    ("method", "path", "name", "shown"),
    [("BREW", "/", "HTTP", "_OTHER"), ("GET", "/none", "GET", "GET")],
)
def test_what_clients_make_up_is_no_name(
    build: Build, exporter: InMemorySpanExporter, method: str, path: str, name: str, shown: str
) -> None:
    """Each name costs a collector memory."""
    build().test_client().open(path, method=method)
    request, _ = made(exporter)
    assert request.name == name
    assert request.attributes is not None
    assert request.attributes["http.request.method"] == shown
    assert "http.route" not in request.attributes


@pytest.mark.database
def test_each_statement_is_a_span_below_the_request_s(
    build: Build, exporter: InMemorySpanExporter
) -> None:
    app = build()
    app.test_client().get("/notes")
    request, statements = made(exporter)
    assert len(statements) == 2
    assert [span.name.split()[0] for span in statements] == ["SELECT"] * 2
    for span in statements:
        assert span.parent == request.get_span_context()
        assert span.attributes is not None
        assert span.attributes["db.system.name"] == State.of(app).engine.dialect.name
        assert str(span.attributes["db.query.text"]).startswith("SELECT ")


@pytest.mark.database
def test_a_statement_s_values_are_not_in_its_span(
    build: Build, exporter: InMemorySpanExporter
) -> None:
    client = build().test_client()
    headers = {"Authorization": "Bearer t0ken"}
    for _ in range(2):  # the second fails in the database, which quotes the value
        client.post("/notes", json={"title": "hunter2"}, headers=headers)
    failed = [
        span
        for span in exporter.get_finished_spans()
        if span.status.status_code is StatusCode.ERROR
    ]
    (insert,) = failed
    assert insert.name.startswith("INSERT ")
    assert insert.attributes is not None
    assert insert.attributes["error.type"] in ("23505", "IntegrityError")
    assert "hunter2" not in "".join(span.to_json() for span in exporter.get_finished_spans())


@pytest.mark.database
def test_what_is_not_a_request_s_is_no_span(build: Build, exporter: InMemorySpanExporter) -> None:
    """The readiness probe asks the database once a second, for as long as the service lives."""
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    app = build()
    client = app.test_client()
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200
    with State.of(app).engine.connect() as connection, pytest.raises(SQLAlchemyError):
        connection.execute(text("SELECT * FROM nowhere"))
    assert exporter.get_finished_spans() == ()


def test_an_error_of_the_service_s_is_one_of_the_span_s(
    build: Build, exporter: InMemorySpanExporter
) -> None:
    app = build()

    def broken() -> str:
        raise RuntimeError("broken")

    app.add_url_rule("/broken", view_func=broken)
    assert app.test_client().get("/broken").status_code == 500
    request, _ = made(exporter)
    assert request.status.status_code is StatusCode.ERROR
    assert request.attributes is not None
    assert request.attributes["error.type"] == "500"


def test_an_application_that_raises_still_ends_its_span(exporter: InMemorySpanExporter) -> None:
    def application(*_: object) -> list[bytes]:
        raise KeyboardInterrupt

    wrapped = spans.Tracing(ABOUT).middleware(application)
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
    with pytest.raises(KeyboardInterrupt):
        wrapped(environ, lambda *_: lambda _: None)
    request, _ = made(exporter)
    assert request.status.status_code is StatusCode.ERROR
    assert not trace.get_current_span().is_recording()


@pytest.mark.parametrize("headers", [{}, TRACEPARENT])
@pytest.mark.parametrize("sampler", ["parentbased_always_on", "always_off"])
def test_the_log_s_trace_id_is_the_span_s(
    build: Build,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    lines: Any,
    headers: dict[str, str],
    sampler: str,
) -> None:
    """Also of one that is not sampled: what comes after it may be."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    app = build()
    seen = []

    def view() -> str:
        logging.getLogger("app").warning("here")
        seen.append(trace_id(trace.get_current_span()))
        return ""

    app.add_url_rule("/here", view_func=view)
    lines()
    app.test_client().get("/here", headers=headers)
    (line,) = [line for line in lines() if line["message"] == "here"]
    assert [line["trace_id"]] == seen
    if headers:
        assert seen == [TRACE]
    finished = exporter.get_finished_spans()
    assert [trace_id(span) for span in finished] == ([] if sampler == "always_off" else seen)


def test_what_the_service_sends_on_names_the_span_as_parent(
    build: Build, exporter: InMemorySpanExporter
) -> None:
    app = build()
    seen = []

    def view() -> str:
        from flask import request

        seen.append(request.headers["traceparent"])
        return ""

    app.add_url_rule("/here", view_func=view)
    app.test_client().get("/here", headers=TRACEPARENT)
    request, _ = made(exporter)
    context = request.get_span_context()
    assert context is not None
    assert seen == [f"00-{TRACE}-{trace.format_span_id(context.span_id)}-01"]


def test_a_span_of_the_service_s_own(
    build: Build, exporter: InMemorySpanExporter, lines: Any
) -> None:
    app = build()
    with State.of(app).span("resize"):
        logging.getLogger("app").warning("here")
    (span,) = exporter.get_finished_spans()
    assert span.name == "resize"
    assert [line["trace_id"] for line in lines() if line["message"] == "here"] == [trace_id(span)]
    assert logs.current_ids.get() == (None, None)


def test_off_such_a_span_is_nothing(build: Build) -> None:
    with State.of(build()).span("resize"):
        assert not trace.get_current_span().get_span_context().is_valid


def test_the_environment_names_the_service(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=9,team=notes")
    with spans.Tracing(ABOUT).span("one"):
        pass
    monkeypatch.setenv("OTEL_SERVICE_NAME", "other")
    with spans.Tracing(ABOUT).span("two"):
        pass
    one, two = (span.resource.attributes for span in exporter.get_finished_spans())
    assert (one["service.name"], two["service.name"]) == ("notes", "other")
    assert (one["service.version"], one["team"]) == ("9", "notes")
    assert one["deployment.environment.name"] == "staging"
    assert re.fullmatch("[0-9a-f]{32}", str(one["service.instance.id"]))
    assert one["service.instance.id"] != two["service.instance.id"]


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("OTEL_SERVICE_NAME", ssl.get_default_verify_paths().cafile),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", None),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", None),
    ],
)
def test_the_collector_is_verified_by_the_system_s_certificates_or_named_ones(
    monkeypatch: pytest.MonkeyPatch, variable: str, expected: str | None
) -> None:
    """None leaves the choice to the exporter, which reads the variables itself."""
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(spans, "OTLPSpanExporter", lambda **options: given.append(options))
    monkeypatch.setenv(variable, "x")
    spans.Tracing(ABOUT)
    assert given == [{"certificate_file": expected}]


def test_a_forked_process_starts_its_own(exporter: InMemorySpanExporter) -> None:  # noqa: ARG001
    """And makes other ids than its parent; nothing is started before the first span."""
    threads = threading.active_count()
    made_before = spans.Tracing(ABOUT)
    assert made_before._tracer is None
    assert threading.active_count() == threads
    reader, writer = os.pipe()
    for _ in range(2):
        child = fork()
        if not child:
            with made_before.span("one"):
                os.write(writer, trace_id(trace.get_current_span()).encode())
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    found = os.read(reader, 1000).decode()
    os.close(reader)
    os.close(writer)
    assert len({found[:32], found[32:]}) == 2
    assert made_before._tracer is None
    with made_before.span("one"):
        pass
    assert made_before._tracer is not None
    child = fork()
    if not child:
        os._exit(made_before._tracer is not None)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    "problem", [RuntimeError("can't start new thread"), ValueError("negative")]
)
def test_where_none_can_be_sent_requests_are_served(
    build: Build,
    exporter: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    lines: Any,
    problem: Exception,
) -> None:
    def fail(_exporter: object) -> None:
        raise problem

    monkeypatch.setattr(spans, "Processor", fail)
    client = build().test_client()
    lines()
    for _ in range(2):
        assert client.get("/notes").status_code == 200
    assert exporter.get_finished_spans() == ()
    (line,) = [line for line in lines() if line["logger"] == "app.tracing"]
    assert line["message"] == f"this process makes no traces: {problem}"


def fork() -> int:
    """os.fork(), without its warning: pytest and applications of other tests have threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class Hanging(SpanExporter):
    """A collector that takes what is sent, and never responds."""

    def __init__(self) -> None:
        self.never = threading.Event()

    def export(self, _spans: object) -> SpanExportResult:
        self.never.wait(60)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None: ...


def test_a_collector_that_hangs_delays_an_end_by_a_bound(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spans, "FLUSH_SECONDS", 0.2)
    exporter = Hanging()
    processor = spans.Processor(exporter)
    sampled = SimpleNamespace(trace_flags=SimpleNamespace(sampled=True))
    processor.on_end(SimpleNamespace(context=sampled))  # type: ignore[arg-type]
    began = time.monotonic()
    processor.shutdown()
    assert time.monotonic() - began < 10
    exporter.never.set()
    assert [record.message for record in caplog.records] == [
        "the collector did not take the last spans within 0.2 s"
    ]
