"""What holds for every input: Hypothesis looks for the one for which it does not."""

import asyncio
import csv
import io
import json
import re
import string
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path, PurePosixPath
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flag_pipeline.catalog.history import CHANGES_SCHEMA
from flag_pipeline.catalog.rows import CATALOG_SCHEMA, catalog_rows
from flag_pipeline.catalog.tables import render_csv, render_json
from flag_pipeline.core.countries import MAX_NAME_CHARS, iso_codes, iso_country, parse_country
from flag_pipeline.core.layout import flag_path
from flag_pipeline.core.models import Country, FlagFailed, FlagRecord, LastFailure, Outcome
from flag_pipeline.core.presets import ANY_FORMAT
from flag_pipeline.core.records import dump_record, load_record
from flag_pipeline.core.sink import FileSink
from flag_pipeline.errors import ErrorKind, ImageError, SourceContractError, printable
from flag_pipeline.fetching.http_errors import parse_retry_after
from flag_pipeline.fetching.models import FetchStatistics
from flag_pipeline.images.features import describe_features
from flag_pipeline.images.inspection import inspect_image
from flag_pipeline.images.models import FlagImage
from flag_pipeline.images.structure import Limits
from flag_pipeline.images.thumbnails import MAX_EVENT_CHARS
from flag_pipeline_tests.fakes import FakeRefresher
from flag_pipeline_tests.records import change_of
from flag_pipeline_tests.samples import flag, gif, picture, record
from flag_pipeline_tests.sweeping import sweep

WHITE_SPACE = "".join(filter(str.isspace, map(chr, range(0x3001))))
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=120)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
CODES = st.sampled_from(iso_codes())
MISSES = st.none() | st.builds(LastFailure, st.sampled_from(ErrorKind), st.text(max_size=40).map(printable))


def parsed(content: bytes) -> Country | None:
    """What a document says about China, None if it breaks the contract."""
    try:
        return parse_country(content, code="CN", url="u")
    except SourceContractError:
        return None


def inspected(content: bytes) -> FlagImage | None:
    """The image that *content* is, None if it is none."""
    try:
        return inspect_image(content, formats=ANY_FORMAT, limits=Limits(max_pixels=10**6))
    except ImageError:
        return None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_broken_contract(content: bytes) -> None:
    """Random bytes never name the requested country, and the parser raises only SourceContractError."""
    assert parsed(content) is None


@given(JSON_VALUES, ANY_TEXT, JSON_VALUES)
def test_any_document_is_a_country_or_a_broken_contract(country: Any, iso_cc: str, tld: Any) -> None:
    """A document is accepted only if it names the requested country, and has a string as its name."""
    for code in ("CN", iso_cc):
        parsed_country = parsed(json.dumps({"country": country, "iso_cc": code, "tld_cc": tld}).encode())
        if parsed_country is not None:
            assert isinstance(country, str)
            assert (parsed_country.code, code.strip().upper()) == ("CN", "CN")
            assert parsed_country.tld == tld or parsed_country.tld == ".cn"  # noqa: PLR1714 - tld may be unhashable


@given(ANY_TEXT)
@example("\u202eanihC")
@example("مصر")
@example("عُمان\u200c")
@example("..")
@example("CON")
@example("x; =1+1")
@example("\uff1d1+1")
def test_accepted_name_is_safe_wherever_it_lands(name: str) -> None:
    """The name is safe as a file name, in CSV, in JSON and on a terminal."""
    country = parsed(json.dumps({"country": name, "iso_cc": "CN"}).encode())
    if country is None:
        return

    path = flag_path("CN", country.name, "gif")
    rows = catalog_rows(["CN"], {"CN": replace(record(), country=country)}, {})
    [cells] = csv.DictReader(io.StringIO(render_csv(CATALOG_SCHEMA, rows).decode(), newline=""))

    assert PurePosixPath(path).parent == PurePosixPath("flags")
    assert len(PurePosixPath(path).name.encode()) <= 255
    assert not set(path) & set('<>:"\\|?*')
    assert country.name == unicodedata.normalize("NFC", country.name)
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in country.name)
    assert not starts_a_formula(cells["name"])
    assert json.loads(render_json(CATALOG_SCHEMA, rows))[0]["name"] == country.name


# Mostly what matters, so that the few dangerous combinations are among the examples.
CELL_TEXT = st.text(
    st.sampled_from("=+-@\uff1d\uff0b\uff0d\uff20,;\t\r\n\"' aZ1(.\u00a0\u200b\ufeff\u2028"), max_size=12
)


@settings(max_examples=1000)
@given(CELL_TEXT, CELL_TEXT, CELL_TEXT)
@example('a;"=HYPERLINK(A1);', '"=1', '","=1')
@example("\t=1", "x\r\n=1", ";\t@")
@example("", "", ';"\t')
@example("\ufeff=1", '""""=1', "x, \u00a0+1")
def test_no_cell_of_a_csv_file_is_a_formula(name: str, reason: str, url: str) -> None:
    """However a program splits the lines, a cell never begins with a formula, and JSON keeps the text as it is."""
    country = iso_country("CN")
    known = replace(record(), country=replace(country, name=name), last_failure=LastFailure(ErrorKind.CONTRACT, reason))
    rows = catalog_rows(["CN"], {"CN": known}, {})
    changes = [replace(change_of("CN"), source_url=url, old_source_url=name)]

    for content in (render_csv(CATALOG_SCHEMA, rows), render_csv(CHANGES_SCHEMA, changes)):
        assert [cell for cell in cells_by_any_reader(content.decode()) if starts_a_formula(cell)] == []
    assert json.loads(render_json(CATALOG_SCHEMA, rows))[0]["name"] == name


def cells_by_any_reader(text: str) -> Iterator[str]:
    """Every cell that a program can see in a CSV file: three separators, with quotes and without."""
    for separator in ",;\t":
        yield from re.split(f"[{separator}\r\n\u2028]", text)
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            # Quotes that do not belong to the separator can make a line end the start of a cell.
            yield from (cell if separator == "," else cell.lstrip("\r\n") for cell in row)


def starts_a_formula(cell: str) -> bool:
    """Whether a spreadsheet could run the cell, behind quotes and white space, visible or not."""
    shown = cell.lstrip('"\u200b\ufeff' + WHITE_SPACE)
    return shown.startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20")) or bool(shown and cell.startswith(("\t", "\r")))


@given(ANY_TEXT)
def test_printable_text_is_one_line_for_any_terminal(text: str) -> None:
    """Escaping it again changes nothing."""
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


@given(st.text() | st.text(string.digits) | st.text(string.printable))
@example("9" * 5000)
@example("-1")
@example("1e9")
@example("٣")
@example("Mon, 01 Jan 99999999999 00:00:00 GMT")
@example("Mon, 01 Jan 2026 00:00:00 +99999999")
@example("Fri, 31 Feb 2026 25:61:61 GMT")
def test_any_retry_after_is_a_wait_or_nothing(value: str) -> None:
    """The wait is never negative, and no value raises an error."""
    wait_s = parse_retry_after(value)

    assert wait_s is None or wait_s >= 0


@given(st.integers(0, 10**6))
def test_both_forms_of_retry_after_agree(seconds: int) -> None:
    """A date so far ahead is as long as so many seconds, within the second that a date resolves."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    from_date = parse_retry_after(date)

    assert parse_retry_after(str(seconds)) == seconds
    assert from_date is not None
    assert seconds - 2 <= from_date <= seconds


@st.composite
def mutations(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    """One of the originals with some places overwritten, cut out, repeated or filled with something else."""
    content = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(0, 5))):
        # Headers are short, and most of what can go wrong is in them.
        start = draw(st.integers(0, min(60, len(content))) | st.integers(0, len(content)))
        length = draw(st.integers(0, 12) | st.integers(0, len(content)))
        middle = draw(st.binary(max_size=12) | st.just(content[start : start + length] * 2))
        content = content[:start] + middle + content[start + length :]
    return content


REAL_IMAGES = [
    *(gif(code) for code in ("CN", "BR", "NP", "AX")),
    *(picture(kind) for kind in ("PNG", "WEBP", "JPEG")),
    picture("GIF", frames=3),
    picture("PNG", mode="RGBA"),
]


@settings(max_examples=400)
@given(mutations(REAL_IMAGES))
def test_mutated_images_are_images_or_broken_contracts(content: bytes) -> None:
    """The image is decoded within its limits, with a thumbnail and features, or it is refused with ImageError."""
    image = inspected(content)
    if image is None:
        return

    assert image.content == content
    assert 0 < image.width_px * image.height_px <= 10**6
    assert len(image.derived.thumbnail) <= MAX_EVENT_CHARS
    assert describe_features(content).n_frames >= 1


@settings(max_examples=400)
@given(
    mutations([json.dumps({"country": name, "iso_cc": "CN", "tld_cc": ".cn"}).encode() for name in ("China", "中国")])
)
@example(b'{"iso_cc": "CN", "country": "x", "n": 1' + b"0" * 5000 + b"}")
@example(b'{"iso_cc": "CN", "country": "x", "n": 1e999}')
@example(b'{"iso_cc": "CN", "country": "x", "n": -Infinity}')
@example(b'{"iso_cc": "cn", "country": "\\ud83d\\ude00 x"}')
@example(b"\xef\xbb\xbf\xef\xbb\xbf{}")
def test_mutated_documents_are_countries_or_broken_contracts(content: bytes) -> None:
    """A country that is accepted is the one that was asked for, under a name that can be shown."""
    country = parsed(content)
    if country is None:
        return

    assert (country.code, country.alpha_3) == ("CN", "CHN")
    assert 0 < len(country.name) <= MAX_NAME_CHARS
    assert re.fullmatch(r"\.[a-z]{2,63}", country.tld)


@given(code=CODES, last_failure=MISSES, name=ANY_TEXT, has_country=st.booleans())
def test_any_record_is_read_back(code: str, last_failure: LastFailure | None, name: str, *, has_country: bool) -> None:
    """A record may have each name that the parser accepts."""
    country = parsed(json.dumps({"country": name, "iso_cc": "CN"}).encode())
    before = replace(record(code), last_failure=last_failure)
    if before.country is not None and country is not None:
        before = replace(before, country=replace(before.country, name=country.name) if has_country else None)

    assert load_record(dump_record(before)) == before


FAILURE = LastFailure(ErrorKind.TIMEOUT, "slow")
RECORD = json.loads(dump_record(replace(record(), last_failure=FAILURE, changes=(change_of("CN"),))))
PLACES = [
    (),
    *((key,) for key in RECORD),
    *((key, inner) for key in ("image", "metadata", "country") for inner in RECORD[key]),
]


@given(st.sampled_from(PLACES), JSON_VALUES)
@example(("image",), None)
@example(("country", "name"), "Cathay")
def test_any_document_is_a_record_or_a_value_error(place: tuple[str, ...], value: Any) -> None:
    """A record with one part replaced by any value is refused with ValueError, or is written and read back equal."""
    try:
        damaged = load_record(json.dumps(with_value(RECORD, place, value)).encode())
    except ValueError:
        return

    assert load_record(dump_record(damaged)) == damaged


def with_value(document: Any, place: tuple[str, ...], value: Any) -> Any:
    """Return *document* with *value* at *place*."""
    return {**document, place[0]: with_value(document[place[0]], place[1:], value)} if place else value


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(ANY_TEXT)
def test_saved_flag_is_read_back(name: str) -> None:
    """A flag under any name is read from the file that the record names, which is in its folder."""

    async def save_and_read(root: str) -> tuple[bytes | None, FlagRecord | None]:
        async with FileSink(root) as sink:
            await sink.save(saved, image=flag())
            assert saved.image is not None
            return await sink.read(saved.image.file), (await sink.records()).get("CN")

    saved = record(name=name.encode(errors="ignore").decode())
    with tempfile.TemporaryDirectory() as root:
        assert asyncio.run(save_and_read(root)) == (gif(), saved)
        assert len(list((Path(root) / "flags").iterdir())) == 1


@given(st.lists(CODES, max_size=60), st.integers(1, 8))
def test_any_codes_get_one_outcome_each(codes: list[str], max_requests: int) -> None:
    """The order of the codes does not matter."""
    recorded: list[str] = []

    async def refresh(code: str) -> Outcome:
        await asyncio.sleep(0)
        return FlagFailed(code, ErrorKind.TIMEOUT, "", "", 1, FetchStatistics())

    async def record_outcome(outcome: Outcome) -> None:
        recorded.append(outcome.code)

    refresher = FakeRefresher(refresh)
    summary = asyncio.run(sweep(codes, refresher, record_outcome, max_requests=max_requests, timeout_s=60))

    assert sorted(recorded) == sorted(set(codes))
    assert summary.requested == len(summary.failed) == len(set(codes))


@given(st.dictionaries(CODES, MISSES, max_size=20), st.randoms(use_true_random=False))
def test_catalog_does_not_depend_on_order(failures: dict[str, LastFailure | None], random: Any) -> None:
    """The same records in another order give the same bytes."""
    records = [replace(record(code), last_failure=failure) for code, failure in failures.items()]
    shuffled = random.sample(records, len(records))

    one, other = (catalog_rows(["CN"], {stored.code: stored for stored in order}, {}) for order in (records, shuffled))

    assert render_json(CATALOG_SCHEMA, one) == render_json(CATALOG_SCHEMA, other)
    assert render_csv(CATALOG_SCHEMA, one) == render_csv(CATALOG_SCHEMA, other)
