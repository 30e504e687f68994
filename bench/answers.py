"""What servers answer, compared before anything is timed: who answers less does less."""

from __future__ import annotations

import dataclasses
import http.client
from typing import TYPE_CHECKING

from common import die

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servers import Server


@dataclasses.dataclass(frozen=True)
class Request:
    """A request: with a body of so many bytes it is a POST."""

    path: str = "/hello/bench"
    body: int = 0  # bytes

    @property
    def method(self) -> str:
        """Its method."""
        return "POST" if self.body else "GET"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What has to be the same on all servers."""

    status: int
    content_type: str
    body: bytes


Answers = dict[Request, Answer]


def ask(server: Server, request: Request) -> Answer:
    """Send the request; return the answer, however long it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        content = b"x" * request.body if request.body else None
        connection.request(request.method, request.path, content)
        response = connection.getresponse()
        kind = response.headers.get("Content-Type", "none")
        return Answer(response.status, kind, response.read())
    finally:
        connection.close()


def of(server: Server, requests: Iterable[Request]) -> Answers:
    """The answers to all of them."""
    return {request: ask(server, request) for request in requests}


def compare(title: str, given: Answers, expected: Answers) -> None:
    """Check that a server answers as the first one has.

    Args:
        title: the server's name, for the error.
        given: its answers.
        expected: the first one's, to the same requests and perhaps to further ones.

    Raises:
        SystemExit: with one line that names the server, the request and what differs.

    """
    for request, answer in given.items():
        for part in dataclasses.fields(Answer):
            is_so, should_be = (getattr(a, part.name) for a in (answer, expected[request]))
            if is_so != should_be:
                name = part.name.replace("_", " ")
                die(
                    f"{title}: {request.method} {request.path}: the {name} is {is_so!r:.120}, but"
                    f" {should_be!r:.120} on the first server; nothing was timed"
                )
