"""The benchmark compares answers byte by byte before it times anything."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

import answers
import page
import tables
from answers import Request
from checkouts import CHECKOUT
from servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS = (Request("/hello/bench"), Request("/receive", body=10))


@contextlib.contextmanager
def serving(
    status: int = 200, kind: str = "text/plain", body: bytes = b"hello\n"
) -> Iterator[Server]:
    """A server that answers everything with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Server("", server.server_port)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def expected() -> Iterator[answers.Answers]:
    with serving() as server:
        yield answers.of(server, REQUESTS)


def test_a_peer_that_answers_the_same_is_measured(expected: answers.Answers) -> None:
    with serving() as server:
        answers.compare("twin", answers.of(server, REQUESTS), expected)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"status": 201}, "GET /hello/bench: the status is 201, but 200"),
        ({"kind": "text/html"}, "the content type is 'text/html', but 'text/plain'"),
        ({"body": b"hello"}, r"the body is b'hello', but b'hello\n'"),
    ],
)
def test_a_peer_that_answers_otherwise_is_rejected_by_its_name(
    other: dict[str, object],
    what: str,
    expected: answers.Answers,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(**other) as server, pytest.raises(SystemExit):  # type: ignore[arg-type]
        answers.compare("impostor", answers.of(server, REQUESTS), expected)
    said = capsys.readouterr().err
    assert said.startswith("error: impostor: ")
    assert what in said


def test_a_difference_within_the_noise_is_called_equal() -> None:
    """Rounds that do not agree on who is faster say nothing, whatever the medians are."""
    assert tables.ratio([110, 120, 99], [100, 100, 100]) == "1.10 (0.99 to 1.20), equal"
    assert tables.ratio([110, 120, 101], [100, 100, 100]) == "1.10 (1.01 to 1.20)"


def test_the_page_says_what_was_measured() -> None:
    """And nothing else: it is written by `make bench`, from the figures beside it."""
    figures = (CHECKOUT / "docs/benchmarks/figures.json").read_text()
    assert (CHECKOUT / "docs/benchmarks.md").read_text() == page.document(json.loads(figures))
    for plot in ("throughput", "latency", "workers", "connections", "starts"):
        assert "<svg" in (CHECKOUT / f"docs/benchmarks/{plot}.svg").read_text()
