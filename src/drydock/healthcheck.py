"""The container's health check: is `/livez` answered with a 200, in time?

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
    is as sick as one that sends none.
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


def main() -> None:
    """Exit with status 0 if the service is healthy, else with 1 and the reason."""
    sys.exit(check(int(os.environ.get("APP_PORT") or 5000)))


if __name__ == "__main__":
    main()
