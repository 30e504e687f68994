"""What `make observe` shows of three replicas under load; and that a rollout wakes nobody."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

import alerts
import stand_ins
from containers import docker, eventually, inspect
from database import HAS_DATABASE
from traffic import Load

if TYPE_CHECKING:
    from watched import Watched

DATABASE = re.compile("pg_|app_database_")
# A request that the gateway would not pass on.
REJECTED = """
import socket
client = socket.create_connection(("127.0.0.1", 5000))
client.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
assert b" 400 " in client.recv(100)
"""


def test_every_replica_and_the_gateway_are_targets(watched: Watched) -> None:
    targets = watched.ask("/api/v1/targets", state="active")["data"]["activeTargets"]
    addresses = {each["labels"]["instance"] for each in targets if each["labels"]["job"] == "app"}
    networks = [inspect(each)["NetworkSettings"]["Networks"] for each in watched.containers("app")]
    for replica in networks:
        assert {f"{each['IPAddress']}:9464" for each in replica.values()} & addresses
    assert len(addresses) == 3
    assert {each["labels"]["job"] for each in targets} >= {"app", "gateway", "probe"}
    assert [each["lastError"] for each in targets if each["health"] != "up"] == []
    assert watched.value('probe_http_status_code{instance=~"http:.*"}') == 200


@pytest.mark.database
def test_the_database_is_a_target(watched: Watched) -> None:
    eventually(lambda: watched.value('up{job="database"}') == 1, 10, "the exporter responds")
    eventually(lambda: watched.value("pg_up") == 1, 10, "the exporter is let into the database")


def test_it_says_where_things_are_and_what_is_left_out(watched: Watched) -> None:
    for name in ("PROMETHEUS_PORT", "ALERTMANAGER_PORT"):
        assert f"http://localhost:{watched.variables[name]}/" in watched.printed
    grafana = f"http://localhost:{watched.variables['GRAFANA_PORT']}/" in watched.printed
    assert grafana != ("Grafana is left out" in watched.printed)
    if grafana:  # where its image can be had
        board = watched.ask("/api/dashboards/uid/service", "GRAFANA_PORT")["dashboard"]
        assert len(board["panels"]) == len(alerts.panels())


def test_no_metrics_are_to_be_had_through_the_gateway(watched: Watched) -> None:
    for path in ("/metrics", "/api/metrics", "/api/../metrics", "/api/%6detrics"):
        assert watched.get(path).status == 404, path
    published = [inspect(each)["NetworkSettings"]["Ports"] for each in watched.containers("app")]
    published += [
        inspect(each)["NetworkSettings"]["Ports"] for each in watched.containers("gateway")
    ]
    open_to_others = {port for ports in published for port, bound in ports.items() if bound}
    assert open_to_others == {"8080/tcp"}


def test_its_containers_are_as_limited_as_the_others(watched: Watched) -> None:
    for service in stand_ins.monitoring():
        (container,) = watched.containers(service)
        host = inspect(container)["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
        assert inspect(container)["Config"]["User"] == "65534:65534"
        assert docker("exec", container, "touch", "/x", check=False).returncode != 0


@pytest.mark.database
def test_the_exporter_s_role_reads_no_table(watched: Watched) -> None:
    (db,) = watched.containers("db")
    password = (watched.checkout / "secrets/db_monitor_password").read_text().strip()
    address = f"postgresql://app_monitor:{password}@localhost/app"
    for statement, status in (("SELECT 1", 0), ("SELECT * FROM notes", 1), ("CREATE TABLE x()", 1)):
        done = docker("exec", db, "psql", address, "-c", statement, check=False)
        assert done.returncode == status, done.stderr
    text = f"ALTER ROLE|{password}"
    assert docker("logs", db).stderr.count(text.partition("|")[2]) == 0


def test_each_metric_of_the_rules_is_there_and_each_panel_has_data(watched: Watched) -> None:
    with Load(watched.address, "/api/notes", clients=4, pause=0.02):
        for container in watched.containers("app"):
            docker("exec", container, "python3", "-c", REJECTED)
        time.sleep(20)
        names = set(watched.ask("/api/v1/label/__name__/values")["data"])
        groups = watched.ask("/api/v1/rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
        wanted = {rule["name"]: alerts.names(rule["query"]) for rule in rules}
        for panel in alerts.panels():
            wanted[panel["title"]] = set()
            for target in panel["targets"]:
                wanted[panel["title"]] |= alerts.names(target["expr"])
        # There with TLS alone (test_certificate.py asks for it), and with the background process of
        # the service; the tests' own has another name.
        absent = {"probe_ssl_earliest_cert_expiry", "app_work_steps_total"}
        # Without a database the rules and panels of one stay, and have nothing to show.
        asked = set.union(*wanted.values())
        gone = set() if HAS_DATABASE else {each for each in asked if DATABASE.match(each)}
        missing = {name: found - names - absent - gone for name, found in wanted.items()}
        assert {name: found for name, found in missing.items() if found} == {}
        for panel in alerts.panels():
            shown = [
                watched.query(target["expr"].replace("$__rate_interval", "30s"))
                for target in panel["targets"]
            ]
            assert any(shown) or wanted[panel["title"]] <= gone, panel["title"]


def test_a_rollout_and_its_drains_wake_nobody(watched: Watched) -> None:
    """With the real rules."""
    began = time.monotonic()
    before = set(watched.containers("app"))
    with Load(watched.address, "/api/notes", clients=4, pause=0.01) as load:
        rollout = watched.make("rollout")
        time.sleep(15)
    assert rollout.returncode == 0, rollout.stderr
    assert not load.failures()
    assert not before & set(watched.containers("app"))
    eventually(lambda: watched.value('count(up{job="app"} == 1)') == 3, 30, "three replicas")
    assert watched.have_fired(int(time.monotonic() - began) + 5) == set()
    # Prometheus and its kind were left alone, though a rollout does not know of them.
    assert watched.containers("prometheus")
