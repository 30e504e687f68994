"""Where and with what a run was made."""

from __future__ import annotations

import datetime
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

import base
from common import output
from containers import docker
from shapes import CPUS

if TYPE_CHECKING:
    from servers import Images

VERSIONS = """
import importlib.metadata, platform
print("Python", platform.python_version())
for name in ("flask", "gunicorn", "gevent", "granian", "sqlalchemy"):
    print(name, importlib.metadata.version(name))
"""


def processor() -> str:
    """Its name, as far as the kernel says it."""
    text = Path("/proc/cpuinfo").read_text()
    hit = re.search(r"^model name\s*: (.*)", text, re.MULTILINE)
    return hit[1].strip() if hit else platform.machine()


def about(images: Images, rounds: int) -> dict[str, str]:
    """The machine, the versions, the day."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    said = docker("run", "--rm", images.peers, "python3", "-c", VERSIONS).stdout
    engine = docker("version", "--format", "{{.Server.Version}}").stdout.strip()
    wrk = re.search(r"wrk \S*?([\d.]+)", output("sh", "-c", "wrk --version || true") or "")
    image = base.reference().partition("@")[0]
    stand_in = "a stand-in, which has documentation and translations that the real one has not"
    return {
        "Date": datetime.datetime.now(datetime.UTC).strftime("%B %Y"),
        "Processor": f"{processor()}, {CPUS} cores for servers and load",
        "Memory": f"{memory / 1e9:.0f} GB",
        "Kernel": f"Linux {platform.release().partition('-')[0]}",
        "Engine": f"Docker {engine}, logs by json-file, the host's network",
        "Versions": ", ".join([*said.splitlines(), f"wrk {wrk[1]}" if wrk else ""]),
        "Base": f"{image}: {stand_in}" if base.build_options() else image,
        "Rounds": str(rounds),
    }
