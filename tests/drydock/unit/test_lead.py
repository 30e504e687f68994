"""Which thread runs the main loop of a worker, and which one serves."""

from __future__ import annotations

import select
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from drydock.server import lead
from workers import GET, Running, closing, eventually
from workers import run as run

if TYPE_CHECKING:
    from collections.abc import Callable


class Threads:
    """Notes in which thread requests are served, and how many at a time."""

    def __init__(self, running: Running, seconds: float = 0.0) -> None:
        self.application = running.application
        self.seconds = seconds
        self.served: list[str] = []
        self.at_once: list[int] = []
        self.now: set[int] = set()
        running.worker.wsgi = self

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.now.add(threading.get_ident())
        self.at_once.append(len(self.now))
        self.served.append(threading.current_thread().name)
        time.sleep(self.seconds)
        try:
            return self.application(environ, start_response)
        finally:
            self.now.remove(threading.get_ident())


def leading(running: Running) -> str:
    """The name of the thread that runs the main loop."""
    names: list[str] = []
    on_tick = running.worker.loop.on_tick

    def note() -> None:
        names.append(threading.current_thread().name)
        on_tick()

    running.worker.loop.on_tick = note
    running.worker.loop.wake()
    eventually(lambda: names)
    running.worker.loop.on_tick = on_tick
    return names[-1]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no request seem long or waiting because the machine is busy."""
    monkeypatch.setattr(lead, "LIMIT", 0.2)
    monkeypatch.setattr(lead, "MAX_WAITS", 1000)


@pytest.mark.usefixtures("patient")
def test_the_thread_that_leads_serves_short_requests(run: Callable[..., Running]) -> None:
    """The main thread does neither: signals must not wait for a request."""
    running = run()
    threads = Threads(running)
    leader = leading(running)
    assert leader != running.thread.name
    for _ in range(5):
        assert b" 200 " in running.ask(closing(GET % b"1"))
    assert threads.served == [leader] * 5
    assert leading(running) == leader


@pytest.mark.usefixtures("patient")
def test_a_long_request_passes_the_lead_on(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client beside it does not notice; for a while, no other request can delay one."""
    monkeypatch.setattr(lead, "PAUSE", 0.5)
    running = run()
    threads = Threads(running)
    first = leading(running)
    with running.connect(GET % b"wait") as slow:
        assert running.application.entered.wait(20)
        assert b" 200 " in running.ask(closing(GET % b"1"))
        second = leading(running)
        assert threads.served[0] == first != second
        assert threads.served[1] not in (first, second)
        eventually(lambda: running.worker.lead.serves(time.monotonic()))
        assert b" 200 " in running.ask(closing(GET % b"1"))
        assert threads.served[2] == second
        running.application.go_on.set()
        assert b" 200 " in slow.recv(65536)
    eventually(lambda: running.worker.pool.handed == running.worker.pool.in_flight == 0)
    assert leading(running) == second


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("longest", "passes"), [(20.0, False), (0.3, True)])
def test_a_request_that_computes_may_take_longer_than_one_that_waits(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, longest: float, *, passes: bool
) -> None:
    """On a busy machine any request seems to."""
    monkeypatch.setattr(lead, "MAX_RUN", longest)
    running = run()

    def compute(environ: Any, start_response: Any) -> Any:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            pass
        return running.application(environ, start_response)

    running.worker.wsgi = compute
    first = leading(running)
    assert b" 200 " in running.ask(closing(GET % b"1"))
    assert (leading(running) != first) == passes


@pytest.mark.parametrize("threads", [1, 2])
def test_no_more_requests_at_a_time_than_allowed(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """With the one that the leading thread serves; what waits for that one has its deadline too."""
    monkeypatch.setattr(lead, "PAUSE", 0)
    running = run(WEB_THREADS=str(threads), WEB_QUEUE_TIMEOUT="1")
    application = Threads(running)
    clients = [running.connect(GET % b"wait") for _ in range(threads + 1)]
    eventually(lambda: len(application.served) == threads)
    (rejected,), *_ = select.select(clients, [], [], 20)
    assert b" 503 " in rejected.recv(65536)
    assert len(application.served) == threads
    running.application.go_on.set()
    for client in clients:
        assert client is rejected or b" 200 " in client.recv(65536)
        client.close()
    eventually(lambda: running.worker.pool.handed == running.worker.pool.in_flight == 0)


def test_requests_that_wait_are_served_at_the_same_time(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though none is long."""
    monkeypatch.setattr(lead, "LIMIT", 2)
    running = run()
    threads = Threads(running, seconds=0.002)
    clients = [running.connect() for _ in range(4)]
    for _ in range(20):
        for client in clients:
            client.sendall(GET % b"1")
        for client in clients:
            assert b" 200 " in client.recv(65536)
    assert max(threads.at_once) == 2
    for client in clients:
        client.close()


def test_an_error_of_the_main_loop_ends_the_worker(run: Callable[..., Running]) -> None:
    """Not only the thread that it is in, for which nobody waits."""
    running = run()
    running.worker.loop.on_tick = sys.exit
    running.thread.join(5)
    assert not running.thread.is_alive()
    with pytest.raises(SystemExit):
        running.worker.lead.watch(running.worker.pool.pass_lead_on)
