"""Who the client is and what it asked for, behind proxies that are trusted or not."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from flask import url_for

from drydock.middleware import TrustedProxies

if TYPE_CHECKING:
    from applications import Build

NETWORKS = (ip_network("10.0.0.0/8"), ip_network("192.0.2.7/32"), ip_network("fd00::/8"))


def seen(peer: str | None, scheme: str = "http", **headers: str) -> dict[str, Any]:
    """What the application sees of a request that came from `peer`, or from nobody knows where."""
    return passed(peer, scheme, headers, use_host=True)


def passed(
    peer: str | None, scheme: str, headers: dict[str, str], *, use_host: bool
) -> dict[str, Any]:
    environ = {"wsgi.url_scheme": scheme, "HTTP_HOST": "inside"}
    if peer is not None:
        environ["REMOTE_ADDR"] = peer
    environ |= {f"HTTP_X_FORWARDED_{name.upper()}": value for name, value in headers.items()}
    proxies = TrustedProxies(lambda *_: [b"served"], NETWORKS, use_host=use_host)
    response = proxies(environ, lambda *_: lambda _: None)
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


def test_a_host_that_nothing_checks_is_ignored() -> None:
    """A proxy that sets none passes the client's on."""
    headers = {"proto": "https", "host": "evil.example"}
    environ = passed("10.1.2.3", "http", headers, use_host=False)
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTP_HOST"] == "inside"


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


def where(build: Build, forwarded: str, host: str = "inside.example", **settings: Any) -> str:
    """The address that the application has in a link, or the status of its error."""
    app = build(trusted_proxies=(ip_network("127.0.0.1"),), **settings)

    @app.get("/link")
    def link() -> str:
        return url_for("link", _external=True)

    headers = {"Host": host, "X-Forwarded-Host": forwarded}
    response = app.test_client().get("/link", headers=headers)
    if response.status_code == 200:
        return response.get_data(as_text=True)
    assert response.content_type == "application/problem+json"
    return str(response.status_code)


def test_a_forwarded_host_is_used_only_where_it_can_be_checked(build: Build) -> None:
    assert where(build, "evil.example") == "http://inside.example/link"
    assert where(build, "shop.example", trusted_hosts=("shop.example",)) == (
        "http://shop.example/link"
    )
    assert where(build, "evil.example", trusted_hosts=("shop.example",)) == "400"
    # One that is not used does not make up for the one that is.
    assert where(build, "evil.example", "shop.example", trusted_hosts=("shop.example",)) == "400"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("shop.example", 200), ("SHOP.example:8443", 200), ("a.b.cluster.example", 200)),
        *(("[2001:db8::1]:80", 200), ("192.0.2.1", 200), ("cluster.example", 200)),
        *(("evil.example", 400), ("shop.example.evil.example", 400), ("x.shop.example", 400)),
        *(("xcluster.example", 400), ("shop.example@evil.example", 400), ("", 400)),
        *(("shop.example/", 400), ("shop.example:x", 400), ("10.0.0.9:5000", 400)),
        *(("[2001:db8::2]", 400), ("localhost", 400), ("my_app:5000", 200), ("my_app5000", 400)),
        *(("[2001:DB8::1]", 200), ("2001:db8::1", 400), (":80", 400)),
    ],
)
def test_requests_may_name_the_hosts_of_the_list_alone(
    build: Build, host: str, status: int
) -> None:
    hosts = ("shop.example", ".cluster.example", "[2001:db8::1]", "192.0.2.1", "my_app")
    client = build(trusted_hosts=hosts).test_client()
    for path, expected in (("/", status), ("/nope", 404 if status == 200 else 400)):
        response = client.get(path, headers={"Host": host})
        assert response.status_code == expected
        if expected == 400:
            assert (
                response.get_json(force=True)["detail"] == "This service does not serve the host."
            )
            assert response.headers["X-Request-ID"]
    # Whoever asks for these has but an address, or none that counts.
    for probe in ("/livez", "/readyz"):
        assert client.get(probe, headers={"Host": host}).status_code == 200


def test_without_a_list_any_host_will_do(build: Build) -> None:
    assert build().test_client().get("/", headers={"Host": "any.example"}).status_code == 200


def test_the_metrics_are_for_whoever_reaches_their_port(build: Build) -> None:
    app = build(trusted_hosts=("shop.example",), metrics_port=9464)
    at = {"SERVER_PORT": "9464", "HTTP_HOST": "10.0.0.9:9464"}
    assert app.test_client().get("/metrics", environ_overrides=at).status_code == 200
