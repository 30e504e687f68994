"""gunicorn's side of a worker: its class, its signals, and a request's way through its WSGI part.

Stock gthread gives a connection a thread and lets the thread wait for the client: for the rest of
the head, for the body, for the response to be taken. As many slow clients as there are threads stop
all service. Here the main loop (drydock.server.loop) does all the waiting, and a thread gets a
request that is complete. drydock.server.supervisor is the other half, in the arbiter.
"""

from __future__ import annotations

import functools
import math
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, Any, cast

from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import ThreadWorker

from drydock import metrics
from drydock.server import process_exit, state, strict
from drydock.server.acceptor import Acceptor
from drydock.server.bounds import Bounds
from drydock.server.exchange import Exchange
from drydock.server.hooks import flush_log, plan, settings
from drydock.server.lead import Lead
from drydock.server.ledger import Ledger
from drydock.server.lifecycle import Lifecycle
from drydock.server.log_output import output
from drydock.server.loop import Loop
from drydock.server.poller import Poller
from drydock.server.pool import ThreadPool
from drydock.server.probe import Probes
from drydock.server.shutdown import Shutdown

if TYPE_CHECKING:
    import socket

    from gunicorn.arbiter import Arbiter
    from gunicorn.config import Config
    from gunicorn.glogging import Logger
    from gunicorn.http.message import Request

# Seconds for which a thread may keep the interpreter while others wait for it, as the main loop
# does after each system call. At Python's 5 ms, threads that compute delayed the 503s of an
# overload by up to a second; at 1 ms by half a second, at a cost of 3 to 5 % of the throughput.
SWITCH_INTERVAL = 0.001


def capacity(wanted: int, threads: int) -> int:
    """How many connections a worker can hold: `wanted`, or fewer if the limit of files is too low.

    Raises the soft limit of open files, which exists for programs that use select(), as far as
    needed. Leaves room for what each thread opens: a connection to the database and a file.
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

    slot: int  # set by the hook pre_fork
    sets_flags = True  # says in the shared state whether it has responded, and that it is stopping
    arbiter: Arbiter  # set by the hook post_fork

    @classmethod
    def check_config(cls, cfg: Config, _log: Logger) -> None:
        """Check that nothing is configured that this worker does not do.

        Raises:
            SystemExit: if TLS is configured.

        """
        if cfg.is_ssl:
            sys.exit("error: this worker does not speak TLS. Let a gateway do that.")

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        """Take gunicorn's arguments."""
        super().__init__(*arguments, **options)
        self.settings = settings()
        # gunicorn's own count would end the worker; this class asks for a successor first.
        self.recycle_after, self.max_requests = self.max_requests, sys.maxsize

    def build(self, limit: int) -> None:
        """Make the parts of the worker, after the fork.

        `limit`: how many connections it may have.
        """
        log = cast("Any", self.log)
        self.ledger = Ledger(self.settings.web_buffer_bytes or plan().buffer)
        poller = Poller()
        self.lead = Lead()
        self.pool = ThreadPool(self.cfg.threads, self._serve, poller.wake, self.lead, log)
        self.probes = Probes(self.cfg, self.settings, self.pool, self._closes)
        self.lifecycle = Lifecycle(
            self.cfg, self.settings, poller, self.pool, self.ledger, self.probes
        )
        self.acceptor = Acceptor(self.slot, limit, poller, self.lifecycle, self.ledger)
        self.bounds = Bounds(self.lifecycle, self.pool, self.ledger, log)
        timeout = self.settings.graceful_timeout
        self.shutdown = Shutdown(self.slot, self.ppid, timeout, self.acceptor, self.lifecycle, log)
        self.loop = Loop(
            poller=poller,
            lifecycle=self.lifecycle,
            pool=self.pool,
            lead=self.lead,
            acceptor=self.acceptor,
            bounds=self.bounds,
            shutdown=self.shutdown,
            log=output,
            on_tick=self._on_tick,
            on_completed=self._note_responses,
        )

    def init_process(self) -> None:
        """Prepare this process, then run; gthread's own would make another pool and poller."""
        # gunicorn looks a setting up some 20 times for each request, each time in two steps.
        vars(self.cfg).update({name: each.get() for name, each in self.cfg.settings.items()})
        wanted = self.settings.web_connections or plan().connections
        limit = capacity(wanted, self.cfg.threads)
        self.build(limit)
        metrics.open_connections_limit.set(limit)
        sys.setswitchinterval(SWITCH_INTERVAL)
        output.gathers = True
        super(ThreadWorker, self).init_process()
        output.gathers = False
        self.log.info("Worker exiting (pid: %s)", self.pid)
        worker_exit = functools.partial(self.cfg.worker_exit, self.arbiter, self)
        seconds = self.shutdown.seconds_left()
        if self.cfg.timeout:
            # No heartbeat follows, and the arbiter must not take that for a hang.
            self.notify()
            seconds = min(seconds, self.cfg.timeout - 1)
        process_exit.leave(worker_exit, seconds)

    def init_signals(self) -> None:
        """Leave SIGINT to the arbiter: a terminal sends it to every process of the group."""
        # gunicorn's sets the default actions first: what came just then would kill this process.
        early = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, early)
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # gunicorn lets system calls go on after these; the main thread, which serves no request,
        # would go on waiting for one.
        for each in (signal.SIGTERM, signal.SIGUSR1):
            signal.siginterrupt(each, True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, early)

    def handle_exit(self, sig: int, frame: object) -> None:  # noqa: ARG002 (gunicorn's signature)
        """Begin the shutdown, on SIGTERM, as soon as the loop wakes."""
        self.alive = False
        self.shutdown.request()
        self.loop.wake()

    def handle_quit(self, sig: int, frame: object) -> None:  # noqa: ARG002
        """End now, on SIGQUIT. Not by SystemExit, which would wait for the threads."""
        output.finish()
        os._exit(0)

    def run(self) -> None:
        """Serve until the shutdown begins, then for as long as a request is in flight."""
        self.acceptor.start(self.sockets)
        self.pool.start(self._run_loop)
        self.lead.watch(self.pool.pass_lead_on)
        self.bounds.report(math.inf)

    def _run_loop(self) -> None:
        """Run the main loop in this thread, for as long as it leads."""
        try:
            if self.loop.run():
                self.lead.finish()
        except BaseException as error:
            self.lead.finish(error)

    def _on_tick(self) -> None:
        """Send the arbiter a heartbeat, write the log lines that were kept, measure what waits."""
        self.notify()
        flush_log()
        metrics.open_connections.set(len(self.lifecycle.connections))
        metrics.queued.set(len(self.pool.queued))

    def _note_responses(self) -> None:
        """Let the arbiter know that this worker responds; ask it for a successor when it is time.

        The worker goes on until the arbiter, which starts the successor first, sends SIGTERM.
        """
        state.set_flag(self.slot, state.RESPONDED)
        if (
            self.nr >= self.recycle_after
            and not self.shutdown.due
            and not state.has_flag(self.slot, state.WANTS_SUCCESSOR)
        ):
            self.log.info("%d requests served: to be replaced", self.nr)
            state.set_flag(self.slot, state.WANTS_SUCCESSOR)
            os.kill(self.ppid, signal.SIGWINCH)

    def _closes(self) -> bool:
        """Whether each response now closes its connection."""
        # While there is no room, kept connections must not keep others out.
        return not self.alive or state.phase() != state.SERVING or self.acceptor.paused

    # ---- in the threads -------------------------------------------------------------------------

    def _serve(self, connection: Any) -> bool:  # noqa: ANN401 (gunicorn means its own kind)
        """Serve the request in the connection's buffer; return whether another may follow."""
        exchange = Exchange(
            connection, self.settings.web_body_timeout, self.settings.web_send_timeout
        )
        connection.fully_read = False
        connection.sock = exchange
        connection.parser = RequestParser(
            self.cfg, cast("socket.socket", exchange), connection.client
        )
        connection.parser.unreader.unread(bytes(connection.buffer))
        connection.buffer.clear()
        try:
            keep_alive: bool = self.handle(connection)
            try:
                exchange.flush()
            except OSError:  # the client is gone
                keep_alive = False
            if keep_alive:  # the client may have sent its next requests already
                connection.buffer += connection.parser.unreader.take_buffered()
            return keep_alive
        finally:  # so that an idle connection is small
            connection.sock = connection.parser = None

    def handle_request(self, req: Request, conn: Any) -> bool:  # noqa: ANN401 (as above)
        """Serve a request that has been parsed; called by the base's handle()."""
        # gunicorn sends the 100 only where the body is too large for the main loop to wait for.
        if conn.frame.complete or conn.frame.continue_sent:
            req._expected_100_continue = False  # type: ignore[attr-defined]
        asked_to_close = req.should_close

        # gunicorn asks when it makes the response's head, which may be long after the request came,
        # and again after the response. Cached, so that the two agree.
        @functools.cache
        def should_close() -> bool:
            return self._closes() or not conn.frame.complete or bool(asked_to_close())

        req.should_close = should_close  # type: ignore[method-assign]
        try:
            keep_alive: bool = super().handle_request(req, conn)
        finally:  # otherwise the request is a cycle, which only the garbage collector frees
            del req.should_close
        conn.fully_read = conn.frame.complete
        # The hook post_request, which gunicorn calls last, may have forbidden another one.
        return keep_alive and not req.must_close

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:  # noqa: ANN401 (as above)
        """Skip a body that the application did not read: it has arrived, so nothing waits."""
        return bool(keepalive and conn.frame.complete and strict.skip_body(conn.parser))
