from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner

from app import work
from app.cli import main

if TYPE_CHECKING:
    from applications import Build


def test_a_note_is_kept_and_shouted(build: Build) -> None:
    app = build(sender="Ann")
    client = app.test_client()
    writer = {"Authorization": "Bearer t0ken"}
    assert client.post("/notes", json={"text": "hi"}).status_code == 401
    assert client.post("/notes", json={"text": "hi"}, headers=writer).status_code == 202
    assert client.get("/notes").get_json() == {"notes": ["Ann: hi"]}
    with app.app_context():
        assert work.step()
        assert not work.step()
    assert client.get("/notes").get_json() == {"notes": ["Ann: HI"]}


def test_the_command_that_was_added() -> None:
    done = CliRunner().invoke(main, ["count"])
    assert (done.exit_code, done.output) == (0, "1,234,567\n")
