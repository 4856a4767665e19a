"""Makes and records the renditions of stored flags."""

import asyncio
import dataclasses
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter

from flag_pipeline import bounds
from flag_pipeline.core.layout import RENDITION_RECORDS, RENDITIONS, rendition_path, rendition_record_path
from flag_pipeline.core.records import dump_json
from flag_pipeline.core.sink import FileSink, intact
from flag_pipeline.errors import UnusableFileError
from flag_pipeline.images.rendition_names import Rendition, RenditionFormat
from flag_pipeline.images.renditions import RENDITIONS_VERSION, encode, full_picture, render
from flag_pipeline.images.structure import Limits

RenditionName = Annotated[str, StringConstraints(pattern="^(?:w|square|circle|pad)[1-9][0-9]{0,3}$")]
RenditionPath = Annotated[
    str, StringConstraints(pattern=rf"^{RENDITIONS}/[a-z]+[0-9]+/{bounds.CODE_PATTERN}\.(?:png|webp)$")
]


@dataclass(frozen=True, slots=True)
class RenditionFile:
    """A rendition's file.

    Attributes:
        file: `renditions/w160/CN.png`, relative to the store's root.
        width_px, height_px: smaller than named for smaller flags.
    """

    rendition: RenditionName
    file: RenditionPath
    width_px: bounds.Pixels
    height_px: bounds.Pixels
    size_bytes: bounds.SizeBytes
    sha256: bounds.Sha256


@dataclass(frozen=True, slots=True)
class RenditionRecord:
    """Which renditions a country has.

    Attributes:
        flag_sha256: of the flag that was drawn.
        version: of the code that made them.
    """

    code: bounds.Code
    flag_sha256: bounds.Sha256
    version: bounds.Count
    files: tuple[RenditionFile, ...]

    def has(self, wanted: Iterable[Rendition], image_format: RenditionFormat) -> bool:
        """Whether the files are those that are wanted."""
        paths = {rendition_path(each.name, self.code, image_format) for each in wanted}
        return {each.file for each in self.files} == paths

    @property
    def data_version(self) -> str:
        """The SHA-256 of the files' names and bytes."""
        names = [(each.file, each.sha256) for each in self.files]
        return hashlib.sha256(dump_json(names)).hexdigest()


_RECORD = TypeAdapter(RenditionRecord)


def load_rendition_record(content: bytes) -> RenditionRecord:
    """Return the record. Raises ValueError if it is none."""
    return _RECORD.validate_json(content)


@dataclass(frozen=True, slots=True)
class Made:
    """One country's renditions, and whether they existed already."""

    record: RenditionRecord
    is_unchanged: bool


@dataclass(frozen=True, slots=True)
class RenditionMaker:
    """Makes the *wanted* renditions of stored flags."""

    sink: FileSink
    wanted: tuple[Rendition, ...]
    image_format: RenditionFormat
    limits: Limits

    async def make(self, code: str) -> Made | None:
        """Make the country's renditions, unless they exist; return None if it has no flag.

        Raises SinkError if the stored flag is missing or damaged, ImageError if it exceeds the limits.
        """
        stored = await self.sink.load(code)
        if stored.record.image is None:
            return None
        if stored.flag is None:
            raise UnusableFileError(
                f"{stored.record.image.file} is missing or damaged; fetch {code} again", path=stored.record.image.file
            )
        before = await self._recorded(code)
        sha256 = stored.record.image.sha256
        if before is not None and await self._is_current(before, sha256):
            return Made(before, is_unchanged=True)
        made = await asyncio.to_thread(self._draw, code, stored.flag)
        record = RenditionRecord(code, sha256, RENDITIONS_VERSION, tuple(file for file, _ in made))
        old = before.files if before is not None else ()
        files: dict[str, bytes | None] = dict.fromkeys(each.file for each in old)
        files |= {file.file: content for file, content in made}
        # The record comes last: it names only what exists.
        files[rendition_record_path(code)] = dump_json(dataclasses.asdict(record))
        if await self.sink.save_derived(code, sha256, files):
            return Made(record, is_unchanged=False)
        # A fetch has replaced the flag.
        return await self.make(code)

    async def _recorded(self, code: str) -> RenditionRecord | None:
        with suppress(ValueError):
            record = load_rendition_record(await self.sink.read_hint(rendition_record_path(code)) or b"")
            return record if record.code == code else None
        return None

    async def _is_current(self, record: RenditionRecord, flag_sha256: str) -> bool:
        made_from = (record.flag_sha256, record.version)
        if made_from != (flag_sha256, RENDITIONS_VERSION) or not record.has(self.wanted, self.image_format):
            return False
        # Not only whether they exist: a kill or another command may have left files of another flag.
        stored = await self.sink.read_files(each.file for each in record.files)
        return all(intact(stored.get(each.file), each.sha256) is not None for each in record.files)

    def _draw(self, code: str, flag: bytes) -> list[tuple[RenditionFile, bytes]]:
        picture = full_picture(flag, self.limits, px=max(rendition.px for rendition in self.wanted))
        made = []
        for rendition in self.wanted:
            drawn = render(picture, rendition)
            content = encode(drawn, self.image_format)
            file = RenditionFile(
                rendition.name,
                rendition_path(rendition.name, code, self.image_format),
                *drawn.size,
                len(content),
                hashlib.sha256(content).hexdigest(),
            )
            made.append((file, content))
        return made


async def rendition_records(sink: FileSink) -> dict[str, RenditionRecord]:
    """Return the undamaged records by code, sorted."""
    folder = RENDITION_RECORDS
    found = await sink.read_files(f"{folder}/{name}" for name in sorted(await sink.names(folder)))
    records = dict[str, RenditionRecord]()
    for path, content in found.items():
        with suppress(ValueError):
            record = load_rendition_record(content)
            if path == rendition_record_path(record.code):
                records[record.code] = record
    return records
