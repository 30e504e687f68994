"""What is broken or ambiguous is rejected, once, and nothing that it carries is served.

Each case of the corpus goes straight to one container, on the host's network: the proxy behind a
published port would hide resets and half-closed connections.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import re
import socket

import pytest

from containers import HARDENED, Container, docker, free_port, started
from malformed import CASES, CLOSED, TOKEN, Case

GOOD = "a-good-request"
# Whose lines belong to no request.
TALKATIVE = ("app.database", "app.server", "app.server.limits", "app.server.strict", "gunicorn")


@dataclasses.dataclass
class Response:
    status: int
    request_id: str
    body: bytes


@dataclasses.dataclass
class Outcome:
    """What came of the whole corpus: the responses to each case, and what the service says."""

    received: dict[Case, bytes]
    served: set[Case]  # after which the service went on serving others
    titles: list[str]
    lines: list[str]
    counted: dict[str, int]  # rejections by status, as the metrics have them

    def responses(self, case: Case) -> list[Response]:
        return parse(self.received[case], bodies=not case.sent.startswith(b"HEAD "))


def converse(port: int, sent: bytes) -> bytes:
    """Send it all, say that no more will come, and read until the service closes."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        # A service that has rejected the beginning need not read the rest.
        with contextlib.suppress(OSError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionError:
            pass
        except TimeoutError:
            received += b" (and no end within 10 seconds)"  # which no case expects
    return received


def parse(received: bytes, *, bodies: bool) -> list[Response]:
    """Parse the responses. Any byte too many or too few shows: nothing else may come back."""
    found = []
    while received:
        head, end, received = received.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.[01] ([1-5]\d\d) [ -~]+\r?", head)
        assert status, head
        assert end, head
        if status[1] < b"200":  # 100 Continue
            continue
        lengths = re.findall(rb"\r\nContent-Length: (\d+)", head)
        request_id = re.search(rb"\r\nX-Request-ID: ([\w.-]+)", head)
        assert len(lengths) == 1, head
        assert request_id, head
        size = int(lengths[0]) if bodies else 0
        assert len(received) >= size
        body, received = received[:size], received[size:]
        found.append(Response(int(status[1]), request_id[1].decode(), body))
    return found


@pytest.fixture(scope="module")
def outcome(probe: str) -> Outcome:
    """Send the corpus, one case after the other, with a good request after each."""
    port = free_port()
    metrics_port = free_port()
    variables = {
        "APP_PORT": port,
        "METRICS_PORT": metrics_port,
        "API_TOKEN": TOKEN,
        "LOG_LEVEL": "debug",  # else most rejections are only counted
    }
    options = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    with started(probe, *HARDENED, "--network", "host", *options) as container:
        service = Container(container.name, port).wait_until_healthy()
        result = Outcome({}, set(), [], [], {})
        for case in CASES:
            result.received[case] = converse(port, case.sent)
            if service.get("/hello/x", headers={"X-Request-ID": GOOD}).status == 200:
                result.served.add(case)
        listed = service.get("/notes?page_size=100", headers={"X-Request-ID": GOOD})
        notes = listed.json()["notes"]
        result.titles = [note["title"] for note in notes]
        metrics = Container(service.name, metrics_port).get("/metrics").data.decode()
        counts = re.findall(r'\nhttp_requests_rejected_total{status="(\d+)"} ([\d.]+)', metrics)
        result.counted = {status: int(float(count)) for status, count in counts}
        docker("stop", service.name)  # a request's line may come later than its response
        result.lines = service.logs().splitlines()
    return result


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.what}")
def test_each_case_has_its_documented_response(case: Case, outcome: Outcome) -> None:
    statuses = " ".join(str(response.status) for response in outcome.responses(case))
    assert (statuses or CLOSED) == case.response, outcome.received[case]
    assert case in outcome.served


def test_the_corpus_is_large_and_asks_for_no_failure() -> None:
    assert len(CASES) >= 150
    assert len({(case.group, case.what) for case in CASES}) == len(CASES)
    for case in CASES:
        assert case.response == CLOSED or re.fullmatch(r"[24]\d\d( [24]\d\d)*", case.response)


def test_nothing_smuggled_is_served(outcome: Outcome) -> None:
    assert not [title for title in outcome.titles if "smuggled" in title]
    served = [
        case.what for case, received in outcome.received.items() if b"Hello, smuggled" in received
    ]
    # The one whose second request is no part of the first.
    assert served == ["Content_Length"]


def test_each_response_is_a_line_of_the_log_and_no_other_line_is_there(outcome: Outcome) -> None:
    """By the ids, which the service gives: a line that a client wrote would have another."""
    lines = [json.loads(line) for line in outcome.lines]
    expected = collections.Counter(
        response.request_id for case in CASES for response in outcome.responses(case)
    )
    expected[GOOD] = len(CASES) + 1
    assert expected == collections.Counter(
        line["request_id"] for line in lines
    ) - collections.Counter({None: len(lines)})
    for line in lines:
        if line["request_id"] is None:
            assert line["logger"] in TALKATIVE, line
        elif line["logger"] != "app.access":
            assert line["message"].startswith("rejected 127.0.0.1 with 4"), line


def test_what_is_rejected_is_counted(outcome: Outcome) -> None:
    """All of it in the metrics; in the log the first of a status, then how many more."""
    lines = [json.loads(line) for line in outcome.lines]
    rejected = [line for line in lines if line["message"].startswith("rejected ")]
    shown = collections.Counter(
        line["message"].split()[3].rstrip(":") for line in rejected if line["level"] == "warning"
    )
    for line in lines:
        if more := re.match(r"(\d+) more requests rejected with (\d+)$", line["message"]):
            shown[more[2]] += int(more[1])
    assert shown == collections.Counter(line["message"].split()[3].rstrip(":") for line in rejected)
    assert shown == outcome.counted


def test_no_case_is_an_error_of_the_service_s_own(outcome: Outcome) -> None:
    for text in outcome.lines:
        line = json.loads(text)
        assert line["level"] in ("debug", "info", "warning"), line
        assert "exc_info" not in line
        assert "Traceback" not in text


def test_the_limits_of_a_head_are_settings(probe: str) -> None:
    arguments = "--limit-request-line 256 --limit-request-field_size 256"
    options = ("-e", f"GUNICORN_CMD_ARGS={arguments}", "-e", "MAX_FIELDS=16")
    with started(probe, *HARDENED, *options) as container:
        container.wait_until_healthy()

        def status(name: str, fields: dict[str, str]) -> int:
            response = container.get(f"/hello/{name}", headers={"Host": "x", **fields})
            return int(response.status)

        assert status("x", {"A": "x" * 200}) == 200
        assert status("x" * 300, {}) == 414
        assert status("x", {"A": "x" * 300}) == 431
        assert status("x", {f"A{number}": "x" for number in range(17)}) == 431
