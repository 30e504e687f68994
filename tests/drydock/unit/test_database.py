"""The database: migrations, connections, and what happens while it can't be reached."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from prometheus_client import REGISTRY
from sqlalchemy import QueuePool, create_engine, text

import drydock
from applications import settings_of
from drydock import Service, State, database
from probe import create_app, service
from probe.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from applications import Build

pytestmark = pytest.mark.database


def test_the_migrations_make_the_tables_that_the_models_describe(build: Build) -> None:
    engine = State.of(build()).engine
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, database.Model.metadata) == []


def test_the_newest_revision_is_found_without_alembic(build: Build) -> None:
    with State.of(build()).engine.connect() as connection:
        assert database.current_revision(connection) == database.latest_revision(service.versions)


def test_migrating_twice_does_nothing_the_second_time(build: Build) -> None:
    assert service.migrate(settings_of(build())) == []


def emptied(build: Build) -> drydock.Settings:
    """The settings of a database without tables."""
    settings = settings_of(build())
    engine = database.connect(settings)
    with engine.begin() as connection:
        for table in ("notes", "alembic_version"):
            connection.execute(text(f"DROP TABLE {table}"))
    engine.dispose()
    return settings


def test_a_fork_without_migrations_yet_starts_and_is_ready(tmp_path: Path) -> None:
    settings, parts = "probe.settings:Settings", service.parts
    fork = Service("probe", settings=settings, parts=parts, migrations="probe.none")
    app = fork.create_app(Settings(data_dir=tmp_path))
    assert app.test_client().get("/readyz").status_code == 200
    State.of(app).engine.dispose()


def _migrate(settings: drydock.Settings, results: Any) -> None:
    results.put(service.migrate(settings))


def test_of_several_migrations_at_once_one_applies(build: Build) -> None:
    settings = emptied(build)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_migrate, args=(settings, results)) for _ in range(5)]
    for process in processes:
        process.start()
    applied = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert sorted(applied) == [[], [], [], [], ["0001"]]


def test_a_database_that_can_t_be_reached_is_one_line_without_the_password() -> None:
    settings = Settings(database_url="postgresql://user:hunter2@127.0.0.1:1/x")
    with pytest.raises(database.DatabaseError) as error:
        service.migrate(settings)
    assert "127.0.0.1:1" in str(error.value)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_newer_database_is_one_line(build: Build) -> None:
    settings = settings_of(build())
    engine = database.connect(settings)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(database.DatabaseError, match="at revision 9999, newer than"):
        service.migrate(settings)


def test_a_migration_that_is_cut_off_leaves_nothing_behind(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = emptied(build)
    with monkeypatch.context() as patched:
        patched.setattr("alembic.op.create_table", _create_and_fail)
        with pytest.raises(database.DatabaseError, match="cut off"):
            service.migrate(settings)
    assert service.migrate(settings) == ["0001"]


def _create_and_fail(*_: object, **__: object) -> None:
    from alembic import op

    op.execute("CREATE TABLE notes (id INTEGER)")
    raise OSError("cut off")


def test_a_password_in_the_query_is_not_shown() -> None:
    address = "postgresql://u@127.0.0.1:1/x?password=hunter2"
    with pytest.raises(database.DatabaseError) as error:
        service.migrate(Settings(database_url=address))
    assert "hunter2" not in str(error.value)


def test_connections_in_use_are_counted_even_if_one_fails_on_its_way_out(build: Build) -> None:
    engine = State.of(build()).engine

    def in_use() -> float:
        return REGISTRY.get_sample_value("app_database_connections") or 0.0

    before = in_use()
    with engine.connect():
        assert in_use() == before + 1
    assert in_use() == before

    def dead(*_: object) -> None:
        raise OSError("dead")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine.pool, "_pre_ping", True)
        patched.setattr(engine.dialect, "do_ping", dead)
        with pytest.raises(OSError, match="dead"):
            engine.connect()
    assert in_use() == before


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("sqlite:////tmp/x", "sqlite"),
    ],
)
def test_any_usual_address_gets_the_driver_that_is_there(given: str, driver: str) -> None:
    assert database.url(Settings(database_url=given)).drivername == driver


@pytest.mark.parametrize(
    ("given", "password"),
    [("postgresql://u@h/d", "p@ss/w:rd"), ("postgresql://u:own@h/d", "own")],
)
def test_a_password_of_its_own_fills_an_address_without_one(given: str, password: str) -> None:
    settings = Settings(database_url=given, database_password="p@ss/w:rd")
    assert database.url(settings).password == password


def test_the_embedded_database_is_made_and_migrated_by_itself(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path / "new" / "folder"))
    assert app.test_client().get("/notes").status_code == 200
    assert (tmp_path / "new" / "folder" / database.FILE).exists()
    State.of(app).engine.dispose()


START = """
import sys
from pathlib import Path
from probe import create_app
from probe.settings import Settings
app = create_app(Settings(data_dir=Path(sys.argv[1])))
assert app.test_client().get("/notes").status_code == 200
print("imported:", *(name for name in ("alembic", "mako", "psycopg") if name in sys.modules))
"""


def test_a_start_with_a_database_that_is_up_to_date_imports_no_alembic(tmp_path: Path) -> None:
    def start() -> str:
        command = [sys.executable, "-c", START, str(tmp_path)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1]

    assert start() == "imported: alembic mako"  # which make the database
    assert start() == "imported:"


def test_sqlite_is_set_up_for_readers_beside_a_writer(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path, database_timeout=7))
    with State.of(app).engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA busy_timeout")) == 7000
    State.of(app).engine.dispose()


def test_a_data_directory_that_can_t_be_written_ends_the_start_with_one_line(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended:
        create_app(Settings(data_dir=tmp_path / "file" / "data"))
    message = str(ended.value)
    assert message.startswith(f"error: DATA_DIR={tmp_path}/file/data: user {os.geteuid()}:")
    assert "\n" not in message


def test_another_database_is_not_migrated_by_itself(tmp_path: Path) -> None:
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path}/other.sqlite"))
    ready = app.test_client().get("/readyz")
    assert ready.status_code == 503
    assert "not migrated" in ready.get_json(force=True)["detail"]
    State.of(app).engine.dispose()


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[database.Probe]:
    """A probe of a database that does not answer."""
    engine = create_engine(f"sqlite:///{tmp_path}/x")
    probe = database.Probe(engine, None)
    go_on = threading.Event()
    probe._check = lambda: None if go_on.wait(30) else "late"  # type: ignore[method-assign]
    yield probe
    go_on.set()
    probe.thread.shutdown()


def test_readiness_does_not_wait_for_a_database_that_hangs(hanging: database.Probe) -> None:
    began = time.monotonic()
    for _ in range(3):
        assert hanging.problem(timeout=0.05) == "no answer within 0.05 seconds"
    assert time.monotonic() - began < 0.9


def test_without_the_database_only_what_needs_it_fails() -> None:
    app = create_app(Settings(database_url="postgresql://u@127.0.0.1:1/x", database_timeout=1))
    client = app.test_client()
    assert client.get("/livez").status_code == 200
    assert client.get("/hello/x").status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert "database: " in ready.get_json(force=True)["detail"]
    notes = client.get("/notes")
    assert notes.status_code == 503
    assert notes.content_type == "application/problem+json"
    assert notes.headers["Retry-After"]


def test_a_forked_worker_does_not_share_its_parent_s_connection(build: Build) -> None:
    engine = State.of(build()).engine
    engine.connect().close()  # into the pool
    assert isinstance(engine.pool, QueuePool)
    assert engine.pool.checkedin() == 1
    child = os.fork()
    if child == 0:
        os._exit(engine.pool.checkedin())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
