"""A connection's states, and every transition between them.

    IDLE -> RECEIVING -> IN_FLIGHT (a thread serves it) -> SENDING -> IDLE, or CLOSING

docs/server.md describes these states and the deadlines. A connection may be dropped from
any state but IN_FLIGHT; a request is rejected from RECEIVING, or while no thread has it yet.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gunicorn.http.errors import ParseException

from drydock.server import responses, strict
from drydock.server.connection import CLOSING, IDLE, IN_FLIGHT, RECEIVING, SENDING, Connection
from drydock.server.framing import Frame, TooLargeError, is_head
from drydock.server.linger import Linger, scratch

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gunicorn.config import Config

    from drydock.server.ledger import Ledger
    from drydock.server.poller import Poller
    from drydock.server.pool import ThreadPool
    from drydock.server.probe import Probes
    from drydock.settings import BaseSettings

MIN_IDLE = 1.0  # seconds for which a connection has to be idle before it may be closed early


class Lifecycle:
    """All connections of a worker, as its main loop takes them from state to state."""

    def __init__(
        self,
        cfg: Config,
        settings: BaseSettings,
        poller: Poller,
        pool: ThreadPool,
        ledger: Ledger,
        probes: Probes,
    ) -> None:
        """Begin without connections; `pool` serves their requests, `ledger` bounds what is kept.

        `cfg`: for gunicorn's parser.
        """
        self.cfg = cfg
        self.settings = settings
        self.poller = poller
        self.pool = pool
        self.ledger = ledger
        self.probes = probes
        self.linger = Linger(settings.web_send_timeout, poller, self.drop)
        # A body that is larger than the first is not kept, one larger than the second is rejected.
        self.body_limits = ledger.limit // 8, settings.max_body_bytes
        self.connections: dict[int, Connection] = {}  # all of them, by file descriptor
        # Those without a request, and those with a part of one; those that wait longest come first.
        self.idle: dict[Connection, None] = {}
        self.receiving: dict[Connection, None] = {}
        self.parked: dict[Connection, None] = {}  # not read from until there is memory again
        self.min_idle = MIN_IDLE
        self.on_drop: Callable[[], None] = lambda: None

    def open(self, accepted: socket.socket, client: Any, server: Any) -> None:  # noqa: ANN401
        """Take over a socket that has been accepted; `client` and `server` are the addresses."""
        connection = Connection(accepted, client, server)
        connection.enter(IDLE, self.settings.web_head_timeout)
        self.connections[accepted.fileno()] = connection
        self.poller.add(accepted)
        self.idle[connection] = None

    def on_event(self, connection: Connection) -> None:
        """Handle the client having sent or taken something."""
        try:
            if connection.state <= RECEIVING:
                self._receive(connection)
            elif connection.state == SENDING:
                self._send(connection)
            elif connection.state == CLOSING:
                self.linger.discard_input(connection)
        except OSError:  # the client is gone
            self.drop(connection)

    # ---- IDLE, RECEIVING ------------------------------------------------------------------------

    def _receive(self, connection: Connection) -> None:
        """Read what the client has sent."""
        try:
            size = connection.socket.recv_into(scratch)
        except BlockingIOError:
            self.poller.await_input(connection.socket)
            return
        if size == 0:
            self.drop(connection)
            return
        connection.buffer += scratch[:size]
        self.ledger.update(connection)
        if connection.state == IDLE and not self._begin_request(connection):
            self.poller.await_input(connection.socket)
            return
        self._advance(connection)

    def _begin_request(self, connection: Connection) -> bool:
        """IDLE -> RECEIVING: the deadline counts from the first byte of a request.

        Return whether there is one. Empty lines before it are none: they must not keep a connection
        from being closed as idle.
        """
        if connection.buffer.startswith(b"\r") and not connection.frame.begin(connection.buffer):
            return False
        connection.enter(RECEIVING, self.settings.web_head_timeout)
        self.idle.pop(connection, None)
        self.receiving[connection] = None
        return True

    def _advance(self, connection: Connection) -> None:
        """Submit the request if it has arrived, else go on reading."""
        frame = connection.frame
        had_head = bool(frame.head_bytes)
        try:
            ready = frame.ready(connection.buffer, *self.body_limits)
        except TooLargeError as error:
            client = str(connection.client[0])
            detail = "The request is too large."
            self.respond(connection, responses.rejection(client, error.status, error.title, detail))
            return
        if ready:
            self._submit(connection)
            return
        if frame.head_bytes:
            if not had_head:
                self._begin_body(connection)
                if connection.state != RECEIVING:
                    return
            self._set_body_deadline(connection)
        if self.ledger.full:
            self.parked[connection] = None
        else:
            self.poller.await_input(connection.socket)

    def _begin_body(self, connection: Connection) -> None:
        """Set the deadline anew, and send the 100 if the client waits for one."""
        frame = connection.frame
        connection.enter(RECEIVING)
        if frame.expects_continue and len(connection.buffer) == frame.head_bytes:
            self._check_head(connection)
            if connection.state == RECEIVING:
                connection.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                frame.continue_sent = True

    def _check_head(self, connection: Connection) -> None:
        """Let a thread reject the request now if its head is not valid, whatever its body is.

        Not called for each request: parsing takes time, and nearly always the body arrives soon
        after the head. Then a thread parses it, once.
        """
        frame = connection.frame
        frame.head_checked = True
        head = bytes(connection.buffer[: frame.head_bytes])
        try:
            strict.parse_head(self.cfg, head, connection.client)
        except ParseException:
            self._submit(connection)

    def _set_body_deadline(self, connection: Connection) -> None:
        """Give the client time for its body, once a tick has checked the head."""
        if connection.frame.head_checked:
            received = len(connection.buffer) - connection.frame.head_bytes
            connection.allow(self.settings.web_body_timeout, received)

    def resume_parked(self) -> None:
        """Go on reading from the connections for which there was no memory, if there is now."""
        while self.parked and not self.ledger.full:
            connection = next(iter(self.parked))  # the longest waiting
            del self.parked[connection]
            self.poller.await_input(connection.socket)

    # ---- IN_FLIGHT ------------------------------------------------------------------------------

    def _submit(self, connection: Connection) -> None:
        """RECEIVING -> IN_FLIGHT: let the next free thread serve the request."""
        self.receiving.pop(connection, None)
        self.parked.pop(connection, None)
        pool = self.pool
        if pool.busy and (alive := self.probes.respond(connection)):
            response, keep_alive = alive
            self.respond(connection, response, keep_alive=keep_alive)
            return
        if connection.frame.large and pool.large_busy and self.ledger.full:
            self.ledger.count_dropped("overload")  # there is no memory to keep it while it waits
            self.respond(connection, responses.overloaded())
            return
        connection.enter(IN_FLIGHT, self.settings.web_queue_timeout)
        connection.sent = 0  # bytes of this response, each of which adds to its deadline
        pool.submit(connection, connection.since)

    def complete(self, connection: Connection) -> None:
        """IN_FLIGHT -> SENDING: a thread has served the request, or the client was too slow."""
        if connection.timed_out:
            self.ledger.count_dropped(connection.timed_out)
            if connection.timed_out == "send":
                self.drop(connection, reset=True)
                return
        self._begin_sending(connection)
        try:
            self._send(connection)
        except OSError:
            self.drop(connection)

    # ---- SENDING --------------------------------------------------------------------------------

    def respond(self, connection: Connection, response: bytes, *, keep_alive: bool = False) -> None:
        """Respond from the main loop, without a thread; then close, or wait for a request."""
        self.receiving.pop(connection, None)
        self.parked.pop(connection, None)
        connection.fully_read = connection.frame.complete
        connection.keep_alive = keep_alive
        if is_head(connection.buffer):
            response = responses.without_body(response)
        connection.unsent.append(memoryview(response))
        connection.unsent_bytes = len(response)
        connection.buffer.clear()
        self._begin_sending(connection)
        self._send(connection)

    def _begin_sending(self, connection: Connection) -> None:
        connection.enter(SENDING)
        connection.sent = 0

    def _send(self, connection: Connection) -> None:
        """Send what is left of the response, as the client takes it."""
        sent_all = connection.send_unsent()
        self.ledger.update(connection)
        if not sent_all:
            connection.allow(self.settings.web_send_timeout, connection.sent)
            self.poller.await_output(connection.socket)
        elif connection.keep_alive:
            self._await_next_request(connection)
        else:
            self.linger.begin(connection)

    def _await_next_request(self, connection: Connection) -> None:
        """SENDING -> IDLE, or RECEIVING if the next request has begun to arrive already."""
        connection.frame = Frame()
        if connection.buffer and self._begin_request(connection):
            self._advance(connection)
            return
        connection.enter(IDLE, self.settings.web_keepalive)
        self.idle[connection] = None
        self.poller.await_input(connection.socket)

    # ---- CLOSING, and the end -------------------------------------------------------------------

    def close_idle(self, connection: Connection) -> None:
        """IDLE -> CLOSING: the client may not have taken all of its last response yet."""
        del self.idle[connection]
        connection.fully_read = True
        try:
            self.linger.begin(connection)
        except OSError:  # the client is gone
            self.drop(connection)

    def drop(self, connection: Connection, *, reset: bool = False) -> None:
        """Close at once; with `reset` so that the client sees that a response is truncated."""
        if self.connections.pop(connection.socket.fileno(), None) is None:
            return
        self.idle.pop(connection, None)
        self.receiving.pop(connection, None)
        self.parked.pop(connection, None)
        self.ledger.remove(connection)
        # A thread may still wait until the main loop has counted what it left unsent.
        connection.forget_unsent()
        if reset:
            connection.reset_on_close()
        connection.socket.close()
        self.on_drop()

    def expire(self, connection: Connection) -> None:
        """End the state whose deadline has passed: with a response if one is possible."""
        if connection.state == IN_FLIGHT:
            if self.pool.withdraw(connection):
                self.ledger.count_dropped("overload")
                self.respond(connection, responses.overloaded())
            return
        if connection not in self.parked:
            # What the client did in time counts, even if the loop has been blocked since then.
            self.on_event(connection)
            if connection.socket.fileno() < 0 or connection.deadline >= time.monotonic():
                return
        if connection.state == SENDING:
            self.ledger.count_dropped("send")
            self.drop(connection, reset=True)
        elif connection.state == RECEIVING:
            if connection.frame.head_bytes and not connection.frame.head_checked:
                self._check_head(connection)
                if connection.state == RECEIVING:
                    self._set_body_deadline(connection)
                return
            self.ledger.count_dropped("body" if connection.frame.head_bytes else "head")
            self.respond(connection, responses.too_slow())
        elif connection.state == IDLE:
            self.close_idle(connection)
        else:
            self.drop(connection)
