"""Version 0.1's path in `dagster.yaml` of `dagster_storage/run_queue.py`."""

from flag_pipeline.dagster_storage.run_queue import PoolLimitingRunCoordinator

__all__ = ["PoolLimitingRunCoordinator"]
