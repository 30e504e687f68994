"""TLS at the gateway, switched on as docs/stack.md says."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import urllib3
from playwright.sync_api import Error

import browser
import stand_ins
from containers import docker, eventually, free_port, unique
from stacks import Stack, copy, openssl, remove

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "api.example"


def certify(folder: Path) -> None:
    """Write a certificate of the test's own and its key into the files that the stack reads."""
    shell = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        f" -subj /CN=test -addext subjectAltName=DNS:{NAME} -keyout /tmp/key -out /tmp/certificate"
        " 2>/dev/null && cat /tmp/key /tmp/certificate"
    )
    with openssl() as image:
        made = docker("run", "--rm", "--entrypoint", "bash", image, "-c", shell).stdout
    key, certificate = re.findall(r"-----BEGIN.*?-----END[^\n]*\n", made, re.DOTALL)
    folder.mkdir(exist_ok=True)
    for name, text in (("tls_key", key), ("tls_certificate", certificate)):
        file = folder / name
        if file.exists():
            file.chmod(0o644)
        file.write_text(text)
        file.chmod(0o444)


@pytest.fixture(scope="module")
def secure(probe: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    checkout = copy(tmp_path_factory.mktemp("tls") / "checkout")
    variables = {
        "COMPOSE_PROJECT_NAME": unique("stack"),
        "PORT": str(free_port()),
        "TLS_PORT": str(free_port()),
        "GATEWAY_NAMES": NAME,
        "IMAGE": probe,
        "IMAGE_AS_IS": "1",
    }
    found = Stack(checkout, variables)
    files = "compose.yaml:deploy/tls/compose.yaml"
    settings = checkout / ".env"
    settings.write_text(f"COMPOSE_FILE={files}\n")
    try:
        if stand_ins.image("gateway") == stand_ins.stand_in("gateway"):
            up = found.make("up")
            assert up.returncode != 0
            assert "COMPOSE_FILE leaves out compose.override.yaml" in up.stderr
            files = files.replace(":", ":compose.override.yaml:")
            settings.write_text(f"COMPOSE_FILE={files}\n")
        up = found.make("up")
        assert up.returncode != 0
        assert "secrets/tls_certificate is missing; put the secret there" in up.stderr
        certify(checkout / "secrets")
        up = found.make("up")
        assert up.returncode == 0, up.stderr
        assert f"The page is at https://{NAME}:{variables['TLS_PORT']}/" in up.stdout
        assert "200 {" in up.stdout
        yield found
    finally:
        remove(found.project)


def context(stack: Stack) -> ssl.SSLContext:
    """A client's that trusts the stack's certificate and no other."""
    return ssl.create_default_context(cafile=str(stack.checkout / "secrets/tls_certificate"))


def get(stack: Stack, path: str, method: str = "GET", **fields: str) -> urllib3.BaseHTTPResponse:
    """A response over verified TLS."""
    port = int(stack.variables["TLS_PORT"])
    with urllib3.HTTPSConnectionPool(
        "127.0.0.1", port, server_hostname=NAME, assert_hostname=NAME, ssl_context=context(stack)
    ) as pool:
        return pool.request(method, path, headers={"Host": f"{NAME}:{port}"} | fields)


def test_the_page_and_the_service_are_there_and_tell_browsers_to_keep_to_it(secure: Stack) -> None:
    for path in ("/", "/api/notes", "/api/nothing", "/nothing"):
        found = get(secure, path)
        assert found.headers.getlist("Strict-Transport-Security") == ["max-age=31536000"]
    made = get(secure, "/api/notes", "POST", Authorization=f"Bearer {secure.token}")
    assert made.status in (400, 415, 422)  # the token was good
    assert get(secure, "/api/notes").status == 200


def test_plain_http_is_sent_on(secure: Stack) -> None:
    host = {"Host": f"{NAME}:{secure.variables['PORT']}"}
    for method in ("GET", "POST"):
        found = secure.get("/api/notes?page=2", method=method, headers=host)
        assert found.status == 308
        where = f"https://{NAME}:{secure.variables['TLS_PORT']}/api/notes?page=2"
        assert found.headers["Location"] == where
        assert "Strict-Transport-Security" not in found.headers  # RFC 6797, 7.2
    # Not to wherever a client says.
    found = secure.get("/", headers={"Host": "evil.example"})
    assert (found.status, found.headers["Content-Type"]) == (421, "application/problem+json")


def test_a_browser_speaks_http_2_with_it(secure: Stack) -> None:
    address = f"https://{NAME}:{secure.variables['TLS_PORT']}/"
    troubles: list[str] = []

    def is_undisturbed() -> bool:
        """Load the page; whether none of Docker's networks came or went meanwhile.

        For Chromium, such a change is the end of its HTTP/2 connections. The page of that error may
        come so late that it ends the next try.
        """
        troubles.clear()
        try:
            page.goto(address, wait_until="networkidle")
        except Error as error:
            if not re.search("ERR_NETWORK_CHANGED|chrome-error:", error.message):
                raise
            return False
        return not any("ERR_NETWORK_CHANGED" in trouble for trouble in troubles)

    with browser.chromium(f"--host-resolver-rules=MAP {NAME} 127.0.0.1") as started:
        page = started.new_page(ignore_https_errors=True)  # it has no such authority
        page.on("console", lambda message: troubles.append(message.text))
        eventually(is_undisturbed, 120, "the page is loaded")
        page.get_by_role("heading", name="Paths to try").wait_for()
        protocols = page.evaluate("performance.getEntries().map(each => each.nextHopProtocol)")
        assert "h2" in protocols
        assert set(filter(None, protocols)) == {"h2"}
        assert troubles == []


@pytest.mark.parametrize(
    ("version", "spoken"),
    [
        (ssl.TLSVersion.TLSv1_3, True),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1, False),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_it_speaks_tls_1_2_and_newer(secure: Stack, version: ssl.TLSVersion, spoken: bool) -> None:
    client = context(secure)
    client.set_ciphers("ALL:@SECLEVEL=0")  # or this side would refuse
    client.minimum_version = client.maximum_version = version
    client.set_alpn_protocols(["h2", "http/1.1"])
    address = ("127.0.0.1", int(secure.variables["TLS_PORT"]))
    refused = pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION")
    with (
        contextlib.nullcontext() if spoken else refused,
        socket.create_connection(address, 10) as raw,
        client.wrap_socket(raw, server_hostname=NAME) as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"


def test_a_new_certificate_is_taken_without_a_restart(secure: Stack) -> None:
    def served() -> str:
        return ssl.get_server_certificate(("127.0.0.1", int(secure.variables["TLS_PORT"])))

    (gateway,) = secure.containers("gateway")
    certify(secure.checkout / "secrets")
    new = (secure.checkout / "secrets/tls_certificate").read_text().split()
    secure.compose("kill", "--signal=HUP", "gateway")
    # For a moment the old processes still accept connections.
    eventually(lambda: served().split() == new, 20, "the new one is served")
    assert secure.containers("gateway") == [gateway]
    assert get(secure, "/api/notes").status == 200
