"""Judge grype's JSON reports: what has a fix and is of high severity or above ends with status 1.

Exceptions are OpenVEX documents in security/vex/, each with its reason and its end. A wrong one, or
one that excepts nothing, ends with status 2, as a report does that can't be read.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import sys
from pathlib import Path
from typing import Any

import vex
from common import entry
from vex import BadInputError, Purl, Statement

SEVERITIES = ("unknown", "negligible", "low", "medium", "high", "critical")
BLOCKING = ("high", "critical")
STATES = ("fixed", "not-fixed", "wont-fix", "unknown", "")
HEADINGS = ("SEVERITY", "VULNERABILITY", "PACKAGE", "INSTALLED", "FIXED IN", "VERDICT")


@dataclasses.dataclass(frozen=True)
class Finding:
    """A vulnerability of a package."""

    name: str
    aliases: frozenset[str]
    severity: str  # one of SEVERITIES
    package: str
    version: str
    purl: Purl | None
    fixed: tuple[str, ...] | None  # in which versions, if there is a fix

    @property
    def blocks(self) -> bool:
        """Whether it has to be fixed or excepted."""
        return self.fixed is not None and self.severity in BLOCKING


def finding(match: dict[str, Any]) -> Finding:
    """One of grype's matches; raises KeyError, TypeError or ValueError where it is none."""
    vulnerability, artifact = match["vulnerability"], match["artifact"]
    related = match.get("relatedVulnerabilities") or []
    severity, fix = vulnerability["severity"].lower(), vulnerability["fix"]
    if severity not in SEVERITIES or fix["state"] not in STATES:
        raise ValueError
    return Finding(
        name=vulnerability["id"],
        aliases=frozenset({vulnerability["id"], *(other["id"] for other in related)}),
        severity=severity,
        package=artifact["name"],
        version=artifact["version"],
        purl=Purl.parse(artifact["purl"]) if artifact["purl"] else None,
        fixed=tuple(fix["versions"] or ()) if fix["state"] == "fixed" else None,
    )


def findings(file: Path) -> set[Finding]:
    """What a report has found; raises BadInputError where it is none.

    Also what grype was told to ignore, by a .grype.yaml say: such a rule has no expiry.
    """
    report = vex.load(file)
    descriptor = report.get("descriptor")
    by_grype = isinstance(descriptor, dict) and descriptor.get("name") == "grype"
    if not by_grype or not isinstance(report.get("matches"), list):
        raise BadInputError(f"{file} is no report of grype's; write one with grype -o json")
    found = set()
    for part in ("matches", "ignoredMatches"):
        for number, match in enumerate(report.get(part) or []):
            try:
                found.add(finding(match))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise BadInputError(
                    f"{file}: {part}[{number}] is not as grype writes it: expected"
                    " vulnerability.id, .severity, .fix.state, artifact.name, .version, .purl"
                ) from None
    return found


def verdict(found: Finding, exceptions: list[Statement]) -> str:
    """What becomes of a finding that blocks: the word in the table's last column."""
    for exception in exceptions:
        if exception.excepts(found.aliases, found.purl):
            return f"{exception.status} until {exception.expires}"
    return "FAILS"


def table(rows: list[tuple[str, ...]]) -> str:
    """The rows under their headings, in columns."""
    lines = [HEADINGS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def judge(found: set[Finding], exceptions: list[Statement]) -> tuple[str, int]:
    """The text for a person, and how many findings fail."""
    blocking = [one for one in found if one.blocks]
    blocking.sort(key=lambda one: (-SEVERITIES.index(one.severity), one.package, one.name))
    rows: list[tuple[str, ...]] = [
        (
            *(one.severity, one.name, one.package, one.version),
            *(", ".join(one.fixed or ()) or "yes", verdict(one, exceptions)),
        )
        for one in blocking
    ]
    failing = sum(row[-1] == "FAILS" for row in rows)
    unfixed = sum(one.fixed is None for one in found)
    text = (
        f"{failing} of {len(found)} findings fail; {len(rows) - failing} are excepted,"
        f" {unfixed} have no fix, {len(found) - len(rows) - unfixed} are below high"
    )
    return "\n".join(([table(rows)] if rows else []) + [text]), failing


def run(reports: list[Path], folder: Path, today: datetime.date) -> int:
    """Print the table, and the errors; return the status: 0, 1 or 2."""
    try:
        found = set[Finding]().union(*(findings(report) for report in reports))
        exceptions, errors = vex.statements(folder, today)
    except BadInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text, failing = judge(found, exceptions)
    print(text)
    errors += [
        f"{exception.source}: {', '.join(sorted(exception.vulnerabilities))} excepts nothing that"
        " the report has: remove it"
        for exception in exceptions
        if not any(exception.excepts(one.aliases, one.purl) for one in found)
    ]
    for line in errors:
        print(f"error: {line}", file=sys.stderr)
    return 2 if errors else min(failing, 1)


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", type=Path, nargs="*", help="one for each platform")
    parser.add_argument("--vex", type=Path, default=vex.FOLDER, help="the folder of the exceptions")
    arguments = parser.parse_args()
    if not arguments.reports:
        print("error: name the report: make scan REPORT=grype.json", file=sys.stderr)
        raise SystemExit(2)
    raise SystemExit(
        run(arguments.reports, arguments.vex, datetime.datetime.now(datetime.UTC).date())
    )


if __name__ == "__main__":
    with entry():
        main()
