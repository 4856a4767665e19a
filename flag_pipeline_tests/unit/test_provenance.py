"""Which sources filled a store."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from flag_pipeline.core.presets import EMBEDDED, find_preset
from flag_pipeline.core.provenance import (
    SOURCES_PATH,
    count_sources,
    describe_sources,
    note_sources,
    readable_records,
    stored_sources,
)
from flag_pipeline.core.sink import FileSink
from flag_pipeline.models import FlagRecord, StoredMetadata, Validators
from flag_pipeline_tests.samples import flag, record

OTHER = find_preset("https://other.example/flags")


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[FileSink]:
    """A sink on an empty folder."""
    async with FileSink(str(tmp_path)) as sink:
        yield sink


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
    await note_sources(sink, {*counted})
    mixed = await stored_sources(sink, EMBEDDED)
    await note_sources(sink, {"embedded"})

    assert counted == unreadable == mixed == {"embedded": 2, OTHER.name: 1}
    assert await stored_sources(sink, EMBEDDED) == {}
    assert json.loads((tmp_path / SOURCES_PATH).read_bytes()) == ["embedded"]


async def test_a_store_of_one_source_or_none_has_no_other(sink: FileSink) -> None:
    """There is nothing to warn of."""
    empty = await stored_sources(sink, EMBEDDED)
    await sink.save(record_from("embedded", "AD"), image=flag())

    assert empty == await stored_sources(sink, EMBEDDED) == {}


async def test_a_record_that_cannot_be_read_is_left_out(sink: FileSink, tmp_path: Path) -> None:
    """A folder lies in its place."""
    await sink.save(record_from("embedded", "AD"), image=flag())
    await sink.save(record_from("embedded", "AE"), image=flag())
    (tmp_path / "records/AE.json").unlink()
    (tmp_path / "records/AE.json").mkdir()

    assert [each.code for each in await readable_records(sink, ["AD", "AE"])] == ["AD"]


async def test_other_errors_are_not_hidden(sink: FileSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the store refuses is left out."""

    def fail(_content: bytes) -> NoReturn:
        raise ZeroDivisionError

    await sink.save(record_from("embedded", "AD"), image=flag())
    monkeypatch.setattr("flag_pipeline.core.sink.load_record", fail)

    with pytest.raises(ZeroDivisionError):
        await readable_records(sink, ["AD"])


def test_a_country_without_a_flag_counts_by_its_metadata() -> None:
    """And one without either for no source."""
    metadata = StoredMetadata("0" * 64, OTHER.metadata_url("AD"), Validators())

    assert count_sources([FlagRecord("AD", metadata=metadata), FlagRecord("AE")]) == {OTHER.name: 1}


def test_a_layout_at_another_address_is_its_own_source() -> None:
    """However it is called: what lies where the source has it came from it."""
    own = find_preset("fluentpython@https://mirror.example")

    assert count_sources([record_from(own.name, "AD")], own=own) == {own.name: 1}


def test_sources_are_described_by_size() -> None:
    """The largest comes first."""
    assert describe_sources({"b": 1, "a": 1, "c": 3}) == "c (3), a (1), b (1)"
