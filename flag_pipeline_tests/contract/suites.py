"""Dagster's own storage suites, on our SQLite storages and on Dagster's.

A plain `pytest` does not collect them, because they come from Dagster's source distribution: `.ci/contract` fetches it.
The environment variable CONTRACT_CLASSES says which classes are tested: `ours` or `dagster`.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._utils.test.schedule_storage import TestScheduleStorage
from dagster_tests.storage_tests.test_event_log import TestSqliteEventLogStorage
from dagster_tests.storage_tests.test_run_storage import TestSqliteRunStorage

OURS = os.environ["CONTRACT_CLASSES"] == "ours"


def blocks(home: Path) -> dict[str, Any]:
    """Return the storage blocks of `dagster.yaml`, empty for Dagster's own classes."""
    if not OURS:
        return {}
    module = "flag_pipeline.dagster_storage"
    return {
        "event_log_storage": {
            "module": f"{module}.sqlite_event_log",
            "class": "EmbeddedEventLogStorage",
            "config": {"base_dir": str(home / "history" / "runs")},
        },
        "run_storage": {
            "module": f"{module}.sqlite_runs",
            "class": "EmbeddedRunStorage",
            "config": {"base_dir": str(home / "history")},
        },
        "schedule_storage": {
            "module": f"{module}.sqlite_runs",
            "class": "EmbeddedScheduleStorage",
            "config": {"base_dir": str(home / "schedules")},
        },
    }


class OnInstance:
    """Gives each test an instance in its own folder."""

    @pytest.fixture
    def instance(self, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
        """Give an instance with the storages under test."""
        with dg.instance_for_test(temp_dir=str(tmp_path), overrides=blocks(tmp_path)) as instance:
            yield instance


def is_of_the_class_under_test(storage: object) -> bool:
    """Whether the instance uses the class that this run is for."""
    return type(storage).__module__.startswith("flag_pipeline.") is OURS


class TestEventLog(OnInstance, TestSqliteEventLogStorage):  # type: ignore[misc]
    """The suite of the event log."""

    __test__ = True

    @pytest.fixture(name="storage")
    def event_log_storage(self, instance: dg.DagsterInstance) -> SqliteEventLogStorage:
        """Give the instance's event log."""
        storage = instance.event_log_storage
        assert isinstance(storage, SqliteEventLogStorage)
        assert is_of_the_class_under_test(storage)
        return storage

    def cmd(self, exceptions: Any, tmpdir_path: str) -> None:
        """Read from another process, with the class under test."""
        from flag_pipeline.dagster_storage.sqlite_event_log import EmbeddedEventLogStorage

        try:
            (EmbeddedEventLogStorage if OURS else SqliteEventLogStorage)(tmpdir_path).get_logs_for_run("foo")
        except Exception as exc:  # noqa: BLE001 - the parent process asserts that there was none
            exceptions.put(exc)


class TestRuns(OnInstance, TestSqliteRunStorage):  # type: ignore[misc]
    """The suite of the run storage."""

    __test__ = True

    @pytest.fixture(name="storage")
    def run_storage(self, instance: dg.DagsterInstance) -> SqliteRunStorage:
        """Give the instance's run storage."""
        storage = instance.run_storage
        assert isinstance(storage, SqliteRunStorage)
        assert is_of_the_class_under_test(storage)
        return storage


class TestSchedules(OnInstance, TestScheduleStorage):
    """The suite of the schedule storage."""

    __test__ = True

    @pytest.fixture(name="storage")
    def schedule_storage(self, instance: dg.DagsterInstance) -> SqliteScheduleStorage:
        """Give the instance's schedule storage."""
        storage = instance.schedule_storage
        assert isinstance(storage, SqliteScheduleStorage)
        assert is_of_the_class_under_test(storage)
        return storage


# Imported for their tests; only the subclasses above are collected.
TestSqliteEventLogStorage.__test__ = TestSqliteRunStorage.__test__ = False
