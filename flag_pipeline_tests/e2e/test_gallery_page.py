"""The page in a real browser, opened from a file: no network, no error, usable by all."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from flag_pipeline.catalog.gallery import Gallery, render_page
from flag_pipeline.catalog.rows import catalog_rows
from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.models import LastFailure
from flag_pipeline.errors import ErrorKind
from flag_pipeline.images.thumbnails import data_uri
from flag_pipeline_tests.e2e.browser import ARGUMENTS, chromium
from flag_pipeline_tests.records import change_of, features_by_sha256, record_of, striped

FLAG, OTHER_FLAG = striped("#de2910", "#ffde00"), striped("#0b57b7", "#ffffff")
NAME = 'Kenya <script>alert("1")</script>'

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium here"),
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all countries: DE and FR failed, AQ is not found, KE is hostile, JP has a history."""
    timeout = LastFailure(ErrorKind.TIMEOUT, "timed out")
    records = {code: record_of(code, FLAG if code < "M" else OTHER_FLAG) for code in iso_codes()}
    records["DE"] = record_of("DE", last_failure=timeout)
    records["FR"] = record_of("FR", FLAG, last_failure=timeout)
    records["AQ"] = record_of("AQ", last_failure=LastFailure(ErrorKind.NOT_FOUND, "404"))
    records["KE"] = record_of("KE", FLAG, name=NAME)
    flags = {code: uri_of(FLAG if code < "M" else OTHER_FLAG) for code, record in records.items() if record.image}
    change = change_of("JP", 7)
    gallery = Gallery(
        catalog_rows([], records, features_by_sha256(FLAG, OTHER_FLAG)),
        [change],
        flags,
        {change.old_file: uri_of(OTHER_FLAG)},
    )
    path = tmp_path_factory.mktemp("gallery") / "index.html"
    path.write_bytes(render_page(gallery))
    return path


def uri_of(flag: bytes) -> str:
    """The flag as its own thumbnail."""
    return data_uri(flag, "png")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this module."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, page_file: Path) -> Iterator[Page]:
    """The page, freshly opened; the test fails if it complains or asks for anything but itself."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    yield page
    page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [page_file.as_uri()]


def shown(page: Page) -> list[str]:
    """The codes of the flags that can be seen, in order."""
    return [str(item.get_attribute("data-code")) for item in page.locator("#flags > li:visible").all()]


def test_all_countries_are_shown_by_name(page: Page) -> None:
    """The page has 249 cards in English order: Afghanistan first, and Åland among the names with A."""
    codes = shown(page)

    assert len(codes) == 249
    assert codes[:3] == ["AF", "AX", "AL"]


def test_search_finds_names_and_codes(page: Page) -> None:
    """The letters fr find France and other names with them, accents are ignored, and nonsense finds nothing."""
    page.fill("#search", "fr")
    assert {"FR", "CF", "GF", "PF", "TF", "ZA"} <= set(shown(page))
    assert len(shown(page)) < 12
    page.fill("#search", "aland")
    assert "AX" in shown(page)
    page.fill("#search", "qqq")
    assert shown(page) == []
    assert page.is_visible("#none")


def test_filter_failed_shows_just_the_failed(page: Page) -> None:
    """The filter hides countries that the source lacks, the count is right, and Clear shows all cards again."""
    page.select_option("#status", "failed")
    assert shown(page) == ["FR", "DE"]
    assert page.inner_text("#count") == "2 of 249 shown"

    page.click("#clear")
    page.wait_for_function("document.querySelector('#count').textContent === '249 of 249 shown'")


def test_filter_by_colour_and_ratio(page: Page) -> None:
    """The filter shows the flags that have all chosen colours."""
    page.check("input[value=yellow]")
    assert "CN" in shown(page)
    assert "US" not in shown(page)
    page.check("input[value=blue]")
    assert shown(page) == []
    page.click("#clear")
    page.select_option("#ratio", "about 3:2")
    assert len(shown(page)) == 247


def test_sort_by_latest_change(page: Page) -> None:
    """Sorting moves the cards themselves."""
    page.select_option("#sort", "code")

    assert shown(page)[:3] == ["AD", "AE", "AF"]


def test_a_hostile_name_is_text(page: Page) -> None:
    """A name with markup is text in the card and in the details, and no script runs."""
    page.fill("#search", "<script>")
    assert shown(page) == ["KE"]

    page.click("li[data-code=KE] button")

    assert page.inner_text("#details-name") == f"KE {NAME}"


def test_details_have_the_history_and_work_by_keyboard(page: Page) -> None:
    """Enter opens the details, and Escape closes them and returns the focus."""
    page.focus("li[data-code=JP] button")
    page.keyboard.press("Enter")

    assert page.is_visible("dialog[open] .portrait")
    assert page.locator(".history li img").count() == 1
    assert "perceptual distance 12 of 64" in page.inner_text(".history")

    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.parentElement.dataset.code") == "JP"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [390, 1440])
def test_axe_finds_no_serious_problem(
    browser: Browser, page_file: Path, artifacts: Path, scheme: Any, width_px: int
) -> None:
    """The page passes the accessibility checks at both widths, light and dark, and nothing is wider than the window."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    # The page's own policy would keep the checker out.
    page = browser.new_page(viewport={"width": width_px, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page.goto(page_file.as_uri())
    page.screenshot(path=artifacts / f"gallery-{scheme}-{width_px}.png")
    page.evaluate(axe)

    closed = page.evaluate("axe.run()")
    page.click("li[data-code=JP] button")
    opened = page.evaluate("axe.run()")

    problems = [each for result in (closed, opened) for each in result["violations"]]
    assert [each["id"] for each in problems if each["impact"] in {"serious", "critical"}] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
