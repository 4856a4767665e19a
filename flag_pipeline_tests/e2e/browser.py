"""A real browser for tests: Debian's Chromium, driven by Playwright, without a network of its own."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Where Chromium is, None if it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def page(*, width_px: int, height_px: int, arguments: Sequence[str] = ()) -> Iterator[Page]:
    """Open a page of that size in a fresh headless browser, which gets further command line arguments."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*ARGUMENTS, *arguments])
        try:
            yield browser.new_page(viewport={"width": width_px, "height": height_px})
        finally:
            browser.close()
