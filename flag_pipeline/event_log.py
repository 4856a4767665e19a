"""Version 0.1's path in `dagster.yaml` of `dagster_storage/sqlite_event_log.py`."""

from flag_pipeline.dagster_storage.sqlite_event_log import EmbeddedEventLogStorage

__all__ = ["EmbeddedEventLogStorage"]
