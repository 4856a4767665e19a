"""Compressed events: the same answers, in a part of the space, and a way back to Dagster's own class."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flag_pipeline.dagster_storage.decompress import decompress, main
from flag_pipeline.dagster_storage.packed_events import pack, unpack
from flag_pipeline.dagster_storage.sqlite_event_log import EmbeddedEventLogStorage
from flag_pipeline_tests.unit.dagster_storage.test_sqlite_event_log import (
    QUESTIONS,
    Log,
    fill,
    log_of,
    opened,
    store_a_batch,
    tables,
)


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was filled with compressed events."""
    home = tmp_path_factory.mktemp("compressed")
    with opened(home, EmbeddedEventLogStorage, compress=True) as instance:
        fill(instance)
    return home


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """A log that Dagster's own class has filled."""
    with opened(tmp_path_factory.mktemp("plain"), Log) as instance:
        fill(instance)
        yield log_of(instance)


@given(st.text())
def test_text_is_what_it_was(text: str) -> None:
    """Any text comes back, and so does one that is not packed."""
    assert unpack(pack(text)) == text
    assert unpack(text.encode()) == text


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("question", QUESTIONS)
def test_compressed_events_give_the_same_answers(
    compressed: Path, plain: Log, question: str, *, compress: bool
) -> None:
    """With either setting, our class answers as Dagster's does from its own files."""
    with opened(compressed, EmbeddedEventLogStorage, compress=compress) as instance:
        assert QUESTIONS[question](log_of(instance)) == QUESTIONS[question](plain)


def test_events_of_both_settings_lie_in_one_file(tmp_path: Path) -> None:
    """The setting can be changed at any time."""
    with opened(tmp_path, EmbeddedEventLogStorage) as instance:
        fill(instance)
    with opened(tmp_path, EmbeddedEventLogStorage, compress=True) as instance:
        store_a_batch(log_of(instance))

    with closing(sqlite3.connect(tmp_path / "events" / "index.db")) as index:
        marks = {row[0] for row in index.execute("SELECT hex(substr(CAST(event AS BLOB), 1, 1)) FROM event_logs")}
    assert marks == {"FF", "7B"}


def test_dagsters_class_reads_decompressed_files(compressed: Path, plain: Log, tmp_path: Path) -> None:
    """The files are then those that our class writes without compression; a second time changes nothing."""
    with opened(tmp_path, EmbeddedEventLogStorage) as instance:
        fill(instance)
    files = [*compressed.glob("events/*.db"), *compressed.glob("events/.db")]

    n_changed = sum(map(decompress, files))

    assert n_changed > 50
    assert sum(map(decompress, files)) == 0
    assert tables(compressed / "events") == tables(tmp_path / "events")
    with opened(compressed, Log) as instance:
        assert [ask(log_of(instance)) for ask in QUESTIONS.values()] == [ask(plain) for ask in QUESTIONS.values()]


def test_a_compressed_event_is_a_quarter_of_its_json(tmp_path: Path) -> None:
    """That of a flag with a thumbnail is a third, because the picture is compressed already."""
    with opened(tmp_path, EmbeddedEventLogStorage) as instance:
        fill(instance)
    with closing(sqlite3.connect(tmp_path / "events" / "index.db")) as index:
        events = [row[0] for row in index.execute("SELECT event FROM event_logs")]

    assert sum(len(pack(event)) for event in events) < sum(map(len, events)) / 4


@pytest.mark.parametrize("first", ["\x01", "\x7f", "\u00ff"])
def test_partition_begins_with_any_character(tmp_path: Path, first: str) -> None:
    """Only events are packed, and no other text is taken for one."""
    with opened(tmp_path, EmbeddedEventLogStorage, compress=True) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("flag", partition=f"{first}a"))

        assert instance.get_materialized_partitions(dg.AssetKey("flag")) == {f"{first}a"}


def test_decompressing_passes_over_files_without_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kill can leave a run's file without tables; the index, which comes last, is still decompressed."""
    with opened(tmp_path, EmbeddedEventLogStorage, compress=True) as instance:
        store_a_batch(log_of(instance))
    (tmp_path / "events" / "0-killed.db").touch()
    monkeypatch.setattr(sys, "argv", ["decompress", str(tmp_path / "events")])

    main()

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0-killed.db: 0 events"
    assert lines[-1].startswith("index.db: ")
    assert lines[-1] != "index.db: 0 events"


def test_decompressing_another_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence would say that Dagster's class can be used now."""
    monkeypatch.setattr(sys, "argv", ["decompress", str(tmp_path)])

    with pytest.raises(SystemExit):
        main()
