"""The path by which `dagster.yaml` files of version 0.1 name what is now in `dagster_storage/run_queue.py`."""

from flag_pipeline.dagster_storage.run_queue import PoolLimitingRunCoordinator

__all__ = ["PoolLimitingRunCoordinator"]
