"""Dagster's run queue with pool limits from the first run on.

In Dagster's queue, an instance's first runs all start at once, because the daemon reads the limits before it sets the
default.
"""

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

__all__ = ["PoolLimitingRunCoordinator"]


class PoolLimitingRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, which first sets the limits of a run's pools.

    Chosen in `dagster.yaml`:

        run_coordinator:
          module: flag_pipeline.dagster_storage.run_queue
          class: PoolLimitingRunCoordinator
    """

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Queue a run. All submissions come here."""
        concurrency = context.dagster_run.run_op_concurrency
        if concurrency and concurrency.all_pools:
            storage = self._instance.event_log_storage
            for pool in concurrency.all_pools - storage.get_concurrency_keys():
                storage.initialize_concurrency_limit_to_default(pool)
        return super().submit_run(context)
