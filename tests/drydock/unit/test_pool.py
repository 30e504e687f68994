"""The pool of threads: turns for requests that compute, side by side for those that wait."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from drydock.server import pool
from drydock.server.connection import IN_FLIGHT, SENDING, Connection
from drydock.server.pool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = 30.0  # seconds: more than anything here takes


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stops this process for a while is no reason to start another thread."""
    monkeypatch.setattr(pool, "PATIENCE", LONG)
    monkeypatch.setattr(pool, "TURN", LONG)


@pytest.fixture
def connections() -> Iterator[list[Connection]]:
    """Connections that have a request in flight."""
    pairs = [socket.socketpair() for _ in range(8)]
    made = [Connection(ours, "", "") for ours, _ in pairs]
    for connection in made:
        connection.enter(IN_FLIGHT)
    yield made
    for pair in pairs:
        for each in pair:
            each.close()


class Served:
    """A pool with four threads, and what it has done."""

    def __init__(self, serve: Callable[[Connection], bool]) -> None:
        self.threads: set[str] = set()  # those that have served
        self.serving: set[str] = set()
        self.most = 0  # that have served at a time
        self.woken = threading.Event()

        def noted(connection: Connection) -> bool:
            name = threading.current_thread().name
            self.threads.add(name)
            self.serving.add(name)
            self.most = max(self.most, len(self.serving))
            try:
                return serve(connection)
            finally:
                self.serving.remove(name)

        self.pool = ThreadPool(4, noted, self.woken.set, logging.getLogger("test"))
        self.pool.start()

    def submit(self, *connections: Connection) -> None:
        """Submit their requests, and let the threads begin."""
        for connection in connections:
            self.pool.submit(connection, time.monotonic())
        self.pool.run()

    def completed(self) -> int:
        """How many have been completed since the last call."""
        number = 0
        while self.pool.next_completed():
            number += 1
        return number

    def complete(self, number: int) -> None:
        """Do as the main loop does, until so many have been completed.

        Raises:
            AssertionError: if that takes too long.

        """
        deadline = time.monotonic() + LONG
        while number > 0:
            number -= self.completed()
            assert time.monotonic() < deadline
            if self.pool.waiting or not self.woken.wait(0.01):
                self.pool.run()
            self.woken.clear()


@pytest.mark.usefixtures("patient")
def test_requests_that_do_not_wait_are_served_in_turn_by_one_thread(
    connections: list[Connection],
) -> None:
    served = Served(lambda _: True)
    served.submit(*connections)
    # All of it while the main loop looked on, which did not have to be woken.
    assert served.completed() == len(connections)
    assert len(served.threads) == 1
    assert not served.woken.is_set()


def test_a_turn_ends_though_there_is_more_to_serve(
    connections: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "PATIENCE", LONG)

    def compute(_: Connection) -> bool:
        end = time.monotonic() + pool.TURN
        while time.monotonic() < end:
            pass
        return True

    served = Served(compute)
    served.submit(*connections)
    assert served.pool.waiting  # so that the main loop comes back at once
    served.complete(len(connections))


def test_a_request_that_waits_delays_others_by_a_moment_only(
    connections: list[Connection],
) -> None:
    slow, *fast = connections
    go_on = threading.Event()
    served = Served(lambda connection: connection is not slow or go_on.wait(LONG))
    served.submit(*connections)
    served.complete(len(fast))
    assert not go_on.is_set()
    go_on.set()
    served.complete(1)


def test_requests_that_wait_are_served_side_by_side(connections: list[Connection]) -> None:
    all_here = threading.Barrier(4)
    served = Served(lambda _: all_here.wait(LONG) >= 0)
    served.submit(*connections)
    served.complete(len(connections))  # four at a time, or not at all
    assert len(served.threads) == 4


def test_after_a_request_that_waits_others_start_at_once(
    connections: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow this machine is just now.
    monkeypatch.setattr(pool, "PROMPT", LONG)
    monkeypatch.setattr(pool, "PARALLEL", LONG)
    all_here = threading.Barrier(4)
    served = Served(lambda _: all_here.wait(LONG) >= 0)
    served.submit(connections[0])  # the main loop sees that it waits
    monkeypatch.setattr(pool, "PATIENCE", LONG)
    began = time.monotonic()
    served.submit(*connections[1:4])
    served.complete(4)
    assert time.monotonic() - began < LONG / 2


@pytest.mark.usefixtures("patient")
def test_requests_that_wait_for_a_short_time_are_served_side_by_side_as_well(
    connections: list[Connection],
) -> None:

    def serve(_: Connection) -> bool:
        time.sleep(0.001)
        return True

    served = Served(serve)
    served.submit(*connections)  # one thread, which notices that it waits
    served.complete(len(connections))
    assert served.most == 1
    served.submit(*connections)
    served.complete(len(connections))
    assert served.most > 1


def test_a_request_that_computes_does_not_keep_others_out(connections: list[Connection]) -> None:
    slow, *fast = connections
    others_done = threading.Event()

    def compute(connection: Connection) -> bool:
        while connection is slow and not others_done.is_set():
            pass
        return True

    served = Served(compute)
    served.submit(*connections)
    served.complete(len(fast))
    others_done.set()
    served.complete(1)


def test_the_main_loop_does_not_wait_where_no_thread_is_free(
    connections: list[Connection],
) -> None:
    go_on = threading.Event()
    served = Served(lambda _: go_on.wait(LONG))
    served.submit(*connections)
    deadline = time.monotonic() + LONG
    while len(served.threads) < 4 or served.pool.waiting:
        served.pool.run()
        assert time.monotonic() < deadline
    assert not served.woken.is_set()
    go_on.set()
    assert served.woken.wait(LONG)  # by the thread that is done first
    served.complete(len(connections))


@pytest.mark.usefixtures("patient")
def test_the_main_loop_comes_back_for_a_response_that_was_not_taken(
    connections: list[Connection],
) -> None:
    first, second, *_ = connections

    def serve(connection: Connection) -> bool:
        connection.unsent_bytes = int(connection is first)
        return True

    served = Served(serve)
    began = time.monotonic()
    served.submit(first, second)
    assert time.monotonic() - began < LONG / 2
    assert served.completed() == 1
    assert list(served.pool.queued) == [second]  # no other response is made before that
    first.enter(SENDING)
    served.complete(1)
