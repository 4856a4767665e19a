"""Which sources the countries in a store were fetched from."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from pydantic import TypeAdapter

from flag_pipeline.core.layout import SOURCES_PATH
from flag_pipeline.core.models import FlagRecord
from flag_pipeline.core.presets import EMBEDDED, SourcePreset, source_of
from flag_pipeline.core.records import dump_json
from flag_pipeline.core.sink import FileSink

_NAMES = TypeAdapter(list[str])


def count_sources(records: Iterable[FlagRecord], *, own: SourcePreset = EMBEDDED) -> Counter[str]:
    """Return the countries per source; URLs of *own* count as *own*."""
    return Counter(source for record in records if (source := _source_of_record(record, own)))


def _source_of_record(record: FlagRecord, own: SourcePreset) -> str:
    stored = record.image or record.metadata
    if stored is None:
        return ""
    if stored.source_url in {own.flag_url(record.code), own.metadata_url(record.code)}:
        return own.name
    return source_of(stored.source_url, record.code)


def describe_sources(counts: Mapping[str, int]) -> str:
    """Return text such as `embedded (235), flagcdn (14)`, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{source} ({number})" for source, number in ordered)


async def stored_sources(sink: FileSink, own: SourcePreset) -> Counter[str]:
    """Return the countries per source, empty if *own* is the only source.

    Reads the records only if `SOURCES_PATH` names another source or is missing.
    """
    if await _written_sources(sink) == [own.name]:
        return Counter()
    counts = count_sources((await sink.records()).values(), own=own)
    return counts if counts.keys() - {own.name} else Counter()


async def write_sources(sink: FileSink, sources: Collection[str]) -> None:
    """Write the sources' names, before their first file is stored."""
    await sink.write(SOURCES_PATH, dump_json(sorted({*sources})))


async def _written_sources(sink: FileSink) -> list[str]:
    content = await sink.read_hint(SOURCES_PATH)
    try:
        return _NAMES.validate_json(content or b"[]")
    except ValueError:
        return []
