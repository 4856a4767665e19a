"""The page in a real browser, from a file and from a strict server: no network, no error, usable by all."""

import dataclasses
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from flag_pipeline.catalog.gallery import render_page
from flag_pipeline.catalog.gallery_content import Gallery, pictured_files, vector_files
from flag_pipeline.catalog.rows import CatalogRow, catalog_rows
from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.layout import PICTURES, thumbnail_path, webp_path
from flag_pipeline.core.models import LastFailure
from flag_pipeline.errors import ErrorKind
from flag_pipeline.images.thumbnails import PICTURE_BOX, draw_thumbnail
from flag_pipeline_tests.e2e.browser import ARGUMENTS, chromium
from flag_pipeline_tests.records import change_of, features_by_sha256, record_of, striped

FLAG, OTHER_FLAG = striped("#de2910", "#ffde00", size=(300, 200)), striped("#0b57b7", "#ffffff")
NAME = 'Kenya <script>alert("1")</script>'

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium here"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the page of all countries and the flags.

    DE and FR failed, AQ is not found, KE is hostile, JP has a history, US is an SVG, GB's file is lost, IT has a
    further file.
    """
    rows = all_rows()
    change = change_of("JP", 7)
    contents = {row.sha256: FLAG if row.code < "M" else OTHER_FLAG for row in rows if row.file}
    contents[change.old_sha256] = OTHER_FLAG
    gallery = Gallery(rows, [change], contents, downloads={"IT": {"w80": "renditions/w80/IT.png"}})
    stored = render_page(gallery)
    stored |= {path: contents[sha256] for sha256, path in pictured_files(rows, [change]).items()}
    stored |= {row.file: contents[row.sha256] for row in rows if row.file and row.code not in {"US", "GB"}}
    stored |= {thumbnail_path(sha256): draw_thumbnail(content) for sha256, content in contents.items()}
    stored["renditions/w80/IT.png"] = FLAG
    [drawn] = vector_files(rows)
    stored[webp_path(PICTURES, drawn)] = draw_thumbnail(FLAG, PICTURE_BOX)
    site = tmp_path_factory.mktemp("site")
    for path, content in stored.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
    return site


def all_rows() -> list[CatalogRow]:
    """The catalog of the site."""
    timeout = LastFailure(ErrorKind.TIMEOUT, "timed out")
    records = {code: record_of(code, FLAG if code < "M" else OTHER_FLAG) for code in iso_codes()}
    records["DE"] = record_of("DE", last_failure=timeout)
    records["FR"] = record_of("FR", FLAG, last_failure=timeout)
    records["AQ"] = record_of("AQ", last_failure=LastFailure(ErrorKind.NOT_FOUND, "404"))
    records["KE"] = record_of("KE", FLAG, name=NAME)
    rows = catalog_rows([], records, features_by_sha256(FLAG, OTHER_FLAG))
    return [dataclasses.replace(row, file="flags/US-x.svg", format="svg") if row.code == "US" else row for row in rows]


@pytest.fixture(scope="module")
def address(site: Path) -> str:
    """The page's address as a file."""
    return (site / "catalog/index.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this module."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context
    context.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser says about a page."""
    return []


@pytest.fixture
def requests() -> list[str]:
    """The addresses that a page loads."""
    return []


@pytest.fixture
def blank(context: BrowserContext, complaints: list[str], requests: list[str]) -> Iterator[Page]:
    """An empty page; the test fails if what it opens complains."""
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    yield page
    assert complaints == []


@pytest.fixture
def page(blank: Page, address: str, site: Path, requests: list[str]) -> Iterator[Page]:
    """The page, opened from its file; it loads nothing from outside the store."""
    blank.goto(address)
    yield blank
    assert [url for url in requests if not url.startswith(site.as_uri())] == []


class StrictHandler(SimpleHTTPRequestHandler):
    """Serves files under the policy of a strict server."""

    def end_headers(self) -> None:
        """Add the headers."""
        self.send_header("Content-Security-Policy", "default-src 'self'")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def strict_server(site: Path) -> Iterator[str]:
    """The address of a server of the store."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(StrictHandler, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def shown(page: Page) -> list[str]:
    """The codes of the flags that can be seen, in order."""
    codes: list[str] = page.evaluate("[...document.querySelectorAll('#flags > li:not([hidden])')].map((one) => one.id)")
    return codes


def open_flag(page: Page, code: str) -> None:
    """Open the flag, and wait for its details."""
    page.click(f"#{code} a")
    page.wait_for_selector("dialog[open] dl")


def wait_for_address(page: Page, ending: str) -> None:
    """Wait until the page's address ends like that; it follows the fields after a moment."""
    page.wait_for_url(lambda url: url.endswith(ending))


def wait_for_focus(page: Page, code: str) -> None:
    """Wait until the country's card has the focus; the page sets it after the dialog has closed."""
    page.wait_for_function("code => document.activeElement.parentElement.id === code", arg=code)


def test_all_countries_are_shown_by_name(page: Page) -> None:
    """The page has 249 cards in English order: Afghanistan first, and Åland among the names with A."""
    codes = shown(page)

    assert len(codes) == 249
    assert codes[:3] == ["AF", "AX", "AL"]


def test_thumbnails_load_when_seen(page: Page) -> None:
    """Before scrolling, the last flags have not been loaded, but the page is as high as with them."""
    is_loaded = "(code) => document.getElementById(code).querySelector('img').complete"
    page.wait_for_function(is_loaded, arg="AF")

    height_px = page.evaluate("document.documentElement.scrollHeight")
    assert not page.evaluate(is_loaded, "ZW")

    page.locator("#ZW").scroll_into_view_if_needed()
    page.wait_for_function(is_loaded, arg="ZW")
    assert abs(page.evaluate("document.documentElement.scrollHeight") - height_px) < height_px / 10


def test_search_finds_names_and_codes(page: Page) -> None:
    """The letters fr find France and other names with them, accents are ignored, and nonsense finds nothing."""
    page.fill("#search", "fr")
    assert {"FR", "CF", "GF", "PF", "TF", "ZA"} <= set(shown(page))
    assert len(shown(page)) < 12
    for text, code in [("aland", "AX"), ("BRA", "BR"), ("nevis saint", "KN"), (".uk", "GB"), (".nz", "NZ")]:
        page.fill("#search", text)
        assert code in shown(page)
        assert len(shown(page)) < 4
    page.fill("#search", "qqq")
    assert shown(page) == []
    assert page.is_visible("#none")


def test_filter_failed_shows_just_the_failed(page: Page) -> None:
    """The filter hides countries that the source lacks, the count is right, and Clear shows all cards again."""
    page.select_option("[name=status]", "failed")
    assert shown(page) == ["FR", "DE"]
    assert page.inner_text("#count") == "2 of 249 shown"

    page.click("#clear")
    page.wait_for_function("() => document.querySelector('#count').textContent === '249 of 249 shown'")
    assert not page.is_visible("#clear")


def test_filter_by_colour_and_ratio(page: Page) -> None:
    """The filter shows the flags that have all chosen colours."""
    page.check("input[value=yellow]")
    assert "CN" in shown(page)
    assert "US" not in shown(page)
    page.check("input[value=blue]")
    assert shown(page) == []
    page.click("#clear")
    page.select_option("[name=ratio]", "3-2")
    assert len(shown(page)) == 247


def test_sorting_moves_the_cards(page: Page) -> None:
    """By code, and by a number that only the details have."""
    page.select_option("[name=sort]", "code")
    assert shown(page)[:3] == ["AD", "AE", "AF"]

    page.select_option("[name=sort]", "size")
    page.wait_for_function("() => document.querySelector('#flags > li').id !== 'AD'")
    assert shown(page)[-2:] == ["AQ", "DE"]

    page.select_option("[name=sort]", "")
    assert shown(page)[:3] == ["AF", "AX", "AL"]


def test_a_hostile_name_is_text(page: Page) -> None:
    """A name with markup is text in the card and in the details, and no script runs."""
    page.fill("#search", "<script>")
    assert shown(page) == ["KE"]

    open_flag(page, "KE")

    assert page.inner_text("#details-name") == f"{NAME} KE"


def test_details_have_the_history_and_work_by_keyboard(page: Page) -> None:
    """Enter opens the details, and Escape closes them and returns the focus."""
    page.focus("#JP a")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open] dl")

    assert page.is_visible("dialog[open] .portrait")
    assert page.locator(".history li img").count() == 1
    assert "perceptual distance 12 of 64" in page.inner_text(".history")

    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    wait_for_focus(page, "JP")


def test_arrow_keys_and_buttons_go_through_the_flags_that_are_shown(page: Page) -> None:
    """From one match of the search to the next; at both ends nothing happens."""
    page.fill("#search", "island")
    codes = shown(page)
    open_flag(page, codes[0])

    seen = []
    for key in ["ArrowLeft", "ArrowRight", "ArrowRight", "ArrowLeft"]:
        page.keyboard.press(key)
        seen.append(page.inner_text("#details-name small"))
    page.click("#next")
    seen.append(page.inner_text("#details-name small"))

    assert seen == [codes[0], codes[1], codes[2], codes[1], codes[2]]
    wait_for_address(page, f"#q=island&flag={codes[2]}")
    page.keyboard.press("Escape")
    wait_for_focus(page, codes[2])


def test_slash_goes_to_the_search(page: Page) -> None:
    """In the field, it is a letter."""
    page.keyboard.press("/")
    page.keyboard.type("a/b")

    assert page.input_value("#search") == "a/b"


def test_address_holds_what_is_shown(page: Page, address: str) -> None:
    """Search, filters, order and the opened flag are there again after a reload, and for others who get the address."""
    page.fill("#search", "fr & co")
    page.fill("#search", "fr")
    page.check("input[value=red]")
    page.check("input[value=yellow]")
    page.select_option("[name=status]", "failed")
    page.select_option("[name=sort]", "code")
    wait_for_address(page, "#q=fr&status=failed&sort=code&colour=red&colour=yellow")

    page.reload()
    assert shown(page) == ["FR"]
    assert page.input_value("#search") == "fr"

    open_flag(page, "FR")
    wait_for_address(page, "&flag=FR")
    page.reload()
    page.wait_for_selector("dialog[open] dl")
    page.go_back()
    page.wait_for_selector("dialog[open]", state="detached")
    assert shown(page) == ["FR"]

    page.goto(f"{address}#ratio=nonsense&flag=nobody&q=zw")
    assert "ZW" in shown(page)
    assert page.input_value("[name=ratio]") == ""


def test_link_past_the_controls_keeps_the_filters(page: Page) -> None:
    """It moves the focus only."""
    page.fill("#search", "island")
    wait_for_address(page, "#q=island")
    found = shown(page)

    page.focus(".skip")
    page.keyboard.press("Enter")

    wait_for_address(page, "#flags")
    assert shown(page) == found


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_copy(context: BrowserContext, blank: Page, address: str, *, has_clipboard: bool) -> None:
    """Code, emoji, file name and HTML get into the clipboard, also where pages may not write to it."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    if not has_clipboard:
        blank.add_init_script("navigator.clipboard.writeText = () => Promise.reject(new Error('forbidden'))")
    blank.goto(address)
    open_flag(blank, "KE")

    copied = []
    for label in ["Code", "Emoji", "File name", "HTML"]:
        blank.click(f"dialog button:text-is('{label}')")
        blank.wait_for_function("(text) => document.querySelector('.said').textContent.startsWith(text)", arg="Copied ")
        blank.evaluate("document.querySelector('.said').textContent = ''")
        copied.append(blank.evaluate("navigator.clipboard.readText()"))

    html = (
        '<img src="KE-x.png" width="300" height="200" '
        'alt="Flag of Kenya &#60;script&#62;alert(&#34;1&#34;)&#60;/script&#62;">'
    )
    assert copied == ["KE", "🇰🇪", "KE-x.png", html]


def natural_width_px(page: Page) -> int:
    """The width of the picture in the details, as loaded."""
    page.wait_for_function("() => document.querySelector('.portrait').complete")
    return int(page.evaluate("document.querySelector('.portrait').naturalWidth"))


def test_flag_opens_at_full_size(page: Page) -> None:
    """The link opens the file, not the thumbnail."""
    open_flag(page, "CN")

    assert natural_width_px(page) == 300
    assert page.get_attribute(".portrait", "src") == "../flags/CN-x.png"


def test_svg_is_never_shown_itself(page: Page, requests: list[str]) -> None:
    """The picture is drawn by the pipeline; the file is offered."""
    open_flag(page, "US")

    assert "pictures/" in str(page.get_attribute(".portrait", "src"))
    assert natural_width_px(page) == 300
    assert page.get_attribute("a[download]", "href") == "../flags/US-x.svg"
    assert not [url for url in requests if url.endswith(".svg") and not url.endswith("/icon.svg")]


def test_flag_without_its_file_shows_the_thumbnail(blank: Page, address: str, complaints: list[str]) -> None:
    """The folder of the page alone is enough to look at."""
    blank.goto(address)
    open_flag(blank, "GB")
    blank.wait_for_function("() => document.querySelector('.portrait').src.includes('thumbnails/')")

    assert natural_width_px(blank) == 160
    assert [text for text in complaints if "ERR_FILE_NOT_FOUND" not in text] == []
    complaints.clear()


def test_country_without_flag_has_details(page: Page) -> None:
    """The details show the reason."""
    open_flag(page, "DE")

    assert "timeout: timed out" in page.inner_text(".reason")
    assert page.locator("a[download]").count() == 0


def test_page_works_under_a_strict_policy(blank: Page, strict_server: str, requests: list[str], site: Path) -> None:
    """A server that allows only its own files; there, files are downloaded by their names."""
    blank.goto(f"{strict_server}/catalog/index.html")
    blank.check("input[value=red]")
    open_flag(blank, "IT")
    with blank.expect_download() as first:
        blank.click("a[download]:text('PNG')")
    with blank.expect_download() as second:
        blank.click("a[download]:text('w80')")

    assert first.value.suggested_filename == "IT-x.png"
    assert Path(first.value.path()).read_bytes() == (site / "flags/IT-x.png").read_bytes()
    assert second.value.suggested_filename == "IT.png"
    assert [url for url in requests if not url.startswith(strict_server)] == []


def test_list_without_scripts(browser: Browser, address: str) -> None:
    """Every flag is shown, and links to its file."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)

    assert page.locator("#flags > li").count() == 249
    assert not page.is_visible("#controls")
    assert page.is_visible("noscript")
    page.click("#CN a")
    assert page.url.endswith("/flags/CN-x.png")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [390, 1440])
def test_axe_finds_no_serious_problem(
    browser: Browser, address: str, artifacts: Path, scheme: Any, width_px: int
) -> None:
    """The page passes the accessibility checks at both widths, light and dark, and nothing is wider than the window."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    # The page's own policy would keep the checker out.
    page = browser.new_page(viewport={"width": width_px, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page.goto(address)
    page.screenshot(path=artifacts / f"gallery-{scheme}-{width_px}.png")
    page.evaluate(axe)

    closed = page.evaluate("axe.run()")
    open_flag(page, "JP")
    page.screenshot(path=artifacts / f"flag-{scheme}-{width_px}.png")
    opened = page.evaluate("axe.run()")

    problems = [each for result in (closed, opened) for each in result["violations"]]
    assert [each["id"] for each in problems if each["impact"] in {"serious", "critical"}] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()
