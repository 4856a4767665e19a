"""Version 0.1's path in `dagster.yaml` of `dagster_storage/postgres_event_log.py`."""

from flag_pipeline.dagster_storage.postgres_event_log import PooledPostgresEventLogStorage

__all__ = ["PooledPostgresEventLogStorage"]
