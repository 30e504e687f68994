"""A stack with its monitoring, and what that says."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import urllib3

from containers import docker
from stacks import Stack

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclasses.dataclass
class Watched(Stack):
    """A stack, and what its Prometheus and Alertmanager say."""

    printed: str = ""  # by `make observe`

    def ask(self, path: str, part: str = "PROMETHEUS_PORT", **fields: str) -> Any:
        """What the one of that port responds."""
        address = f"http://127.0.0.1:{self.variables[part]}{path}"
        response = urllib3.request("GET", address, fields=fields, retries=False, timeout=10)
        assert response.status == 200, response.data
        return response.json()

    def query(self, query: str) -> list[dict[str, Any]]:
        """The series that a query gives now."""
        found: list[dict[str, Any]] = self.ask("/api/v1/query", query=query)["data"]["result"]
        return found

    def value(self, query: str) -> float:
        """The one value that it gives; 0 without any."""
        return max((float(each["value"][1]) for each in self.query(query)), default=0.0)

    def firing(self) -> set[str]:
        """The alerts that fire."""
        return {each["metric"]["alertname"] for each in self.query('ALERTS{alertstate="firing"}')}

    def have_fired(self, seconds: int) -> set[str]:
        """Those that did at some moment of that time."""
        found = self.query(f'max_over_time(ALERTS{{alertstate="firing"}}[{seconds}s])')
        return {each["metric"]["alertname"] for each in found}

    def told(self) -> set[str]:
        """Those that Alertmanager has; those that it holds back for another's sake, too."""
        found = self.ask("/api/v2/alerts", "ALERTMANAGER_PORT")
        return {each["labels"]["alertname"] for each in found}

    def rewrite(self, name: str, change: Callable[[str], str]) -> None:
        """Change a file of deploy/monitoring, and have Prometheus read it."""
        file = self.checkout / "deploy/monitoring" / name
        file.write_text(change(file.read_text()))
        for container in self.containers("prometheus"):
            docker("kill", "--signal", "HUP", container)


def often(text: str, seconds: int) -> str:
    """The configuration of Prometheus, asking and deciding every so many seconds."""
    text = re.sub(r"(_interval: )\d+s", rf"\g<1>{seconds}s", text)
    return re.sub(r"(scrape_timeout: )\d+s", rf"\g<1>{seconds}s", text)
