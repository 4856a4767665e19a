"""The embedded storages of runs and of schedules are Dagster's own, on the same files."""

import multiprocessing
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage

from flag_pipeline.dagster_storage.connection_pool import ConnectionPool
from flag_pipeline.dagster_storage.sqlite_files import driver_of, instance_folder
from flag_pipeline.dagster_storage.sqlite_runs import EmbeddedRunStorage, EmbeddedScheduleStorage
from flag_pipeline.settings import project_root

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

TIMEOUT_S = 30.0
RUN_STORAGES = [EmbeddedRunStorage, SqliteRunStorage]
SCHEDULE_STORAGES = [EmbeddedScheduleStorage, SqliteScheduleStorage]
TICK = TickData(
    "origin", "daily_refresh", InstigatorType.SCHEDULE, TickStatus.SKIPPED, 1_790_000_000.0, selector_id="s"
)


@pytest.mark.parametrize("reads", RUN_STORAGES)
@pytest.mark.parametrize("writes", RUN_STORAGES)
def test_either_class_opens_the_others_runs(
    tmp_path: Path, writes: type[SqliteRunStorage], reads: type[SqliteRunStorage]
) -> None:
    """Runs, tags and cursors are there, and so is what is written next."""
    before = writes.from_local(str(tmp_path))
    before.add_run(dg.DagsterRun("refresh_flags", run_id="1", tags={"country": "CN"}))
    before.set_cursor_values({"healing": "7"})

    after = reads.from_local(str(tmp_path))
    after.add_run(dg.DagsterRun("refresh_flags", run_id="2", tags={"country": "IN"}))

    for storage in (before, after):
        assert [run.tags["country"] for run in storage.get_runs()] == ["IN", "CN"]
        assert [run.run_id for run in storage.get_runs(dg.RunsFilter(tags={"country": "CN"}))] == ["1"]
        assert storage.get_cursor_values({"healing"}) == {"healing": "7"}
        assert storage.get_run_storage_id() == before.get_run_storage_id()


@pytest.mark.parametrize("reads", SCHEDULE_STORAGES)
@pytest.mark.parametrize("writes", SCHEDULE_STORAGES)
def test_either_class_opens_the_others_ticks(
    tmp_path: Path, writes: type[SqliteScheduleStorage], reads: type[SqliteScheduleStorage]
) -> None:
    """Ticks are there, and so are those made next."""
    before = writes.from_local(str(tmp_path))
    before.create_tick(TICK)

    after = reads.from_local(str(tmp_path))
    after.create_tick(TICK)

    assert [tick.tick_data for tick in before.get_ticks("origin", "s")] == [TICK, TICK]
    assert before.alembic_version() == after.alembic_version()


def test_an_older_file_is_completed(tmp_path: Path) -> None:
    """A file from before Dagster's latest table gets it, as from Dagster's own class."""
    SqliteRunStorage.from_local(str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        connection.execute("DROP TABLE instance_info")

    assert EmbeddedRunStorage.from_local(str(tmp_path)).get_run_storage_id()


@pytest.mark.parametrize("storage_class", [EmbeddedRunStorage, EmbeddedScheduleStorage])
def test_a_locked_file_is_waited_for_as_long_as_in_the_event_log(
    tmp_path: Path, storage_class: type[EmbeddedRunStorage | EmbeddedScheduleStorage]
) -> None:
    """Another process may keep a file locked for a minute, as a backup does; SQLite's own 5 s would fail the run."""
    storage = storage_class.from_local(str(tmp_path))
    pool = ConnectionPool(tmp_path, synchronous="NORMAL")

    with storage.connect() as connection, closing(pool.open_file(tmp_path / "index.db")) as index:
        waits_ms = [driver.execute("PRAGMA busy_timeout").fetchone()[0] for driver in (driver_of(connection), index)]

    assert waits_ms == [120_000, 120_000]


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """What was written before the error is taken back."""
    storage = EmbeddedRunStorage.from_local(str(tmp_path))
    run = dg.DagsterRun("refresh_flags", run_id="1")
    storage.add_run(run)

    with pytest.raises(DagsterRunAlreadyExists):
        storage.add_run(run)

    assert storage.get_runs_count() == 1


def test_the_committed_settings_choose_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They lie where Dagster's own classes look for them."""
    settings = (project_root() / "dagster_home" / "dagster.yaml").read_text(encoding="utf-8")
    (tmp_path / "dagster.yaml").write_text(settings, encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.run_storage, EmbeddedRunStorage)
        assert isinstance(instance.schedule_storage, EmbeddedScheduleStorage)

    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    with dg.DagsterInstance.get() as stock:
        assert stock.get_runs_count() == 0
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*s.db")} == {
        "history/runs.db",
        "schedules/schedules.db",
    }


def test_the_folder_is_given_or_the_homes(monkeypatch: pytest.MonkeyPatch) -> None:
    """`base_dir` comes first; without either, the error is one sentence."""
    monkeypatch.setenv("DAGSTER_HOME", "/home")
    assert instance_folder({}, "history") == str(Path("/home/history"))
    assert instance_folder({"base_dir": "/there"}, "history") == "/there"
    monkeypatch.setenv("DAGSTER_HOME", "~/home")
    assert instance_folder({}, "history") == str(Path.home() / "home" / "history")

    monkeypatch.delenv("DAGSTER_HOME")
    assert instance_folder({"base_dir": "/there"}, "history") == "/there"
    for nothing in ({}, {"base_dir": ""}):
        with pytest.raises(dg.DagsterInvariantViolationError, match="base_dir"):
            instance_folder(nothing, "history")


def open_at_once(home: str, at_once: "Barrier") -> None:
    """Open both storages of a home that does not exist yet."""
    at_once.wait(TIMEOUT_S)
    EmbeddedRunStorage.from_local(home).get_runs_count()
    EmbeddedScheduleStorage.from_local(home).all_instigator_state()


def test_processes_may_open_a_new_home_at_once(tmp_path: Path) -> None:
    """The first process makes the files, and the others wait for it."""
    spawn = multiprocessing.get_context("spawn")
    at_once = spawn.Barrier(3)
    processes = [spawn.Process(target=open_at_once, args=(str(tmp_path / "new"), at_once)) for _ in range(3)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT_S)

    assert [process.exitcode for process in processes] == [0, 0, 0]
