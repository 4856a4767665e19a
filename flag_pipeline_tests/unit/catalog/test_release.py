"""Releases: what is in them, and when there is a new one."""

import asyncio
import zipfile
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest

from flag_pipeline.catalog.manifest import MANIFEST, verify_release
from flag_pipeline.catalog.release import (
    LATEST_PATH,
    STYLESHEET_PATH,
    Contents,
    Release,
    latest_release,
    publish_release,
)
from flag_pipeline.catalog.renditions import rendition_rows
from flag_pipeline.catalog.rows import CatalogRow, catalog_rows
from flag_pipeline.catalog.stylesheet import render_stylesheet
from flag_pipeline.core.renditions import RenditionMaker, rendition_records
from flag_pipeline.core.sink import FileSink
from flag_pipeline.errors import ReleaseError
from flag_pipeline.images.rendition_names import RenditionFormat, parse_rendition
from flag_pipeline.images.structure import Limits
from flag_pipeline.stores.store import Content
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.samples import flag, record

DAY = date(2026, 11, 26)
CODES = {"AD", "CN", "FR"}


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[FileSink]:
    """A sink with the flags of China and France."""
    async with FileSink(str(tmp_path)) as sink:
        await save(sink, "CN", "red", "yellow")
        await save(sink, "FR", "blue", "white", "red")
        yield sink


async def save(sink: FileSink, code: str, *colours: str) -> None:
    """Store a flag with these stripes."""
    image = flag(striped(*colours, size=(300, 200)))
    known = record(code, image=image)
    await sink.save(known, image=image, country=known.country)


async def rows_of(sink: FileSink) -> list[CatalogRow]:
    """The catalog of what is stored, and of a country without a flag."""
    return catalog_rows(["AD"], await sink.records(), {})


async def contents_of(sink: FileSink, *renditions: str) -> Contents:
    """What a release of the store has in it."""
    if not renditions:
        return Contents.of(await rows_of(sink), None, codes=CODES)
    maker = RenditionMaker(sink, tuple(map(parse_rendition, renditions)), RenditionFormat.PNG, Limits())
    for code in ("CN", "FR"):
        await maker.make(code)
    return Contents.of(await rows_of(sink), await rendition_records(sink), codes=CODES)


async def publish(sink: FileSink, *renditions: str, keep: int = 3, today: date = DAY) -> tuple[Release, bool]:
    """Make a release of what is stored."""
    return await publish_release(sink, await contents_of(sink, *renditions), keep=keep, today=today)


def contents_of_zip(archive: Path) -> dict[str, bytes]:
    """The files in a zip file by name."""
    with zipfile.ZipFile(archive) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def releases_in(root: Path) -> list[str]:
    """The names of the store's releases."""
    return sorted(path.name for path in (root / "release").glob("*.zip"))


async def test_release_has_flags_renditions_catalog_and_manifest(sink: FileSink, tmp_path: Path) -> None:
    """Each of them is as it is in the store, and nothing else is there."""
    release, is_new = await publish(sink, "w160", "square32")

    assert is_new
    assert release.file == "release/flags-2026-11-26.zip"
    assert (release.n_flags, release.n_files) == (2, 12)
    archive = await asyncio.to_thread(contents_of_zip, tmp_path / release.file)
    assert sorted(archive) == [
        "LICENCE.txt",
        MANIFEST,
        "catalog/catalog.csv",
        "catalog/catalog.json",
        "catalog/catalog.parquet",
        "catalog/schema.json",
        "flags/CN-China.png",
        "flags/FR-France.png",
        "release/flags.css",
        "renditions/square32/CN.png",
        "renditions/square32/FR.png",
        "renditions/w160/CN.png",
        "renditions/w160/FR.png",
    ]
    for name in archive:
        if name.startswith(("flags/", "renditions/")):
            assert archive[name] == (tmp_path / name).read_bytes()
    assert await asyncio.to_thread(verify_release, tmp_path / release.file) == (12, [])
    assert await latest_release(sink) == release


async def test_equal_contents_give_no_second_release(sink: FileSink, tmp_path: Path) -> None:
    """The same day and a later one give none."""
    first, _ = await publish(sink, "w160")
    before = (tmp_path / first.file).stat()

    again, is_new = await publish(sink, "w160", today=date(2027, 1, 1))

    assert (again, is_new) == (first, False)
    assert releases_in(tmp_path) == ["flags-2026-11-26.zip"]
    assert (tmp_path / first.file).stat().st_mtime_ns == before.st_mtime_ns


async def test_equal_contents_give_equal_bytes(sink: FileSink, tmp_path: Path) -> None:
    """A release that was deleted comes again, on another day too."""
    first, _ = await publish(sink, "w160")
    content = (tmp_path / first.file).read_bytes()
    (tmp_path / first.file).unlink()

    second, is_new = await publish(sink, "w160", today=date(2027, 1, 1))

    assert is_new
    assert (tmp_path / second.file).read_bytes() == content


async def test_only_the_latest_releases_are_kept(sink: FileSink, tmp_path: Path) -> None:
    """Several on one day have numbers, and 10 comes after 9."""
    for number in range(11):
        await save(sink, "CN", "red", f"#0000{number:02}")
        await publish(sink, keep=2)

    assert releases_in(tmp_path) == ["flags-2026-11-26-10.zip", "flags-2026-11-26-11.zip"]


async def test_files_of_others_are_left_alone(sink: FileSink, tmp_path: Path) -> None:
    """Only names of releases are deleted."""
    await publish(sink, keep=1)
    (tmp_path / "release" / "flags-old.zip").write_bytes(b"")
    await save(sink, "CN", "green")

    await publish(sink, keep=1)

    assert releases_in(tmp_path) == ["flags-2026-11-26-2.zip", "flags-old.zip"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"file": "../x.zip"}'])
async def test_damaged_note_of_the_latest_release_is_no_obstacle(
    sink: FileSink, tmp_path: Path, content: bytes
) -> None:
    """There is a new release then."""
    await publish(sink)
    (tmp_path / LATEST_PATH).write_bytes(content)

    assert (await publish(sink))[1]


async def test_damaged_flag_makes_no_release(sink: FileSink, tmp_path: Path) -> None:
    """The message names the file, and no half release is left."""
    (tmp_path / "flags/CN-China.png").write_bytes(b"damaged")

    with pytest.raises(ReleaseError, match=r"flags/CN-China.png is missing, damaged or newer than the catalog"):
        await publish(sink)

    assert releases_in(tmp_path) == []


async def test_flag_without_its_rendition_makes_no_release(sink: FileSink) -> None:
    """A rendition of the flag before would be wrong beside the new one."""
    await contents_of(sink, "w160")
    await save(sink, "FR", "green")

    with pytest.raises(ReleaseError, match="latest flag of FR; first run flag-pipeline render"):
        Contents.of(await rows_of(sink), await rendition_records(sink), codes=CODES)


async def test_message_names_the_first_of_many_countries(sink: FileSink) -> None:
    """Hundreds of codes would hide what to do."""
    for code in "AE AT AU BE BG BR CA CH CL CZ DE".split():
        await save(sink, code, "red")

    with pytest.raises(ReleaseError, match="of AE, AT, AU, BE, BG, BR, CA, CH, CL, CN and 3 more"):
        Contents.of(await rows_of(sink), {}, codes=await sink.records())


async def test_stylesheet_shows_the_widest_rendition(sink: FileSink) -> None:
    """A country without a flag has no class."""
    contents = await contents_of(sink, "w40", "w160", "square32", "circle64")

    css = render_stylesheet(contents.rows, contents.renditions).decode()

    assert '.flag-cn { background-image: url("../renditions/w160/CN.png"); }' in css
    assert '.flag-square.flag-cn { background-image: url("../renditions/square32/CN.png"); }' in css
    assert ".flag-ad" not in css


async def test_stylesheet_quotes_names(sink: FileSink) -> None:
    """A name cannot end the address."""
    image = flag(striped("red"))
    known = record("CI", name="Côte d'Ivoire (x) y;}", image=image)
    await sink.save(known, image=image, country=known.country)

    css = render_stylesheet(await rows_of(sink), {}).decode()

    (line,) = (line for line in css.splitlines() if line.startswith(".flag-ci"))
    assert line.count('"') == 2
    assert "C%C3%B4te" in line
    assert line.count(";") == 1


async def test_table_has_a_row_for_each_rendition(sink: FileSink) -> None:
    """Sizes are those of the files."""
    await contents_of(sink, "w400", "pad16")

    rows = rendition_rows(await rendition_records(sink))

    assert [(row.code, row.rendition, row.width_px, row.height_px) for row in rows] == [
        ("CN", "pad16", 16, 16),
        ("CN", "w400", 300, 200),
        ("FR", "pad16", 16, 16),
        ("FR", "w400", 300, 200),
    ]


async def test_country_that_is_no_partition_needs_no_rendition(sink: FileSink, tmp_path: Path) -> None:
    """`render` refuses its code; the release has its flag."""
    await contents_of(sink, "w160")
    await save(sink, "XK", "blue")

    contents = Contents.of(await rows_of(sink), await rendition_records(sink), codes=CODES)

    release, _ = await publish_release(sink, contents, keep=3, today=DAY)
    names = await asyncio.to_thread(contents_of_zip, tmp_path / release.file)
    assert {"flags/XK-Kosovo.png", "renditions/w160/CN.png"} <= names.keys()


async def test_release_after_a_kill_is_the_same_file(
    sink: FileSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill before the last of the three files leaves no second release of the same flags."""
    await publish(sink)
    await save(sink, "CN", "green")
    contents, write = await contents_of(sink), sink.write
    for n_written in range(3):
        left = [n_written]

        async def write_some(path: str, content: Content, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            await write(path, content)

        monkeypatch.setattr(sink, "write", write_some)
        with pytest.raises(KeyboardInterrupt):
            await publish_release(sink, contents, keep=3, today=DAY)
    monkeypatch.undo()

    await publish_release(sink, contents, keep=3, today=DAY)

    assert releases_in(tmp_path) == ["flags-2026-11-26-2.zip", "flags-2026-11-26.zip"]
    assert (tmp_path / STYLESHEET_PATH).exists()


async def test_lost_style_sheet_is_written_again(sink: FileSink, tmp_path: Path) -> None:
    """It needs no new release."""
    await publish(sink)
    (tmp_path / STYLESHEET_PATH).unlink()

    assert not (await publish(sink))[1]
    assert (tmp_path / STYLESHEET_PATH).exists()


async def test_new_release_is_kept_beside_one_of_the_future(sink: FileSink, tmp_path: Path) -> None:
    """The clock was wrong once."""
    await publish(sink, today=date(2027, 1, 1))
    await save(sink, "CN", "green")

    release, _ = await publish(sink, keep=1)

    assert releases_in(tmp_path) == [Path(release.file).name] == ["flags-2026-11-26.zip"]
