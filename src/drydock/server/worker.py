"""The worker: gunicorn's gthread, but with a main loop on which no client can make others wait.

Stock gthread gives a connection a thread and lets the thread wait for the client: for the rest of
the head, for the body, for the answer to be taken. As many slow clients as there are threads stop
it for good. Here the main loop does all the waiting, and a thread gets a request that is complete.

    READING -> QUEUED -> (a thread answers) -> SENDING -> READING, or CLOSING

docs/server.md tells the life of a connection and the deadlines; drydock.server.supervisor is the
other half, in the arbiter. Nothing here locks: a connection belongs to the main loop or to one
thread, and what passes between them are single operations on dicts, deques and queues.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import functools
import os
import queue
import re
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import ThreadWorker

from drydock import metrics
from drydock.server import answers, state
from drydock.server.connection import (
    CLOSING,
    LOWEST_RATE,
    QUEUED,
    READING,
    SENDING,
    Connection,
    Exchange,
)
from drydock.server.framing import Frame, TooLargeError
from drydock.server.hooks import plan, settings
from drydock.server.listener import plug

if TYPE_CHECKING:
    from gunicorn.config import Config
    from gunicorn.glogging import Logger
    from gunicorn.http.message import Request

# Seconds.
TICK = 0.25  # how late a deadline may be noticed
ENDING_TICK = 0.02  # the same once the worker is ending: its successor, or `docker stop`, waits
YIELD = 0.01  # how long connections are left to a worker that has fewer
YIELD_TICK = 0.001  # how often it is looked whether it has caught up
IN_VAIN = 0.1  # how long none are left to others when they have not caught up in time
LINGER = 2.0  # how long a client that is told to stop sending may pause before it is cut off
# How long a thread may keep the interpreter to itself while others want it. After each system call
# the main loop is one of those: at Python's 5 ms, threads that compute made it up to a second late
# for refusing what is too much. At 1 ms it was half a second, for 3 to 5 % of the throughput.
SWITCH_INTERVAL = 0.001
PLUG_AT_MOST = 1.0  # how long the last worker tries to close its listeners without a loss
SILENCE = 1.0  # how long a silent connection is kept at least, if no longer than it must be
# How long a worker that is replaced finishes what it has. No client waits for that, but it takes
# memory, and the arbiter counts it as one of its workers.
LEAVING_AT_MOST = 600.0

# A thousand clients whose time is up together must not make all others wait for their farewell.
EXPIRED_AT_ONCE = 20

LINGER_BYTES = 2**26  # how much is read of a body that nobody wants, so that its sender listens
RECEIVE_BYTES = 2**16
UNSENT_BYTES = 2**17  # what the kernel takes of an answer beyond what is on its way

# A plain request for `/livez`: regular fields, and no body. All else is for the parser to judge.
PROBE = re.compile(
    rb"GET /livez HTTP/1\.[01]\r\n"
    rb"(?:(?!(?i:content-length|transfer-encoding|expect):)"
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ -~\t]*\r\n)*"
    rb"\r\n"
)

# What is read at a time, at once thrown away or copied. One for all: only the main loop reads.
_scratch = memoryview(bytearray(RECEIVE_BYTES))


def capacity(wanted: int, threads: int) -> int:
    """How many connections a worker can hold: `wanted`, or fewer if it may not open so many files.

    Raises the soft limit of open files, which is there for programs that use select(), as far as
    it is needed. Leaves room for what threads open: a database's connection and file each.
    """
    spare = 64 + 4 * threads
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else wanted + spare
    if soft < wanted + spare:
        soft = min(limit, wanted + spare)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, max(soft - spare, soft // 4))


class Worker(ThreadWorker):
    """A gthread worker whose threads never wait for a client."""

    slot: int  # given by the hook pre_fork

    @classmethod
    def check_config(cls, cfg: Config, _log: Logger) -> None:
        """Refuse what this worker does not do.

        Raises:
            SystemExit: if TLS is configured, which is a gateway's work.

        """
        if cfg.is_ssl:
            sys.exit("error: this worker does not speak TLS. Let a gateway do that.")

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        """Take gunicorn's arguments."""
        super().__init__(*arguments, **options)
        self.settings = settings()
        # Counted here: gunicorn's own count ends the worker, this one asks for a successor first.
        self.recycle_after, self.max_requests = self.max_requests, sys.maxsize
        self.buffer_bytes = self.settings.web_buffer_bytes or plan().buffer
        # What is kept of a body; and, if it is larger, how many threads may read such a body at a
        # time: the client is waited for there, and others must be served meanwhile.
        self.body_limits = self.buffer_bytes // 8, self.settings.max_body_bytes
        self.readers = max(1, self.cfg.threads - 1)
        self.connections: dict[int, Connection] = {}  # all of them, by file descriptor
        # Those that have sent nothing since their last answer, and those with a part of a request;
        # the longest waiting come first.
        self.silent: dict[Connection, None] = {}
        self.partial: dict[Connection, None] = {}
        # Those with a request for which no thread has been free yet. Who takes a connection out,
        # a thread or the main loop, has it.
        self.waiting: dict[Connection, None] = {}
        self.given = 0  # requests that threads have, or wait for one
        self.reading = 0  # those of them with a body that is too large to keep
        self.later: collections.deque[Connection] = collections.deque()  # the same, not given yet
        self.requests: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self.answered: collections.deque[Connection] = collections.deque()
        self.held = 0  # bytes that wait here for slow clients and for threads
        self.parked: list[Connection] = []  # not read from until there is memory again
        self.listening: dict[int, socket.socket] = {}
        self.paused = False  # not accepting, for there is no room
        # Seconds of the monotonic clock.
        self.next_tick = self.last_answer = 0.0
        self.yields_until = 0.0  # 0 while it does not
        self.yields_from = 0.0  # not before
        self.leaving_since = 0.0  # this worker
        self.ending_since = 0.0  # the whole service
        self.crowded_at = 0.0  # when there was last no room for who waits
        # Connections given up since that was last told, by the reason.
        self.told: collections.Counter[str] = collections.Counter()

    # ---- gunicorn's side ------------------------------------------------------------------------

    def init_process(self) -> None:
        """Prepare this process, then run; the base's own would make a pool and a poller."""
        wanted = self.settings.web_connections or plan().connections
        self.limit = capacity(wanted, self.cfg.threads)
        self.epoll = select.epoll()
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        sys.setswitchinterval(SWITCH_INTERVAL)
        super(ThreadWorker, self).init_process()
        self.log.info("Worker exiting (pid: %s)", self.pid)
        # Not by the interpreter's own end, which takes all objects apart, and for that copies
        # the memory that is shared with the arbiter: at a low limit the kernel killed it there.
        os._exit(0)

    def init_signals(self) -> None:
        """Leave SIGINT to the arbiter: a terminal sends it to every process of the group."""
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: object) -> None:  # noqa: ARG002 (gunicorn's signature)
        """Begin to end, on SIGTERM; the loop looks at `alive` when the signal has woken it."""
        self.alive = False
        self.next_tick = 0.0
        os.eventfd_write(self.wake, 1)

    def handle_quit(self, sig: int, frame: object) -> None:  # noqa: ARG002
        """End now. Not by SystemExit, which would wait for the threads."""
        os._exit(0)

    def run(self) -> None:
        """Serve until told to end, then as long as somebody is owed an answer."""
        self.epoll.register(self.wake, select.EPOLLIN)
        state.note(self.slot, state.LISTENING)
        for listener in self.sockets:
            listener.setblocking(False)
            self.listening[listener.fileno()] = listener
            self.epoll.register(listener, select.EPOLLIN)
        for number in range(self.cfg.threads):
            threading.Thread(target=self._work, name=f"request-{number}", daemon=True).start()
        self.last_answer = time.monotonic()
        tick = TICK
        while True:
            now = time.monotonic()
            if now >= self.next_tick:
                leaving = not self.alive or state.phase() == state.ENDING
                tick = ENDING_TICK if leaving else TICK
                self.next_tick = now + tick
                self.notify()
                self._expire(now)
                if not self._goes_on(now):
                    return
            patience = tick if self.next_tick > now else 0
            if self.yields_until:
                self._yield_no_longer(now)
                patience = min(patience, YIELD_TICK)
            for descriptor, _ in self.epoll.poll(patience):
                if connection := self.connections.get(descriptor):
                    self._on_event(connection)
                elif descriptor == self.wake:
                    os.eventfd_read(self.wake)
                    self._take_back()
                elif descriptor in self.listening and not self._yields():
                    self._accept(self.listening[descriptor])

    # ---- threads --------------------------------------------------------------------------------

    def _work(self) -> None:
        """Answer one request after the other, in a thread, for ever."""
        while True:
            connection = self.requests.get()
            # A dict's pop is one step: of thread and main loop only one gets the connection.
            if self.waiting.pop(connection, self) is self:
                continue
            try:
                connection.keep = self._answer(connection)
            except BaseException:
                # SystemExit of the application, say: nothing may end a thread.
                self.log.exception("Error handling request")
                connection.keep = False
            self.answered.append(connection)
            os.eventfd_write(self.wake, 1)
            # An answer that the client has not taken is in memory: make no other before the main
            # loop has this one on its account.
            while connection.unsent and connection.state == QUEUED:
                time.sleep(0.001)

    def _answer(self, connection: Any) -> bool:  # noqa: ANN401 (gunicorn means its own kind)
        """Answer the request in the connection's buffer; whether another one may follow."""
        exchange = Exchange(
            connection, self.settings.web_body_timeout, self.settings.web_send_timeout
        )
        connection.clean = False
        connection.sock = exchange
        connection.parser = RequestParser(
            self.cfg, cast("socket.socket", exchange), connection.client
        )
        connection.parser.unreader.unread(bytes(connection.buffer))
        connection.buffer.clear()
        try:
            keep: bool = self.handle(connection)
            try:
                exchange.flush()
            except OSError:  # the client is gone
                keep = False
            if keep:  # the client may have sent its next requests already
                connection.buffer += connection.parser.unreader.take_buffered()
            return keep
        finally:  # a kept connection is to be small
            connection.sock = connection.parser = None

    def handle_request(self, req: Request, conn: Any) -> bool:  # noqa: ANN401 (as above)
        """Answer a request that has been parsed; called by the base's handle()."""
        # gunicorn tells a client to go on whose body is too large for the main loop to wait for.
        if conn.frame.whole or conn.frame.told:
            req._expected_100_continue = False  # type: ignore[attr-defined]
        asked_to_close = req.should_close

        # Asked when the answer's head is made, which may be long after the request came, and once
        # more after the answer: what has been announced must be done.
        @functools.cache
        def should_close() -> bool:
            ending = not self.alive or state.phase() != state.SERVING
            # Kept connections must not shut out for good who waits for room.
            return ending or self.paused or not conn.frame.whole or bool(asked_to_close())

        req.should_close = should_close  # type: ignore[method-assign]
        try:
            keep: bool = super().handle_request(req, conn)
        finally:  # or else the request is a cycle, and waits for the garbage collector
            del req.should_close
        conn.clean = conn.frame.whole
        return keep

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:  # noqa: ANN401 (as above)
        """Skip a body that the application did not read: it is here, so that nothing waits."""
        return bool(keepalive and conn.frame.whole and conn.parser.finish_body())

    # ---- the main loop: from accept to a thread -------------------------------------------------

    def _yields(self) -> bool:
        """Leave what comes to a worker that has fewer connections, if that one is quick.

        All are woken for each connection, and the same is the first again and again: half of the
        processors had nothing to do.
        """
        now = time.monotonic()
        if not self.yields_until and now >= self.yields_from and state.someone_has_fewer(self.slot):
            self.yields_until = now + YIELD
            state.note(self.slot, state.YIELDING)
            self._listen(on=False)
        return bool(self.yields_until)

    def _yield_no_longer(self, now: float) -> None:
        """Accept again once the other worker has as many, or has had its time."""
        if now >= self.yields_until:
            self.yields_from = now + IN_VAIN  # it hangs, or has just started
        elif state.someone_has_fewer(self.slot):
            return
        self.yields_until = 0.0
        state.withdraw(self.slot, state.YIELDING)
        if not self.paused:
            self._listen(on=True)

    def _listen(self, *, on: bool) -> None:
        """Whether connections that come shall wake the main loop."""
        for listener in self.listening.values():
            self.epoll.modify(listener, select.EPOLLIN if on else 0)

    def _accept(self, listener: socket.socket) -> bool:
        """Accept one connection, so that workers share a burst; whether there was one."""
        if len(self.connections) >= self.limit and not self._make_room():
            self._pause()
            return False
        try:
            accepted, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                if self._make_room():
                    return True
                # Level-triggered, the listener would wake the loop at once and for ever.
                self._pause()
                return False
            # Nobody there, or gone again.
            return error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK)
        # Without it the kernel takes megabytes of an answer, which nobody here can count, for a
        # client that reads nothing.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        now = time.monotonic()
        connection = Connection(accepted, client, listener.getsockname(), now)
        connection.deadline = now + self.settings.web_head_timeout
        self.connections[accepted.fileno()] = connection
        state.count(self.slot, len(self.connections))
        self.epoll.register(accepted, select.EPOLLIN | select.EPOLLONESHOT)
        self.silent[connection] = None
        return True

    def _make_room(self) -> bool:
        """Close the connection that has been silent for longest, or else the slowest sender.

        None whose request has arrived or may be on its way; and none at the end, when who waits is
        better served once others have been.
        """
        if not self.alive:
            return False
        before = time.monotonic() - SILENCE
        for candidates, reason in ((self.silent, "idle"), (self.partial, "slow")):
            while connection := next((c for c in candidates if c.since < before), None):
                self._on_event(connection)
                if connection in candidates and connection.since < before:
                    self._count(reason)
                    self._drop(connection)
                if connection.socket.fileno() < 0:
                    return True
        return False

    def _pause(self) -> None:
        """Leave connections in the kernel's queue until one is closed here, or the next tick."""
        self.crowded_at = time.monotonic()
        if not self.paused:
            self.paused = True
            state.count(self.slot, state.FULL)
            self._listen(on=False)

    def _resume(self) -> None:
        """Accept again."""
        if self.paused:
            self.paused = False
            state.count(self.slot, len(self.connections))
            self._listen(on=not self.yields_until)

    def _on_event(self, connection: Connection) -> None:
        """Do what the connection's client has made possible."""
        try:
            if connection.state == READING:
                self._read(connection)
            elif connection.state == SENDING:
                self._send(connection)
            elif connection.state == CLOSING:
                self._drain(connection)
        except OSError:  # the client is gone
            self._drop(connection)

    def _await(self, connection: Connection, events: int) -> None:
        """Wake the loop once, when the client has sent or taken something."""
        self.epoll.modify(connection.socket, events | select.EPOLLONESHOT)

    def _read(self, connection: Connection) -> None:
        """Take what the client has sent."""
        try:
            size = connection.socket.recv_into(_scratch)
        except BlockingIOError:
            self._await(connection, select.EPOLLIN)
            return
        if size == 0:
            self._drop(connection)
            return
        if not connection.buffer:
            self._begin(connection)
        connection.buffer += _scratch[:size]
        self._account(connection)
        self._look(connection)

    def _account(self, connection: Connection) -> None:
        """Keep the sum of what all connections keep in memory."""
        held = len(connection.buffer) + connection.unsent
        self.held += held - connection.held
        connection.held = held

    def _begin(self, connection: Connection) -> None:
        """The first byte of a request starts the clock."""
        connection.since = time.monotonic()
        connection.deadline = connection.since + self.settings.web_head_timeout
        self.silent.pop(connection, None)
        self.partial[connection] = None

    def _look(self, connection: Connection) -> None:
        """Give the connection to a thread if its request is there, else go on reading."""
        frame = connection.frame
        had_head = bool(frame.head)
        try:
            ready = frame.ready(connection.buffer, *self.body_limits)
        except TooLargeError as error:
            client = str(connection.client[0])
            detail = "The request is too large."
            answer = answers.refusal(client, error.status, error.title, detail)
            self._reply(connection, answer)
            return
        if ready:
            self._enqueue(connection)
            return
        if frame.head:
            if not had_head:
                connection.since = time.monotonic()
                if frame.expects and len(connection.buffer) == frame.head:
                    connection.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                    frame.told = True
            received = len(connection.buffer) - frame.head
            allowed = self.settings.web_body_timeout + received / LOWEST_RATE
            connection.deadline = connection.since + allowed
        if self.held > self.buffer_bytes:
            self.parked.append(connection)
        else:
            self._await(connection, select.EPOLLIN)

    def _enqueue(self, connection: Connection) -> None:
        """Let the next free thread answer."""
        now = time.monotonic()
        self.partial.pop(connection, None)
        if self.given < self.cfg.threads:
            self.last_answer = now  # a thread is free: only from now on can all of them hang
        # When all threads are busy a probe is answered here, for as long as they get on with it:
        # restarting what is merely overloaded makes it worse, and a hang still shows.
        if (
            self.given >= self.cfg.threads
            and self._is_probe(connection)
            and now - self.last_answer < self.cfg.timeout
        ):
            self._reply(connection, answers.alive())
            return
        if (
            connection.frame.large
            and self.reading >= self.readers
            and self.held > self.buffer_bytes
        ):
            self._count("overload")  # there is no memory for it to wait in
            self._reply(connection, answers.overloaded())
            return
        connection.state = QUEUED
        connection.sent = 0  # of this answer, whose time it is that it adds to
        connection.deadline = now + self.settings.web_queue_timeout
        self.waiting[connection] = None
        if connection.frame.large:
            self.later.append(connection)
            self._give_large()
        else:
            self.given += 1
            self.requests.put(connection)

    def _give_large(self) -> None:
        """Let threads have the requests whose bodies they must read, but not the last thread."""
        while self.later and self.reading < self.readers:
            self.reading += 1
            self.given += 1
            self.requests.put(self.later.popleft())

    def _is_probe(self, connection: Connection) -> bool:
        """Whether the request is one for `/livez` that the parser has nothing to object to."""
        data = connection.buffer
        return (
            data.startswith(b"GET /livez ")
            and connection.frame.whole
            and connection.server[1] != self.settings.metrics_port
            and bool(PROBE.fullmatch(data))
            and data.lower().count(b"\r\nhost:") == 1
        )

    # ---- the main loop: from a thread to the next request, or the end ---------------------------

    def _take_back(self) -> None:
        """Go on with the connections that threads have answered."""
        while self.answered:
            connection = self.answered.popleft()
            self._taken(connection)
            if connection.given_up:
                self._count(connection.given_up)
            if connection.given_up == "send":
                self._drop(connection, reset=True)
                continue
            self._sending(connection)
            try:
                self._send(connection)
            except OSError:
                self._drop(connection)
            self._relieve()
        self.last_answer = time.monotonic()
        state.note(self.slot, state.ANSWERED)
        if self.nr >= self.recycle_after and self.alive and state.phase() != state.ENDING:
            self._ask_for_a_successor()

    def _taken(self, connection: Connection) -> None:
        """Note that no thread has the connection's request, nor is going to."""
        self.given -= 1
        if connection.frame.large:
            self.reading -= 1
            self._give_large()

    def _sending(self, connection: Connection) -> None:
        connection.state = SENDING
        connection.since = time.monotonic()
        connection.sent = 0

    def _send(self, connection: Connection) -> None:
        """Send what is left of the answer, as the client takes it."""
        done = connection.push()
        self._account(connection)
        if not done:
            allowed = self.settings.web_send_timeout + connection.sent / LOWEST_RATE
            connection.deadline = connection.since + allowed
            self._await(connection, select.EPOLLOUT)
        elif connection.keep:
            self._next(connection)
        else:
            self._close(connection)

    def _next(self, connection: Connection) -> None:
        """Wait for the connection's next request, or take up the one that is there already."""
        connection.state = READING
        connection.frame = Frame()
        if connection.buffer:
            self._begin(connection)
            self._look(connection)
            return
        connection.since = time.monotonic()
        connection.deadline = connection.since + self.settings.web_keepalive
        self.silent[connection] = None
        self._await(connection, select.EPOLLIN)

    def _reply(self, connection: Connection, answer: bytes) -> None:
        """Answer from the main loop, and close after."""
        self.partial.pop(connection, None)
        connection.clean = connection.frame.whole
        connection.keep = False
        if connection.buffer[:7].removeprefix(b"\r\n").startswith(b"HEAD "):
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        connection.out.append(memoryview(answer))
        connection.unsent = len(answer)
        connection.buffer.clear()
        self._sending(connection)
        self._send(connection)

    def _close(self, connection: Connection) -> None:
        """Close so that the client gets the whole answer.

        The kernel resets a connection that is closed while something the client has sent is
        unread, and the reset may overtake the answer: then only this side is closed, and what still
        comes is read and thrown away for a while.
        """
        connection.state = CLOSING
        connection.sent = 0
        connection.since = time.monotonic()
        connection.deadline = connection.since + LINGER
        if not connection.clean:
            connection.socket.shutdown(socket.SHUT_WR)
        self._drain(connection)

    def _drain(self, connection: Connection) -> None:
        """Throw away what the client sends, until it stops or has had its time."""
        try:
            size = connection.socket.recv_into(_scratch)
        except BlockingIOError:
            size = 0 if connection.clean else -1
        connection.sent += max(size, 0)
        if size == 0 or connection.sent > LINGER_BYTES:
            self._drop(connection)
            return
        if size > 0:
            if connection.clean:
                connection.clean = False
                connection.socket.shutdown(socket.SHUT_WR)
            last = connection.since + self.settings.web_send_timeout
            connection.deadline = min(time.monotonic() + LINGER, last)
        self._await(connection, select.EPOLLIN)

    def _drop(self, connection: Connection, *, reset: bool = False) -> None:
        """Close at once; with `reset` so that the client sees that an answer is not whole."""
        if self.connections.pop(connection.socket.fileno(), None) is None:
            return
        state.count(self.slot, len(self.connections))
        self.silent.pop(connection, None)
        self.partial.pop(connection, None)
        self.held -= connection.held
        # A thread may still know the connection, and wait for what it left unsent to be counted.
        connection.out.clear()
        connection.unsent = 0
        if reset:
            with contextlib.suppress(OSError):
                connection.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
        connection.socket.close()
        self._resume()

    # ---- the main loop: deadlines and bounds ----------------------------------------------------

    def _expire(self, now: float) -> None:
        """End what has had its time."""
        expired = [
            connection
            for connection in self.connections.values()
            if connection.deadline < now
            and (connection.state != QUEUED or connection in self.waiting)
        ]
        for connection in expired[:EXPIRED_AT_ONCE]:
            try:
                self._expired(connection)
            except OSError:
                self._drop(connection)
        if len(expired) > EXPIRED_AT_ONCE:
            self.next_tick = now  # after a look at what others want
        self._resume()
        self._relieve()
        self._unpark()
        for reason, count in self.told.items():
            self.log.warning("%d connections dropped: %s", count, reason)
        self.told.clear()

    def _expired(self, connection: Connection) -> None:
        """End the connection's state, as its client can best bear it."""
        if connection.state != QUEUED and connection not in self.parked:
            # What the client did in time counts, though the loop may have stood still since then.
            self._on_event(connection)
            if connection.socket.fileno() < 0 or connection.deadline >= time.monotonic():
                return
        if connection.state == QUEUED:
            if self.waiting.pop(connection, self) is not self:
                if connection in self.later:
                    self.later.remove(connection)
                else:
                    self._taken(connection)
                self._count("overload")
                self._reply(connection, answers.overloaded())
            return
        if connection.state == SENDING:
            self._count("send")
            self._drop(connection, reset=True)
        elif connection.state == READING and connection.buffer:
            self._count("body" if connection.frame.head else "head")
            self._reply(connection, answers.too_slow())
        else:
            self._drop(connection)

    def _count(self, reason: str) -> None:
        """Count a connection that is given up, and have it told with the others of this tick.

        A line for each would make an attack on the service one on its logs.
        """
        metrics.dropped.labels(reason).inc()
        self.told[reason] += 1

    def _relieve(self) -> None:
        """Keep the memory bounded: give up the slowest clients until a quarter is free again.

        Those are the ones that have been at it for longest. A body that has just begun is no
        reason: it is parked, for a tick or two.
        """
        if self.held > self.buffer_bytes:
            begun = time.monotonic() - 1
            slow = [
                connection
                for connection in self.connections.values()
                if connection.state == SENDING
                or (connection in self.partial and connection.since < begun)
            ]
            for connection in sorted(slow, key=lambda connection: connection.since):
                if self.held < self.buffer_bytes * 3 // 4:
                    break
                self._count("memory")
                self._drop(connection, reset=True)

    def _unpark(self) -> None:
        """Go on reading from the connections for which there was no memory."""
        parked, self.parked = self.parked, []
        for connection in parked:
            if connection not in self.partial:
                continue
            if self.held > self.buffer_bytes:
                self.parked.append(connection)
            else:
                self._await(connection, select.EPOLLIN)

    # ---- the main loop: the end -----------------------------------------------------------------

    def _goes_on(self, now: float) -> bool:
        """Whether there is still something to do; takes the next step towards the end."""
        if os.getppid() != self.ppid:  # the arbiter is gone, and nobody would replace this worker
            return False
        ending = state.phase() == state.ENDING
        if self.alive and not ending:
            return True
        if not self.leaving_since:
            self.alive = False  # a signal that came before its handler was there is lost
            self.leaving_since = now
            state.note(self.slot, state.LEAVING)
        if ending and not self.ending_since:
            self.ending_since = now
        self._stop_accepting(now)
        self._end_silent(now)
        if not self.listening and not self.connections:
            return False
        # Only for a service that ends does somebody wait, who would kill it.
        if ending and now - self.ending_since > self.settings.graceful_timeout:
            self._cut_off("by GRACEFUL_TIMEOUT")
        elif not ending and now - self.leaving_since > LEAVING_AT_MOST:
            self._cut_off("long after their worker was replaced")
        return True

    def _cut_off(self, why: str) -> None:
        """End with what is not finished."""
        unfinished = sum(c.state in (QUEUED, SENDING) for c in self.connections.values())
        if unfinished:
            self.log.warning("%d requests were cut off %s", unfinished, why)
        os._exit(0)  # not by SystemExit, which would wait for the threads

    def _ask_for_a_successor(self) -> None:
        """Go on until the arbiter, which has started another worker first, sends SIGTERM."""
        if not state.says(self.slot, state.REPLACE):
            self.log.info("%d requests answered: to be replaced", self.nr)
            state.note(self.slot, state.REPLACE)
            os.kill(self.ppid, signal.SIGWINCH)

    def _stop_accepting(self, now: float) -> None:
        """Close the listeners; of a service that ends, one worker empties their queues first."""
        if not self.listening:
            return
        if self.ending_since and state.last() == self.slot:
            # The others leave theirs at once, or else they would take the plug out.
            patient = now - max(self.ending_since, self.crowded_at) < PLUG_AT_MOST
            if patient and state.others_say(self.slot, state.LISTENING):
                return
            self._resume()
            for listener in self.listening.values():
                while self._accept(listener):
                    pass
                if self.paused:
                    # The rest comes in as others are answered; until then hardly anybody joins it.
                    listener.listen(0)
                    return
                if not plug(listener) and patient:
                    return
        for listener in self.listening.values():
            self.epoll.unregister(listener)
            listener.close()
        self.listening.clear()
        state.withdraw(self.slot, state.LISTENING)

    def _end_silent(self, now: float) -> None:
        """Close connections without a request. Those of a service that goes on have more time.

        A client may be sending its next request just now, and a close would lose it: each has a
        while to do so, and gets its answer with `Connection: close`.
        """
        since, patience = self.ending_since, SILENCE
        if not since:
            since, patience = self.leaving_since, self.settings.graceful_timeout / 2
        for connection in list(self.silent):
            if now - max(since, connection.since) > patience:
                # What has arrived since the loop last looked is still answered.
                self._on_event(connection)
                if connection in self.silent:
                    self._drop(connection)
