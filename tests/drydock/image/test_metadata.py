"""What the image says of itself."""

from __future__ import annotations

import datetime
import fnmatch
import json
import re
import tarfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bounds
from containers import docker
from image import sizes

if TYPE_CHECKING:
    from rootfs import Root

CHECKOUT = Path(__file__).parents[3]
LABEL = "org.opencontainers.image."

SECRETS = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}"
    rb"|glpat-[\w-]{20}|xox[abprs]-[\w-]{10,}|sk_live_\w{20,}|eyJhbGciOi[\w-]+\.[\w-]+\.[\w-]+"
    rb"|https?://[^/\s:@\"'<>{}]+:[^/\s:@\"'<>{}]+@[a-z]"
)


def test_runs_as_a_numeric_user_that_is_not_root(config: dict[str, Any]) -> None:
    """By number, for Kubernetes' runAsNonRoot can't look up a name."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])


@pytest.mark.parametrize("field", ["Cmd", "Entrypoint"])
def test_the_command_is_in_exec_form(config: dict[str, Any], field: str) -> None:
    """The shell form would put a shell, which the image has not, before the server."""
    command = config[field] or []
    assert not {"/bin/sh", "sh", "/bin/bash", "bash"} & set(command[:1])
    assert config["Cmd"] or config["Entrypoint"]


def test_the_health_check_is_in_exec_form(config: dict[str, Any]) -> None:
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert not {"curl", "wget", "sh", "bash", "/bin/sh"} & set(config["Healthcheck"]["Test"])


def test_the_health_check_asks_often_at_first_and_in_time(config: dict[str, Any]) -> None:
    check = config["Healthcheck"]
    second = 1_000_000_000
    assert check["StartInterval"] <= 2 * second < check["Interval"]
    assert check["Timeout"] < check["Interval"]


def test_stops_on_sigterm(config: dict[str, Any]) -> None:
    assert config["StopSignal"] == "SIGTERM"


def test_documents_its_port(config: dict[str, Any]) -> None:
    assert "5000/tcp" in config["ExposedPorts"]


def test_is_in_production_by_default(config: dict[str, Any]) -> None:
    assert "APP_ENV=production" in config["Env"]


def test_labels_say_where_it_comes_from(config: dict[str, Any]) -> None:
    labels = config["Labels"]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    expected = {"title": "name", "version": "version", "licenses": "license"}
    found = {label: labels[LABEL + label] for label in expected}
    # A plain `docker build` knows none of them, and then none says anything.
    if any(found.values()):
        assert found == {label: project[key] for label, key in expected.items()}
    else:
        assert not any(labels[LABEL + label] for label in ("revision", "created", "source"))
    assert re.fullmatch(r"([0-9a-f]{40}(-dirty)?)?", labels[LABEL + "revision"])
    assert re.fullmatch(r"(https?://[^@]+)?", labels[LABEL + "source"])
    assert re.fullmatch(r"(\d{8}T\d{6}Z)?", labels["org.debian.snapshot"])
    if created := labels[LABEL + "created"]:
        assert datetime.datetime.fromisoformat(created).tzinfo is not None


def test_the_service_reports_the_revision_that_the_label_names(
    config: dict[str, Any], image: str
) -> None:
    code = "import dataclasses, json; from app import create_app; from drydock import State;"
    code += "print(json.dumps(dataclasses.asdict(State.of(create_app()).info)))"
    quiet = ("--rm", "--env", "LOG_LEVEL=error", "--env", "SHOW_REVISION=true")
    found = json.loads(docker("run", *quiet, image, "python3", "-c", code).stdout)
    assert (found["revision"] or "") == config["Labels"][LABEL + "revision"]
    assert config["Labels"][LABEL + "version"] in ("", found["version"])


def test_environment_and_history_hold_no_secret(image: str, config: dict[str, Any]) -> None:
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    assert not SECRETS.search((history + "\n".join(config["Env"])).encode())
    for variable in config["Env"]:
        name, _, value = variable.partition("=")
        assert not (re.search(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL", name) and value), name


def test_history_holds_no_path_of_the_machine_that_built_it(image: str) -> None:
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    assert str(CHECKOUT) not in history
    assert str(Path.home()) + "/" not in history


def test_no_layer_holds_a_secret_even_if_a_later_one_removes_it(image: str, tmp_path: Path) -> None:
    docker("save", "--output", str(tmp_path / "image.tar"), image)
    searched = 0
    exceptions = bounds.of_the_fork()["no-secrets"]
    assert all(reason for reason in exceptions.values())

    def excepted(name: str) -> bool:
        # The standard library's and its tests' examples of addresses; and a fork's own.
        return name.startswith("/usr/lib/python3") or any(
            fnmatch.fnmatch(name, pattern) for pattern in exceptions
        )

    with tarfile.open(tmp_path / "image.tar") as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        for layer in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as tar:
                for member in tar:
                    name = "/" + member.name
                    assert not re.search(r"/\.wh\.|/(id_rsa|\.netrc|\.pypirc|\.env)$", name), name
                    assert not name.startswith("/run/secrets"), name
                    if member.isfile():
                        stream = tar.extractfile(member)
                        assert stream is not None
                        found = SECRETS.search(stream.read())
                        assert not found or excepted(name), (name, found)
                        searched += 1
    assert searched > 100


def test_is_small(image: str) -> None:
    """A bound that a careless dependency breaks: raise it on purpose, not by accident."""
    layers = sizes(image)
    bound = bounds.of_the_fork()
    assert sum(compressed for compressed, _ in layers) <= bound["compressed-bytes"]
    assert sum(unpacked for _, unpacked in layers) <= bound["unpacked-bytes"]


def test_the_health_check_script_is_where_the_image_says(
    root: Root, config: dict[str, Any]
) -> None:
    scripts = [word for word in config["Healthcheck"]["Test"] if word.endswith(".py")]
    assert scripts
    assert all(root.real(script) in root for script in scripts)
    # Who asks for it from outside, in a manifest say, must not follow each version of Python.
    assert scripts == ["/opt/drydock/healthcheck.py"]
