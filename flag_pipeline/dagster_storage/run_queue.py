"""Dagster's run queue with the limits of its pools in force from the first run on.

The daemon reads which pools have a limit before it gives the default limit of `dagster.yaml` to the others. So the
first runs of a new instance would all start at once, up to `max_concurrent_runs`.
"""

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

__all__ = ["PoolLimitingRunCoordinator"]


class PoolLimitingRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, which gives the pools of a run their limit before it accepts the run.

    Chosen in `dagster.yaml`, with the configuration of Dagster's own class:

        run_coordinator:
          module: flag_pipeline.dagster_storage.run_queue
          class: PoolLimitingRunCoordinator
    """

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Queue the run: the UI, schedules, sensors and backfills all submit through here."""
        concurrency = context.dagster_run.run_op_concurrency
        if concurrency and concurrency.all_pools:
            storage = self._instance.event_log_storage
            for pool in concurrency.all_pools - storage.get_concurrency_keys():
                storage.initialize_concurrency_limit_to_default(pool)
        return super().submit_run(context)
