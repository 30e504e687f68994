"""What the first process of a container may do, as Python in it sees it."""

from __future__ import annotations

from typing import Any

# Prints JSON.
STATUS = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines())
def writable(path):
    try:
        open(f"{path}/x", "w").close()
    except OSError:
        return False
    return True
print(json.dumps({
    "user": status["Uid"].split(),
    "capabilities": status["CapEff"].strip() + status["CapPrm"].strip() + status["CapBnd"].strip(),
    "gains none": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(),
    "writable": [path for path in ("/", "/opt", "/run", "/tmp", "/data") if writable(path)],
    "secrets": sorted(os.listdir("/run/secrets")),
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "environment": dict(os.environ),
}))
"""


def check(found: dict[str, Any]) -> None:
    """Check that it is confined, by what STATUS has printed.

    Raises:
        AssertionError: if not.

    """
    assert set(found["user"]) == {"65532"}, found
    assert set(found["capabilities"]) == {"0"}, found
    assert found["gains none"] == "1", found
    assert found["seccomp"] == "2", found
    assert found["writable"] == ["/tmp", "/data"], found
