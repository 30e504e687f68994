"""Get a Chromium, for the page's tests and for its picture in the docs.

As a script: take docs/page.png from the stack that is running at http://localhost:$PORT.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
from typing import TYPE_CHECKING

from playwright.sync_api import Error, sync_playwright

from common import ROOT, announce, apt_get, die, entry, may_install, output, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

PICTURE = ROOT / "docs" / "page.png"
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
    say(f"wrote {PICTURE.relative_to(ROOT)}, {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    with entry():
        main()
