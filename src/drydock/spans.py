"""Spans: one for each request, with one for each of its statements; sent to a collector by OTLP.

The names and attributes are OpenTelemetry's: https://opentelemetry.io/docs/specs/semconv/http/ and
.../db/. What clients send is cut as in the log, and the query of an address is left out, as there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.propagators.textmap import Getter, Setter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from werkzeug.wsgi import ClosingIterator

from drydock import logs, metrics
from drydock.server.logger import PROBES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext, ExecutionContext

    from drydock.info import Info

log = logging.getLogger("app.tracing")

# Seconds that a process waits at its end for the collector to take what is left. Below those that
# exit handlers have (drydock.server.process_exit).
FLUSH_SECONDS = 2.0
LONGEST_STATEMENT = 2048  # characters


class Processor(BatchSpanProcessor):
    """Sends spans in a thread of its own; at the end it waits for a bounded time."""

    def shutdown(self) -> None:
        """Send what is left; the SDK's own waits for 30 seconds, and its force_flush for ever.

        https://github.com/open-telemetry/opentelemetry-python/issues/4568
        """
        began = time.monotonic()
        self._batch_processor.shutdown(round(FLUSH_SECONDS * 1000))
        if time.monotonic() - began >= FLUSH_SECONDS:
            log.warning("the collector did not take the last spans within %g s", FLUSH_SECONDS)


class _Fields(Getter["WSGIEnvironment"], Setter["WSGIEnvironment"]):
    """A request's header section, for propagators."""

    def get(self, carrier: WSGIEnvironment, key: str) -> list[str] | None:
        value = carrier.get(_variable(key))
        return None if value is None else [value]

    def keys(self, carrier: WSGIEnvironment) -> list[str]:
        return [name for name in carrier if name.startswith("HTTP_")]

    def set(self, carrier: WSGIEnvironment, key: str, value: str) -> None:
        carrier[_variable(key)] = value


def _variable(field: str) -> str:
    return f"HTTP_{field.upper().replace('-', '_')}"


FIELDS = _Fields()
W3C = TraceContextTextMapPropagator()


class Tracing:
    """Makes the spans of one application, in whichever process it runs.

    A thread does not survive a fork, and a lock may be taken at that moment: so each process starts
    what sends spans when it makes its first one, and the process that forks never does.
    https://github.com/open-telemetry/opentelemetry-python/issues/4748
    """

    def __init__(self, about: Info) -> None:
        """Prepare what processes can share; no thread is started, and nothing connected.

        Raises:
            OSError: if a certificate that the environment names is not there.
            ValueError: if a variable is wrong.

        """
        self._about = about
        # The certificates of the system, as for all else in the image, and not those of a wheel.
        names = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")
        own = any(os.environ.get(name) for name in names)
        certificates = None if own else ssl.get_default_verify_paths().cafile
        self._exporter = OTLPSpanExporter(certificate_file=certificates)
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._tracer: Tracer | None = None

    @property
    def tracer(self) -> Tracer:
        """This process's tracer."""
        if self._tracer is None:
            with self._lock:
                if self._tracer is None:
                    self._tracer = self._start()
        return self._tracer

    def _start(self) -> Tracer:
        """Start to send spans; what is wrong costs the traces, but no request."""
        try:
            provider = TracerProvider(resource=self._resource())
            provider.add_span_processor(Processor(self._exporter))
        except (RuntimeError, ValueError) as error:  # no thread can be started; a bad OTEL_BSP_*
            log.error("this process makes no traces: %s", error)
            return trace.NoOpTracer()
        # For the service's own spans, and for its libraries'.
        trace.set_tracer_provider(provider)
        return provider.get_tracer("drydock")

    def _resource(self) -> Resource:
        """What made the spans; the environment (OTEL_SERVICE_NAME ...) takes precedence."""
        own = {
            "service.name": self._about.name,
            "service.version": self._about.version,
            "service.instance.id": uuid.uuid4().hex,  # of this process
            "deployment.environment.name": self._about.environment,
        }
        return Resource.create().merge(Resource(own)).merge(OTELResourceDetector().detect())

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time what is done in `with`; the log's lines have its trace id, if they had none."""
        with self.tracer.start_as_current_span(name) as span:
            request_id, trace_id = logs.current_ids.get()
            own = trace.format_trace_id(span.get_span_context().trace_id)
            token = logs.current_ids.set((request_id, trace_id or own))
            try:
                yield
            finally:
                logs.current_ids.reset(token)

    def middleware(self, application: WSGIApplication) -> Requests:
        """Wrap `application`: each request is a span."""
        return Requests(application, self)

    def watch(self, engine: Engine) -> None:
        """Make each statement of a request or a step a span below its own."""
        # Imported here: a service may have no database.
        from sqlalchemy import event

        statements = Statements(engine, self)
        event.listen(engine, "before_cursor_execute", statements.begin, retval=True)
        event.listen(engine, "after_cursor_execute", statements.end)
        event.listen(engine, "handle_error", statements.fail)


class Requests:
    """Makes a span of each request but the probes'."""

    def __init__(self, application: WSGIApplication, tracing: Tracing) -> None:
        """Wrap `application`."""
        self.application = application
        self.tracing = tracing

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request."""
        if environ["PATH_INFO"] in PROBES:
            return self.application(environ, start_response)
        method = environ["REQUEST_METHOD"]
        known = method if method in metrics.METHODS else "HTTP"
        parent = extract(environ, getter=FIELDS)
        span = self.tracing.tracer.start_span(known, parent, SpanKind.SERVER)
        current = trace.set_span_in_context(span, parent)
        # From now on the request belongs to this span: for the log, which takes its trace id from
        # here, and for what the service sends on.
        W3C.inject(environ, current, FIELDS)
        token = attach(current)
        status = "500"

        def start(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:  # noqa: ANN401
            nonlocal status
            status = line[:3]
            return start_response(line, headers, exc_info)

        def finish() -> None:
            detach(token)
            if span.is_recording():
                _describe(span, known, environ, int(status))
            span.end()

        try:
            body = self.application(environ, start)
        except BaseException:
            finish()
            raise
        return ClosingIterator(body, [finish])


def _describe(span: Span, method: str, environ: WSGIEnvironment, status: int) -> None:
    """Say what the request was, as the log's line of it does."""
    attributes = {
        "http.request.method": "_OTHER" if method == "HTTP" else method,
        "http.response.status_code": status,
        "url.path": str(environ.get("PATH_INFO", ""))[:256],
        "url.scheme": environ["wsgi.url_scheme"],
        "client.address": environ.get("REMOTE_ADDR", "")[:64],
        "user_agent.original": environ.get("HTTP_USER_AGENT", "")[:128],
        "app.request_id": environ.get("app.request_id", ""),
    }
    if route := environ.get("app.route"):
        attributes["http.route"] = route
        span.update_name(f"{method} {route}")
    if status >= 500:  # noqa: PLR2004 (a client's error is none of the service's)
        attributes["error.type"] = str(status)
        span.set_status(StatusCode.ERROR)
    span.set_attributes(attributes)


class Statements:
    """Makes a span of each statement, where the span above it is one that is recorded."""

    def __init__(self, engine: Engine, tracing: Tracing) -> None:
        """Describe the statements of `engine` by its address."""
        url = engine.url
        self.tracing = tracing
        self.is_postgresql = engine.dialect.name == "postgresql"
        self.attributes: dict[str, str | int] = {
            "db.system.name": engine.dialect.name,
            "db.namespace": url.database or "",
        }
        if url.host:
            self.attributes |= {"server.address": url.host, "server.port": url.port or 5432}

    def begin(
        self,
        _connection: Connection,
        _cursor: object,
        statement: str,
        parameters: object,
        context: ExecutionContext | None,
        _many: bool,
    ) -> tuple[str, object]:
        """Begin a span."""
        if context is None or not trace.get_current_span().is_recording():
            return statement, parameters
        words = statement.split(maxsplit=1)
        operation = words[0].upper() if words else "statement"
        attributes = self.attributes | {
            "db.operation.name": operation,
            # With placeholders: the values are clients' data.
            "db.query.text": statement[:LONGEST_STATEMENT],
        }
        span = self.tracing.tracer.start_span(
            f"{operation} {self.attributes['db.namespace']}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
        )
        context.drydock_span = span  # type: ignore[attr-defined]
        return statement, parameters

    def end(self, *arguments: Any) -> None:  # noqa: ANN401 (SQLAlchemy's, the context among them)
        """End the span."""
        self._take(arguments[4]).end()

    def fail(self, error: ExceptionContext) -> None:
        """End the span of a statement that failed, without what the database said of values."""
        span = self._take(error.execution_context)
        kind = getattr(error.original_exception, "sqlstate", None)
        span.set_attribute("error.type", kind or type(error.original_exception).__name__)
        span.set_status(StatusCode.ERROR)
        span.end()

    @staticmethod
    def _take(context: ExecutionContext | None) -> Span:
        """The span of a statement, once; one that does nothing where there is none."""
        found: Span | None = vars(context).pop("drydock_span", None) if context else None
        return found or trace.INVALID_SPAN
