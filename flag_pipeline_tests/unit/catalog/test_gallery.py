"""The page and the pictures: everything escaped, everything marked, small, and the same bytes twice."""

import dataclasses
import io
import json
import re
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flag_pipeline.catalog.contact_sheet import MAX_FLAGS, render_contact_sheet, render_mosaic, sheet_tile
from flag_pipeline.catalog.gallery import Gallery, card_thumbnail, history_thumbnail, render_page, script_json
from flag_pipeline.catalog.plots import Bar, ratio_group, render_bars
from flag_pipeline.catalog.rows import catalog_rows
from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.models import FlagRecord, LastFailure
from flag_pipeline.core.sink import intact
from flag_pipeline.errors import ErrorKind
from flag_pipeline.images.thumbnails import before_and_after, fit, thumbnail_uri
from flag_pipeline_tests.records import change_of, features_by_sha256, record_of, striped

FLAG = striped("#de2910", "#ffde00")
HOSTILE = '</script><script>alert("1")</script><img src=x onerror=alert(2)>&amp;\u2028'
PAGE_LIMIT_BYTES = 2_000_000


def gallery_of(records: dict[str, FlagRecord]) -> Gallery:
    """The gallery of those records, with the same flag for all."""
    return drawn(records, {code: FLAG for code, record in records.items() if record.image})


def drawn(records: dict[str, FlagRecord], flags: dict[str, bytes]) -> Gallery:
    """The gallery of those records, with those flags."""
    rows = {row.code: row for row in catalog_rows([], records, features_by_sha256(*flags.values()))}
    uris = {code: card_thumbnail(rows[code], content, n_flags=len(flags)) for code, content in flags.items()}
    return Gallery(list(rows.values()), flags=uris)


def details_of(page: str) -> dict[str, Any]:
    """The data that the page carries."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    details: dict[str, Any] = json.loads(found[1])
    return details


def test_hostile_names_are_text_everywhere() -> None:
    """A name that is markup reaches no tag, no attribute and does not end the script element."""
    page = render_page(gallery_of({"CN": record_of("CN", FLAG, name=HOSTILE)})).decode()

    assert page.count("<script") == 2
    assert "<img src=x" not in page
    assert details_of(page)["CN"]["name"] == HOSTILE


@given(st.text())
def test_any_text_survives_a_script_element(text: str) -> None:
    """No text can end the element or start a comment in it, and all of it comes back."""
    written = script_json({"name": text})

    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {"name": text}


def test_a_reason_is_text_too() -> None:
    """The text of a server's answer is shown unchanged."""
    record = record_of("CN", FLAG, last_failure=LastFailure(ErrorKind.CONTRACT, HOSTILE))

    page = render_page(gallery_of({"CN": record})).decode()

    assert HOSTILE not in page
    assert details_of(page)["CN"]["reason"] == f"contract: {HOSTILE}"


def test_page_says_how_each_country_stands() -> None:
    """Failed, missing and not found are three words; failed is one whatever is left of the flag."""
    timeout = LastFailure(ErrorKind.TIMEOUT, "timed out")
    records = {
        "CN": record_of("CN", FLAG),
        "DE": record_of("DE", last_failure=timeout),
        "FR": record_of("FR", FLAG, last_failure=timeout),
        "AQ": record_of("AQ", last_failure=LastFailure(ErrorKind.NOT_FOUND, "404")),
        "ZW": FlagRecord("ZW"),
    }

    page = render_page(gallery_of(records)).decode()

    statuses = {code: one["status"] for code, one in details_of(page).items()}
    assert statuses == {"AQ": "not found", "CN": "ok", "DE": "failed", "FR": "failed", "ZW": "missing"}
    assert "5 countries: 1 ok, 2 failed, 1 not found, 1 missing." in page


def test_page_loads_nothing() -> None:
    """Every picture is inline, and the policy forbids the rest."""
    page = render_page(gallery_of({"CN": record_of("CN", FLAG)})).decode()

    assert set(re.findall(r'src="([a-z]+:)', page)) == {"data:"}
    assert "default-src 'none'" in page
    assert "unsafe-inline" not in page


def test_history_comes_with_its_pictures() -> None:
    """A change whose old flag is kept is shown with it, one whose flag is lost without."""
    record = record_of("CN", FLAG)
    kept, lost = change_of("CN", 2), change_of("CN", 1)
    shown = {kept.old_file: history_thumbnail(kept.old_file, FLAG)}
    gallery = Gallery(catalog_rows([], {"CN": record}, {}), [kept, lost], replaced=shown)

    history = details_of(render_page(gallery).decode())["CN"]["history"]

    assert [one["old"].startswith("data:image/png;base64,") for one in history] == [True, False]
    assert [one["distance"] for one in history] == [12, 12]


def test_everything_is_built_the_same_twice_and_small() -> None:
    """All countries, real flags: equal bytes, and a page below 2 MB."""
    flags = packaged_flags()
    records = {code: record_of(code, content) for code, content in flags.items()}
    gallery, tiles = drawn(records, flags), {code: sheet_tile(content) for code, content in flags.items()}

    page = render_page(gallery)

    assert len(gallery.rows) == 249
    assert len(page) < PAGE_LIMIT_BYTES
    assert page == render_page(gallery)
    assert render_contact_sheet(gallery.rows, tiles) == render_contact_sheet(gallery.rows, tiles)
    assert render_mosaic(gallery.rows, tiles) == render_mosaic(gallery.rows, tiles)
    assert len(render_mosaic(gallery.rows, tiles)) < 16_000


def packaged_flags() -> dict[str, bytes]:
    """The embedded source's flags, as PNG: what test records say they are."""
    found = distribution("django-countries").files or []
    paths = {file.stem.upper(): Path(str(file.locate())) for file in found if file.match("static/flags/*.gif")}
    return {code: as_png(paths[code].read_bytes()) for code in iso_codes()}


def as_png(content: bytes) -> bytes:
    """The same picture in another format."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGBA").save(buffer, "PNG")
    return buffer.getvalue()


def test_large_flags_keep_the_page_small() -> None:
    """Noisy pictures of 100 kB each become thumbnails that fit."""
    noise = Image.effect_noise((320, 213), 80).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    records = {code: record_of(code, FLAG) for code in iso_codes()}
    gallery = drawn(records, dict.fromkeys(iso_codes()[:40], buffer.getvalue()))

    assert len(render_page(gallery)) < PAGE_LIMIT_BYTES


def test_pictures_of_any_number_of_countries_are_bounded() -> None:
    """So many are shown that the picture can be opened; a sheet says how many there are besides."""
    [row] = catalog_rows([], {"CN": record_of("CN", FLAG)}, {})
    tiles = {"CN": sheet_tile(FLAG)}
    full, more = [row] * MAX_FLAGS, [row] * (10 * MAX_FLAGS)

    assert render_mosaic(more, tiles) == render_mosaic(full, tiles)
    with Image.open(io.BytesIO(render_contact_sheet(more, tiles))) as sheet:
        assert sheet.width * sheet.height < 20_000_000
    assert render_contact_sheet(more, tiles) != render_contact_sheet(full, tiles)


def test_contact_sheet_marks_what_is_not_ok() -> None:
    """A failed flag has red in its cell, a good one of the same colours has none."""
    good = catalog_rows([], {"FI": record_of("FI", striped("white", "blue"))}, {})
    bad = [dataclasses.replace(good[0], status="stale")]  # type: ignore[arg-type]

    tiles = {"FI": sheet_tile(striped("white", "blue"))}

    assert red_pixels(render_contact_sheet(good, tiles)) == 0
    assert red_pixels(render_contact_sheet(bad, tiles)) > 0
    assert red_pixels(render_contact_sheet(good, {})) > 0


def red_pixels(sheet: bytes) -> int:
    """How many pixels are clearly red."""
    with Image.open(io.BytesIO(sheet)) as image:
        pixels = image.convert("RGB").tobytes()
    return sum(
        red > 150 and green < 90 and blue < 90
        for red, green, blue in zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True)
    )


@pytest.mark.parametrize("name", ["Åland", "Türkiye", "Côte d'Ivoire", "日本", "x" * 100, " "])
def test_contact_sheet_takes_any_name(name: str) -> None:
    """Long names are cut, and a script that the font lacks is no obstacle."""
    rows = catalog_rows([], {"JP": record_of("JP", FLAG, name=name)}, {})

    assert render_contact_sheet(rows, {"JP": sheet_tile(FLAG)}).startswith(b"\x89PNG")


def test_empty_catalog_is_a_page_too() -> None:
    """Before the first fetch there is a page that says so, and a sheet with nothing on it."""
    assert b"0 countries: none." in render_page(Gallery([]))
    assert render_contact_sheet([], {}).startswith(b"\x89PNG")


def test_small_flags_are_enlarged_by_whole_factors() -> None:
    """A pixel becomes a square of pixels; large flags are reduced to the box."""
    assert fit(striped("red", size=(16, 11)), (100, 70)).size == (96, 66)
    assert fit(striped("red", size=(300, 200)), (100, 70)).size == (100, 67)


def test_thumbnail_is_the_flag_itself_while_it_is_small() -> None:
    """Otherwise a PNG; an animation stands still."""
    assert thumbnail_uri(FLAG, "flags/a.gif", box=(90, 60), max_bytes=3000).startswith("data:image/gif;")
    assert thumbnail_uri(FLAG, "flags/a.gif", box=(90, 60), max_bytes=3000, n_frames=2).startswith("data:image/png;")
    assert thumbnail_uri(FLAG, "flags/a.jpg", box=(90, 60), max_bytes=80).startswith("data:image/png;")


def test_what_was_tampered_with_is_not_shown() -> None:
    """Bytes are decoded only if they are still those that were checked."""
    assert intact(b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") == b""
    assert intact(b"x", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") is None
    assert intact(None, "") is None


@pytest.mark.parametrize(("old", "new"), [(FLAG, FLAG), (None, FLAG), (FLAG, None)])
def test_before_and_after_is_one_small_picture(old: bytes | None, new: bytes | None) -> None:
    """Whether or not both flags are still kept."""
    picture = before_and_after(old, new)

    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 4096


def test_bars_carry_their_numbers_as_text() -> None:
    """Who cannot see the plot hears the numbers; labels are escaped."""
    plot = render_bars("Sizes", [Bar("<b>", 3), Bar("more", 1, "#ff0000")])

    assert 'aria-label="Sizes: &lt;b&gt; 3, more 1"' in plot
    assert "<b>" not in plot
    assert ratio_group(1.5) == "about 3:2"
    assert "nothing to show" in render_bars("Sizes", [])
