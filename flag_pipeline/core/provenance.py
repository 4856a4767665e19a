"""Which sources the flags of a store came from."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from pydantic import TypeAdapter

from flag_pipeline.core.layout import RECORDS
from flag_pipeline.core.models import FlagRecord
from flag_pipeline.core.presets import EMBEDDED, SourcePreset, source_of
from flag_pipeline.core.records import dump_json
from flag_pipeline.core.sink import FileSink

# The names of the sources that have filled the store. It is read at the start of each run in place of all records,
# which are counted only when it names another source or is missing.
SOURCES_PATH = f"{RECORDS}/.sources"
_NAMES = TypeAdapter(list[str])


def count_sources(records: Iterable[FlagRecord], *, own: SourcePreset = EMBEDDED) -> Counter[str]:
    """Return how many of the stored countries came from each source; what lies where *own* has it is its own."""
    return Counter(source for record in records if (source := _source_of_record(record, own)))


def _source_of_record(record: FlagRecord, own: SourcePreset) -> str:
    stored = record.image or record.metadata
    if stored is None:
        return ""
    if stored.source_url in {own.flag_url(record.code), own.metadata_url(record.code)}:
        return own.name
    return source_of(stored.source_url, record.code)


def describe_sources(counts: Mapping[str, int]) -> str:
    """Return the sources with their counts, the largest first: `embedded (235), flagcdn (14)`."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{source} ({number})" for source, number in ordered)


async def stored_sources(sink: FileSink, own: SourcePreset) -> Counter[str]:
    """Return how many stored countries came from each source, or nothing if all of them came from *own*."""
    if await _noted_sources(sink) == [own.name]:
        return Counter()
    counts = count_sources((await sink.records()).values(), own=own)
    return counts if counts.keys() - {own.name} else Counter()


async def note_sources(sink: FileSink, sources: Collection[str]) -> None:
    """Write down which *sources* fill the store, before the first of their files is stored."""
    await sink.write(SOURCES_PATH, dump_json(sorted({*sources})))


async def _noted_sources(sink: FileSink) -> list[str]:
    content = await sink.read_hint(SOURCES_PATH)
    try:
        return _NAMES.validate_json(content or b"[]")
    except ValueError:
        return []
