'''Partition isolation for any Dagster asset: one run over many partitions, each of which succeeds or fails alone.

    import dagster as dg
    from flag_pipeline.isolation import Absent, PartitionsConfig, healing_sensor, per_partition

    @dg.asset(
        partitions_def=dg.DailyPartitionsDefinition("2026-01-01"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version="1",
    )
    @per_partition(max_concurrent=32, timeout_s=20, retry_policy=dg.RetryPolicy(max_retries=2, delay=0.5))
    async def rate(context: dg.AssetExecutionContext, partition_key: str, config: PartitionsConfig, bank: Bank):
        """The exchange rate of each day."""
        value = await bank.rate_on(partition_key)  # whatever is raised here fails this day only
        if value is None:
            return Absent("the bank was closed")
        return dg.MaterializeResult(metadata={"rate": value}, data_version=dg.DataVersion(str(value)))

    refresh = dg.define_asset_job("refresh", [rate])
    defs = dg.Definitions([rate], jobs=[refresh], sensors=[healing_sensor(rate, refresh)], resources={"bank": Bank()})

Each outcome is recorded at once. In the end the run fails if a partition failed; "Re-execute from failure" runs only
the failed ones. See `docs/isolation.md`.
'''

from flag_pipeline.isolation.concurrency import Limits
from flag_pipeline.isolation.dagster_private import plan_partitions
from flag_pipeline.isolation.event_tags import EventTags, RecordedOutcome, read_outcome
from flag_pipeline.isolation.healing import HealingPlan, HealingPolicy, healing_sensor, plan_healing
from flag_pipeline.isolation.hooks import Hooks, Verdict
from flag_pipeline.isolation.outcomes import Absent, Failed, Missed, Outcome, Unchanged
from flag_pipeline.isolation.partitions_config import PartitionsConfig
from flag_pipeline.isolation.per_partition import partition_fn, per_partition
from flag_pipeline.isolation.running import run_partitions
from flag_pipeline.isolation.status import (
    LastMiss,
    PartitionStatuses,
    interrupted_partitions,
    read_statuses,
)
from flag_pipeline.isolation.summary import Interrupted, Reporting, Summary, failure

__all__ = [
    "Absent",
    "EventTags",
    "Failed",
    "HealingPlan",
    "HealingPolicy",
    "Hooks",
    "Interrupted",
    "LastMiss",
    "Limits",
    "Missed",
    "Outcome",
    "PartitionStatuses",
    "PartitionsConfig",
    "RecordedOutcome",
    "Reporting",
    "Summary",
    "Unchanged",
    "Verdict",
    "failure",
    "healing_sensor",
    "interrupted_partitions",
    "partition_fn",
    "per_partition",
    "plan_healing",
    "plan_partitions",
    "read_outcome",
    "read_statuses",
    "run_partitions",
]
