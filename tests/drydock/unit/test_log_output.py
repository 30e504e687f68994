from __future__ import annotations

import os
import socket
import tempfile
import threading
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


def test_what_nobody_reads_is_kept_up_to_a_bound_and_comes_in_its_order(
    output: LogOutput, ends: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = ends
    assert os.get_blocking(writer)  # other processes may have it as well
    lines = [b"%06d" % number + LINE for number in range(3000)]
    for line in lines:
        output.write(line)
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

    def talk(text: bytes) -> None:
        for number in range(100):
            output.write(b"%d %s\n" % (number, text))

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
