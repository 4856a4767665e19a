"""Dagster's queue of runs with the limits of its pools in force from the first run on.

The daemon asks which pools have a limit, and only then gives the default limit of `dagster.yaml` to those without one.
So the first runs of a new instance would all pass, as many at once as `max_concurrent_runs` allows.
"""

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

__all__ = ["PoolLimitingRunCoordinator"]


class PoolLimitingRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, which gives a run's pools their limit before it takes the run.

    Chosen in `dagster.yaml`, with the configuration of Dagster's own class:

        run_coordinator:
          module: flag_pipeline.run_queue
          class: PoolLimitingRunCoordinator
    """

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Queue the run, whoever asks for it: a person, a schedule, a sensor or a backfill."""
        concurrency = context.dagster_run.run_op_concurrency
        if concurrency and concurrency.all_pools:
            storage = self._instance.event_log_storage
            for pool in concurrency.all_pools - storage.get_concurrency_keys():
                storage.initialize_concurrency_limit_to_default(pool)
        return super().submit_run(context)
