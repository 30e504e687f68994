"""Start the stack with its monitoring: Prometheus, Alertmanager, exporters, Grafana.

The compose files of deploy/monitoring and deploy/grafana add services and change none, so that a
later `make up` or `make rollout` without them leaves the monitoring as it is.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import base
import stack
import stand_ins
from common import ROOT, die, entry, say

EXPORTER = "postgres-exporter"  # not there in a service without a database
PASSWORD = "db_monitor_password"  # noqa: S105 (the file's name)
STAND_INS = "deploy/stand-ins/monitoring.yaml"
GRAFANA = "deploy/grafana/compose.yaml"
# Where each is, and what it shows.
PAGES = {
    "prometheus": "Prometheus, with what is measured and each alert's state",
    "alertmanager": "Alertmanager, with the alerts that are sent",
    "grafana": "The dashboard",
}


def files() -> list[str]:
    """The compose files that are in use without the monitoring: by COMPOSE_FILE, or compose's own.

    COMPOSE_FILE is in the environment or, as compose reads it, in .env.
    """
    dotenv = ROOT / ".env"
    text = dotenv.read_text() if dotenv.exists() else ""
    found = re.search(r"^COMPOSE_FILE=[\"']?([^\"'\s]+)", text, re.MULTILINE)
    given = os.environ.get("COMPOSE_FILE") or (found[1] if found else "")
    if given:
        added = (stand_ins.WATCH, STAND_INS, GRAFANA)
        return [file for file in given.split(":") if file not in added]
    return ["compose.yaml", *([stand_ins.LINK.name] if stand_ins.LINK.exists() else [])]


def monitoring() -> list[str]:
    """The compose files to be added, their images at hand."""
    if all(base.is_at_hand(stand_ins.official(each)) for each in stand_ins.monitoring()):
        return [stand_ins.WATCH, GRAFANA]
    stand_ins.build("prometheus")
    say("Grafana is left out: Debian has no package of it; Prometheus has graphs of its own")
    return [stand_ins.WATCH, STAND_INS]


def make_role() -> None:
    """Make the database's role for the exporter, or give it the password of today.

    The password goes by way of standard input: others can see what a process is started with.
    """
    password = (stack.FOLDER / PASSWORD).read_text().strip().replace("'", "''")
    sql = (
        "\\set ON_ERROR_STOP on\nSET log_min_error_statement = panic;\n"
        "\\i /etc/postgresql/monitor.sql\n"
        f"ALTER ROLE app_monitor PASSWORD '{password}';\n"
    )
    command = (*stack.COMPOSE, "exec", "--no-TTY", "db", "psql", "--quiet", "--no-psqlrc", "app")
    done = subprocess.run(command, input=sql, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        die(f"the database's role app_monitor could not be made: {done.stderr.strip()}")


def have_taken(*words: str) -> None:
    """Have what ran before take its files as they are now, by a command of compose."""
    if (done := stack.compose(*words)).returncode != 0:
        stack.fail("the monitoring does not take its files", done)


def main() -> None:
    """Start all of it, and say where it is."""
    stand_ins.put_in_place()  # which may add a file to those that compose reads by itself
    os.environ["COMPOSE_FILE"] = ":".join([*files(), *monitoring()])
    has_database = EXPORTER in stand_ins.monitoring()
    if has_database:
        stack.make_secret(PASSWORD)
    stack.up()
    have_taken("kill", "--signal", "HUP", "prometheus", "alertmanager")
    if has_database:
        make_role()
        have_taken("restart", "--no-deps", EXPORTER)
    services: dict[str, Any] = stack.config()["services"]
    for name, about in PAGES.items():
        if name in services:
            print(f"{about}: http://localhost:{services[name]['ports'][0]['published']}/")


if __name__ == "__main__":
    with entry():
        main()
