"""The gateway's page in a real browser: what a person does with it, and what goes wrong.

The fixture `page_address` is the address of a running stack that has a note or more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import browser as browsers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Locator, Page, Route

    Open = Callable[..., Page]

# Names that people hear or see; `exact`, since suggestions such as `/tasks` hold "ask" as well.
PATH = "Path under /api/"
ASK = {"name": "Ask", "exact": True}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.chromium() as started:
        yield started


@pytest.fixture
def troubles() -> list[str]:
    """All that the browser complains of: script errors, CSP violations, what did not load."""
    return []


@pytest.fixture
def visit(browser: Browser, page_address: str, troubles: list[str]) -> Iterator[Open]:
    """Open the page in a window of its own, with a browser's options."""
    contexts = []

    def start(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(base_url=page_address, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
        page.goto(path)
        # The last thing that it does by itself.
        expect(page.get_by_role("heading", name="Paths to try")).to_be_visible()
        return page

    yield start
    for context in contexts:
        context.close()


def ask(page: Page, path: str) -> None:
    page.get_by_label(PATH).fill(path)
    page.get_by_role("button", **ASK).click()  # type: ignore[arg-type]


def status(page: Page) -> Locator:
    return page.get_by_role("status")


def answer(page: Page) -> Locator:
    return page.get_by_role("region", name="Body of the answer")


def answering(page: Page, path: str, **response: Any) -> None:
    """Let the API answer what the service would not."""
    page.route(f"**/api/{path}", lambda route: route.fulfill(**response))


def test_a_person_types_a_path_presses_the_button_and_sees_the_answer(
    visit: Open, page_address: str, troubles: list[str]
) -> None:
    page = visit()
    ask(page, "notes")
    expect(status(page)).to_contain_text("200 OK")
    expect(status(page)).to_contain_text("application/json")
    found = urllib3.request("GET", f"{page_address}/api/notes").json()
    assert found["notes"]
    # Formatted, as it was sent otherwise.
    assert answer(page).inner_text() == json.dumps(found, indent=2, ensure_ascii=False)
    shown = status(page).inner_text().split()
    assert int(shown[shown.index("ms") - 1]) < 10_000
    assert float(shown[shown.index("bytes") - 1]) > 0
    assert troubles == []


def test_the_browser_runs_nothing_but_the_page_s_own_files(page_address: str) -> None:
    found = urllib3.request("GET", page_address + "/")
    policy = found.headers["Content-Security-Policy"]
    allowed = dict(part.split(maxsplit=1) for part in policy.split(";") if part.strip())
    assert allowed["default-src"] == "'none'"
    assert allowed["script-src"] == allowed["style-src"] == allowed["connect-src"] == "'self'"
    assert allowed["base-uri"] == allowed["frame-ancestors"] == "'none'"


def test_the_policy_is_in_force(visit: Open, troubles: list[str]) -> None:
    """Were it not, the other tests' empty list of troubles would say nothing of it."""
    page = visit()
    # What a hole in the page would let in: by the page's own hand, not by the test's.
    with page.expect_console_message(lambda said: "Content Security Policy" in said.text):
        page.get_by_role("main").evaluate("main => { main.innerHTML += '<img src=x onerror=x()>' }")
    assert [text for text in troubles if "Content Security Policy" in text]


def test_the_keyboard_alone_will_do(visit: Open, troubles: list[str]) -> None:
    page = visit()
    expect(page.get_by_label(PATH)).to_be_focused()
    page.keyboard.type("health")
    page.keyboard.press("Enter")
    expect(answer(page)).to_contain_text('"status"')
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", **ASK)).to_be_focused()  # type: ignore[arg-type]
    style = page.locator(":focus").evaluate("element => getComputedStyle(element).outlineStyle")
    assert style == "solid"
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text("200 OK")
    # On by way of the suggestions, which are in between, to the answer: it is scrolled with keys.
    for _ in range(page.get_by_role("list").get_by_role("button").count()):
        page.keyboard.press("Tab")
        expect(page.get_by_role("list").locator(":focus")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(answer(page)).to_be_focused()
    assert troubles == []


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_axe_finds_no_barrier(visit: Open, colours: str, width: int) -> None:
    page = visit(color_scheme=colours, viewport={"width": width, "height": 640})
    for path, expected in (
        (None, "Nothing asked yet"),
        ("openapi.json", "200 OK"),
        ("no-such-path", "404 NOT FOUND"),
        ("../style.css", "Not asked"),
    ):
        if path is not None:
            ask(page, path)
        expect(status(page)).to_contain_text(expected, ignore_case=True)
        found = Axe().run(page)
        assert found.response["passes"]
        assert found.violations_count == 0, found.generate_report()
        # What it can't decide, such as the contrast over a picture, a person would have to.
        assert found.response["incomplete"] == []
        # Nothing sticks out: nobody has to scroll in two directions.
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_content_stays_text(visit: Open, troubles: list[str]) -> None:
    page = visit()
    # The service itself gives back what it was sent.
    ask(page, "hello/<img src=x onerror=alert(1)>")
    expect(answer(page)).to_contain_text("Hello, <img src=x onerror=alert(1)>!")
    markup = "<!doctype html><script>alert(1)</script><b onclick=alert(1)>x</b>"
    answering(page, "page", body=markup, content_type="text/html")
    ask(page, "page")
    expect(status(page)).to_contain_text("text/html")
    assert answer(page).inner_text() == markup
    answering(page, "type", body="x", content_type="<img/src=x>")
    ask(page, "type")
    expect(status(page)).to_contain_text("<img/src=x>")
    assert page.locator("img, script:not([src]), b").count() == 0
    assert troubles == []


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("notes", "/api/notes"),
        ("", "/api/"),
        ("  //notes ", "/api/notes"),
        ("/api/notes?page=2", "/api/notes?page=2"),
        ("hello/é b#c", "/api/hello/%C3%A9%20b"),
        ("hello/../notes", "/api/notes"),
        ("http://127.0.0.2/x", "/api/http://127.0.0.2/x"),
        (r"\\127.0.0.2\x", "/api/127.0.0.2/x"),
        ("javascript:alert(1)", "/api/javascript:alert(1)"),
        ("../metrics", None),
        ("hello/../../metrics", None),
        (r"..\metrics", None),
        ("%2e%2e/metrics", None),
        ("..%2fmetrics", None),
        ("x/%2E./..%5Cmetrics", None),
        ("/api/../metrics", None),
    ],
)
def test_no_path_leads_out_of_the_api(
    visit: Open, page_address: str, typed: str, asked: str | None
) -> None:
    page = visit()
    requests: list[str] = []

    def note(route: Route) -> None:
        if route.request.resource_type == "fetch":  # and not the icon, which comes when it will
            requests.append(route.request.url)
        route.fulfill(body="here")

    page.route(lambda _: True, note)
    ask(page, typed)
    expect(status(page)).to_contain_text("Not asked" if asked is None else "200")
    assert requests == ([] if asked is None else [page_address + asked])
    invalid = page.get_by_label(PATH).get_attribute("aria-invalid")
    assert invalid == ("true" if asked is None else "false")


def test_an_error_of_the_service_is_shown_as_any_answer(visit: Open) -> None:
    page = visit()
    ask(page, "no-such-path")
    expect(status(page)).to_contain_text("404 NOT FOUND", ignore_case=True)
    assert json.loads(answer(page).inner_text())["status"] == 404


def test_a_server_that_is_gone_is_shown_and_so_is_its_return(visit: Open) -> None:
    page = visit()
    ask(page, "notes")
    expect(answer(page)).to_be_visible()
    page.context.set_offline(True)
    ask(page, "notes")
    expect(status(page)).to_have_text(
        "No answer The server can't be reached, or the connection broke."
    )
    expect(answer(page)).to_be_hidden()
    page.context.set_offline(False)
    ask(page, "notes")
    expect(status(page)).to_contain_text("200 OK")


def test_an_answer_that_does_not_come_is_a_timeout(visit: Open) -> None:
    page = visit()
    page.clock.install()
    page.route("**/api/notes", lambda _: None)
    ask(page, "notes")
    expect(status(page)).to_contain_text("Asking for /api/notes")
    page.clock.fast_forward(29_000)
    expect(status(page)).to_contain_text("Asking for /api/notes")
    page.clock.fast_forward(2_000)
    expect(status(page)).to_contain_text("No answer in time")


def test_it_asks_once_at_a_time_and_keeps_the_focus(visit: Open) -> None:
    page = visit()
    waiting: list[Route] = []
    page.route("**/api/notes", lambda route: waiting.append(route))
    ask(page, "notes")
    button = page.get_by_role("button", **ASK)  # type: ignore[arg-type]
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(page.locator("form")).to_have_attribute("aria-busy", "true")
    button.press("Enter")
    page.get_by_label(PATH).press("Enter")
    button.focus()
    assert len(waiting) == 1
    waiting[0].fulfill(body="done")
    expect(answer(page)).to_have_text("done")
    expect(button).to_have_attribute("aria-disabled", "false")
    expect(page.locator("form")).to_have_attribute("aria-busy", "false")
    expect(button).to_be_focused()


@pytest.mark.parametrize(
    ("body", "content_type", "shown", "remark"),
    [
        ("{oops", "application/json", "{oops", "application/json, but not valid JSON"),
        ("a\tb\n", "text/plain; charset=utf-8", "a\tb\n", "text/plain"),
        ('{"x":1}', "application/problem+json", '{\n  "x": 1\n}', "application/problem+json"),
        # A number in JavaScript has 53 bits.
        (
            "[12345678901234567890,1.0]",
            "application/json",
            "[\n  12345678901234567890,\n  1.0\n]",
            "",
        ),
    ],
)
def test_json_is_formatted_and_all_else_is_left_alone(
    visit: Open, body: str, content_type: str, shown: str, remark: str
) -> None:
    page = visit()
    answering(page, "x", body=body, content_type=content_type)
    ask(page, "x")
    expect(status(page)).to_contain_text(remark or content_type)
    assert answer(page).text_content() == shown


def test_a_very_long_answer_is_cut(visit: Open) -> None:
    page = visit()
    answering(page, "x", body="x" * 3_000_000, content_type="text/plain")
    ask(page, "x")
    expect(status(page)).to_contain_text("3000.0 kB")
    text = answer(page).text_content() or ""
    assert text.endswith("x\n... (cut after 200000 characters)")
    assert len(text) < 201_000


def test_a_redirect_is_not_followed(visit: Open) -> None:
    page = visit()
    answering(page, "x", status=302, headers={"Location": "/style.css"})
    ask(page, "x")
    expect(status(page)).to_contain_text("A redirect")
    expect(answer(page)).to_be_hidden()


def test_a_suggestion_asks_or_lets_its_part_be_filled_in(
    visit: Open, page_address: str, troubles: list[str]
) -> None:
    page = visit()
    offered = page.get_by_role("list").get_by_role("button").all_inner_texts()
    listed = urllib3.request("GET", f"{page_address}/api/").json()["paths"]
    assert offered == [path for path in listed if path not in ("/livez", "/readyz")]
    page.get_by_role("button", name="/health", exact=True).click()
    expect(answer(page)).to_contain_text('"status"')
    page.get_by_role("button", name="/hello/{name}").click()
    expect(page.get_by_label(PATH)).to_have_value("hello/{name}")
    page.keyboard.type("you")
    page.keyboard.press("Enter")
    expect(answer(page)).to_contain_text("Hello, you!")
    assert troubles == []


def test_an_address_with_a_path_asks_for_it(visit: Open, troubles: list[str]) -> None:
    page = visit("/#health")
    expect(answer(page)).to_contain_text('"status"')
    expect(page.get_by_label(PATH)).to_have_value("health")
    page.evaluate("location.hash = 'hello/you'")
    expect(answer(page)).to_contain_text("Hello, you!")
    ask(page, "about")
    expect(answer(page)).to_contain_text("python_version")
    assert page.url.endswith("/#about")
    assert troubles == []
