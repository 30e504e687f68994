"""A load that notes what becomes of each of its requests."""

from __future__ import annotations

import dataclasses
import statistics
import threading
import time
from typing import TYPE_CHECKING

import urllib3

if TYPE_CHECKING:
    from typing import Self


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a request."""

    began: float  # seconds, of time.monotonic()
    seconds: float
    status: int  # 0 if there was no complete response
    text: str  # the response's body, or what went wrong

    @property
    def failed(self) -> bool:
        return self.status != 200


class Load:
    """Clients that request `path` again and again, from `with` to its end.

    `pause` is the time in seconds between a client's response and its next request.
    """

    def __init__(self, address: str, path: str, clients: int = 8, pause: float = 0.0) -> None:
        self.url = f"{address}{path}"
        self.pause = pause
        self.outcomes: list[Outcome] = []
        self.pool = urllib3.PoolManager(maxsize=clients, retries=False, timeout=30)
        self.over = threading.Event()
        # Daemons: a test that fails must not wait for them.
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]

    def run(self) -> None:
        while not self.over.is_set():
            began = time.monotonic()
            try:
                response = self.pool.request("GET", self.url)
                status, text = response.status, response.data.decode(errors="replace")
            except urllib3.exceptions.HTTPError as error:
                status, text = 0, repr(error)
            self.outcomes.append(Outcome(began, time.monotonic() - began, status, text))
            self.over.wait(self.pause)

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        self.pool.clear()

    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.failed]

    def quantiles(self) -> tuple[float, float]:
        """The median and the 99th percentile of the seconds that requests took."""
        percentiles = statistics.quantiles([each.seconds for each in self.outcomes], n=100)
        return percentiles[49], percentiles[98]
