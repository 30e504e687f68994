"""What happens to every request before and after the application sees it."""

from __future__ import annotations

import ipaddress
import re
import time
from typing import TYPE_CHECKING, Any

from werkzeug.wsgi import ClosingIterator

from drydock import logs, metrics, problems
from drydock.logs import current_ids

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from drydock.kinds import Network

ADDRESS = re.compile(r"\[([^\]]*)\](?::\d+)?|([\d.]+):\d+|(.*)")
AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]*)?")
# https://www.w3.org/TR/trace-context/#traceparent-header: what follows the four fields is for
# later versions; version ff and ids of zeros only are not valid.
TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


def request_id(environ: WSGIEnvironment) -> str:
    """The client's X-Request-ID if it is well formed, else a new one."""
    return logs.request_id(environ.get("HTTP_X_REQUEST_ID", ""))


def trace_id(environ: WSGIEnvironment) -> str | None:
    """The id of the trace that the request belongs to, if it says so in a valid traceparent."""
    found = TRACEPARENT.fullmatch(environ.get("HTTP_TRACEPARENT", ""))
    if not found or (found[1] == "00" and found[3]):
        return None
    return found[2]


def parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address in an entry of X-Forwarded-For; some proxies add a port, or map IPv4 to IPv6."""
    found = ADDRESS.fullmatch(text.strip())
    try:
        parsed = ipaddress.ip_address((found[1] or found[2] or found[3]) if found else "")
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def is_among(host: str, names: tuple[str, ...]) -> bool:
    """Whether a Host field, its port aside, is one of `names`, or below one that has a dot first.

    `names` are in lower case; in a host's name case means nothing (RFC 9110, 4.2.3).
    """
    found = AUTHORITY.fullmatch(host.lower())
    return found is not None and any(
        found[1] == name or (name[0] == "." and f".{found[1]}".endswith(name)) for name in names
    )


# What each response has that does not set it itself, by the name in lower case.
FIELDS = {name.lower(): (name, value) for name, value in problems.FIELDS.items()}


class Observe:
    """Gives each request its ids and each response its fields; counts and times it."""

    def __init__(self, application: WSGIApplication) -> None:
        """Wrap `application`."""
        self.application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request."""
        if environ.get("CONTENT_LENGTH"):
            # gunicorn's stream ends where the client stops sending, and claims that the body ends
            # there. Without that claim werkzeug counts the bytes, and a truncated body is a 400.
            environ.pop("wsgi.input_terminated", None)
        ids = (request_id(environ), trace_id(environ))
        environ["app.request_id"], environ["app.trace_id"] = ids
        token = current_ids.set(ids)
        status = "500"

        def start(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:  # noqa: ANN401
            nonlocal status
            status = line[:3]
            set_already = {name.lower() for name, _ in headers}
            headers += [field for name, field in FIELDS.items() if name not in set_already]
            headers.append(("X-Request-ID", ids[0]))
            return start_response(line, headers, exc_info)

        def finish() -> None:
            metrics.in_flight.dec()
            current_ids.reset(token)

        began = time.perf_counter()
        metrics.in_flight.inc()
        try:
            body = self.application(environ, start)
        except BaseException:
            finish()
            raise
        finally:
            # Before the response is sent: a client that has it finds it counted.
            seconds = time.perf_counter() - began
            metrics.count(environ["REQUEST_METHOD"], environ.get("app.route"), status, seconds)
        return ClosingIterator(body, [finish])


class TrustedProxies:
    """Uses X-Forwarded-For, -Proto and perhaps -Host as far as trusted proxies have set them.

    The rightmost address that is no trusted proxy's is the client's: all to the left of it is
    what that client chose to send.
    """

    def __init__(
        self, application: WSGIApplication, trusted: tuple[Network, ...], *, use_host: bool
    ) -> None:
        """Wrap `application`.

        `use_host`: whether X-Forwarded-Host replaces Host. Most proxies pass Host on, by which they
        have chosen where to; of these, many pass the other one on as the client sent it. So it must
        not be used where nothing checks it.
        """
        self.application = application
        self.trusted = trusted
        self.use_host = use_host

    def trusts(self, address: str) -> bool:
        """Whether the address is a trusted proxy's."""
        parsed = parse_address(address)
        return parsed is not None and any(parsed in network for network in self.trusted)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request."""
        if self.trusts(environ.get("REMOTE_ADDR", "")):
            for hop in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")):
                address = parse_address(hop)
                if address is None:
                    break
                environ["REMOTE_ADDR"] = str(address)
                if not self.trusts(hop):
                    break
            # Each proxy may have added a value: the last is that of the trusted one.
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
            host = environ.get("HTTP_X_FORWARDED_HOST", "").rpartition(",")[2].strip()
            if host and self.use_host:
                environ["HTTP_HOST"] = host
        return self.application(environ, start_response)
