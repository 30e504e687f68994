"""Tracing: on where OpenTelemetry's own variables ask for it, and the image has its packages.

Where it is off nothing of it is imported: drydock.spans has all that needs the packages.
docs/tracing.md; https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from drydock.failures import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drydock.info import Info
    from drydock.spans import Tracing

log = logging.getLogger("app.tracing")


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """The first of the variables that is set to something, and its value."""
    return next(((name, environ[name]) for name in names if environ.get(name)), (names[-1], ""))


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the variables ask for traces: an endpoint is named, and nothing turns them off.

    Without an endpoint OpenTelemetry would send them to localhost, where nobody listens.

    Raises:
        StartError: with one line, if they ask for what this service does not have.

    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    name, endpoint = _first(
        environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    exporter = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    if not endpoint or exporter == "none":
        return False
    if exporter != "otlp":
        raise StartError(f"OTEL_TRACES_EXPORTER={exporter!r}: Expected otlp or none.")
    try:
        parts = urlsplit(endpoint)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_address = False
    if not is_address:  # not shown: it may hold a password
        raise StartError(f"{name}: Not an address. Expected one such as http://collector:4318.")
    name, protocol = _first(
        environ, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    if protocol not in ("", "http/protobuf"):
        raise StartError(
            f"{name}={protocol!r}: Expected http/protobuf, for which collectors have port 4318."
        )
    return True


def begin(about: Info, environ: Mapping[str, str] = os.environ) -> Tracing | None:
    """What makes spans, ready for each process that is forked from this one; None where it is off.

    An image without the packages serves all the same, and says so in one line: the variables may be
    those of a whole platform.

    Raises:
        StartError: with one line for what is wrong with a variable.

    """
    if not is_wanted(environ):
        return None
    try:
        from drydock import spans

        return spans.Tracing(about)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "opentelemetry":
            raise
        log.warning(
            "OpenTelemetry's variables ask for traces, but this image can't make any: `tracing` is"
            " not in its requirements/optional.list"
        )
        return None
    except (OSError, ValueError) as error:  # an unknown propagator, a certificate that is not there
        raise StartError(f"OpenTelemetry's variables: {error}") from None
