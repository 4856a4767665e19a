"""Version 0.1's path in `dagster.yaml` of `dagster_storage/sqlite_runs.py`."""

from flag_pipeline.dagster_storage.sqlite_runs import EmbeddedRunStorage, EmbeddedScheduleStorage

__all__ = ["EmbeddedRunStorage", "EmbeddedScheduleStorage"]
