"""Get a Chromium, for the page's tests and for its picture in the docs.

As a script: take docs/page.png from the stack that is running at http://localhost:$PORT and, where
`make observe` runs as well, docs/monitoring.png from its Prometheus.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import urllib.parse
from typing import TYPE_CHECKING

from playwright.sync_api import Error, sync_playwright

from common import ROOT, announce, apt_get, die, entry, may_install, output, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

PICTURE = ROOT / "docs" / "page.png"
GRAPH = ROOT / "docs" / "monitoring.png"
QUERY = 'sum by (status) (rate(http_requests_total{job="app",route!~"/livez|/readyz"}[30s]))'
# Ubuntu's chromium is a snap, which needs systemd; Chrome is what its CI machines have.
NAMES = ("chromium", "google-chrome")


def executable() -> str:
    """Return the path of a Chromium, installed from Debian's archive where there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    if not may_install():
        die("the page's tests need a browser, and there is none; install chromium, as root")
    announce("chromium", "the page's tests need a browser, and there is none")
    if output("apt-cache", "show", "chromium") is None:
        apt_get("reading the package lists", "update")
    # It only recommends a font, and without one would draw no text.
    apt_get("installing chromium", "install", "chromium", "fonts-liberation")
    return shutil.which("chromium") or die("chromium is installed, but not on the PATH")


@contextlib.contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """A headless Chromium that uses no proxy: the page is on this machine.

    `options` are further ones of its command line.
    """
    path = executable()
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=path,
                # Only root can't use the sandbox.
                chromium_sandbox=os.geteuid() != 0,
                args=["--no-proxy-server", *options],
            )
        except Error as error:
            # The distribution's browser may be too new for the locked playwright.
            die(
                f"playwright {importlib.metadata.version('playwright')} can't drive {path}"
                f" ({output(path, '--version')}); `make upgrade PACKAGE=playwright` may help: "
                f"{error.message.splitlines()[0]}"
            )
        try:
            yield browser
        finally:
            browser.close()


def main() -> None:
    """Take the picture."""
    address = f"http://localhost:{os.environ.get('PORT') or 8080}/"
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 820, "height": 600})
        try:
            page.goto(address)
            page.get_by_label("Path under").fill("blogs")
            page.get_by_role("button", name="Ask", exact=True).click()
            page.get_by_role("status").get_by_text("200").wait_for(timeout=5000)
        except Error as error:
            die(f"{address} does not show blogs; `make up`? {error.message.splitlines()[0]}")
        page.screenshot(path=PICTURE, full_page=True)
        pictures = [PICTURE, *([GRAPH] if take_graph(browser) else [])]
    for picture in pictures:
        say(f"wrote {picture.relative_to(ROOT)}, {picture.stat().st_size / 1000:.0f} kB")


def take_graph(browser: Browser) -> bool:
    """Take Prometheus' own graph of the last minutes; False if it does not run."""
    address = f"http://localhost:{os.environ.get('PROMETHEUS_PORT') or 9090}"
    fields = {"g0.expr": QUERY, "g0.tab": "0", "g0.range_input": "5m", "g0.stacked": "1"}
    query = f"graph?{urllib.parse.urlencode(fields)}"
    page = browser.new_page(viewport={"width": 1000, "height": 760})
    try:
        # Debian's package has an older page, under a name of its own.
        found = page.goto(f"{address}/classic/{query}")
        if found is None or not found.ok:
            page.goto(f"{address}/{query}")
    except Error:
        return False
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(2000)  # the lines are drawn after that
    page.screenshot(path=GRAPH, full_page=True)
    return True


if __name__ == "__main__":
    with entry():
        main()
