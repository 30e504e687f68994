"""Exceptions from the scan gate, as OpenVEX documents say them, and when each ends.

https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md

OpenVEX knows no expiry, and its schema allows no field of one's own. So the expiry stands at the
end of the statement's `status_notes`: "Expires 2027-03-01".
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from common import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = ROOT / "security/vex"
EXPIRES = re.compile(r"(.*?)\s*\bExpires (\d{4}-\d\d-\d\d)\.?\s*", re.DOTALL)
LONGEST = datetime.timedelta(days=366)
JUSTIFICATIONS = {
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
}
# The fields that are required of the document, and in what an exception's status has its reason.
REQUIRED = ("@context", "@id", "author", "timestamp", "version", "statements")
REASONS = {"not_affected": ("justification", "impact_statement"), "affected": ("action_statement",)}


class BadInputError(Exception):
    """A report or a document can't be used; the message is one line that says what is wrong."""


@dataclasses.dataclass(frozen=True)
class Purl:
    """A package URL: https://github.com/package-url/purl-spec."""

    path: str  # type, namespace and name
    version: str
    qualifiers: frozenset[tuple[str, str]]

    @classmethod
    def parse(cls, text: str) -> Purl:
        """Read a package URL; raise ValueError if it is none."""
        if not re.match(r"pkg:[\w.+-]+/.", text):
            raise ValueError(text)
        path, _, query = text.removeprefix("pkg:").partition("#")[0].partition("?")
        folder, slash, name = path.rpartition("/")
        name, _, version = name.partition("@")
        path, version = (urllib.parse.unquote(part) for part in (folder + slash + name, version))
        return cls(path, version, frozenset(urllib.parse.parse_qsl(query)))

    def covers(self, other: Purl) -> bool:
        """Whether this one, which may leave out the version and qualifiers, names the other."""
        return (
            self.path == other.path
            and self.version in ("", other.version)
            and self.qualifiers <= other.qualifiers
        )


@dataclasses.dataclass(frozen=True)
class Statement:
    """One exception: these vulnerabilities of these packages, until then."""

    source: str  # the file, and which statement of it
    status: str
    vulnerabilities: frozenset[str]
    packages: tuple[Purl, ...]
    expires: datetime.date

    def excepts(self, vulnerabilities: frozenset[str], package: Purl | None) -> bool:
        """Whether it speaks of a finding, known by any of these names, in that package."""
        named = bool(self.vulnerabilities & vulnerabilities)
        return named and package is not None and any(p.covers(package) for p in self.packages)


def load(file: Path) -> dict[str, Any]:
    """The JSON in a file; raises BadInputError with what is wrong with it."""
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise BadInputError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise BadInputError(f"{file} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadInputError(f"{file} is no JSON object")
    return found


def statements(folder: Path, today: datetime.date) -> tuple[list[Statement], list[str]]:
    """The exceptions in a folder's documents, and a line for each that is none.

    An expired one, or one without a reason, excepts nothing. Raises BadInputError for a file that
    is no OpenVEX document.
    """
    found, errors = [], []
    for file in sorted(folder.glob("*.json")):
        document = load(file)
        missing = [field for field in REQUIRED if field not in document]
        if missing or not str(document["@context"]).startswith("https://openvex.dev/ns"):
            raise BadInputError(f"{file} is no OpenVEX document: {(missing or ['@context'])[0]}")
        if not isinstance(document["statements"], list):
            raise BadInputError(f"{file}: statements is no list")
        for number, statement in enumerate(document["statements"]):
            source = f"{file.name}, statement {number + 1}"
            try:
                found.append(read(source, statement, today))
            except ValueError as error:
                errors.append(f"{source}: {error}")
            except (KeyError, TypeError, AttributeError):
                raise BadInputError(
                    f"{file}, statement {number + 1}: expected a vulnerability with its name,"
                    " products, a status and status_notes, as OpenVEX 0.2.0 has them"
                ) from None
    return found, errors


def read(source: str, statement: dict[str, Any], today: datetime.date) -> Statement:
    """One statement; raises ValueError with what keeps it from being an exception."""
    vulnerability = statement["vulnerability"]
    name, status = str(vulnerability["name"]), statement["status"]
    if status not in REASONS:
        raise ValueError(f"{name}: {status} is no exception; expected {' or '.join(REASONS)}")
    notes = EXPIRES.fullmatch(statement.get("status_notes", ""))
    if not notes:
        raise ValueError(f'{name} has no expiry; end status_notes with "Expires {today}", say')
    explain(name, statement, notes[1])
    try:
        expires = datetime.date.fromisoformat(notes[2])
    except ValueError:
        raise ValueError(f"{name} expires on {notes[2]}, which is no date") from None
    if expires < today:
        raise ValueError(f"{name} expired on {expires}: look at it again, or remove it")
    if expires > today + LONGEST:
        raise ValueError(f"{name} expires on {expires}: at most a year ahead is allowed")
    names = frozenset({name, *vulnerability.get("aliases", [])})
    packages = tuple(purls(name, statement["products"]))
    return Statement(source, status, names, packages, expires)


def explain(name: str, statement: dict[str, Any], notes: str) -> None:
    """Raise ValueError where the reason is missing that the status requires, or words for it."""
    fields = REASONS[statement["status"]]
    given = [field for field in fields if statement.get(field, "").strip()]
    if not given:
        raise ValueError(f"{name} has no reason; {statement['status']} needs {' or '.join(fields)}")
    if "justification" in given and statement["justification"] not in JUSTIFICATIONS:
        raise ValueError(f"{name}: the justification is none of {sorted(JUSTIFICATIONS)}")
    if given == ["justification"] and not notes.strip():
        raise ValueError(f"{name} has no reason in words; put it into status_notes, before Expires")


def purls(name: str, products: list[dict[str, Any]]) -> Iterator[Purl]:
    """The packages that a statement is about: the image's parts where it names some."""
    parts = [part for p in products for part in (p.get("subcomponents") or [p])]
    if not parts:
        raise ValueError(f"{name} names no product")
    for part in parts:
        text = part.get("identifiers", {}).get("purl") or part.get("@id", "")
        try:
            yield Purl.parse(text)
        except ValueError:
            raise ValueError(f"{name}: {text!r} is no package URL (pkg:deb/debian/...)") from None
