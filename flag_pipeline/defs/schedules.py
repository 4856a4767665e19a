"""The schedule: every country, every night."""

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from flag_pipeline.defs.jobs import refresh_flags
from flag_pipeline.defs.partitions import partition_stretches


def daily_refresh(codes: list[str], *, max_per_run: int | None) -> dg.ScheduleDefinition:
    """Return the schedule; each run has at most *max_per_run* countries."""

    @dg.schedule(
        name="daily_refresh",
        job=refresh_flags,
        cron_schedule="15 3 * * *",
        execution_timezone="UTC",
        description="Fetch every country at 03:15 UTC.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        tick = context.scheduled_execution_time.isoformat()
        return [
            dg.RunRequest(
                run_key=f"{tick} {first}",
                tags={ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last},
            )
            for first, last in partition_stretches(codes, max_per_run=max_per_run)
        ]

    return schedule
