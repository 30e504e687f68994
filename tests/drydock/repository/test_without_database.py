"""`make adopt DATABASE=none`: a service without a database, which stays so in updates."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

import docs
import drydock
import forks
import manifests
import policies
import without_database
from forks import ANSWERS, Repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.database

SERVICE = """\
service = drydock.Service(
    __name__,
    settings="app.settings:Settings",
    parts=("app.index", "app.blogs"),
    migrations="app.migrations",
    work="app.work:step",
)


def create_app(settings: drydock.Settings | None = None) -> Flask:
    return service.create_app(settings)
"""
WITHOUT = """\
service = drydock.Service(
    __name__,
    settings="app.settings:Settings",
    parts=("app.index",),
)


def create_app(settings: drydock.BaseSettings | None = None) -> Flask:
    return service.create_app(settings)
"""
OWN = {
    "src/app/__init__.py": SERVICE,
    "src/app/settings.py": "class Settings(drydock.Settings):\n    pass\n",
    "src/app/work.py": "from drydock.database import transaction\n",
    "tests/app/test_work.py": "from app.work import step\n",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The template with one release, with a sample that has a table and a background process."""
    template = forks.template(tmp_path_factory.mktemp("template") / "checkout")
    for name, text in OWN.items():
        template.write(name, text)
    template.commit("Release")
    template.git("tag", "-am", "1.0.0", "v1.0.0")
    return template


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def fork(template: Repository, tmp_path: Path) -> Repository:
    return template.clone(tmp_path / "fork")


def adopt(fork: Repository, template: Repository) -> None:
    fork.succeed("adopt", DATABASE="none", TEMPLATE=str(template.path), **ANSWERS)
    fork.commit("Adopt it")


def stack(repository: Repository) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(repository.read("compose.yaml"))
    return found


def test_the_sample_goes_as_well_and_nothing_that_declares_a_database_is_left(
    fork: Repository, template: Repository
) -> None:
    adopt(fork, template)
    assert fork.read("src/app/__init__.py") == WITHOUT
    assert fork.read("src/app/settings.py") == "class Settings(drydock.BaseSettings):\n    pass\n"
    assert not {*without_database.FILES, *without_database.WORK} & set(fork.files())
    assert not [name for name in fork.files() if "blogs" in name or "migrations" in name]
    assert "[tool.alembic" not in fork.read("pyproject.toml")
    for name in (".env.example", "docs/settings.md", "compose.yaml", "deploy/swarm/stack.yaml"):
        assert "DATABASE_" not in fork.read(name)
    for word in ("PostgreSQL", "data is kept", "table"):
        assert word in template.read("scripts/adopt.py")
        assert word not in fork.read("README.md")


def test_the_stack_is_the_same_but_for_its_database(fork: Repository, template: Repository) -> None:
    before = stack(template)
    adopt(fork, template)
    after = stack(fork)
    assert set(before["services"]) - set(after["services"]) == {"db", "migrate"}
    for name, service in after["services"].items():
        old = before["services"][name]
        environment = old.get("environment", {})
        environment = {k: v for k, v in environment.items() if not k.startswith("DATABASE_")}
        assert service.get("environment", {}) == environment
        secrets = [each for each in old.get("secrets", []) if not each.startswith("db_")]
        assert service.get("secrets", []) == secrets
        needed = {each for each in old.get("depends_on", {}) if each not in ("db", "migrate")}
        assert set(service.get("depends_on", {})) == needed
        for each in (old, service):
            for key in ("environment", "secrets", "depends_on", "image"):  # that has the name
                each.pop(key, None)
        assert service == old, name
    assert after["networks"] == before["networks"]
    # A fork has secrets and volumes of its own as well.
    passwords = {"db_owner_password", "db_password"}
    assert set(after["secrets"]) == set(before["secrets"]) - passwords
    assert set(after.get("volumes", {})) == set(before["volumes"]) - {"db"}


def test_the_monitoring_is_the_same_but_for_its_exporter(
    fork: Repository, template: Repository
) -> None:
    adopt(fork, template)
    read = YAML(typ="safe").load
    files = ("deploy/monitoring/compose.yaml", "deploy/stand-ins/monitoring.yaml")
    for file in files:
        before, after = read(template.read(file)), read(fork.read(file))
        del before["services"]["postgres-exporter"]
        before.pop("secrets", None)
        assert after == before
    file = "deploy/monitoring/prometheus.yaml"
    before, after = read(template.read(file)), read(fork.read(file))
    jobs = [each for each in before["scrape_configs"] if each["job_name"] != "database"]
    assert len(jobs) == len(before["scrape_configs"]) - 1
    assert after == before | {"scrape_configs": jobs}


def test_kubernetes_is_told_the_same_but_for_the_migration_and_the_way_to_the_database(
    fork: Repository, template: Repository
) -> None:
    adopt(fork, template)
    before, after = (
        manifests.render(each.path / "deploy/kubernetes/base") for each in (template, fork)
    )
    gone = [each for each in before if each["metadata"]["name"] in ("migration", "to-database")]
    kept = [each for each in before if each not in gone]
    (pod,) = policies.services(kept)
    variables, items = pod.containers[0]["env"], pod.spec["volumes"][-1]["secret"]["items"]
    variables.remove({"name": "DATABASE_URL_FILE", "value": "/run/secrets/app/database-url"})
    items.remove({"key": "database-url", "path": "database-url"})
    assert {each["kind"] for each in gone} == {"NetworkPolicy", "Job"}
    assert after == kept
    for overlay in ("production", "staging"):
        rendered = manifests.render(fork.path / "deploy/kubernetes/overlays" / overlay)
        assert "database" not in json.dumps(rendered)
        assert manifests.invalid(rendered) == []


def test_the_lists_of_settings_are_those_that_make_docs_would_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(docs, "Settings", drydock.Settings)
    document, example = docs.document(), docs.example()
    monkeypatch.setattr(docs, "Settings", drydock.BaseSettings)
    assert without_database.settings(document) == docs.document() != document
    assert without_database.example(example) == docs.example() != example


@pytest.mark.parametrize("again", [{"DATABASE": "none"}, {}])
def test_a_second_run_changes_nothing(
    fork: Repository, template: Repository, again: dict[str, str]
) -> None:
    adopt(fork, template)
    assert "changed 0 files" in fork.succeed("adopt", **again)


def test_a_later_run_leaves_it_out_as_well(fork: Repository, template: Repository) -> None:
    """A fork that has written code of its own meanwhile."""
    fork.succeed("adopt", SAMPLE="remove", TEMPLATE=str(template.path), **ANSWERS)
    fork.write("src/app/index.py", "greeting = 2\n")
    fork.edit("README.md", "make up ", "make -j up ")
    fork.commit()
    fork.succeed("adopt", DATABASE="none")
    assert fork.read("src/app/index.py") == "greeting = 2\n"
    assert "make -j up" in fork.read("README.md")
    assert "db" not in stack(fork)["services"]


def own_table(fork: Repository) -> None:
    fork.write("src/app/notes.py", "from drydock.database import Model\n")


def own_migration(fork: Repository) -> None:
    fork.git("rm", "--quiet", "src/app/migrations/versions/0001_blogs.py")
    fork.write("src/app/migrations/versions/0001_notes.py", "revision = '0001'\n")


def fine(_: Repository) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "answers", "expected"),
    [
        (fine, {"SAMPLE": "keep"}, "DATABASE=none: the sample needs a database"),
        (fine, {"DATABASE": "no"}, "DATABASE=no: expected keep or none"),
        (own_table, {}, "DATABASE=none: src/app/notes.py needs the database; remove what does"),
        (own_migration, {}, "src/app/migrations/versions/0001_notes.py"),
    ],
)
def test_what_stands_against_it_is_one_line_and_nothing_is_changed(
    fork: Repository,
    spoil: Callable[[Repository], None],
    answers: dict[str, str],
    expected: str,
) -> None:
    spoil(fork)
    fork.commit()
    done = fork.make("adopt", **{"DATABASE": "none", **answers})
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert expected in line
    assert "Traceback" not in done.stderr
    assert fork.git("status", "--porcelain") == ""


def test_no_update_brings_it_back(fork: Repository, template: Repository, tmp_path: Path) -> None:
    """A release that changes what was left out, and what was not."""
    adopt(fork, template)
    fork.write("src/app/index.py", "greeting = 2\n")
    fork.commit()
    before = set(fork.files())
    newer = template.copy(tmp_path / "newer")
    newer.edit("compose.yaml", "    shm_size: 128m\n", "    shm_size: 256m\n")
    newer.edit("compose.yaml", "    command: [app, migrate]\n", "    command: [app, migrate, -v]\n")
    newer.edit("compose.yaml", "    pids_limit: 32\n", "    pids_limit: 33\n")
    newer.edit("docs/settings.md", "| `DATABASE_URL`", "| `DATABASE_NEW` | | | |\n| `DATABASE_URL`")
    newer.edit("deploy/monitoring/prometheus.yaml", "exporter:9187", "exporter:9188")
    newer.edit("deploy/monitoring/compose.yaml", "DATA_SOURCE_URI: db:", "DATA_SOURCE_URI: db2:")
    for name in without_database.FILES:
        newer.write(name, newer.read(name) + "# newer\n")
    newer.edit("Dockerfile", "FROM scratch AS runtime\n", "# Newer.\nFROM scratch AS runtime\n")
    newer.commit("Release")
    newer.git("tag", "-am", "1.1.0", "v1.1.0")
    said = fork.succeed("update", TEMPLATE=str(newer.path))
    assert "merged v1.1.0" in said
    assert "were changed there and here" not in said
    assert set(fork.files()) == before
    text = fork.read("compose.yaml")
    assert "pids_limit: 33" in text
    assert "shm_size" not in text
    assert "migrate" not in text
    assert "DATABASE_" not in fork.read("docs/settings.md")
    assert "postgres" not in fork.read("deploy/monitoring/prometheus.yaml")
    assert "DATA_SOURCE" not in fork.read("deploy/monitoring/compose.yaml")
    assert "# Newer." in fork.read("Dockerfile")
    assert fork.read("src/app/index.py") == "greeting = 2\n"
