"""Who and what gets from the gateway to the service: names, proxies, fields, interfaces.

Without the rest of the stack: behind the gateway is a server that says what arrived.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest
import requests
import urllib3

import browser
from checkouts import environment
from containers import docker, eventually, free_port, inspect, unique
from processes import running
from stacks import Stack, copy, remove

if TYPE_CHECKING:
    from collections.abc import Iterator

    Fields = list[list[str]]

# Responds with the fields that it got, or with a redirect where the query says so.
ECHO = """
import http.server, json, sys, urllib.parse
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        to = urllib.parse.parse_qs(self.path.partition("?")[2]).get("to")
        self.send_response(302 if to else 200)
        if to:
            self.send_header("Location", to[0])
        body = json.dumps(self.headers.items()).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Echo).serve_forever()
"""
ASK = """
import json, sys, urllib.request
request = urllib.request.Request("http://gateway:8080/api/", headers=json.loads(sys.argv[1]))
print(urllib.request.urlopen(request).read().decode())
"""

# What proxies and frameworks are known to use, and would believe of a client.
FORGED = (
    *("Forwarded", "Proxy", "Remote-User", "Remote-Email", "Remote-Groups", "True-Client-IP"),
    *("X-Auth-Request-User", "X-Auth-Request-Email", "X-Client-IP", "X-Cluster-Client-IP"),
    *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"),
    *("X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-User", "X-Forwarded-Anything"),
    *("X-Original-URL", "X-Original-Host", "X-Real-IP", "X-Remote-User", "X-Rewrite-URL"),
    *("X-Script-Name", "X-Scheme", "X-HTTP-Method-Override", "Front-End-Https", "X-Unheard-Of"),
    *("CF-Connecting-IP", "Fastly-Client-IP", "X-Azure-ClientIP", "X-Envoy-External-Address"),
)
OWN = {"Host", "Connection", "X-Request-ID", *FORGED[10:13]}
# What clients of APIs send, as documented by their standards, beside what the tools below add.
USUAL = {
    "Accept": "application/json",
    "Accept-Language": "de",
    "Authorization": "Bearer x",
    "Baggage": "a=b",
    "Cache-Control": "no-cache",
    "Content-Digest": "sha-256=:x:",
    "Content-Encoding": "identity",
    "Content-Language": "en",
    "Content-Range": "bytes 0-1/2",
    "Cookie": "a=b; c=d",
    "Idempotency-Key": "1",
    "If-Match": '"x"',
    "If-Modified-Since": "Sat, 28 Nov 2026 18:00:00 GMT",
    "If-None-Match": '"x", "y"',
    "If-Range": '"x"',
    "If-Unmodified-Since": "Sat, 28 Nov 2026 18:00:00 GMT",
    "Origin": "https://page.example",
    "Pragma": "no-cache",
    "Prefer": "return=minimal",
    "Range": "bytes=0-1",
    "Referer": "https://page.example/",
    "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "Tracestate": "a=b",
    "X-Requested-With": "XMLHttpRequest",
}
# What browsers add, and no API needs; and what is about one connection.
WITHHELD = {
    *("connection", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"),
    "upgrade-insecure-requests",
}


@pytest.fixture(scope="module")
def entrance(named_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway, and behind it the server that says what arrived."""
    checkout = copy(tmp_path_factory.mktemp("entrance") / "checkout")
    variables = {
        "COMPOSE_PROJECT_NAME": unique("stack"),
        "PORT": str(free_port()),
        "IMAGE": named_image,
        "IMAGE_AS_IS": "1",
    }
    found = Stack(checkout, variables)
    name = unique("echo")
    try:
        subprocess.run(
            [sys.executable, "-c", "import stack; stack.prepare()"],
            cwd=checkout / "scripts",
            env=environment(**variables),
            check=True,
        )
        configure(found)
        network = ("--network", f"{found.project}_front", "--network-alias", "app")
        command = ("--entrypoint", "python3", named_image, "-c", ECHO, "5000")
        docker("run", "--detach", "--name", name, *network, *command)
        eventually(lambda: found.get("/api/").status == 200, 20, "the echo responds")
        variables["ECHO"] = name
        yield found
    finally:
        docker("rm", "--force", "--volumes", name, check=False)
        remove(found.project)


def configure(stack: Stack, **variables: str) -> None:
    """Have the gateway run with these variables, and with no other."""
    options = ("--detach", "--no-build", "--no-deps", "--wait")
    stack.compose("up", *options, "gateway", **variables)


def arrived(stack: Stack, **fields: str) -> dict[str, str]:
    """The fields that the service gets of a request with these."""
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    return dict(stack.get("/api/", headers=given).json())


def test_no_field_arrives_that_is_not_listed(entrance: Stack) -> None:
    configure(entrance)
    given = dict.fromkeys(FORGED, "forged") | {"X-Request-ID": "kept"}
    got: Fields = entrance.get("/api/", headers=given).json()
    assert "forged" not in json.dumps(got)
    assert {name for name, _ in got} - OWN <= {"Accept-Encoding", "User-Agent"}
    assert dict(got)["X-Request-ID"] == "kept"


def test_a_fork_s_own_fields_arrive(entrance: Stack) -> None:
    configure(entrance, GATEWAY_HEADERS="Stripe-Signature, X-Api-Key")
    got = arrived(entrance, Stripe_Signature="t=1", x_api_key="y", X_Other="z")
    assert got["Stripe-Signature"] == "t=1"
    assert got["X-Api-Key"] == "y"
    assert "X-Other" not in got


def with_http_client(address: str) -> Fields:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", "/api/", "x=y")
        found: Fields = json.load(connection.getresponse())
        return found


def with_urllib3(address: str) -> Fields:
    found: Fields = urllib3.request("POST", f"{address}/api/", json={}, headers=USUAL).json()
    return found


def with_requests(address: str) -> Fields:
    session = requests.Session()
    session.auth = ("user", "password")
    session.cookies.set("a", "b", domain="127.0.0.1")
    found: Fields = session.post(f"{address}/api/", json={}, timeout=10).json()
    return found


def with_chromium(address: str) -> Fields:
    """Both of a navigation and of a script's request."""
    script = """fetch("/api/x", {method: "POST", body: "{}", headers: {
        "Authorization": "Bearer x", "Content-Type": "application/json", "If-None-Match": '"x"'}})
        .then(response => response.json())"""
    with browser.chromium() as started:
        page = started.new_page()
        response = page.goto(f"{address}/api/")
        assert response
        found: Fields = response.json() + page.evaluate(script)
        return found


@pytest.mark.parametrize("client", [with_http_client, with_urllib3, with_requests, with_chromium])
def test_what_real_clients_send_arrives(entrance: Stack, client: Any) -> None:
    configure(entrance)
    port = free_port()
    with running([sys.executable, "-c", ECHO, str(port)]):
        direct = f"http://127.0.0.1:{port}"
        retries = urllib3.Retry(20, backoff_factor=0.1, backoff_max=1)  # until it listens
        urllib3.request("GET", direct, retries=retries)
        sent = client(direct)
    got = {(name.lower(), value) for name, value in client(entrance.address)}
    for name, value in sent:
        moved = value.replace(direct, entrance.address).replace(
            str(port), entrance.variables["PORT"]
        )
        assert name.lower() in WITHHELD or (name.lower(), moved) in got, (name, value)


def test_it_answers_for_its_names_and_no_other(entrance: Stack) -> None:
    port = int(entrance.variables["PORT"])

    def response(host: str, path: str = "/api/", version: str = "1.1") -> tuple[int, str]:
        """The status, and the Host that arrived at the service."""
        head = f"GET {path} HTTP/{version}\r\n{host}Connection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(head.encode())
            head, _, body = client.makefile("rb").read().decode().partition("\r\n\r\n")
        status = int(head.split()[1])
        found: Any = json.loads(body) if path != "/" or status != 200 else []
        if status == 421:
            assert "Content-Type: application/problem+json" in head
            assert found["title"] == "Misdirected Request"
            return status, ""
        return status, dict(found).get("Host", "")

    configure(entrance)
    assert response("Host: any.example\r\n") == (200, "any.example")
    assert response("", version="1.0")[0] == 200
    configure(entrance, GATEWAY_NAMES="api.example, *.example.org")
    for name in ("api.example", "API.example:8080", "a.b.example.org", "api.example:443"):
        assert response(f"Host: {name}\r\n") == (200, name)
        assert response(f"Host: {name}\r\n", "/")[0] == 200
    for name in ("127.0.0.1", "localhost", "xapi.example", "example.org", "api.example.evil"):
        assert response(f"Host: {name}\r\n")[0] == 421
        assert response(f"Host: {name}\r\n", "/")[0] == 421
    assert response("", version="1.0")[0] == 421
    # RFC 9112, 3.2.2: the request line's name counts, whatever the field says.
    assert response("Host: evil\r\n", "http://api.example/api/") == (200, "api.example")
    assert response("Host: api.example\r\n", "http://evil/api/")[0] == 421


def test_only_a_trusted_proxy_says_who_the_client_is_and_what_its_scheme(entrance: Stack) -> None:
    forwarded = {
        "X_Forwarded_For": "203.0.113.7, 198.51.100.1, 192.0.2.9",
        "X_Forwarded_Proto": "https",
    }
    configure(entrance)
    plain = arrived(entrance, **forwarded)
    assert plain["X-Forwarded-Proto"] == "http"
    proxy = plain["X-Forwarded-For"]
    assert proxy not in forwarded["X_Forwarded_For"]
    configure(entrance, GATEWAY_TRUSTED_PROXIES=f"{proxy},192.0.2.0/24 2001:db8::/32")
    got = arrived(entrance, **forwarded)
    # The last that no trusted proxy has.
    assert (got["X-Forwarded-For"], got["X-Forwarded-Proto"]) == ("198.51.100.1", "https")
    (gateway,) = entrance.containers("gateway")
    eventually(lambda: '"client":"198.51.100.1"' in docker("logs", gateway).stdout, 10, "a line")
    assert arrived(entrance, X_Forwarded_Proto="javascript")["X-Forwarded-Proto"] == "http"
    # Any other peer.
    given = {name.replace("_", "-"): value for name, value in forwarded.items()}
    ask = ("exec", entrance.variables["ECHO"], "python3", "-c", ASK, json.dumps(given))
    other = dict(json.loads(docker(*ask).stdout))
    assert other["X-Forwarded-Proto"] == "http"
    assert other["X-Forwarded-For"] not in (proxy, *forwarded["X_Forwarded_For"].split(", "))


def test_only_the_service_s_own_locations_move_below_api(entrance: Stack) -> None:
    configure(entrance)
    own = entrance.address
    for given, seen in (
        ("/notes/1?x=/y", "/api/notes/1?x=/y"),
        ("/", "/api/"),
        (f"{own}/notes/1", "/api/notes/1"),
        ("https://accounts.example/login", "https://accounts.example/login"),
        (f"{own}.example/login", f"{own}.example/login"),
        ("//accounts.example/login", "//accounts.example/login"),
        ("2", "2"),
    ):
        found = entrance.get(f"/api/?{urllib.parse.urlencode({'to': given})}")
        assert found.headers["Location"] == seen


def test_a_body_may_be_as_large_as_the_service_takes_it(entrance: Stack) -> None:
    def status(size: int) -> int:
        headers = {"Content-Type": "application/octet-stream"}
        return entrance.get("/api/", method="POST", body=b"x" * size, headers=headers).status

    configure(entrance)
    assert [status(1_048_576), status(1_048_577)] == [200, 413]
    configure(entrance, MAX_BODY_BYTES="3000000")
    assert [status(3_000_000), status(3_000_001)] == [200, 413]


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("MAX_BODY_BYTES", "3MB", "3MB: expected a whole number of bytes"),
        ("GATEWAY_NAMES", "api.example,a_b;", "a_b;: expected a name such as"),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8 proxy", "proxy: expected an address or network"),
        ("GATEWAY_HEADERS", "X_Api_Key", "X_Api_Key: expected a field's name"),
        ("GATEWAY_HEADERS", "X-Forwarded-User", "X-Forwarded-User: expected a field that"),
    ],
)
def test_a_variable_with_a_mistake_is_one_clear_line(
    entrance: Stack, variable: str, value: str, word: str
) -> None:
    with pytest.raises(AssertionError, match=f"error: {variable}: {word}"):
        entrance.compose("run", "--rm", "--no-deps", "gateway", **{variable: value})


def test_it_is_published_on_this_machine_alone_unless_told_otherwise(entrance: Stack) -> None:
    def published() -> set[str]:
        (gateway,) = entrance.containers("gateway")
        ports = inspect(gateway)["NetworkSettings"]["Ports"]
        return {each["HostIp"] for listed in ports.values() for each in listed or []}

    other = f"http://127.0.0.2:{entrance.variables['PORT']}/"
    configure(entrance)
    assert published() == {"127.0.0.1"}
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", other, retries=False, timeout=5)
    configure(entrance, BIND="0.0.0.0")
    assert published() == {"0.0.0.0"}
    assert urllib3.request("GET", other, retries=False, timeout=5).status == 200
