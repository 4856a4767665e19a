"""Makes a release: a zip file with flags, renditions, catalog, style sheet and manifest.

Equal contents give equal bytes, and no second release.
"""

import asyncio
import hashlib
import mmap
import re
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date
from itertools import islice
from typing import Annotated, Self

from pydantic import StringConstraints, TypeAdapter

from flag_pipeline import bounds
from flag_pipeline.catalog.gallery_content import credits_of
from flag_pipeline.catalog.manifest import MANIFEST, ManifestFile, render_manifest
from flag_pipeline.catalog.rows import CATALOG_SCHEMA, CatalogRow
from flag_pipeline.catalog.stylesheet import render_stylesheet
from flag_pipeline.catalog.tables import render_table
from flag_pipeline.core.layout import CATALOG, RELEASES, release_path
from flag_pipeline.core.records import dump_json
from flag_pipeline.core.renditions import RenditionRecord
from flag_pipeline.core.sink import FileSink, intact
from flag_pipeline.errors import ReleaseError

# Raise it when equal flags give another zip file.
RELEASE_VERSION = 1
CREDITS = "LICENCE.txt"
LATEST_PATH = release_path("latest.json")
STYLESHEET_PATH = release_path("flags.css")

# Zip files have no time zone, and begin in 1980.
_TIME = (1980, 1, 1, 0, 0, 0)
_NAME = re.compile(r"flags-(\d{4}-\d\d-\d\d)(?:-(\d+))?\.zip")
# Files in memory at once.
_READ_AT_ONCE = 64
NAMED_CODES = 10
_REMEDY = "run flag-pipeline run, and flag-pipeline render if it is a rendition"


@dataclass(frozen=True, slots=True)
class Release:
    """A release.

    Attributes:
        file: `release/flags-2026-11-26.zip`, relative to the store's root.
        content_sha256: of names, flags and renditions; it identifies equal releases.
    """

    file: Annotated[str, StringConstraints(pattern=rf"^{RELEASES}/{_NAME.pattern}$")]
    content_sha256: bounds.Sha256
    sha256: bounds.Sha256
    size_bytes: bounds.SizeBytes
    n_flags: bounds.Count
    n_files: bounds.Count


_RELEASE = TypeAdapter(Release)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a release is made of: catalog rows, and renditions by code."""

    rows: Sequence[CatalogRow]
    renditions: Mapping[str, RenditionRecord]

    @classmethod
    def of(
        cls, rows: Sequence[CatalogRow], renditions: Mapping[str, RenditionRecord] | None, *, codes: Collection[str]
    ) -> "Contents":
        """Return the contents; *renditions* is None if a release has none.

        Raises ReleaseError if the flag of one of *codes* has no rendition, or only one of an older flag. The catalog
        can have other countries, which were fetched with other settings; their renditions are taken if there are any.
        """
        if renditions is None:
            return cls(rows, {})
        flags = {row.code: row.sha256 for row in rows if row.file}
        made = {code: record for code, record in renditions.items() if flags.get(code) == record.flag_sha256}
        if outdated := sorted(flags.keys() & codes - made.keys()):
            raise ReleaseError(f"no rendition of the latest flag of {_some(outdated)}; first run flag-pipeline render")
        return cls(rows, made)

    @property
    def sha256(self) -> str:
        """The release's `content_sha256`."""
        names = [[row.code, row.name, row.official_name, row.tld, row.file, row.sha256] for row in self.rows]
        files = [[file.file, file.sha256] for record in self.renditions.values() for file in record.files]
        return hashlib.sha256(dump_json([RELEASE_VERSION, names, files])).hexdigest()

    @property
    def n_flags(self) -> int:
        """Number of countries with a flag."""
        return sum(bool(row.file) for row in self.rows)

    def stored_files(self) -> dict[str, str]:
        """Return the SHA-256 of each stored file by path, sorted."""
        flags = {row.file: row.sha256 for row in self.rows if row.file}
        renditions = {file.file: file.sha256 for record in self.renditions.values() for file in record.files}
        return dict(sorted((flags | renditions).items()))


async def publish_release(sink: FileSink, contents: Contents, *, keep: int, today: date) -> tuple[Release, bool]:
    """Store a release and delete all but the latest *keep*; return it, and whether it is new.

    Raises ReleaseError if a stored file is missing or differs from its record.
    """
    names = [name for name in await sink.names(RELEASES) if _NAME.fullmatch(name)]
    latest = await latest_release(sink)
    if latest is not None and latest.content_sha256 == contents.sha256 and await sink.all_exist([latest.file]):
        release, is_new = latest, False
    else:
        release, is_new = await _write_archive(sink, contents, release_path(_next_name(names, today))), True
    await sink.write(STYLESHEET_PATH, render_stylesheet(contents.rows, contents.renditions))
    # The clock may have been wrong, so this release need not have the latest name.
    others = {*names} - {release.file.rpartition("/")[2]}
    await sink.delete_files(release_path(name) for name in sorted(others, key=_age, reverse=True)[keep - 1 :])
    return release, is_new


async def _write_archive(sink: FileSink, contents: Contents, file: str) -> Release:
    loop = asyncio.get_running_loop()

    def read(paths: Iterable[str]) -> Mapping[str, bytes]:
        return asyncio.run_coroutine_threadsafe(sink.read_files(paths), loop).result()

    with await asyncio.to_thread(_pack, contents, read) as archive:
        release = Release(
            file, contents.sha256, archive.sha256, archive.size_bytes, contents.n_flags, n_files=archive.n_files
        )
        # First, so that after a kill the same file is written again, and not a second one.
        await sink.write(LATEST_PATH, dump_json(asdict(release)))
        with memoryview(archive.content) as content:
            await sink.write(file, content)
    return release


async def latest_release(sink: FileSink) -> Release | None:
    """Return the latest release, if any."""
    with suppress(ValueError):
        return _RELEASE.validate_json(await sink.read_hint(LATEST_PATH) or b"")
    return None


@dataclass(frozen=True, slots=True)
class _Archive:
    """A zip file in a temporary file, mapped because it can be larger than memory."""

    content: mmap.mmap
    sha256: str
    size_bytes: int
    n_files: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.content.close()


def _pack(contents: Contents, read: Callable[[Iterable[str]], Mapping[str, bytes]]) -> _Archive:
    with tempfile.TemporaryFile(prefix="flag-pipeline-") as file:
        # Stored, because images are compressed, and compressed bytes depend on zlib's version.
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as zipped:
            files = [_add(zipped, path, content) for path, content in _contents(contents, read)]
            _add(zipped, MANIFEST, render_manifest(files))
        file.flush()
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return _Archive(content, hashlib.sha256(content).hexdigest(), len(content), len(files))


def _contents(contents: Contents, read: Callable[[Iterable[str]], Mapping[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield the files, a few in memory at a time."""
    yield from render_table(CATALOG_SCHEMA, CATALOG, contents.rows)
    yield STYLESHEET_PATH, render_stylesheet(contents.rows, contents.renditions)
    yield CREDITS, "".join(f"{line}\n" for line in credits_of(contents.rows)).encode()
    expected = contents.stored_files()
    for paths in _batches(expected):
        stored = read(paths)
        for path in paths:
            content = intact(stored.get(path), expected[path])
            if content is None:
                raise ReleaseError(f"{path} is missing, damaged or newer than the catalog; {_REMEDY}")
            yield path, content


def _add(zipped: zipfile.ZipFile, path: str, content: bytes) -> ManifestFile:
    entry = zipfile.ZipInfo(path, _TIME)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3  # Unix, on every system
    zipped.writestr(entry, content)
    return ManifestFile(path, len(content), hashlib.sha256(content).hexdigest())


def _batches(paths: Iterable[str]) -> Iterator[list[str]]:
    left = iter(paths)
    while batch := list(islice(left, _READ_AT_ONCE)):
        yield batch


def _next_name(names: Iterable[str], today: date) -> str:
    numbers = [number for day, number in map(_age, names) if day == today.isoformat()]
    number = max(numbers, default=0) + 1
    return f"flags-{today.isoformat()}.zip" if number == 1 else f"flags-{today.isoformat()}-{number}.zip"


def _age(name: str) -> tuple[str, int]:
    """Return the date and number in a release's name; releases sort by them."""
    year, month, day, *number = name.removeprefix("flags-").removesuffix(".zip").split("-")
    return f"{year}-{month}-{day}", int(number[0]) if number else 1


def _some(codes: Sequence[str]) -> str:
    more = f" and {len(codes) - NAMED_CODES} more" if len(codes) > NAMED_CODES else ""
    return f"{', '.join(codes[:NAMED_CODES])}{more}"
