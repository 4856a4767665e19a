"""A country's renditions in the store: made once, redone when the flag or the wishes change."""

import asyncio
import io
from pathlib import Path

import pytest
from PIL import Image

from flag_pipeline.core import renditions
from flag_pipeline.core.layout import rendition_record_path
from flag_pipeline.core.renditions import Made, RenditionMaker, rendition_records
from flag_pipeline.core.sink import FileSink
from flag_pipeline.errors import ImageError, SinkError
from flag_pipeline.images.rendition_names import RenditionFormat, parse_rendition
from flag_pipeline.images.renditions import encode
from flag_pipeline.images.structure import Limits
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.samples import flag, record


def maker_of(sink: FileSink, *names: str, image_format: RenditionFormat = RenditionFormat.PNG) -> RenditionMaker:
    """A maker of these renditions."""
    return RenditionMaker(sink, tuple(map(parse_rendition, names)), image_format, Limits())


async def save(sink: FileSink, *colours: str) -> None:
    """Store a flag of China with these stripes."""
    image = flag(striped(*colours, size=(300, 200)))
    known = record("CN", image=image)
    await sink.save(known, image=image, country=known.country)


async def made(maker: RenditionMaker) -> Made:
    """Make China's renditions."""
    result = await maker.make("CN")
    assert result is not None
    return result


def files_below(root: Path) -> dict[str, tuple[int, int]]:
    """The renditions of a store with inode and time of change."""
    found = (path for path in (root / "renditions").rglob("*") if path.is_file())
    return {str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


async def test_renditions_are_files_beside_a_record(sink: FileSink, tmp_path: Path) -> None:
    """The record says what each file is."""
    await save(sink, "red", "yellow")

    result = await made(maker_of(sink, "w160", "circle64"))

    assert not result.is_unchanged
    assert files_below(tmp_path).keys() == {
        "renditions/w160/CN.png",
        "renditions/circle64/CN.png",
        "renditions/records/CN.json",
    }
    assert {(file.rendition, file.width_px, file.height_px) for file in result.record.files} == {
        ("w160", 160, 107),
        ("circle64", 64, 64),
    }
    with Image.open(io.BytesIO((tmp_path / "renditions/w160/CN.png").read_bytes())) as image:
        assert image.size == (160, 107)
    assert await rendition_records(sink) == {"CN": result.record}


async def test_unchanged_flag_keeps_its_renditions(sink: FileSink, tmp_path: Path) -> None:
    """No file is touched, and the data version is the same."""
    await save(sink, "red", "yellow")
    first = await made(maker_of(sink, "w160", "pad64"))
    before = files_below(tmp_path)

    again = await made(maker_of(sink, "w160", "pad64"))

    assert again.is_unchanged
    assert again.record.data_version == first.record.data_version
    assert files_below(tmp_path) == before


async def test_changed_flag_has_new_renditions(sink: FileSink) -> None:
    """The data version changes with it."""
    await save(sink, "red", "yellow")
    first = await made(maker_of(sink, "w160"))
    await save(sink, "green", "yellow")

    second = await made(maker_of(sink, "w160"))

    assert not second.is_unchanged
    assert second.record.data_version != first.record.data_version


@pytest.mark.parametrize("lost", ["renditions/w160/CN.png", "renditions/records/CN.json"])
async def test_lost_file_is_made_again(sink: FileSink, tmp_path: Path, lost: str) -> None:
    """A deleted file is made again the next time."""
    await save(sink, "red", "yellow")
    await made(maker_of(sink, "w160"))
    (tmp_path / lost).unlink()

    assert not (await made(maker_of(sink, "w160"))).is_unchanged
    assert (tmp_path / lost).exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"code": "FR"}'])
async def test_damaged_record_is_written_again(sink: FileSink, tmp_path: Path, content: bytes) -> None:
    """It counts as none, also in the list of all."""
    await save(sink, "red", "yellow")
    await made(maker_of(sink, "w160"))
    (tmp_path / rendition_record_path("CN")).write_bytes(content)

    assert await rendition_records(sink) == {}
    assert not (await made(maker_of(sink, "w160"))).is_unchanged


async def test_record_of_another_country_is_not_believed(sink: FileSink, tmp_path: Path) -> None:
    """A file that was copied by hand names the other country's renditions."""
    await save(sink, "red", "yellow")
    await made(maker_of(sink, "w160"))
    copied = (tmp_path / rendition_record_path("CN")).read_bytes().replace(b'"CN"', b'"FR"')
    (tmp_path / rendition_record_path("CN")).write_bytes(copied)

    assert await rendition_records(sink) == {}
    assert not (await made(maker_of(sink, "w160"))).is_unchanged


async def test_other_wishes_replace_the_files(sink: FileSink, tmp_path: Path) -> None:
    """What is no longer wanted is deleted."""
    await save(sink, "red", "yellow")
    await made(maker_of(sink, "w160", "pad64"))

    await made(maker_of(sink, "w160", "square32", image_format=RenditionFormat.WEBP))

    assert files_below(tmp_path).keys() == {
        "renditions/w160/CN.webp",
        "renditions/square32/CN.webp",
        "renditions/records/CN.json",
    }


async def test_country_without_a_flag_has_no_renditions(sink: FileSink) -> None:
    """It is not a failure."""
    assert await maker_of(sink, "w160").make("CN") is None


async def test_damaged_flag_is_an_error_that_says_what_to_do(sink: FileSink, tmp_path: Path) -> None:
    """Renditions of other bytes than the record's would be wrong."""
    await save(sink, "red", "yellow")
    next((tmp_path / "flags").iterdir()).write_bytes(striped("blue", size=(300, 200)))

    with pytest.raises(SinkError, match="fetch CN again"):
        await maker_of(sink, "w160").make("CN")


async def test_flag_beyond_the_limits_is_an_error(sink: FileSink) -> None:
    """The limits may have been lowered since it was fetched."""
    await save(sink, "red", "yellow")
    maker = RenditionMaker(sink, (parse_rendition("w160"),), RenditionFormat.PNG, Limits(max_pixels=10))

    with pytest.raises(ImageError, match="FLAG_MAX_PIXELS"):
        await maker.make("CN")


async def test_file_of_another_flag_is_made_again(sink: FileSink, tmp_path: Path) -> None:
    """A damaged one too: the record says which bytes it has, and a release needs them."""
    await save(sink, "red", "yellow")
    maker = maker_of(sink, "w160")
    await made(maker)
    file = tmp_path / "renditions/w160/CN.png"
    right = file.read_bytes()
    file.write_bytes(striped("blue", size=(160, 107)))

    assert not (await made(maker)).is_unchanged
    assert file.read_bytes() == right


async def test_flag_that_is_replaced_meanwhile_is_drawn(
    sink: FileSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch that ends while the old flag is drawn leaves no picture of the old one."""
    await save(sink, "red", "yellow")
    loop = asyncio.get_running_loop()
    fetched: list[None] = []

    def encode_slowly(picture: Image.Image, image_format: RenditionFormat) -> bytes:
        if not fetched:
            fetched.append(asyncio.run_coroutine_threadsafe(save(sink, "green", "blue"), loop).result())
        return encode(picture, image_format)

    monkeypatch.setattr(renditions, "encode", encode_slowly)

    result = await made(maker_of(sink, "w160"))

    stored = await sink.load("CN")
    assert stored.record.image is not None
    assert result.record.flag_sha256 == stored.record.image.sha256
    with Image.open(tmp_path / "renditions/w160/CN.png") as image:
        assert image.convert("RGB").getpixel((5, 5)) == (0, 128, 0)


async def test_country_that_is_deleted_meanwhile_has_no_renditions(
    sink: FileSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written for it."""
    await save(sink, "red", "yellow")
    loop = asyncio.get_running_loop()

    def encode_slowly(picture: Image.Image, image_format: RenditionFormat) -> bytes:
        asyncio.run_coroutine_threadsafe(sink.delete_country("CN"), loop).result()
        return encode(picture, image_format)

    monkeypatch.setattr(renditions, "encode", encode_slowly)

    assert await maker_of(sink, "w160").make("CN") is None
    assert not files_below(tmp_path)
