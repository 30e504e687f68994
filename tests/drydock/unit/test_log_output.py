"""How lines of the log are written: whole, in order, and never waited for."""

from __future__ import annotations

import math
import os
import select
import socket
import tempfile
import threading
import time
from typing import TYPE_CHECKING

import pytest

from drydock.server import log_output
from drydock.server.log_output import LogOutput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINE = b"x" * 999 + b"\n"
PIPE = 65536


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[LogOutput]:
    monkeypatch.setattr(log_output, "EXIT_SECONDS", 0.1)
    output = LogOutput()
    yield output
    with tempfile.TemporaryFile() as file:
        output.open(file.fileno())  # which closes what it has opened itself


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest, output: LogOutput) -> Iterator[tuple[int, int]]:
    """Two descriptors: to read, and to write. A socket can't be opened again."""
    if request.param == "pipe":
        reader, writer = os.pipe()
    else:
        near, far = socket.socketpair()
        reader, writer = near.detach(), far.detach()
    output.open(writer)
    yield reader, writer
    for descriptor in (reader, writer):
        os.close(descriptor)


def read(reader: int) -> bytes:
    """What is there to be read."""
    os.set_blocking(reader, False)
    data = b""
    try:
        while piece := os.read(reader, 2**20):
            data += piece
    except BlockingIOError:
        pass
    return data


@pytest.mark.parametrize("gathers", [False, True])
def test_what_nobody_reads_is_kept_up_to_a_bound_and_comes_in_its_order(
    output: LogOutput, ends: tuple[int, int], caplog: pytest.LogCaptureFixture, gathers: bool
) -> None:
    reader, writer = ends
    output.gathers = gathers
    assert os.get_blocking(writer)  # other processes may have it as well
    lines = [b"%06d" % number + LINE for number in range(3000)]
    for line in lines:
        output.gather(line)  # as write(), where nothing is to be gathered
    assert os.get_blocking(writer)
    dropped = output.flush()
    assert 500 < dropped < 2500
    assert output.flush() == 0
    assert not caplog.records
    received = b""
    while data := read(reader):
        received += data
        output.flush()
    assert received == b"".join(lines[:-dropped])
    assert [record.getMessage() for record in caplog.records] == [
        f"{dropped} log lines were dropped: nobody read them in time"
    ]
    output.write(LINE)
    assert read(reader) == LINE


def test_a_line_too_long_for_the_pipe_is_completed_before_the_next(
    output: LogOutput, ends: tuple[int, int]
) -> None:
    reader, _ = ends
    long = b"y" * 3_000_000 + b"\n"  # more than is kept of others
    writers = [threading.Thread(target=output.write, args=(line,)) for line in (LINE, LINE)]
    output.write(long)
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(5)
    received = b""
    while data := read(reader):
        received += data
        output.flush()
    assert received.startswith(long)
    assert received.removeprefix(long) in (b"", LINE, LINE * 2)


def test_lines_of_many_threads_are_whole_and_in_their_order(
    output: LogOutput, ends: tuple[int, int]
) -> None:
    reader, _ = ends
    texts = [b"a" * 5000, b"b" * 300, b"c" * 4095, b"d" * 10]
    output.gathers = True

    def talk(text: bytes) -> None:
        write = output.write if text[:1] in b"ad" else output.gather
        for number in range(100):
            write(b"%d %s\n" % (number, text))

    threads = [threading.Thread(target=talk, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    received = b""
    while any(thread.is_alive() for thread in threads):
        received += read(reader)
    for thread in threads:
        thread.join()
    for _ in range(100):
        output.flush()
        received += read(reader)
    lines = received.splitlines()
    for text in texts:
        assert [line for line in lines if text[:1] in line] == [
            b"%d %s" % (number, text) for number in range(100)
        ]
    assert len(lines) == 400
    assert output.flush() == 0


def test_a_line_is_written_whole_or_not_at_all(output: LogOutput) -> None:
    """Another process may have left less room than it needs."""
    reader, writer = os.pipe()
    output.open(writer)
    os.write(writer, b"z" * (PIPE - 500))
    output.write(LINE)
    assert len(read(reader)) == PIPE - 500
    output.flush()
    assert read(reader) == LINE
    for descriptor in (reader, writer):
        os.close(descriptor)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What each write was given."""
    written: list[bytes] = []
    write = os.write

    def note(descriptor: int, data: bytes) -> int:
        written.append(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", note)
    return written


def test_lines_of_requests_are_gathered_until_they_fill_a_write(
    output: LogOutput,
    ends: tuple[int, int],
    writes: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_output, "GATHER_SECONDS", 60)
    output.gathers = True
    now = time.monotonic()
    lines = [b"%03d" % number + LINE[:396] + b"\n" for number in range(100)]
    for line in lines:
        output.gather(line)
    assert len(writes) < 15
    assert 0 < output.send(now, in_flight=1) < 120
    assert len(b"".join(writes)) < 100 * 400
    assert output.send(now + 120, in_flight=1) == math.inf
    assert b"".join(writes) == read(ends[0]) == b"".join(lines)
    # Whole lines each, and no more than a pipe takes whole.
    assert all(data.endswith(b"\n") and len(data) <= select.PIPE_BUF for data in writes)


def test_a_line_waits_for_none_that_will_not_come(output: LogOutput, ends: tuple[int, int]) -> None:
    reader, _ = ends
    output.gathers = True
    output.gather(LINE)
    assert read(reader) == b""
    assert output.send(time.monotonic(), in_flight=0) == math.inf
    assert read(reader) == LINE


def test_a_gathered_line_waits_for_no_main_loop_that_hangs(
    output: LogOutput, ends: tuple[int, int]
) -> None:
    reader, _ = ends
    output.gathers = True
    output.gather(LINE)
    time.sleep(1.5 * log_output.GATHER_SECONDS)
    output.gather(LINE)
    assert read(reader) == LINE * 2


def test_what_is_urgent_is_written_behind_what_is_gathered(
    output: LogOutput, ends: tuple[int, int]
) -> None:
    reader, _ = ends
    output.gathers = True
    output.gather(LINE)
    output.write(b"urgent\n")
    assert read(reader) == LINE + b"urgent\n"


def test_a_new_process_gathers_nothing(output: LogOutput, ends: tuple[int, int]) -> None:
    """Nothing would write it."""
    output.gathers = True
    output.forget()  # as after a fork
    output.gather(LINE)
    assert read(ends[0]) == LINE


def test_a_reader_that_stalls_is_tried_again_after_a_moment(
    output: LogOutput, writes: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_output, "GATHER_SECONDS", 60)
    reader, writer = os.pipe()
    output.open(writer)
    output.gathers = True
    os.write(writer, b"z" * PIPE)
    del writes[:]
    for _ in range(50):
        output.gather(LINE)
    assert len(writes) == 1  # the first that was full
    now = time.monotonic()
    assert 0 < output.send(now, in_flight=1) <= 60
    read(reader)
    assert output.send(now + 60, in_flight=1) == math.inf
    assert read(reader) == LINE * 50
    for descriptor in (reader, writer):
        os.close(descriptor)


def test_a_file_is_written_to_where_others_have_left_off(output: LogOutput, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb", 0) as file:
        output.open(file.fileno())
        file.write(b"a\n")
        output.write(b"b\n")
        file.write(b"c\n")
    assert path.read_text() == "a\nb\nc\n"


def test_a_reader_that_is_gone_is_no_error(output: LogOutput, ends: tuple[int, int]) -> None:
    reader, _ = ends
    for _ in range(80):
        output.write(LINE)
    other, unused = os.pipe()
    os.dup2(other, reader)
    output.write(LINE)
    assert output.flush() > 0
    assert output.flush() == 0
    for descriptor in (other, unused):
        os.close(descriptor)


def test_a_process_that_ends_gives_the_reader_a_moment(
    output: LogOutput, ends: tuple[int, int]
) -> None:
    reader, _ = ends
    for _ in range(300):
        output.write(LINE)
    output.finish()  # nobody reads: it returns nevertheless
    data = read(reader)
    output.finish()
    data += read(reader)
    output.forget()  # what its parent keeps is not a new process's to write
    output.finish()
    assert LINE in data
    assert read(reader) == b""


def test_a_line_that_was_begun_is_completed_before_that_of_another_thread(
    output: LogOutput, ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at what is kept and its turn a thread can be overtaken."""
    reader, _ = ends

    class Overtaking:
        """A lock that comes free only after another thread has left a part of its line."""

        def acquire(self, *, blocking: bool) -> bool:
            assert not blocking
            if not output._kept:
                output._keep_first(b"end of a line\n")
            return True

        def release(self) -> None:
            pass

    monkeypatch.setattr(output, "_writing", Overtaking())
    output.write(LINE)
    output.flush()
    assert read(reader) == b"end of a line\n" + LINE


def test_the_report_of_dropped_lines_waits_for_a_reader(
    output: LogOutput, caplog: pytest.LogCaptureFixture
) -> None:
    """Else each report would be dropped, counted, and reported in turn."""
    reader, writer = os.pipe()
    output.open(writer)
    os.close(reader)
    output.write(LINE)
    assert output.flush() == 1
    assert output.flush() == 0
    assert not caplog.records
    os.close(writer)
    reader, writer = os.pipe()
    output.open(writer)
    output.write(LINE)
    output.flush()
    assert [record.getMessage() for record in caplog.records] == [
        "1 log lines were dropped: nobody read them in time"
    ]
    for descriptor in (reader, writer):
        os.close(descriptor)
