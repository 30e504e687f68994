"""The gate after a scan, on a saved report of grype's form; its vulnerabilities are made up."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import scan
import vex
from checkouts import CHECKOUT, make

REPORT = Path(__file__).with_name("reports") / "grype.json"
TODAY = datetime.date(2026, 11, 29)
SOON = f"Expires {TODAY + datetime.timedelta(days=30)}"

# The two findings of the report that fail, and what excepts them.
OPENSSL = {
    "vulnerability": {"name": "CVE-2026-90001"},
    "products": [{"@id": "pkg:deb/debian/libssl3t64"}],
    "status": "not_affected",
    "justification": "vulnerable_code_not_in_execute_path",
    "status_notes": f"The service has no DTLS. {SOON}",
}
WERKZEUG = {
    "vulnerability": {"name": "CVE-2026-90003"},
    "products": [
        {
            "@id": "pkg:oci/flask-microservice",
            "subcomponents": [{"@id": "pkg:pypi/werkzeug@3.1.9"}],
        }
    ],
    "status": "affected",
    "action_statement": "The gateway rejects such requests until the next release.",
    "status_notes": f"{SOON}.",
}


def report(tmp_path: Path, **changes: Any) -> Path:
    file = tmp_path / "grype.json"
    file.write_text(json.dumps(json.loads(REPORT.read_text()) | changes))
    return file


@pytest.fixture
def judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Judge a report with these statements: the status, the table, the errors."""

    def run(*statements: Any, reports: tuple[Path, ...] = (REPORT,)) -> tuple[int, str, str]:
        folder = tmp_path / "vex"
        folder.mkdir()
        document = {
            "@context": "https://openvex.dev/ns/v0.2.0",
            "@id": "https://example.org/vex/1",
            "author": "The team",
            "timestamp": "2026-11-29T00:00:00Z",
            "version": 1,
            "statements": statements,
        }
        if statements:
            (folder / "team.openvex.json").write_text(json.dumps(document))
        status = scan.run(list(reports), folder, TODAY)
        return status, *capsys.readouterr()

    return run


def test_what_has_a_fix_and_is_high_or_above_fails(judge: Any) -> None:
    """And nothing else: neither what has none, nor what is below."""
    status, out, err = judge()
    assert status == 1
    assert not err
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:2] == ["SEVERITY", "VULNERABILITY"]
    assert [line[1] for line in lines[1:-1]] == ["GHSA-aaaa-bbbb-cccc", "CVE-2026-90001"]
    assert lines[2] == [
        *("high", "CVE-2026-90001", "libssl3t64", "3.5.9-1~deb13u1", "3.5.9-1~deb13u2", "FAILS"),
    ]
    assert out.splitlines()[-1] == (
        "2 of 6 findings fail; 0 are excepted, 3 have no fix, 1 are below high"
    )


def test_a_report_without_findings_passes(judge: Any, tmp_path: Path) -> None:
    status, out, err = judge(reports=(report(tmp_path, matches=[]),))
    assert (status, err) == (0, "")
    assert out.startswith("0 of 0 findings fail")


def test_an_exception_lets_its_finding_pass_and_no_other(judge: Any) -> None:
    status, out, err = judge(OPENSSL)
    assert (status, err) == (1, "")
    assert "not_affected until 2026-12-29" in out
    assert out.count("FAILS") == 1


def test_with_an_exception_for_each_it_passes(judge: Any) -> None:
    """One is known by an alias, and is of a part of the image."""
    status, out, err = judge(OPENSSL, WERKZEUG)
    assert (status, err) == (0, "")
    assert "0 of 6 findings fail; 2 are excepted" in out
    assert "affected until 2026-12-29" in out


def test_reports_of_two_platforms_are_judged_as_one(judge: Any, tmp_path: Path) -> None:
    """An exception may be of a package that one of them has."""
    empty = report(tmp_path, matches=[])
    status, _, err = judge(OPENSSL, WERKZEUG, reports=(empty, REPORT))
    assert (status, err) == (0, "")


def test_what_grype_was_told_to_ignore_counts_all_the_same(judge: Any, tmp_path: Path) -> None:
    """Else a .grype.yaml in the checkout would be an exception without a reason or an end."""
    matches = json.loads(REPORT.read_text())["matches"]
    ignored = [match | {"appliedIgnoreRules": [{"vulnerability": "*"}]} for match in matches]
    status, out, _ = judge(reports=(report(tmp_path, matches=[], ignoredMatches=ignored),))
    assert status == 1
    assert out.count("FAILS") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status_notes": "The service has no DTLS."}, "CVE-2026-90001 has no expiry"),
        ({"status_notes": "No DTLS. Expires 2026-11-28"}, "CVE-2026-90001 expired on 2026-11-28"),
        ({"status_notes": "No DTLS. Expires 2028-01-01"}, "at most a year ahead"),
        ({"status_notes": "No DTLS. Expires 2027-02-30"}, "2027-02-30, which is no date"),
        ({"status_notes": SOON}, "CVE-2026-90001 has no reason in words"),
        ({"justification": ""}, "CVE-2026-90001 has no reason; not_affected needs justification"),
        ({"justification": "we_like_it"}, "the justification is none of"),
        ({"status": "affected"}, "CVE-2026-90001 has no reason; affected needs action_statement"),
        ({"status": "under_investigation"}, "under_investigation is no exception"),
        ({"products": []}, "CVE-2026-90001 names no product"),
        ({"products": [{"@id": "openssl"}]}, "'openssl' is no package URL"),
        ({"vulnerability": {"name": "CVE-1999-0001"}}, "CVE-1999-0001 excepts nothing"),
        ({"products": [{"@id": "pkg:deb/debian/libc6"}]}, "CVE-2026-90001 excepts nothing"),
        ({"products": [{"@id": "pkg:deb/debian/libssl3t64@3.0"}]}, "excepts nothing"),
        ({"products": [{"@id": "pkg:deb/debian/libssl3t64?arch=arm64"}]}, "excepts nothing"),
    ],
)
def test_an_exception_that_is_none_is_named_and_lets_nothing_pass(
    judge: Any, change: dict[str, Any], message: str
) -> None:
    status, out, err = judge(OPENSSL | change, WERKZEUG)
    assert status == 2
    assert err.count("error: ") == err.count("\n") == 1
    assert "team.openvex.json, statement 1" in err
    assert message in err
    assert "CVE-2026-90001" in out
    assert out.count("FAILS") == 1


def test_an_exception_for_what_has_no_fix_yet_is_no_error(judge: Any) -> None:
    """It tells those who run the image; the gate has no need of it."""
    glibc = {
        "vulnerability": {"name": "CVE-2026-90002"},
        "products": [{"@id": "pkg:deb/debian/libc6@2.41-12%2Bdeb13u5?arch=amd64"}],
    }
    status, _, err = judge(OPENSSL, WERKZEUG, OPENSSL | glibc)
    assert (status, err) == (0, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no JSON"),
        ("[]", "is no JSON object"),
        ("{}", "is no report of grype's"),
        ('{"descriptor": {"name": "grype"}, "matches": [{}]}', "matches[0] is not as grype"),
        ('{"descriptor": {"name": "grype"}, "matches": 1}', "is no report of grype's"),
        ('{"descriptor": "grype", "matches": []}', "is no report of grype's"),
    ],
)
def test_what_is_no_report_is_refused_with_a_line(
    judge: Any, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "report.json"
    file.write_text(content)
    status, out, err = judge(reports=(file,))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert f"error: {file}" in err
    assert message in err


@pytest.mark.parametrize("missing", ["severity", "fix", "id"])
def test_a_report_of_another_form_never_passes(judge: Any, tmp_path: Path, missing: str) -> None:
    """A newer grype may name things otherwise: that must not read as nothing found."""
    matches = json.loads(REPORT.read_text())["matches"]
    del matches[0]["vulnerability"][missing]
    status, _, err = judge(reports=(report(tmp_path, matches=matches),))
    assert status == 2
    assert "matches[0] is not as grype writes it" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("{}", "is no OpenVEX document"),
        (
            '{"@context": "https://openvex.dev/ns", "@id": "x", "author": "x", "timestamp": "x",'
            ' "version": 1, "statements": [{"status": "fixed"}]}',
            "statement 1: expected a vulnerability with its name",
        ),
    ],
)
def test_what_is_no_vex_document_is_refused_with_a_line(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(vex.BadInputError, match=message):
        vex.statements(tmp_path, TODAY)


def test_the_verb_ends_with_the_gate_s_status(tmp_path: Path) -> None:
    exceptions = tmp_path / "vex"
    command = [sys.executable, str(CHECKOUT / "scripts/scan.py"), "--vex", str(exceptions)]
    for reports, status in (([REPORT], 1), ([report(tmp_path, matches=[])], 0), ([], 2)):
        done = subprocess.run([*command, *map(str, reports)], capture_output=True, check=False)
        assert done.returncode == status
    absent = tmp_path / "absent.json"
    verb = make("scan", f"REPORT={absent}")
    assert verb.returncode != 0
    assert f"error: {absent}: No such file or directory" in verb.stderr
