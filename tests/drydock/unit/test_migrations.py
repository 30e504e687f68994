"""Alembic as a developer calls it: without a connection, by the name of the service alone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Column, Integer, MetaData, Table

from applications import settings_of
from drydock import database
from drydock.database import AwareDateTime
from probe import service

if TYPE_CHECKING:
    from pathlib import Path

    from applications import Build

pytestmark = pytest.mark.database


@pytest.fixture
def config(build: Build, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A database that is up to date, by the environment."""
    address = settings_of(build()).database_url
    assert address is not None
    monkeypatch.setenv("DATABASE_URL", address)
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    config.set_main_option("version_locations", str(service.versions))
    config.set_main_option("path_separator", "newline")
    return config


def test_it_finds_the_service_s_tables_and_database(config: Config) -> None:
    config.set_main_option("service", "probe:service")
    command.check(config)


def test_without_a_service_it_says_what_is_missing(config: Config) -> None:
    with pytest.raises(CommandError, match=r"name the service in \[tool.alembic\]"):
        command.check(config)


def test_a_new_migration_depends_on_sqlalchemy_alone(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = MetaData()
    Table("events", metadata, Column("id", Integer), Column("at", AwareDateTime()))
    monkeypatch.setattr(database.Model, "metadata", metadata)
    assert service.versions is not None
    shutil.copytree(service.versions, tmp_path / "versions")
    config.set_main_option("version_locations", str(tmp_path / "versions"))
    config.set_main_option("service", "probe:service")
    command.revision(config, "events", autogenerate=True, rev_id="0002")
    written = (tmp_path / "versions" / "0002_events.py").read_text()
    assert "sa.Column('at', sa.DateTime(timezone=True)" in written
    assert "drydock" not in written
