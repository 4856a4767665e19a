"""The page and the pictures: everything escaped, everything marked, small, and the same bytes twice."""

import dataclasses
import hashlib
import io
import json
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flag_pipeline.catalog.contact_sheet import (
    MAX_FLAGS,
    Sheet,
    is_drawn_from,
    mosaic_tile,
    render_contact_sheet,
    render_mosaic,
    render_pictures,
    sheet_tile,
)
from flag_pipeline.catalog.details import ROWS_PER_FILE
from flag_pipeline.catalog.gallery import render_page
from flag_pipeline.catalog.gallery_content import (
    MAX_HISTORY_PICTURES,
    Gallery,
    credits_of,
    pictured_files,
    rendition_downloads,
    sheet_of,
    vector_files,
)
from flag_pipeline.catalog.plots import Bar, ratio_group, render_bars
from flag_pipeline.catalog.rows import catalog_rows
from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.layout import thumbnail_path
from flag_pipeline.core.models import FlagRecord, LastFailure, RowStatus
from flag_pipeline.core.renditions import RenditionFile, RenditionRecord
from flag_pipeline.core.sink import intact
from flag_pipeline.errors import ErrorKind
from flag_pipeline.images.thumbnails import before_and_after, draw_thumbnail, fit
from flag_pipeline_tests.records import change_of, features_by_sha256, record_of, striped
from flag_pipeline_tests.samples import gif

FLAG = striped("#de2910", "#ffde00")


def no_tile(_code: str) -> None:
    """No country has a tile."""


HOSTILE = '</script><script>alert("1")</script><img src=x onerror=alert(2)>&amp;\u2028'
PAGE_LIMIT_BYTES = 1_500_000


def gallery_of(records: dict[str, FlagRecord]) -> Gallery:
    """The gallery of those records, in which every flag has a thumbnail."""
    rows = catalog_rows([], records, features_by_sha256(FLAG))
    return Gallery(rows, pictured={row.sha256 for row in rows if row.sha256})


def page_of(gallery: Gallery) -> str:
    """The HTML."""
    return render_page(gallery)["catalog/index.html"].decode()


def details_of(gallery: Gallery) -> dict[str, Any]:
    """The data that the page loads when a flag is opened, by code."""
    details: dict[str, Any] = {}
    for path, content in render_page(gallery).items():
        if path.startswith("catalog/details/"):
            details |= json.loads(content.decode().removeprefix("flagDetails(").removesuffix(");\n"))
    return details


class Elements(HTMLParser):
    """The elements of a page, as a browser reads them: names, attributes and text by list item."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.items: dict[str, dict[str, str]] = {}
        self.texts: dict[str, str] = {}
        self._item = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the element."""
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag == "li":
            self._item = attributes["id"]
            self.items[self._item] = attributes
            self.texts[self._item] = ""

    def handle_endtag(self, tag: str) -> None:
        """End the list."""
        if tag == "ul":
            self._item = ""

    def handle_data(self, data: str) -> None:
        """Keep the text of a list item."""
        if self._item:
            self.texts[self._item] += data


def test_hostile_names_are_text_everywhere() -> None:
    """A name that is markup makes no element and no attribute, also where it is an official name."""
    record = record_of("CN", FLAG, name=HOSTILE)
    assert record.country is not None
    record = dataclasses.replace(record, country=dataclasses.replace(record.country, official_name=f'" {HOSTILE}'))
    gallery = gallery_of({"CN": record})

    hostile, harmless = Elements(page_of(gallery)), Elements(page_of(gallery_of({"CN": record_of("CN", FLAG)})))

    assert [(tag, sorted(attributes)) for tag, attributes in hostile.tags] == [
        (tag, sorted(attributes)) for tag, attributes in harmless.tags
    ]
    assert HOSTILE in hostile.texts["CN"]
    assert HOSTILE in hostile.items["CN"]["data-q"]
    assert details_of(gallery)["CN"]["name"] == HOSTILE


@pytest.mark.parametrize("file", ['flags/CN-"><b>.png', "flags/CN-a b#c?d%20.png", "flags/CN-Côte.png"])
def test_address_of_a_flag_is_its_file_whatever_its_name(file: str) -> None:
    """A file name cannot end the attribute, nor become a query or a fragment."""
    [row] = gallery_of({"CN": record_of("CN", FLAG)}).rows

    page = Elements(page_of(Gallery([dataclasses.replace(row, file=file)])))

    [link] = [attributes["href"] for tag, attributes in page.tags if tag == "a" and "flags/" in attributes["href"]]
    assert unquote(urlsplit(urljoin("https://flags.example/catalog/index.html", link)).path) == f"/{file}"


def test_page_has_no_inline_style_or_script() -> None:
    """It works where a content security policy allows files of the same origin alone."""
    page = Elements(page_of(gallery_of({"CN": record_of("CN", FLAG)})))

    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert [set(script) for script in scripts] == [{"src", "defer"}]
    assert "style" not in [tag for tag, _ in page.tags]
    names = {name for _, attributes in page.tags for name in attributes}
    assert not {name for name in names if name == "style" or name.startswith("on")}
    [policy] = [
        attributes["content"] for _, attributes in page.tags if "Content-Security-Policy" in attributes.values()
    ]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_every_address_is_relative_and_of_a_file_that_is_there() -> None:
    """Nothing is loaded from elsewhere; the tables, flags and thumbnails have other authors."""
    gallery = gallery_of({"CN": record_of("CN", FLAG)})
    [row] = gallery.rows
    others = {
        *(f"catalog/catalog.{extension}" for extension in ("csv", "json", "parquet")),
        "catalog/contact_sheet.png",
        thumbnail_path(row.sha256),
        row.file,
    }

    rendered = render_page(gallery)

    page = Elements(rendered["catalog/index.html"].decode())
    addresses = [attributes.get("src") or attributes.get("href", "") for _, attributes in page.tags]
    paths = {urlsplit(urljoin("/catalog/", address)).path[1:] for address in addresses if address[:1] not in {"", "#"}}
    assert paths == {*others, "catalog/page.css", "catalog/page.js", "catalog/icon.svg"}
    assert paths - others <= rendered.keys()


def test_thumbnails_load_when_seen_and_nothing_jumps() -> None:
    """Each picture says its size, and has no text beside the name."""
    [picture] = [
        attributes
        for tag, attributes in Elements(page_of(gallery_of({"CN": record_of("CN", FLAG)}))).tags
        if tag == "img"
    ]

    sha256 = hashlib.sha256(FLAG).hexdigest()
    assert picture == {
        "src": f"thumbnails/v2/{sha256}.webp",
        "width": "30",
        "height": "20",
        "alt": "",
        "loading": "lazy",
    }


def test_small_vector_is_not_shown_in_large_pixels() -> None:
    """Its size is only a hint; its thumbnail fills the box, and a larger picture is drawn from it."""
    [row] = gallery_of({"CN": record_of("CN", FLAG)}).rows
    vector = dataclasses.replace(row, format="svg", file="flags/CN-China.svg")

    page = Elements(page_of(Gallery([vector], pictured={vector.sha256})))

    assert "tiny" not in page.items["CN"]["class"].split()
    assert [attributes["width"] for tag, attributes in page.tags if tag == "img"] == ["160"]
    assert vector_files([vector, row]) == {vector.sha256: vector.file}


def test_flag_without_thumbnail_is_no_broken_picture() -> None:
    """The card says so, and links to the file if there is one, else to the details."""
    rows = catalog_rows(["FR"], {"CN": record_of("CN", FLAG)}, {})

    page = Elements(page_of(Gallery(rows)))

    assert "img" not in [tag for tag, _ in page.tags]
    assert [text.split("\n")[0] for text in page.texts.values()] == ["no flagChina CN", "no flagFrance FRmissing"]
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"][1:3] == ["../flags/CN-x.png", "#flag=FR"]


def test_search_finds_codes_other_names_and_another_domain() -> None:
    """What is beside the code, also with a dot, and the name, which the card shows."""
    page = Elements(page_of(gallery_of({code: record_of(code, FLAG) for code in ("CN", "GB", "GF")})))

    assert page.items["CN"]["data-q"] == "CHN 156 People's Republic of China PRC"
    assert page.items["GB"]["data-q"].endswith("Ireland UK Britain Great Britain .uk")
    assert page.items["GF"]["data-q"] == "GUF 254"


def test_filters_are_classes_of_the_card() -> None:
    """They are the values of the form's fields."""
    page = Elements(page_of(gallery_of({"CN": record_of("CN", FLAG)})))

    assert page.items["CN"]["class"].split() == ["ok", "tiny", "3-2", "yellow", "red"]
    values = [
        attributes["value"] for tag, attributes in page.tags if tag in {"option", "input"} and "value" in attributes
    ]
    assert set(values) >= {"ok", "3-2", "red", "yellow"}


def test_page_of_drawings_has_no_ratios() -> None:
    """There is nothing to choose from, and nothing to plot."""
    gallery = gallery_of({"CN": record_of("CN", FLAG)})
    drawing = dataclasses.replace(gallery.rows[0], aspect_ratio="", aspect_decimal=None)

    with_ratio, without = page_of(gallery), page_of(Gallery([drawing]))

    assert ('name="ratio"' in with_ratio, 'name="ratio"' in without) == (True, False)
    assert ("by aspect ratio" in with_ratio, "by aspect ratio" in without) == (True, False)
    assert ('<option value="ratio">' in with_ratio, '<option value="ratio">' in without) == (True, False)


def test_renditions_are_offered_with_their_sizes() -> None:
    """A smaller flag has smaller ones than their name says."""
    file = RenditionFile("w160", "renditions/w160/CN.png", 120, 80, 1234, "a" * 64)

    downloads = rendition_downloads({"CN": RenditionRecord("CN", "b" * 64, 1, (file,))})

    assert downloads == {"CN": {"w160, 120 x 80 px": "renditions/w160/CN.png"}}


def test_cards_are_in_alphabetical_order_without_a_script() -> None:
    """Å is an A."""
    page = Elements(page_of(Gallery(catalog_rows(["AF", "AX", "AL", "ZW", "AS"], {}, {}))))

    assert list(page.items) == ["AF", "AX", "AL", "AS", "ZW"]


def test_downloads_and_credits_are_shown_escaped() -> None:
    """Further files have addresses relative to the page, and the footer names licence and origin."""
    gallery = dataclasses.replace(
        gallery_of({"CN": record_of("CN", FLAG)}),
        downloads={"CN": {"w160": "renditions/w160/CN #1.png"}},
        credits=["Drawn by <b>somebody</b>."],
    )

    assert details_of(gallery)["CN"]["downloads"] == {"w160": "../renditions/w160/CN%20%231.png"}
    assert "<p>Drawn by &lt;b&gt;somebody&lt;/b&gt;.</p>" in page_of(gallery)


@given(st.text())
def test_any_name_survives_the_page(name: str) -> None:
    """All of it is in the data, and the HTML has the elements of a harmless one."""
    [row] = catalog_rows([], {"CN": record_of("CN", FLAG)}, {})
    gallery = Gallery([dataclasses.replace(row, name=name)])

    assert details_of(gallery)["CN"]["name"] == name
    assert len(Elements(page_of(gallery)).tags) == len(Elements(page_of(Gallery([row]))).tags)


def test_a_reason_is_text_too() -> None:
    """The text of a server's answer is shown unchanged."""
    record = record_of("CN", FLAG, last_failure=LastFailure(ErrorKind.CONTRACT, HOSTILE))

    gallery = gallery_of({"CN": record})

    assert HOSTILE not in page_of(gallery)
    assert details_of(gallery)["CN"]["reason"] == f"contract: {HOSTILE}"


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

    gallery = gallery_of(records)

    statuses = {code: one["status"] for code, one in details_of(gallery).items()}
    assert statuses == {"AQ": "not found", "CN": "ok", "DE": "failed", "FR": "failed", "ZW": "missing"}
    assert "5 countries: 1 ok, 2 failed, 1 not found, 1 missing." in page_of(gallery)


def test_footer_names_the_licences_of_the_flags() -> None:
    """Each source once, with its licence, and whether its flags are simplified; nothing of a source without one."""
    mine = record_of("CN", FLAG)
    assert mine.image is not None
    drawings = {
        code: dataclasses.replace(
            record_of(code, FLAG),
            image=dataclasses.replace(mine.image, file=f"flags/{code}-x.png", source_url=f"embedded:/{cc}/{cc}.gif"),
        )
        for code, cc in (("FR", "fr"), ("IT", "it"))
    }
    rows = catalog_rows([], {"CN": mine, **drawings}, {})

    page = page_of(Gallery(rows, credits=credits_of(rows)))

    assert page.count("CC BY-SA 4.0") == 1
    assert "OpenMoji" in page
    assert "simplified" in page
    assert credits_of(rows[:1]) == []


@pytest.mark.parametrize(("code", "name"), [("TR", "Turkey"), ("CI", "Ivory Coast"), ("NL", "Holland"), ("XK", "XKX")])
def test_card_is_found_by_the_other_names_of_its_country(code: str, name: str) -> None:
    """The card has the names that people search by; England is none of the United Kingdom's."""
    gallery = gallery_of({code: record_of(code, FLAG), "GB": record_of("GB", FLAG)})

    assert name in page_of(gallery)
    assert "England" not in page_of(gallery)


def test_history_comes_with_its_pictures() -> None:
    """A change whose old flag has a thumbnail is shown with it, another without."""
    kept, lost = change_of("CN", 2), change_of("CN", 1)
    rows = catalog_rows([], {"CN": record_of("CN", FLAG)}, {})

    history = details_of(Gallery(rows, [kept, lost], pictured={kept.old_sha256}))["CN"]["history"]

    assert [one["old"] for one in history] == [f"thumbnails/v2/{kept.old_sha256}.webp", ""]
    assert [one["distance"] for one in history] == [12, 12]


def test_pictures_of_the_latest_changes_are_shown() -> None:
    """Equal flags share a file; lost ones, and those before the latest, have none."""
    rows = catalog_rows([], {"CN": record_of("CN", FLAG), "FR": record_of("FR", FLAG)}, {})
    changes = [change_of("CN", number % 60) for number in range(MAX_HISTORY_PICTURES + 1)]
    changes[0] = dataclasses.replace(changes[0], old_file="", old_sha256="a" * 64)
    changes[-1] = dataclasses.replace(changes[-1], old_sha256="b" * 64)

    shown = pictured_files(rows, changes)

    assert shown.keys() == {rows[0].sha256, *(change.old_sha256 for change in changes[1:-1])}
    assert shown[changes[1].old_sha256] == changes[1].old_file


def test_everything_is_built_the_same_twice() -> None:
    """All countries, real flags: equal bytes, and a small mosaic."""
    flags = packaged_flags()
    records = {code: record_of(code, content) for code, content in flags.items()}
    gallery, tiles = gallery_of(records), {code: sheet_tile(content) for code, content in flags.items()}

    assert len(gallery.rows) == 249
    assert render_page(gallery) == render_page(gallery)
    sheet, codes = sheet_of(gallery.rows, ()), [row.code for row in gallery.rows]
    assert render_contact_sheet(sheet, tiles.get) == render_contact_sheet(sheet, tiles.get)
    small = {code: mosaic_tile(tile) for code, tile in tiles.items()}
    assert render_mosaic(codes, small) == render_mosaic(codes, small)
    assert len(render_mosaic(codes, small)) < 16_000


def test_page_of_five_thousand_countries_is_small() -> None:
    """The page stays below 1.5 MB, and each file of details below 300 kB."""
    [row] = gallery_of({"CN": record_of("CN", FLAG)}).rows
    # There are 249 official names.
    other = dataclasses.replace(row, alpha_3="", numeric="", official_name="")
    codes = [*iso_codes(), *(f"{number:05d}" for number in range(5000 - 249))]
    rows = [
        dataclasses.replace(
            row if code in iso_codes() else other,
            code=code,
            name=f"A country of {code}",
            file=f"flags/{code}-A_country_of_{code}.gif",
        )
        for code in codes
    ]

    rendered = render_page(Gallery(rows, pictured={row.sha256}))

    assert len(rendered["catalog/index.html"]) < PAGE_LIMIT_BYTES
    details = [content for path, content in rendered.items() if path.startswith("catalog/details/")]
    assert len(details) == 20
    assert max(map(len, details)) < 300_000


def test_details_are_in_files_of_as_many_rows_as_the_script_expects() -> None:
    """The number is in both languages, and the files follow the order of the page."""
    script = files("flag_pipeline.catalog").joinpath("page", "page.js").read_text()
    rows = catalog_rows(iso_codes()[: ROWS_PER_FILE + 1], {}, {}) + catalog_rows(["A1", "A2", "A3"], {}, {})

    rendered = render_page(Gallery(rows))

    assert f"ROWS_PER_FILE = {ROWS_PER_FILE};" in script
    codes = list(Elements(rendered["catalog/index.html"].decode()).items)
    for number, path in enumerate(["catalog/details/0.js", "catalog/details/1.js"]):
        for code in codes[number * ROWS_PER_FILE : (number + 1) * ROWS_PER_FILE]:
            assert f'"{code}":' in rendered[path].decode()


def test_sheet_knows_what_it_was_drawn_from() -> None:
    """It is drawn again when a name, a status, a flag or the number of countries is another."""
    rows = gallery_of({"CN": record_of("CN", FLAG), "FR": record_of("FR", FLAG)}).rows
    pictured = {rows[0].sha256}
    sheet = sheet_of(rows, pictured)

    png = render_contact_sheet(sheet, no_tile)

    assert is_drawn_from(png, sheet)
    renamed, failed = dataclasses.replace(rows[0], name="x"), dataclasses.replace(rows[0], status=RowStatus.STALE)
    for others in ([renamed, rows[1]], [failed, rows[1]], rows[:1]):
        assert not is_drawn_from(png, sheet_of(others, pictured))
    assert not is_drawn_from(png, sheet_of(rows, ()))
    assert not is_drawn_from(png, dataclasses.replace(sheet, n_more=1))
    assert not is_drawn_from(b"", sheet)


def packaged_flags() -> dict[str, bytes]:
    """The embedded source's flags, as PNG: what test records say they are."""
    return {code: as_png(gif(code)) for code in iso_codes()}


def as_png(content: bytes) -> bytes:
    """The same picture in another format."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGBA").save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures_of_any_number_of_countries_are_bounded() -> None:
    """So many are shown that the picture can be opened; a sheet says how many there are besides."""
    [row] = catalog_rows([], {"CN": record_of("CN", FLAG)}, {})
    tiles = {"CN": sheet_tile(FLAG)}
    full, more = [row] * MAX_FLAGS, [row] * (10 * MAX_FLAGS)

    small = {"CN": mosaic_tile(FLAG)}
    assert render_mosaic(["CN"] * len(more), small) == render_mosaic(["CN"] * len(full), small)
    with Image.open(io.BytesIO(render_contact_sheet(sheet_of(more, ()), tiles.get))) as sheet:
        assert sheet.width * sheet.height < 20_000_000
    assert sheet_of(more, ()).n_more == 9 * MAX_FLAGS
    assert render_contact_sheet(sheet_of(more, ()), tiles.get) != render_contact_sheet(sheet_of(full, ()), tiles.get)


def test_thumbnail_that_is_none_of_ours_is_left_out() -> None:
    """Hundreds of pictures as large as a flag may be would take minutes."""
    rows = gallery_of({"CN": record_of("CN", FLAG)}).rows
    buffer = io.BytesIO()
    Image.new("RGB", (161, 120)).save(buffer, "WEBP")

    def pictures(thumbnails: dict[str, bytes]) -> tuple[bytes, bytes]:
        return render_pictures(sheet_of(rows, ()), thumbnails)

    assert pictures({"CN": buffer.getvalue()}) == pictures({"CN": b"damaged"}) == pictures({})
    assert pictures({"CN": draw_thumbnail(FLAG)}) != pictures({})


def test_mosaic_has_a_gap_for_a_missing_flag() -> None:
    """The others stay in their places."""
    codes, tile = ["CN", "FR"], mosaic_tile(FLAG)

    with (
        Image.open(io.BytesIO(render_mosaic(codes, {"FR": tile}))) as gap,
        Image.open(io.BytesIO(render_mosaic(codes, {"CN": tile, "FR": tile}))) as full,
    ):
        assert gap.size == full.size
        assert gap.convert("RGB").getpixel((3, 6)) != full.convert("RGB").getpixel((3, 6))


def test_contact_sheet_marks_what_is_not_ok() -> None:
    """A failed flag has red in its cell, a good one of the same colours has none."""
    good = catalog_rows([], {"FI": record_of("FI", striped("white", "blue"))}, {})
    bad = [dataclasses.replace(good[0], status=RowStatus.STALE)]

    tiles = {"FI": sheet_tile(striped("white", "blue"))}

    assert red_pixels(render_contact_sheet(sheet_of(good, ()), tiles.get)) == 0
    assert red_pixels(render_contact_sheet(sheet_of(bad, ()), tiles.get)) > 0
    assert red_pixels(render_contact_sheet(sheet_of(good, ()), no_tile)) > 0


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

    assert render_contact_sheet(sheet_of(rows, ()), {"JP": sheet_tile(FLAG)}.get).startswith(b"\x89PNG")


def test_empty_catalog_is_a_page_too() -> None:
    """Before the first fetch there is a page that says so, and a sheet with nothing on it."""
    assert "0 countries: none." in page_of(Gallery([]))
    assert render_contact_sheet(Sheet([]), no_tile).startswith(b"\x89PNG")


def test_small_flags_are_enlarged_by_whole_factors() -> None:
    """A pixel becomes a square of pixels; large flags are reduced to the box."""
    assert fit(striped("red", size=(16, 11)), (100, 70)).size == (96, 66)
    assert fit(striped("red", size=(300, 200)), (100, 70)).size == (100, 67)


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
