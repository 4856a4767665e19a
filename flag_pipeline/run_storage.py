"""The path by which `dagster.yaml` files of version 0.1 name what is now in `dagster_storage/sqlite_runs.py`."""

from flag_pipeline.dagster_storage.sqlite_runs import EmbeddedRunStorage, EmbeddedScheduleStorage

__all__ = ["EmbeddedRunStorage", "EmbeddedScheduleStorage"]
