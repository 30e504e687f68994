"""gunicorn's log lines, and its response to what is not HTTP."""

from __future__ import annotations

import contextlib
import http
import logging
import time
from typing import TYPE_CHECKING, Any

import gunicorn.util
from gunicorn.glogging import Logger

from drydock import logs
from drydock.server import responses
from drydock.server.exchange import Exchange
from drydock.server.framing import is_head
from drydock.server.hooks import settings
from drydock.server.log_output import output

if TYPE_CHECKING:
    import datetime
    import socket
    from collections.abc import MutableMapping

    from gunicorn.config import Config
    from gunicorn.http.message import Request
    from gunicorn.http.wsgi import Response

PROBES = {"/livez", "/readyz"}


def write_error(sock: socket.socket, status_int: int, reason: str, mesg: str) -> None:
    """Reject what gunicorn could not parse with a problem document, in place of its HTML.

    `mesg` quotes the client and the limits, which is for the log alone.
    """
    if status_int == http.HTTPStatus.NOT_IMPLEMENTED:
        # An unknown Transfer-Encoding. RFC 9112, 6.1 only suggests a 501, and a client's error must
        # not look like a failure of the service.
        status_int = http.HTTPStatus.BAD_REQUEST
    client = ""
    with contextlib.suppress(OSError):  # it may be gone
        client = sock.getpeername()[0]
    detail = "The request is not valid HTTP."
    response = responses.rejection(client, status_int, reason, detail, mesg)
    if isinstance(sock, Exchange) and is_head(sock.start):
        response = responses.without_body(response)
    gunicorn.util.write_nonblock(sock, response)


# There is no setting for it; a contract test sends what gunicorn rejects.
gunicorn.util.write_error = write_error
# The same, made once a second instead of once for each response.
gunicorn.util.http_date = responses.http_date


def _is_not_logged_elsewhere(record: logging.LogRecord) -> bool:
    """Leave out what `write_error` logs better: with the request's id."""
    return not str(record.msg).startswith("Invalid request from ip=")


class ServerLogger(Logger):
    """gunicorn's own messages as all other log lines; one line of ours for each request.

    gunicorn's access log costs 19 % of the throughput, since it collects everything that a format
    could ask for; this one 3 %, if nobody reads it (`make bench ONLY=cost`).
    """

    def setup(self, cfg: Config) -> None:
        """Leave the handlers to the root logger."""
        self.cfg = cfg
        self._settings = settings()
        output.open(1)
        logs.write = output.write
        logs.configure(self._settings)
        self.error_log = logging.getLogger("gunicorn")
        self.error_log.addFilter(_is_not_logged_elsewhere)
        self._access_log_enabled = self.error_log.isEnabledFor(logging.INFO)

    def access(
        self,
        resp: Response,
        req: Request,  # noqa: ARG002 (gunicorn's signature)
        environ: MutableMapping[str, Any],
        request_time: datetime.timedelta,
    ) -> None:
        """Write the line of a request that was served."""
        if "PATH_INFO" not in environ:  # gunicorn rejected it: `write_error` has logged that
            return
        status = int(str(resp.status).partition(" ")[0])
        quiet = environ.get("PATH_INFO") in PROBES or "app.metrics" in environ
        if not self._access_log_enabled or (
            quiet
            and status < http.HTTPStatus.INTERNAL_SERVER_ERROR
            and not self._settings.log_probes
        ):
            return
        line = logs.access_line(
            self._settings,
            environ,
            status=status,
            seconds=request_time.total_seconds(),
            size=resp.sent or 0,
            now=time.time(),
        )
        output.gather(logs.encoded(line))
