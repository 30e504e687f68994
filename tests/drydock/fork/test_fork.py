"""A fork without the sample, with all that docs/extend.md adds to it: what it adds runs.

Only its own files are touched, and all suites are green.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import owners
from containers import docker, eventually, started, unique

if TYPE_CHECKING:
    from forks import Fork

TOKEN = "a-token-for-the-tests"


def test_only_files_of_the_fork_are_touched(fork: Fork) -> None:
    """By the how-to; what `make adopt` changes is in its own tests."""
    touched = fork.git("diff", "--name-only", "HEAD~", "HEAD").splitlines()
    print("\n".join(sorted(touched)))
    assert not [name for name in touched if owners.owner(name) == owners.TEMPLATE]
    assert {".env.example", "docs/settings.md", "requirements/runtime.txt"} <= set(touched)


def test_what_was_added_runs(fork: Fork) -> None:
    with started(fork.image, f"--env=API_TOKEN={TOKEN}") as container:
        container.wait_until_healthy()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        for text in (b'{"text": "hi"}', b'{"text": "ho"}'):
            posted = container.get("/notes", method="POST", body=text, headers=headers)
            assert posted.status == 201, posted.data
        assert container.get("/notes", method="POST", body=b"{}").status == 401
        second = {"notes": [{"id": 2, "text": "ho"}], "page": 2, "page_size": 1, "total": 2}
        assert container.get("/notes?page=2&page_size=1").json() == second
        assert container.get("/blogs").status == 404
        *_, line = docker("exec", container.name, "app", "purge").stdout.splitlines()
        assert json.loads(line)["message"] == "deleted 0 notes"
        # The background process beside it, on the same database.
        worker = unique("worker")
        volume = ("--volumes-from", container.name)
        try:
            docker("run", "--detach", "--name", worker, *volume, fork.image, "app", "work")

            def mailed() -> list[str]:
                lines = map(json.loads, docker("logs", worker).stdout.splitlines())
                return [line["message"] for line in lines if "mailed" in line["message"]]

            eventually(lambda: mailed() == ["mailed note 1", "mailed note 2"], 60, "all are mailed")
        finally:
            docker("rm", "--force", worker, check=False)


@pytest.mark.parametrize("verb", ["lint", "unit", "contract", "stack"])
def test_its_suites_are_green(fork: Fork, verb: str) -> None:
    print(fork.verb(verb)[-500:])
