"""The lock files install the same next year: no newer release changes what is installed."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import tools
import without_database
from checkouts import CHECKOUT, copy, make
from database import HAS_DATABASE

LOCKS = sorted((CHECKOUT / "requirements").glob("*.txt"))


def wheel(folder: Path, name: str, version: str, *metadata: str) -> str:
    """Make a wheel with nothing in it; return its line for a lock file."""
    file = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata]
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{about}/METADATA", "\n".join(lines) + "\n")
        tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{about}/WHEEL", tag)
        archive.writestr(f"{about}/RECORD", f"{about}/METADATA,,\n{about}/WHEEL,,\n")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


@pytest.fixture(scope="module", params=["oldest", pytest.param("newest", marks=pytest.mark.slow)])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment whose pip is the oldest or the newest that is supported."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    lock = Path(__file__).with_name("pip-oldest.txt")
    if request.param == "newest":
        lock = folder / "pip-newest.txt"
        lock.write_text(tools.locked("pip"))
    tools.install(folder / "bin" / "python", lock)
    return folder / "bin" / "python"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An index of wheels, the only one there is, and their lines for a lock file.

    `child`, which only `parent` asks for, has a newer release than its lock.
    """
    folder = tmp_path / "index"
    folder.mkdir()
    lines = {
        "parent": wheel(folder, "parent", "1.0", "Requires-Dist: child[fast]>=1"),
        "child": wheel(folder, "child", "1.0", "Provides-Extra: fast"),
    }
    wheel(folder, "child", "1.1", "Provides-Extra: fast")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return lines


def version(python: Path, package: str) -> str:
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.check_output([python, "-c", code], text=True).strip()


def pins(lock: Path) -> set[str]:
    return set(re.findall(r"^[\w.-]+==\S+", lock.read_text(), re.MULTILINE))


def test_a_newer_release_of_an_indirect_dependency_changes_nothing(
    python: Path, index: dict[str, str], tmp_path: Path
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("".join(index.values()))
    tools.install(python, lock)
    assert version(python, "child") == "1.0"
    tools.check(python)


def test_a_lock_that_lacks_something_is_one_clear_line(
    python: Path, index: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pip = [str(python), "-m", "pip"]
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", "child"], check=True)
    lock = tmp_path / "lock.txt"
    lock.write_text(index["parent"])
    tools.install(python, lock)
    with pytest.raises(SystemExit):
        tools.check(python)
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "run `make lock`" in said
    assert "parent 1.0 requires child, which is not installed" in said


def test_every_image_installs_locks_with_the_same_options() -> None:
    """The Dockerfiles can't import them: they repeat them, and see after what is missing."""
    files = [CHECKOUT / "Dockerfile", CHECKOUT / "bench/peers/Dockerfile"]
    texts = [file.read_text().replace("\\\n", " ") for file in files]
    for text in texts:
        assert "PIP_ONLY_BINARY=:all:" in text
    text = "".join(texts)
    commands = re.findall(r"pip [^&\n]*(?:install|wheel) [^&\n]*-r [\w.]+", text)
    locks = {re.split(r"-r ", command)[1].strip() for command in commands}
    # Each that requirements/optional.list names.
    assert "LOCK.txt" in locks
    assert "source=requirements/tracing.txt," in text
    locks = locks - {"LOCK.txt"} | {"tracing.txt"}
    left_out = {Path(name).name for name in without_database.FILES if name.endswith(".txt")}
    assert locks == {lock.name for lock in LOCKS if lock.name != "dev.txt"} | left_out
    for command in commands:
        for option in set(tools.INSTALL) - {"install", "--only-binary=:all:"}:
            assert option in command
    # The one exception to the wheels, by its name.
    assert re.findall(r"--no-binary[= ](\S+)", text) == ["psycopg-c"]
    # The dependencies, the driver among them, are checked when the project is there as well.
    installs = len(re.findall(r"pip\b[^&\n]* install ", text))
    assert len(re.findall(r"pip\b[^&\n]* check\b", text)) >= installs - 3


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_has_versions_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    entries = re.findall(r"^[\w.-]+(?:\[.*\])?==.*\n(?: .*\n)*", text, re.MULTILINE)
    assert entries
    for entry in entries:
        assert "--hash=sha256:" in entry
    rest = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    assert "".join(entries) == rest
    assert "://" not in text


@pytest.mark.database
def test_the_driver_is_of_one_version_in_the_image_and_on_a_desk() -> None:
    """Compiled in the image, from one source; a wheel in .venv, which needs no compiler."""
    packages = {"database": "psycopg", "driver": "psycopg-c", "dev": "psycopg-binary"}
    pins = {}
    for name, package in packages.items():
        text = (CHECKOUT / f"requirements/{name}.txt").read_text()
        (entry,) = re.findall(rf"^{package}==.*\n(?: .*\n)*", text, re.MULTILINE)
        pins[package] = re.split(r"[= ]+", entry)[1]
        assert package != "psycopg-c" or entry.count("--hash=") == 1
        others = set(packages.values()) - {package, "psycopg"}
        assert not [other for other in others if f"\n{other}==" in text]
    assert len(set(pins.values())) == 1, pins


def test_traces_are_tested_with_the_versions_that_the_image_has() -> None:
    """The image has them from a lock of their own, its unit tests from theirs."""

    def entries(name: str) -> set[str]:
        text = (CHECKOUT / f"requirements/{name}.txt").read_text()
        return set(re.findall(r"^[\w.-]+==\S+ \\\n(?:    --hash.*\n)*", text, re.MULTILINE))

    assert entries("tracing")
    assert entries("tracing") <= entries("test")


@pytest.mark.slow
def test_lock_adds_what_is_new_and_keeps_the_rest_and_upgrade_renews_it(tmp_path: Path) -> None:
    checkout = copy(tmp_path / "checkout")
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    runtime = checkout / "requirements/runtime.txt"
    before = runtime.read_text()
    # An older release than the lock's, as any of them will be next year.
    older = re.sub(r"^packaging==\S+", "packaging==25.0", before, count=1, flags=re.MULTILINE)
    assert older != before
    runtime.write_text(older)
    project = checkout / "pyproject.toml"
    project.write_text(
        project.read_text().replace("\ndependencies = [", '\ndependencies = ["cachelib==0.13.0",')
    )

    wanted = set(re.findall(r"^[\w.-]+==\S+", older, re.MULTILINE)) | {"cachelib==0.13.0"}
    locked = make("lock", checkout=checkout)
    assert locked.returncode == 0, locked.stderr
    assert pins(runtime) == wanted
    renewed = make("upgrade", "PACKAGE=packaging", checkout=checkout)
    assert renewed.returncode == 0, renewed.stderr
    assert "packaging==25.0" not in pins(runtime)
    assert {pin for pin in pins(runtime) if not pin.startswith("packaging==")} == wanted - {
        "packaging==25.0"
    }


def test_what_a_database_needs_is_there_as_a_whole_or_not_at_all() -> None:
    there = {(CHECKOUT / name).exists() for name in without_database.FILES}
    assert there == {HAS_DATABASE}


def test_locks_that_were_left_out_stay_out(tmp_path: Path) -> None:
    checkout = copy(tmp_path / "checkout")
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    for name in without_database.FILES:
        (checkout / name).unlink(missing_ok=True)
    folder = checkout / "requirements"
    before = {file.name: pins(file) for file in folder.iterdir()}
    locked = make("lock", checkout=checkout)
    assert locked.returncode == 0, locked.stderr
    assert {file.name: pins(file) for file in folder.iterdir()} == before
    # The template's own code and tests have it on every desk.
    assert any(pin.startswith("sqlalchemy==") for pin in before["dev.txt"])
