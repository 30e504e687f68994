from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest

from drydock.middleware import TrustedProxies

if TYPE_CHECKING:
    from applications import Build

NETWORKS = (ip_network("10.0.0.0/8"), ip_network("192.0.2.7/32"), ip_network("fd00::/8"))


def seen(peer: str | None, scheme: str = "http", **headers: str) -> dict[str, Any]:
    """What the application sees of a request that came from `peer`, or from nobody knows where."""
    environ = {"wsgi.url_scheme": scheme, "HTTP_HOST": "inside"}
    if peer is not None:
        environ["REMOTE_ADDR"] = peer
    environ |= {f"HTTP_X_FORWARDED_{name.upper()}": value for name, value in headers.items()}
    response = TrustedProxies(lambda *_: [b"served"], NETWORKS)(environ, lambda *_: lambda _: None)
    assert response == [b"served"]
    return environ


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("192.0.2.7", "198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        # What the client itself has put to the left does not count.
        ("10.1.2.3", "127.0.0.1, 198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1, 10.9.9.9, 10.8.8.8", "198.51.100.1"),
        ("10.1.2.3", "10.9.9.9", "10.9.9.9"),
        ("10.1.2.3", "nonsense", "10.1.2.3"),
        ("10.1.2.3", "nonsense, 10.9.9.9", "10.9.9.9"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "198.51.100.1, ::ffff:10.0.0.1", "198.51.100.1"),
        ("::ffff:10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1:555", "198.51.100.1"),
        ("10.1.2.3", "[2001:db8::1]:555", "2001:db8::1"),
        ("10.1.2.3", "198.51.100.1:x", "10.1.2.3"),
        ("10.1.2.3", "[2001:db8::1]", "2001:db8::1"),
        ("10.1.2.3", "[2001:db8::1]:x", "10.1.2.3"),
        ("10.1.2.3", "[198.51.100.1", "10.1.2.3"),
        ("10.1.2.3", "198.51.100.1:", "10.1.2.3"),
        ("10.1.2.3", "198.51.100.1:55555", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1:5x", "10.1.2.3"),
        ("10.1.2.3", "198.51.100.1]", "10.1.2.3"),
        ("10.1.2.3", "[2001:db8::1]:55555", "2001:db8::1"),
        ("10.1.2.3", "[2001:db8::1]555", "10.1.2.3"),
        ("10.1.2.3", "[2001:db8::1]:5:6", "10.1.2.3"),
        ("10.1.2.3", "[2001:db8::1]:", "10.1.2.3"),
        ("10.1.2.3", "[2001:db8::1]]", "10.1.2.3"),
        ("10.1.2.3", "[[2001:db8::1]", "10.1.2.3"),
        ("10.1.2.3", "2001:db8::1]", "10.1.2.3"),
        ("10.1.2.3", "x[2001:db8::1]", "10.1.2.3"),
        ("10.1.2.3", "[]", "10.1.2.3"),
        ("10.1.2.3", ":555", "10.1.2.3"),
        ("10.1.2.3", "198.51.100.1\n", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1\n198.51.100.2", "10.1.2.3"),
        # Others are not believed.
        ("198.51.100.9", "127.0.0.1", "198.51.100.9"),
        ("192.0.2.8", "127.0.0.1", "192.0.2.8"),
        ("", "127.0.0.1", ""),
    ],
)
def test_the_client_is_the_rightmost_that_is_no_trusted_proxy(
    peer: str, forwarded: str, client: str
) -> None:
    assert seen(peer, **{"for": forwarded})["REMOTE_ADDR"] == client


def test_scheme_and_host_are_the_last_proxy_s() -> None:
    environ = seen("10.1.2.3", proto="evil, https", host="evil, shop.example")
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTP_HOST"] == "shop.example"


@pytest.mark.parametrize(("inside", "outside"), [("http", "https"), ("https", "http")])
def test_one_proxy_s_scheme_and_host_count(inside: str, outside: str) -> None:
    environ = seen("10.1.2.3", inside, proto=outside, host="shop.example:8443")
    assert environ["wsgi.url_scheme"] == outside
    assert environ["HTTP_HOST"] == "shop.example:8443"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proto", ["javascript", "", "https,", "https, ", "HTTPS", "httpsx"])
def test_another_scheme_is_ignored(scheme: str, proto: str) -> None:
    assert seen("10.1.2.3", scheme, proto=proto)["wsgi.url_scheme"] == scheme


def test_what_a_proxy_does_not_say_stays() -> None:
    expected = {"REMOTE_ADDR": "10.1.2.3", "wsgi.url_scheme": "http", "HTTP_HOST": "inside"}
    assert seen("10.1.2.3") == expected
    assert seen("10.1.2.3", host="", proto="")["HTTP_HOST"] == "inside"


def test_without_an_address_nobody_is_trusted() -> None:
    """As behind a socket of the file system."""
    forwarded = {"for": "198.51.100.1", "proto": "https", "host": "evil"}
    environ = seen(None, **forwarded)
    assert "REMOTE_ADDR" not in environ
    assert (environ["wsgi.url_scheme"], environ["HTTP_HOST"]) == ("http", "inside")


def test_nobody_s_scheme_and_host_are_ignored() -> None:
    environ = seen("198.51.100.9", proto="https", host="evil")
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["HTTP_HOST"] == "inside"


@pytest.mark.parametrize(("trusted", "called"), [((), False), ((ip_network("127.0.0.1"),), True)])
def test_by_default_nobody_is_trusted(build: Build, trusted: tuple[Any, ...], called: bool) -> None:
    app = build(trusted_proxies=trusted, metrics_port=0)
    assert isinstance(app.wsgi_app, TrustedProxies) == called
    assert app.test_client().get("/livez").status_code == 200
