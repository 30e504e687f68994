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


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """Connect to a service that listens on `host`, which may be all interfaces.

    For `::` in IPv4 first: a container may have no IPv6 address, not even ::1.

    Raises:
        OSError: if that is not possible, or not within `timeout` seconds.

    """
    if not host.strip("0."):
        host = "127.0.0.1"
    if host.strip("0:"):
        return socket.create_connection((host, port), timeout)
    try:
        return socket.create_connection(("127.0.0.1", port), timeout)
    except ConnectionRefusedError:  # `::` is IPv6 alone where net.ipv6.bindv6only is 1
        return socket.create_connection(("::1", port), timeout)


def check(port: int, timeout: float = TIMEOUT, host: str = "127.0.0.1") -> str | None:
    """Ask the service that listens on `host`; return None if healthy, else what is wrong.

    `timeout` (seconds) bounds the exchange as a whole: a server that sends a byte now and then
    is as unhealthy as one that sends none.
    """
    deadline = time.monotonic() + timeout
    status_line = b""
    try:
        with connect(host, port, timeout) as connection:
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

    In memory, as that of the server: the root is read-only, and a disk can stall. Containers can
    share that folder (a pod of Kubernetes, --ipc=host), but not the processes that they see.
    """
    container = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 (pathlib doubles the time)
    return f"/dev/shm/background-{container}-{port}"  # noqa: S108


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
        due = os.stat(heartbeat_path(port)).st_mtime  # noqa: PTH116
    except FileNotFoundError:
        sys.exit(check(port, host=os.environ.get("APP_HOST") or "127.0.0.1"))
    sys.exit(check_heartbeat(due))


if __name__ == "__main__":
    main()
