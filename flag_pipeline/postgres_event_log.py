"""The path by which `dagster.yaml` files of version 0.1 name what is now in `dagster_storage/postgres_event_log.py`."""

from flag_pipeline.dagster_storage.postgres_event_log import PooledPostgresEventLogStorage

__all__ = ["PooledPostgresEventLogStorage"]
