"""The token is changed as docs/service.md says, while clients write to two replicas."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from containers import Container, docker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., Container]

OLD, NEW = "the-old-token-of-the-service", "the-new-token-of-the-service"


@pytest.fixture(scope="module")
def image(probe: str) -> str:
    """Only the tests' own service has the path that is written to."""
    return probe


class Clients:
    """Write to all replicas, one after the other, as behind a load balancer."""

    def __init__(self) -> None:
        self.token = OLD
        self.replicas: list[Container] = []
        self.statuses: list[int] = []
        self.lock = threading.Lock()  # a replica that is being asked is in service
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        while not self.stop.wait(0.01):
            with self.lock:
                for replica in self.replicas:
                    self.statuses.append(write(replica, self.token))

    def roll_out(self, start: Callable[[], Container]) -> None:
        """Put a new replica in the place of each, one by one."""
        for old in list(self.replicas):
            new = start().wait_until_healthy()
            with self.lock:
                self.replicas.append(new)
            self.wait()  # old and new ones serve side by side
            with self.lock:
                self.replicas.remove(old)
            docker("stop", old.name)

    def wait(self) -> None:
        """Until each replica has been written to some times more."""
        enough = len(self.statuses) + 5 * len(self.replicas)
        while len(self.statuses) < enough and self.thread.is_alive():
            self.stop.wait(0.01)


def write(replica: Container, token: str) -> int:
    """The status of a write: 404, as there is no such note, or 401 without a valid token."""
    headers = {"Authorization": f"Bearer {token}"}
    return replica.get("/notes/1", method="DELETE", headers=headers).status


@pytest.mark.slow
def test_the_token_is_changed_without_a_rejected_request(run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = tmp_path / "api_token"

    def start() -> Container:
        return run("-v", f"{file}:/run/secrets/t:ro", "-e", "API_TOKEN_FILE=/run/secrets/t")

    file.write_text(f"{OLD}\n")
    clients = Clients()
    clients.replicas = [start().wait_until_healthy() for _ in range(2)]
    clients.thread.start()
    try:
        file.write_text(f"{NEW}\n{OLD}\n")
        clients.roll_out(start)
        clients.token = NEW
        clients.wait()
        file.write_text(f"{NEW}\n")
        clients.roll_out(start)
        clients.wait()
    finally:
        clients.stop.set()
        clients.thread.join()
    assert set(clients.statuses) == {404}
    assert len(clients.statuses) >= 50
    assert [write(replica, OLD) for replica in clients.replicas] == [401, 401]
