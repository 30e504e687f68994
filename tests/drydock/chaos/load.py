"""Clients that send requests and count what becomes of them: `load.py --port 5000 --clients 64`.

Standard library only, and a process of its own, so that tests and load do not slow each other.
A connection counts from when connect() succeeded: from then on the kernel has promised a response.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import json
import signal
import sys
import time


@dataclasses.dataclass
class Tally:
    """What became of all connections and requests."""

    connected: int = 0
    refused: int = 0  # connections: the kernel has promised nothing
    timed_out: int = 0  # requests without a complete response after --patience seconds
    lost: int = 0  # requests whose connection was closed or reset before any response
    truncated: int = 0  # responses that were not complete
    # Of these two, by the last worker that responded on the connection, if /chaos/worker was asked.
    by_worker: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    statuses: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    seconds: list[float] = dataclasses.field(default_factory=list)
    ends: list[float] = dataclasses.field(default_factory=list)  # when each response was there


class Clients:
    """So many clients, each of which sends its next request once it has a response."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.tally = Tally()
        self.over = False
        self.requests = [
            f"GET {path} HTTP/1.1\r\nHost: load\r\n".encode()
            + (b"" if options.keep_alive else b"Connection: close\r\n")
            + b"\r\n"
            for path in options.path
        ]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.finish)
        if self.options.seconds:
            loop.call_later(self.options.seconds, self.finish)
        sys.stdout.write("started\n")
        sys.stdout.flush()
        await asyncio.gather(*(self.client(number) for number in range(self.options.clients)))

    def finish(self) -> None:
        """Send no more requests; responses to those sent are still awaited."""
        self.over = True

    async def client(self, number: int) -> None:
        connection = None
        worker = ""
        asked = number
        while not self.over:
            if connection is None:
                connection = await self.connect()
                if connection is None:
                    if self.options.until_refused:
                        return
                    await asyncio.sleep(0.02)
                    continue
                worker = ""
            request = self.requests[asked % len(self.requests)]
            asked += 1
            began = time.monotonic()
            try:
                keep, body = await asyncio.wait_for(
                    self.exchange(*connection, request), self.options.patience
                )
            except TimeoutError:
                self.tally.timed_out += 1
                keep = False
            else:
                if body is None:
                    self.tally.by_worker[worker] += 1
                elif b" /chaos/worker " in request:
                    worker = body.decode().strip()
                self.tally.ends.append(time.monotonic())
                self.tally.seconds.append(time.monotonic() - began)
            if not (keep and self.options.keep_alive):
                connection[1].close()
                connection = None
            if self.options.pause:
                await asyncio.sleep(self.options.pause)
        if connection is not None:
            connection[1].close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            opening = asyncio.open_connection(self.options.host, self.options.port)
            connection = await asyncio.wait_for(opening, self.options.patience)
        except (OSError, TimeoutError):
            self.tally.refused += 1
            return None
        self.tally.connected += 1
        return connection

    async def exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> tuple[bool, bytes | None]:
        """Send a request; return whether the connection can be used again, and the body."""
        head = b""
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            fields = head.lower()
            length = int(fields.partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            if head or getattr(error, "partial", b""):
                self.tally.truncated += 1
            else:
                self.tally.lost += 1
            return False, None
        self.tally.statuses[head.split(b" ", 2)[1].decode()] += 1
        return b"connection: close" not in fields, body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--path", action="append", help="asked for in turn, if there are several")
    parser.add_argument("--keep-alive", action="store_true")
    parser.add_argument("--until-refused", action="store_true", help="until nobody listens")
    parser.add_argument("--seconds", type=float, default=0, help="by default until SIGTERM")
    parser.add_argument("--pause", type=float, default=0, help="seconds after each response")
    parser.add_argument("--patience", type=float, default=15, help="seconds for a response")
    options = parser.parse_args()
    options.path = options.path or ["/hello/load"]
    clients = Clients(options)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(clients.run())
    json.dump(vars(clients.tally), sys.stdout)


if __name__ == "__main__":
    main()
