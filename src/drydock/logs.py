"""What the process prints: one JSON object a line on standard output, or text for people.

Nothing that a client sends can end a line or begin one: JSON escapes it, and so does the text
format. A line is written by a single call, so that processes that share standard output do not
mix theirs.
"""

from __future__ import annotations

import datetime
import functools
import logging
import os
import re
import uuid
from contextvars import ContextVar
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any

from pythonjsonlogger.json import JsonFormatter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drydock.settings import BaseSettings

# The ids of the request that this thread serves: its own, and its trace's if it belongs to one.
current_ids: ContextVar[tuple[str | None, str | None]] = ContextVar("ids", default=(None, None))

# What a pipe takes whole, from however many processes (PIPE_BUF). The trace of an error may be
# longer; what a client can send must not be.
LONGEST = 4096  # bytes of a line
CUT = 256  # characters of a message that is too long: no more than 6 bytes each when escaped

# The template's loggers are called app, app.access, app.database and so on: people search logs by
# these names, which outlive the modules'.

REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _write(data: bytes) -> None:
    """Write all bytes to standard output, and wait for its reader if necessary."""
    while data:
        data = data[os.write(1, data) :]


# Writes the bytes of a line. The server sets its own function, which never waits.
write: Callable[[bytes], None] = _write


def encoded(line: str) -> bytes:
    """The line with its end, as it is written."""
    return line.encode("utf-8", "backslashreplace") + b"\n"


def write_line(line: str) -> None:
    """Write a line to standard output, whole."""
    write(encoded(line))


def escaped(text: str) -> str:
    """The text with line ends, terminal codes and other control characters made visible."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def request_id(given: str) -> str:
    """The client's X-Request-ID if it is well formed, else a new one."""
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


@functools.lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def timestamp(seconds: float) -> str:
    """A time in RFC 3339 format, UTC, with milliseconds; `seconds` since 1970."""
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{microseconds // 1000:03}Z"


class Json(JsonFormatter):
    """A log record as one JSON object."""

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        """Put the fields that every line has first, in the same order."""
        request_id, trace_id = current_ids.get()
        log_data.update(
            time=timestamp(record.created),
            level=record.levelname.lower(),
            logger=record.name,
            message=record.getMessage(),
            request_id=request_id,
            trace_id=trace_id,
        )
        super().add_fields(log_data, record, message_dict)


class Text(logging.Formatter):
    """A log record as a line for people; the lines of a trace follow it, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record."""
        request_id, _ = current_ids.get()
        line = f"{timestamp(record.created)} {record.levelname:<7} {record.name}: "
        line += escaped(record.getMessage())
        if request_id is not None:
            line += f" [{request_id}]"
        if record.exc_info:
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n    {escaped(part)}" for part in trace)
        return line


class Stdout(logging.Handler):
    """Hands each formatted record to `write_line`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            line = self.format(record)
            if len(line.encode(errors="backslashreplace")) >= LONGEST and not record.exc_info:
                record.msg, record.args = record.getMessage()[:CUT] + "...", None
                line = self.format(record)
            write_line(line)
        except Exception:
            self.handleError(record)


def configure(settings: BaseSettings) -> None:
    """Send all that is logged in this process to standard output, in the format asked for."""
    handler = Stdout()
    handler.setFormatter(Text() if settings.logs_are_text else Json(json_ensure_ascii=True))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    logging.captureWarnings(capture=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def access_line(
    settings: BaseSettings,
    environ: Mapping[str, Any],
    *,
    status: int,
    seconds: float,
    size: int,
    now: float,
) -> str:
    """The line for a request that was served.

    Built by hand, at about a third of the cost of a log record. What the client chose is cut, so
    that a line stays below the 4096 bytes that a pipe takes whole (PIPE_BUF) even if every
    character of it has to be escaped.
    """
    method = environ["REQUEST_METHOD"][:16]
    path = str(environ.get("RAW_URI") or environ.get("PATH_INFO", "")).partition("?")[0][:256]
    milliseconds = round(seconds * 1000, 3)
    if settings.logs_are_text:
        line = f"{timestamp(now)} INFO    app.access: {method} {path} {status} {milliseconds} ms"
        return escaped(f"{line} [{environ.get('app.request_id')}]")
    client = environ.get("REMOTE_ADDR", "")[:64]
    user_agent = environ.get("HTTP_USER_AGENT", "")[:128]
    # As json.dumps() would write it, which takes several times as long.
    return (
        f'{{"time": "{timestamp(now)}", "level": "info", "logger": "app.access",'
        f' "message": {quoted(f"{method} {path} {status}")},'
        f' "request_id": {_quoted_or_null(environ.get("app.request_id"))},'
        f' "trace_id": {_quoted_or_null(environ.get("app.trace_id"))},'
        f' "method": {quoted(method)}, "path": {quoted(path)}, "status": {status},'
        f' "duration_ms": {milliseconds}, "bytes": {size},'
        f' "client": {quoted(client)}, "user_agent": {quoted(user_agent)}}}'
    )


def _quoted_or_null(text: str | None) -> str:
    return "null" if text is None else quoted(text)
