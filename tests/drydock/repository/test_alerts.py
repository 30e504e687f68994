"""Each alert has its two cases and a section of the runbook."""

from __future__ import annotations

import re

import pytest

import alerts
import documents
from checkouts import CHECKOUT

RUNBOOK = (CHECKOUT / "docs/runbook.md").read_text()
# The text of each, by its name.
ALERTS = dict(
    re.findall(r"^ +- alert: (\w+)\n((?: {8,}.*\n)+)", alerts.RULES.read_text(), re.MULTILINE)
)


def section(name: str) -> str:
    """What the runbook says of an alert."""
    return RUNBOOK.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_the_cases_are_those_of_the_alerts() -> None:
    """Each has one in which it fires, and one in which not: tests/drydock/alerts runs them."""
    assert set(alerts.CASES) == set(ALERTS)
    for name, case in alerts.CASES.items():
        assert case.fires, name
        assert case.quiet, name


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_leads_to_the_runbook(name: str) -> None:
    assert re.search(r"\n +labels: \{ severity: (page|ticket) \}\n", ALERTS[name])
    assert re.search(r'\n +summary: "\S.*"\n', ALERTS[name])
    assert f" runbook: docs/runbook.md#{name.lower()}\n" in ALERTS[name]
    assert name.lower() in documents.anchors(RUNBOOK)


@pytest.mark.parametrize("name", ALERTS)
def test_the_runbook_says_what_it_means_what_to_look_at_and_what_to_do(name: str) -> None:
    for word in ("Means:", "Look at:", "Do:"):
        assert f"**{word}**" in section(name), word


def test_the_runbook_has_no_section_of_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)) == set(ALERTS)


def test_an_alert_that_silences_others_names_real_ones() -> None:
    text = (CHECKOUT / "deploy/monitoring/alertmanager.yaml").read_text()
    found = re.findall(r'alertname=~?"([^"]+)"', text)
    assert found
    for pattern in "|".join(found).split("|"):
        assert any(re.fullmatch(pattern, name) for name in ALERTS), pattern


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ('sum by (job) (rate(a_total{x="b_total"}[5m])) > 1', {"a_total"}),
        ('a:b:ratio5m > 14.4 * 0.001 and (x / y{z=~"q"}) or vector(0)', {"a:b:ratio5m", "x", "y"}),
        ('count(up{job="app"} == 1) < count(up{job="app"} offset 15m == 1)', {"up"}),
        ("changes(max by (job, c) (app_start)[15m:]) > 0", {"app_start"}),
    ],
)
def test_the_metrics_of_a_query_are_found(query: str, names: set[str]) -> None:
    assert alerts.names(query) == names


def test_a_hastened_rule_is_the_same_but_for_its_time() -> None:
    text = 'expr: rate(x{y="5m"}[5m]) > 5 and z offset 1h\nfor: 1m\nsubquery: [15m:]\n'
    quick = 'expr: rate(x{y="5m"}[10s]) > 5 and z offset 120s\nfor: 2s\nsubquery: [30s:]\n'
    assert alerts.hastened(text, 30) == quick


def test_no_two_panels_of_the_dashboard_are_alike() -> None:
    titles = [panel["title"] for panel in alerts.panels()]
    assert len(set(titles)) == len(titles) > 10
    for panel in alerts.panels():
        assert panel["datasource"]["uid"] == "prometheus"
        assert [target["expr"] for target in panel["targets"]]


def test_the_gateway_s_limit_among_the_metrics_is_the_real_one() -> None:
    text = (CHECKOUT / "deploy/gateway/nginx.conf").read_text()
    (workers,) = re.findall(r"^worker_processes (\d+);", text, re.MULTILINE)
    (each,) = re.findall(r"worker_connections (\d+);", text)
    assert f"gateway_connections_limit {int(workers) * int(each)}\\n" in text
