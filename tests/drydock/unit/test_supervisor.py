"""The process above the workers: stops, reloads, recycling, crashes."""

from __future__ import annotations

import gc
import os
import signal
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from gunicorn.errors import HaltServer
from prometheus_client import REGISTRY

from drydock.server import state, supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeWorker:
    def __init__(self, age: int, slot: int) -> None:
        self.age = age
        self.slot = slot
        self.pid = 1000 + age
        self.sets_flags = True


class FakeLog:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str, *arguments: object) -> None:
        self.lines.append(line % arguments)

    warning = error = info


class FakeArbiter:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.num_workers = 2
        self.WORKERS: dict[int, Any] = {}
        self.log = FakeLog()
        self.born = 0
        self.no_room = False
        self.quits = 0
        self.looks = 0
        self.timeout = 3
        for _ in range(2):
            self.spawn_worker()

    def spawn_worker(self) -> int:
        if self.no_room:
            raise BlockingIOError("no room")
        slot = next(n for n in range(9) if n not in {w.slot for w in self.WORKERS.values()})
        self.born += 1
        worker = FakeWorker(self.born, slot)
        self.WORKERS[worker.pid] = worker
        return worker.pid

    def handle_quit(self) -> None:
        self.quits += 1

    def murder_workers(self) -> None:
        self.looks += 1

    def signal(self, number: int, frame: object) -> None:
        pass

    def ended(self, pid: int) -> None:
        """What the arbiter does when a worker has ended."""
        supervisor.note_end(cast("Any", self), self.WORKERS.pop(pid))

    def ages(self) -> list[int]:
        return sorted(worker.age for worker in self.WORKERS.values())


@pytest.fixture
def arbiter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    timers: list[float] = []
    killed: list[Any] = []
    monkeypatch.setattr(signal, "setitimer", lambda _, seconds: timers.append(seconds))
    monkeypatch.setattr(os, "kill", lambda *arguments: killed.append(arguments))
    monkeypatch.setattr(os, "_exit", killed.append)
    fake: Any = FakeArbiter()
    fake.timers, fake.killed = timers, killed
    yield fake
    for number, handler in before.items():
        signal.signal(number, handler)
    state._page[0] = state.SERVING
    for slot in range(state.SLOTS):
        state.clear_slot(slot)


def test_a_stop_drains_then_ends_and_a_second_signal_waits_for_nothing(arbiter: Any) -> None:
    supervisor.take_over(arbiter, 3)
    arbiter.handle_term()
    assert state.phase() == state.DRAINING
    assert arbiter.timers == [3]
    assert arbiter.log.lines == ["draining for 3 s"]
    with pytest.raises(StopIteration):
        arbiter.handle_alrm()
    assert state.phase() == state.ENDING
    assert state.last_to_accept() == 1  # the youngest
    handler: Any = signal.getsignal(signal.SIGINT)
    handler(signal.SIGINT, None)
    assert arbiter.killed == [(1001, signal.SIGKILL), (1002, signal.SIGKILL), 130]
    # A worker that has just been forked still has this handler.
    arbiter.killed.clear()
    arbiter.pid = -1
    handler(signal.SIGINT, None)
    assert arbiter.killed == [130]


def test_the_workers_memory_is_frozen_and_garbage_is_collected_from_then_on(arbiter: Any) -> None:
    gc.disable()  # as deploy/sitecustomize.py does
    try:
        supervisor.take_over(arbiter, 0)
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()


def test_a_second_signal_that_came_before_the_first_was_handled_counts_too(arbiter: Any) -> None:
    supervisor.take_over(arbiter, 3)
    arbiter.handle_term()
    arbiter.handle_term()
    assert arbiter.killed[-1] == 143


def test_without_a_drain_it_ends_at_once(arbiter: Any) -> None:
    supervisor.take_over(arbiter, 0)
    arbiter.WORKERS.clear()
    with pytest.raises(StopIteration):
        arbiter.handle_int()
    assert state.phase() == state.ENDING


def test_sigquit_is_no_crash_loop_and_sigusr2_nothing(arbiter: Any) -> None:
    supervisor.take_over(arbiter, 0)
    arbiter.handle_usr2()
    assert "SIGUSR2 is ignored" in arbiter.log.lines[0]
    arbiter.handle_quit()
    assert arbiter.quits == 1
    for _ in range(10):
        supervisor.note_end(arbiter, FakeWorker(9, 9))  # type: ignore[arg-type]


def test_a_reload_replaces_one_after_the_other(arbiter: Any) -> None:
    supervisor.take_over(arbiter, 0)
    arbiter.handle_hup()
    arbiter.handle_hup()  # as good as one
    assert arbiter.ages() == [0, 2, 3]
    arbiter.ended(1001)
    assert arbiter.ages() == [0, 3, 4]
    arbiter.ended(1002)
    assert arbiter.ages() == [3, 4]
    assert arbiter.killed == []  # the arbiter ends the oldest by itself


def test_where_there_is_no_room_for_both_the_old_one_ends_first(arbiter: Any) -> None:
    supervisor.take_over(arbiter, 0, spare=False)
    arbiter.handle_hup()
    assert arbiter.ages() == [0, 2]
    assert arbiter.killed == [(1001, signal.SIGTERM)]
    arbiter.ended(1001)
    assert arbiter.ages() == [0, 3]
    assert arbiter.killed[1:] == [(1002, signal.SIGTERM)]
    arbiter.ended(1002)
    assert arbiter.ages() == [3, 4]


def test_a_worker_that_asks_for_a_successor_gets_one(arbiter: Any) -> None:
    supervisor.take_over(arbiter, 0)
    arbiter.handle_winch()
    assert arbiter.ages() == [1, 2]
    state.set_flag(1, state.WANTS_SUCCESSOR)
    arbiter.handle_winch()
    arbiter.handle_winch()
    assert arbiter.ages() == [0, 1, 3]
    assert arbiter.WORKERS[1002].age == 0


def test_one_that_dies_while_another_is_ending_is_replaced_at_once(arbiter: Any) -> None:
    supervisor.take_over(arbiter, 0)
    arbiter.handle_hup()
    arbiter.ended(1003)
    assert arbiter.ages() == [0, 2, 4]


def test_where_no_worker_can_be_started_it_goes_on_without(arbiter: Any) -> None:
    supervisor.take_over(arbiter, 0)
    arbiter.no_room = True
    arbiter.handle_hup()
    assert arbiter.ages() == [1, 2]
    arbiter.ended(1002)
    assert arbiter.ages() == [1]
    assert arbiter.log.lines == ["no worker could be started: no room"] * 3
    arbiter.no_room = False
    arbiter.spawn_worker()
    arbiter.handle_hup()
    assert arbiter.ages() == [0, 3, 4]


def test_workers_that_die_before_their_first_response_end_it(arbiter: Any) -> None:
    dead: Any = FakeWorker(9, 7)
    supervisor.note_end(arbiter, dead)  # before there is an arbiter
    supervisor.take_over(arbiter, 0)
    for said in (state.RESPONDED, state.STOPPING):
        for _ in range(10):
            state.set_flag(7, said)
            supervisor.note_end(arbiter, dead)
    for _ in range(4):
        supervisor.note_end(arbiter, dead)
    state.set_flag(7, state.RESPONDED)
    supervisor.note_end(arbiter, dead)
    for _ in range(4):
        supervisor.note_end(arbiter, dead)
    with pytest.raises(HaltServer, match="5 workers in a row"):
        supervisor.note_end(arbiter, dead)


def test_the_metrics_count_workers_that_ended_without_being_asked_to(arbiter: Any) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("app_workers_crashed_total") or 0.0

    supervisor.take_over(arbiter, 0)
    before = count()
    for flags, crashed in ((0, 1), (state.RESPONDED, 2), (state.STOPPING, 2)):
        state.set_flag(7, flags)
        supervisor.note_end(arbiter, FakeWorker(9, 7))  # type: ignore[arg-type]
        assert count() == before + crashed
    state.begin_drain()
    supervisor.note_end(arbiter, FakeWorker(9, 7))  # type: ignore[arg-type]
    assert count() == before + 2


def test_workers_that_set_no_flags_are_no_crash_loop(arbiter: Any) -> None:
    """gunicorn's own, which end one after the other when they are replaced."""
    supervisor.take_over(arbiter, 0)
    for _ in range(20):
        stock: Any = FakeWorker(9, 7)
        stock.sets_flags = False
        supervisor.note_end(arbiter, stock)


def test_no_worker_is_killed_for_the_time_in_which_all_stood_still(
    arbiter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 100.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    supervisor.take_over(arbiter, 0)

    def look(*after: float) -> int:
        """How often it looks for workers that hang, so many seconds after the last time."""
        looks = int(arbiter.looks)
        for seconds in after:
            clock["now"] += seconds
            arbiter.murder_workers()
        return int(arbiter.looks) - looks

    assert look(1, 1, 1, 1) == 1  # none of them is older than that
    assert look(1.4, 0.1, 1) == 3
    assert look(60, 1, 1, 1) == 0
    assert look(1, 1) == 2


@pytest.mark.parametrize(("seconds", "is_loop"), [(30, True), (90, False)])
def test_crashes_far_apart_are_no_loop(
    arbiter: Any, monkeypatch: pytest.MonkeyPatch, seconds: int, is_loop: bool
) -> None:
    clock = {"now": 0}
    supervisor.take_over(arbiter, 0)
    monkeypatch.setattr(time, "monotonic", lambda: float(clock["now"]))
    crashes = 0
    try:
        for _ in range(20):
            clock["now"] += seconds
            supervisor.note_end(arbiter, FakeWorker(9, 7))  # type: ignore[arg-type]
            crashes += 1
    except HaltServer:
        assert crashes == 4
    assert (crashes < 20) == is_loop
