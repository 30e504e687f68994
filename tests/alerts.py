"""The alerts of deploy/monitoring/rules.yaml: a case in which each fires, and one in which not."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from checkouts import CHECKOUT

RULES = CHECKOUT / "deploy/monitoring/rules.yaml"
DASHBOARD = CHECKOUT / "deploy/grafana/dashboards/service.json"

Series = dict[str, str]  # promtool's notation: a value for each minute, `5x3` is four times 5


@dataclasses.dataclass(frozen=True)
class Case:
    """With what it fires after `at` minutes, and with what it does not."""

    at: int
    fires: tuple[Series, ...]
    quiet: tuple[Series, ...]


def served(good: str, bad: str, route: str = "/notes", status: int = 500) -> Series:
    """So many requests a minute with a 200, and so many without."""
    name = f'http_requests_total{{job="app",route="{route}",status='
    return {f'{name}"200"}}': good, f'{name}"{status}"}}': bad}


def probed(plain: int, tls: int) -> Series:
    """The status with which the gateway answers at its two ports; 0 is no answer."""
    name = 'probe_http_status_code{job="probe",instance='
    return {f'{name}"http"}}': f"{plain}x20", f'{name}"https"}}': f"{tls}x20"}


def replicas(**values: str) -> Series:
    """Whether each replica, by its name, gives metrics."""
    return {f'up{{job="app",instance="{name}"}}': value for name, value in values.items()}


def started(**values: str) -> Series:
    """When the service was started, by its container's name."""
    name = "app_start_time_seconds"
    return {f'{name}{{job="app",container="{each}"}}': value for each, value in values.items()}


def dropped(reason: str, values: str) -> Series:
    """Connections that were dropped."""
    return {f'http_connections_dropped_total{{job="app",reason="{reason}"}}': values}


def part(name: str, used: int, limit: str, most: int) -> Series:
    """A gauge and its limit, the same all the time."""
    return {f'{name}{{job="app"}}': f"{used}x40", f'{limit}{{job="app"}}': f"{most}x40"}


def responses(quick: int, all_of_them: int) -> Series:
    """So many responses a minute within a second, and so many in all."""
    name = 'http_request_duration_seconds_bucket{job="app",route="/notes",le='
    values = {"1.0": quick, "2.5": all_of_them, "+Inf": all_of_them}
    return {f'{name}"{le}"}}': f"0+{value}x40" for le, value in values.items()}


def transaction(application: str) -> Series:
    """The owner's, which goes on and on."""
    labels = f'{{usename="app_owner",application_name="{application}",state="active"}}'
    return {f"pg_stat_activity_max_tx_duration{labels}": "0+60x40"}


# `_` is a minute without a value; after `stale` the target is gone.
CASES = {
    "ErrorBudgetBurnsFast": Case(
        70,
        (served("0+60x80", "0+6x80"),),
        # One failed request of a quiet night; a drain, in which readiness is a 503; over long ago.
        (
            served("0+1x80", "0x60 1x20"),
            served("0+60x80", "0+60x80", "/readyz", 503),
            served("0+60x80", "0+6x50 300x30"),
        ),
    ),
    "ErrorBudgetBurnsSlowly": Case(
        400, (served("0+99x410", "0+1x410"),), (served("0+997x410", "0+3x410"),)
    ),
    "ResponsesSlow": Case(30, (responses(95, 100),), (responses(100, 100), responses(0, 0))),
    "GatewayDown": Case(
        10,
        (probed(503, 0), probed(0, 0), probed(308, 503), {}),
        (probed(200, 0), probed(404, 0), probed(308, 200)),
    ),
    "CertificateExpires": Case(
        70,
        ({'probe_ssl_earliest_cert_expiry{job="probe"}': "864000x80"},),
        ({'probe_ssl_earliest_cert_expiry{job="probe"}': "5184000x80"}, {}),
    ),
    "ThreadsBusy": Case(
        30,
        (part("http_requests_in_flight", 8, "app_threads", 8),),
        (part("http_requests_in_flight", 6, "app_threads", 8),),
    ),
    "RequestsWait": Case(
        30,
        (part("http_requests_queued", 20, "app_threads", 8),),
        (part("http_requests_queued", 4, "app_threads", 8),),
    ),
    "RequestsShed": Case(
        20,
        tuple(dropped(reason, "0+60x20") for reason in ("overload", "memory", "idle", "slow")),
        (dropped("overload", "0+1x20"), dropped("head", "0+60x20")),
    ),
    "SlowClients": Case(
        30,
        tuple(dropped(reason, "0+120x40") for reason in ("head", "body", "send")),
        (dropped("head", "0+30x40"), dropped("overload", "0+120x40")),
    ),
    "ConnectionsNearLimit": Case(
        20,
        (part("http_connections", 900, "http_connections_limit", 1000),),
        (
            part("http_connections", 700, "http_connections_limit", 1000),
            part("http_connections", 0, "http_connections_limit", 0),  # gunicorn's own workers
        ),
    ),
    "GatewayConnectionsNearLimit": Case(
        20,
        (part("gateway_connections", 900, "gateway_connections_limit", 1024),),
        (part("gateway_connections", 400, "gateway_connections_limit", 1024),),
    ),
    "MemoryNearLimit": Case(
        20,
        (part("app_memory_bytes", 240, "app_memory_limit_bytes", 256),),
        (
            part("app_memory_bytes", 200, "app_memory_limit_bytes", 256),
            {'app_memory_bytes{job="app"}': "240x40"},
        ),
    ),
    "LogLinesDropped": Case(
        30,
        ({'log_lines_dropped_total{job="app"}': "0+60x40"},),
        ({'log_lines_dropped_total{job="app"}': "9x40"},),
    ),
    "DatabaseDown": Case(
        5,
        ({"pg_up": "1x2 0x10"}, {'up{job="database"}': "1x2 0x10"}),
        ({"pg_up": "1x4 0 1x5"}, {'up{job="app"}': "0x10"}),
    ),
    "DatabaseUnreachable": Case(
        20,
        ({'app_database_outages_total{job="app"}': "0+60x20"},),
        ({'app_database_outages_total{job="app"}': "0+1x20"},),
    ),
    "DatabasePoolBusy": Case(
        30,
        (part("app_database_connections", 8, "app_database_connections_limit", 8),),
        (part("app_database_connections", 4, "app_database_connections_limit", 8),),
    ),
    "DatabaseConnectionsNearLimit": Case(
        20,
        (part("pg_stat_database_numbackends", 90, "pg_settings_max_connections", 100),),
        (part("pg_stat_database_numbackends", 40, "pg_settings_max_connections", 100),),
    ),
    # A backup is the owner's as well, and may take its time.
    "MigrationHangs": Case(15, (transaction("app"),), (transaction("pg_dump"),)),
    "NoReplica": Case(5, (replicas(a="0x10"), {}), (replicas(a="0x10", b="1x10"),)),
    "FewerReplicas": Case(
        43,
        (replicas(a="1x60", b="1x30 stale"),),
        # A rollout: for a moment there is one more.
        (replicas(a="1x30 stale", b="1x60", c="_x28 1x30"), replicas(a="1x60", b="1x60")),
    ),
    "TargetDown": Case(
        8,
        ({'up{job="database"}': "0x10"},),
        ({'up{job="database"}': "1x4 0x3 1x5"}, {'up{job="database"}': "1x10"}),
    ),
    # A rollout has new containers, each with a start of its own.
    "Restarted": Case(
        15, (started(a="100x5 700x10"),), (started(a="100x10 stale", b="_x9 700x10"),)
    ),
    "CrashLoop": Case(12, (started(a="100x2 300x2 500x2 700x6"),), (started(a="100x2 300x12"),)),
    "WorkersCrash": Case(
        12,
        ({'app_workers_crashed_total{job="app"}': "0+1x15"},),
        ({'app_workers_crashed_total{job="app"}': "0x5 1x10"},),
    ),
    "StepsFail": Case(
        12,
        ({'app_work_steps_total{job="work",result="failed"}': "0+1x15"},),
        (
            {'app_work_steps_total{job="work",result="failed"}': "0x5 1x10"},
            {'app_work_steps_total{job="work",result="done"}': "0+6x15"},
        ),
    ),
}


def promtool_tests(rules: str) -> str:
    """The cases as promtool reads them; JSON is YAML as well."""
    tests = [
        {
            "name": f"{name} {'fires' if fires else 'is quiet'}, {number}",
            "interval": "1m",
            "input_series": [{"series": key, "values": value} for key, value in series.items()],
            "promql_expr_test": [
                {
                    "expr": f'max(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
                    "eval_time": f"{case.at}m",
                    "exp_samples": [{"labels": "{}", "value": int(fires)}],
                }
            ],
        }
        for name, case in CASES.items()
        for fires in (True, False)
        for number, series in enumerate(case.fires if fires else case.quiet, 1)
    ]
    return json.dumps({"rule_files": [rules], "evaluation_interval": "1m", "tests": tests})


def hastened(rules: str, factor: int) -> str:
    """The same rules with windows and waits that are shorter by that factor, 2 s at the least.

    So that a live test sees an alert of minutes within seconds, and there is one list of rules.
    """

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[2]) * {"m": 60, "h": 3600}[found[3]]
        return f"{found[1]}{max(2, seconds // factor)}s"

    return re.sub(r"(\[|for: |offset )(\d+)([mh])\b", shorter, rules)


def names(query: str) -> set[str]:
    """The metrics that a query names."""
    plain = re.sub(r'"[^"]*"', "", query)
    plain = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)|\boffset \w+", " ", plain)
    found = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?![\w:]*\s*\()", plain)
    return set(found) - {"and", "or", "unless", "bool"}


def panels() -> list[dict[str, Any]]:
    """The dashboard's."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found
