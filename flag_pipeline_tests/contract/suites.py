"""Dagster's own storage suites, on our SQLite storages and on Dagster's.

A plain `pytest` does not collect them, because they come from Dagster's source distribution: `.ci/contract` fetches it.
The environment variable CONTRACT_CLASSES says which classes are tested: `ours`, `compressed` (ours, with compressed
events, as in new instances) or `dagster`.
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

CLASSES = os.environ["CONTRACT_CLASSES"]
OURS = CLASSES != "dagster"


def blocks(home: Path) -> dict[str, Any]:
    """Return the storage blocks of `dagster.yaml`, empty for Dagster's own classes."""
    if not OURS:
        return {}
    module = "flag_pipeline.dagster_storage"
    return {
        "event_log_storage": {
            "module": f"{module}.sqlite_event_log",
            "class": "EmbeddedEventLogStorage",
            "config": {"base_dir": str(home / "history" / "runs"), "compress": CLASSES == "compressed"},
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
    """Gives each test an instance in its own folder, and the instance's storage.

    Attributes:
        storage_name: the attribute of the instance.
        storage_class: Dagster's class, which ours extends.
    """

    storage_name: str
    storage_class: type

    @pytest.fixture
    def instance(self, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
        """Give an instance with the storages under test."""
        with dg.instance_for_test(temp_dir=str(tmp_path), overrides=blocks(tmp_path)) as instance:
            yield instance

    @pytest.fixture(name="storage")
    def storage_under_test(self, instance: dg.DagsterInstance) -> Any:
        """Give the storage, which is of the class that this run is for."""
        storage = getattr(instance, self.storage_name)
        assert isinstance(storage, self.storage_class)
        assert type(storage).__module__.startswith("flag_pipeline.") is OURS
        return storage


class TestEventLog(OnInstance, TestSqliteEventLogStorage):  # type: ignore[misc]
    """The suite of the event log."""

    __test__ = True
    storage_name = "event_log_storage"
    storage_class = SqliteEventLogStorage

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
    storage_name = "run_storage"
    storage_class = SqliteRunStorage


class TestSchedules(OnInstance, TestScheduleStorage):
    """The suite of the schedule storage."""

    __test__ = True
    storage_name = "schedule_storage"
    storage_class = SqliteScheduleStorage


# Imported for their tests; only the subclasses above are collected.
TestSqliteEventLogStorage.__test__ = TestSqliteRunStorage.__test__ = False
