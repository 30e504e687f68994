"""The container's health check: does `/livez` respond with a 200, in time?

For a background process, which has no `/livez`: is its heartbeat in time?

Run every few seconds for the life of a container, so it costs little: standard library only,
and of that only `socket` (`http.client` alone would double its time). It must not import the
rest of `app`: the image runs this file by its path with `python -IS`.
"""

import os
import socket
import sys
import time

TIMEOUT = 2.0  # seconds for the whole exchange; the image's HEALTHCHECK allows 3
REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def check(port: int, timeout: float = TIMEOUT) -> str | None:
    """Ask the service on this machine's `port`; return None if healthy, else what is wrong.

    `timeout` (seconds) bounds the exchange as a whole: a server that sends a byte now and then
    is as unhealthy as one that sends none.
    """
    deadline = time.monotonic() + timeout
    status_line = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.sendall(REQUEST)
            while b"\r\n" not in status_line:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                received = connection.recv(1024)
                if not received:
                    break
                status_line += received
    except OSError as error:
        return f"/livez on port {port}: {error}"
    status_line = status_line.partition(b"\r\n")[0]
    version, _, rest = status_line.partition(b" ")
    if version in (b"HTTP/1.0", b"HTTP/1.1") and rest.partition(b" ")[0] == b"200":
        return None
    return f"/livez on port {port}: not a 200 but {status_line[:80]!r}"


def heartbeat_path(port: int) -> str:
    """The heartbeat of a background process whose APP_PORT is `port`: a file, while it runs.

    In memory, as that of the server: the root is read-only, and a disk can stall.
    """
    return f"/dev/shm/background-{port}"  # noqa: S108 (of this container alone)


def check_heartbeat(due: float) -> str | None:
    """Return None if the next heartbeat is not overdue, else what is wrong.

    `due` is the file's time of modification: until when the next one was promised, in seconds of
    the monotonic clock, which nobody sets.
    """
    late = time.monotonic() - due
    return None if late <= 0 else f"the background process hangs: {late:.0f} s overdue"


def main() -> None:
    """Exit with status 0 if the service is healthy, else with 1 and the reason."""
    port = int(os.environ.get("APP_PORT") or 5000)
    try:
        due = os.stat(heartbeat_path(port)).st_mtime  # noqa: PTH116 (pathlib doubles the time)
    except FileNotFoundError:
        sys.exit(check(port))
    sys.exit(check_heartbeat(due))


if __name__ == "__main__":
    main()
