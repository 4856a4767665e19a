"""Which sources filled a store."""

import json
from dataclasses import replace
from pathlib import Path

from flag_pipeline.core.layout import SOURCES_PATH
from flag_pipeline.core.models import FlagRecord
from flag_pipeline.core.presets import EMBEDDED, find_preset
from flag_pipeline.core.provenance import (
    stored_sources,
    write_sources,
)
from flag_pipeline.core.sink import FileSink
from flag_pipeline_tests.samples import flag, record

OTHER = find_preset("https://other.example/flags")


def record_from(source: str, code: str) -> FlagRecord:
    """A stored country whose flag came from the source."""
    known = record(code)
    assert known.image is not None
    return replace(known, image=replace(known.image, source_url=find_preset(source).flag_url(code)))


async def test_a_store_is_counted_until_its_sources_are_written_down(sink: FileSink, tmp_path: Path) -> None:
    """What is written down is believed; without it, or when it cannot be read, every record is counted."""
    for code, source in (("AD", "embedded"), ("AE", "embedded"), ("AF", OTHER.name)):
        await sink.save(record_from(source, code), image=flag())

    counted = await stored_sources(sink, EMBEDDED)
    (tmp_path / SOURCES_PATH).write_bytes(b'{"not": "a list"}')
    unreadable = await stored_sources(sink, EMBEDDED)
    await write_sources(sink, {*counted})
    mixed = await stored_sources(sink, EMBEDDED)
    await write_sources(sink, {"embedded"})

    assert counted == unreadable == mixed == {"embedded": 2, OTHER.name: 1}
    assert await stored_sources(sink, EMBEDDED) == {}
    assert json.loads((tmp_path / SOURCES_PATH).read_bytes()) == ["embedded"]


async def test_a_store_of_one_source_or_none_has_no_other(sink: FileSink) -> None:
    """There is nothing to warn of."""
    empty = await stored_sources(sink, EMBEDDED)
    await sink.save(record_from("embedded", "AD"), image=flag())

    assert empty == await stored_sources(sink, EMBEDDED) == {}


async def test_a_record_that_cannot_be_read_counts_for_no_source(sink: FileSink, tmp_path: Path) -> None:
    """There is a folder in its place."""
    await sink.save(record_from("embedded", "AD"), image=flag())
    await sink.save(record_from("embedded", "AE"), image=flag())
    (tmp_path / "records/AE.json").unlink()
    (tmp_path / "records/AE.json").mkdir()

    assert await stored_sources(sink, find_preset("flagcdn")) == {"embedded": 1}


async def test_a_folder_in_place_of_the_names_costs_nothing(sink: FileSink, tmp_path: Path) -> None:
    """The records are counted instead."""
    await sink.save(record_from("embedded", "AD"), image=flag())
    (tmp_path / SOURCES_PATH).mkdir()

    assert await stored_sources(sink, find_preset("flagcdn")) == {"embedded": 1}
