"""The rules, by Prometheus' own tools: when each alert fires, and when it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import alerts
import stand_ins
from containers import docker

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = alerts.RULES.parent


def tool(name: str, service: str, folder: Path, *arguments: str) -> str:
    """Run a tool of the service's image on the files of a folder; return what it prints."""
    folder.chmod(0o755)
    options = ("--rm", "--network=none", f"--volume={folder}:/files:ro", "--workdir=/files")
    image = stand_ins.image(service)
    done = docker("run", *options, f"--entrypoint={name}", image, *arguments, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_not_when_it_should_not(tmp_path: Path) -> None:
    """The cases are in tests/alerts.py; that each alert has both kinds is a test of `make unit`."""
    (tmp_path / "rules.yaml").write_text(alerts.RULES.read_text())
    (tmp_path / "cases.json").write_text(alerts.promtool_tests("rules.yaml"))
    assert "SUCCESS" in tool("promtool", "prometheus", tmp_path, "test", "rules", "cases.json")


def test_the_configuration_is_what_prometheus_and_alertmanager_read() -> None:
    printed = tool("promtool", "prometheus", FOLDER, "check", "config", "prometheus.yaml")
    assert "rules found" in printed
    printed = tool("amtool", "alertmanager", FOLDER, "check-config", "alertmanager.yaml")
    assert "SUCCESS" in printed


def test_the_hastened_rules_are_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(alerts.hastened(alerts.RULES.read_text(), 30))
    assert "SUCCESS" in tool("promtool", "prometheus", tmp_path, "check", "rules", "rules.yaml")
