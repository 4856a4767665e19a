"""What `verify` finds in a release that was changed or damaged."""

import asyncio
import io
import json
import zipfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from flag_pipeline.catalog.manifest import MANIFEST, ManifestFile, render_manifest, verify_release
from flag_pipeline.catalog.release import Contents, Release, publish_release
from flag_pipeline.catalog.rows import catalog_rows
from flag_pipeline.core.sink import FileSink
from flag_pipeline.errors import ConfigurationError, ReleaseError
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.samples import flag, record


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A release of two flags."""

    async def make() -> Release:
        async with FileSink(str(tmp_path)) as sink:
            for code in ("CN", "FR"):
                image = flag(striped("red", "yellow", size=(300, 200)))
                known = record(code, image=image)
                await sink.save(known, image=image, country=known.country)
            contents = Contents.of(catalog_rows([], await sink.records(), {}), None, codes=())
            release, _ = await publish_release(sink, contents, keep=1, today=date(2026, 11, 26))
            return release

    return tmp_path / asyncio.run(make()).file


def unpacked(archive: Path, folder: Path) -> Path:
    """The folder in which the release was unpacked."""
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(folder)
    return folder


def rewritten(archive: Path, changed: dict[str, bytes | None], *, more: Sequence[tuple[str, bytes]] = ()) -> Path:
    """The release with these files changed, or left out, and *more* at its end."""
    target = archive.with_name("rewritten.zip")
    with zipfile.ZipFile(archive) as zipped, zipfile.ZipFile(target, "w") as made:
        for name in zipped.namelist():
            content = changed.get(name, zipped.read(name))
            if content is not None:
                made.writestr(name, content)
        for name, content in more:
            made.writestr(name, content)
    return target


def test_unpacked_release_is_whole(archive: Path, tmp_path: Path) -> None:
    """A folder can be checked as well as a zip file."""
    assert verify_release(unpacked(archive, tmp_path / "unpacked")) == (8, [])


def test_zip_file_that_was_changed_is_found(archive: Path) -> None:
    """Every file that differs, is missing or is new is named."""
    changed = rewritten(
        archive, {"flags/CN-China.png": b"other", "flags/FR-France.png": None}, more=[("flags/XX.png", b"x")]
    )

    assert verify_release(changed)[1] == [
        "flags/CN-China.png: differs from the manifest",
        "flags/FR-France.png: missing",
        "flags/XX.png: not in the manifest",
    ]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_file_that_is_there_twice_is_found(archive: Path) -> None:
    """Programs differ in which of the two they unpack."""
    changed = rewritten(archive, {}, more=[("release/flags.css", b"other")])

    assert "release/flags.css: more than once" in verify_release(changed)[1]


def test_folder_that_was_changed_is_found(archive: Path, tmp_path: Path) -> None:
    """A link to a file with the right content is no file."""
    folder = unpacked(archive, tmp_path / "unpacked")
    (folder / "flags/CN-China.png").rename(tmp_path / "elsewhere.png")
    (folder / "flags/CN-China.png").symlink_to(tmp_path / "elsewhere.png")
    (folder / "flags/FR-France.png").unlink()

    assert verify_release(folder)[1] == ["flags/CN-China.png: missing", "flags/FR-France.png: missing"]


def test_path_outside_the_folder_is_not_read(archive: Path, tmp_path: Path) -> None:
    """A manifest from elsewhere cannot ask for other files."""
    folder = unpacked(archive, tmp_path / "unpacked")
    (tmp_path / "secret").write_bytes(b"x")
    (folder / MANIFEST).write_bytes(render_manifest([ManifestFile("../secret", 1, "0" * 64)]))

    assert "../secret: missing" in verify_release(folder)[1]


def test_file_that_unpacks_to_more_is_not_read_to_its_end(archive: Path) -> None:
    """The manifest's size bounds what is read."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(archive) as zipped, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name in zipped.namelist():
            made.writestr(name, bytes(64 * 1024 * 1024) if name == "release/flags.css" else zipped.read(name))
    bomb = archive.with_name("bomb.zip")
    bomb.write_bytes(buffer.getvalue())

    assert verify_release(bomb)[1] == ["release/flags.css: differs from the manifest"]


@pytest.mark.parametrize("content", [None, b"", b"[]", json.dumps({"schema": 2, "files": []}).encode()])
def test_release_without_a_valid_manifest_is_an_error(archive: Path, content: bytes | None) -> None:
    """There is nothing to check against."""
    with pytest.raises(ReleaseError, match=MANIFEST):
        verify_release(rewritten(archive, {MANIFEST: content}))


def test_other_file_is_no_release(tmp_path: Path) -> None:
    """The message says so."""
    (tmp_path / "x.zip").write_bytes(b"no zip file")

    with pytest.raises(ReleaseError, match="not a release"):
        verify_release(tmp_path / "x.zip")


def test_path_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """It is the argument that is wrong."""
    with pytest.raises(ConfigurationError, match="cannot read"):
        verify_release(tmp_path / "nothing.zip")


def test_damaged_zip_file_is_found(archive: Path) -> None:
    """Its own checksum tells before the manifest's can."""
    content = bytearray(archive.read_bytes())
    content[content.index(b"\x89PNG") + 40] ^= 0xFF
    archive.write_bytes(content)

    (problem,) = verify_release(archive)[1]
    assert problem.startswith("flags/CN-China.png: cannot be read: Bad CRC-32")


def test_archive_that_was_cut_is_an_error(archive: Path) -> None:
    """A download that broke off has no directory at its end."""
    archive.write_bytes(archive.read_bytes()[:-100])

    with pytest.raises(ReleaseError, match="not a release"):
        verify_release(archive)


def test_linked_folder_is_found(archive: Path, tmp_path: Path) -> None:
    """What it shows today can be something else tomorrow."""
    folder = unpacked(archive, tmp_path / "unpacked")
    (folder / "flags").rename(tmp_path / "elsewhere")
    (folder / "flags").symlink_to(tmp_path / "elsewhere")

    assert verify_release(folder)[1] == [
        "flags/CN-China.png: missing",
        "flags/FR-France.png: missing",
        "flags: not in the manifest",
    ]


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_damaged_compressed_file_is_found(archive: Path, method: int) -> None:
    """Each kind of compression has its own errors."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(archive) as zipped, zipfile.ZipFile(buffer, "w") as made:
        for name in zipped.namelist():
            made.writestr(name, zipped.read(name), method if name == "catalog/catalog.json" else zipfile.ZIP_STORED)
        start = made.getinfo("catalog/catalog.json").header_offset + 30 + len("catalog/catalog.json")
    content = bytearray(buffer.getvalue())
    content[start : start + 40] = b"\xff" * 40
    archive.write_bytes(content)

    (problem,) = verify_release(archive)[1]
    assert problem.startswith("catalog/catalog.json: cannot be read: ")


def test_name_in_no_encoding_is_an_error(archive: Path) -> None:
    """A zip file says of each name that it is UTF-8, which need not be true."""
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("caf\u00e9", b"")
    archive.write_bytes(archive.read_bytes().replace("caf\u00e9".encode(), b"caf\xff\xff"))

    with pytest.raises(ReleaseError, match="not a release"):
        verify_release(archive)
