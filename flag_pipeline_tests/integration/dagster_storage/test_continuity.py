"""An instance of version 0.1 goes on: its `dagster.yaml` names classes by paths that are aliases now."""

from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.dagster_storage.sqlite_event_log import EmbeddedEventLogStorage
from flag_pipeline.dagster_storage.sqlite_runs import EmbeddedRunStorage, EmbeddedScheduleStorage

SETTINGS_OF_VERSION_0_1 = """
event_log_storage:
  module: flag_pipeline.event_log
  class: EmbeddedEventLogStorage
  config: {}
run_storage:
  module: flag_pipeline.run_storage
  class: EmbeddedRunStorage
  config: {}
schedule_storage:
  module: flag_pipeline.run_storage
  class: EmbeddedScheduleStorage
  config: {}
"""
SETTINGS_OF_TODAY = SETTINGS_OF_VERSION_0_1.replace(
    "flag_pipeline.event_log", "flag_pipeline.dagster_storage.sqlite_event_log"
).replace("flag_pipeline.run_storage", "flag_pipeline.dagster_storage.sqlite_runs")


@dg.asset
def flag() -> None:
    """Return nothing."""


def test_paths_of_version_0_1_are_the_classes_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was recorded with the old settings is read with the new ones, and the other way round."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for number, settings in enumerate((SETTINGS_OF_VERSION_0_1, SETTINGS_OF_TODAY, SETTINGS_OF_VERSION_0_1), start=1):
        (tmp_path / "dagster.yaml").write_text(settings)

        with dg.DagsterInstance.get() as instance:
            assert dg.materialize([flag], instance=instance).success

            assert isinstance(instance.event_log_storage, EmbeddedEventLogStorage)
            assert isinstance(instance.run_storage, EmbeddedRunStorage)
            assert isinstance(instance.schedule_storage, EmbeddedScheduleStorage)
            assert len(instance.fetch_materializations(flag.key, limit=9).records) == number
            assert len(instance.get_runs()) == number


def test_alias_of_the_run_queue_is_the_class_of_today() -> None:
    """The settings of a fleet name it by this path."""
    from flag_pipeline.dagster_storage import run_queue as today
    from flag_pipeline.run_queue import PoolLimitingRunCoordinator

    assert PoolLimitingRunCoordinator is today.PoolLimitingRunCoordinator


def test_alias_of_the_postgres_event_log_is_the_class_of_today() -> None:
    """The settings of a fleet name it by this path."""
    pytest.importorskip("dagster_postgres")
    from flag_pipeline.dagster_storage import postgres_event_log as today
    from flag_pipeline.postgres_event_log import PooledPostgresEventLogStorage

    assert PooledPostgresEventLogStorage is today.PooledPostgresEventLogStorage
