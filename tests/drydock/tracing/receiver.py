"""A receiver of traces (OTLP over HTTP) as a process: oteltest's, which prints a line a span."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict
from oteltest.sink import HttpSink
from oteltest.sink.handler import PrintHandler

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def values(attributes: Iterable[Any]) -> dict[str, Any]:
    """Attributes by name; a whole number comes as text."""
    return {each.key: next(iter(MessageToDict(each.value).values())) for each in attributes}


class Handler(PrintHandler):
    """Prints each span as a JSON object."""

    def handle_trace(self, request: ExportTraceServiceRequest, context: object) -> None:  # noqa: ARG002
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    line = {
                        "name": span.name,
                        "trace_id": span.trace_id.hex(),
                        "span_id": span.span_id.hex(),
                        "parent_id": span.parent_span_id.hex(),
                        "attributes": values(span.attributes),
                        "resource": values(resource.resource.attributes),
                    }
                    sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    HttpSink(Handler(), logging.getLogger(), int(sys.argv[1]), daemon=False).start()
