"""Planned partitions for a run that was launched with a list of countries.

Dagster knows which partitions a run intends from its range tags, and paints those red that a failed run did not
deliver. A run over a scattered list has no range; it says itself what it intends, with the very events that Dagster
writes for a ranged run.
"""

from collections.abc import Iterable

import dagster as dg
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    generate_event_batch_id,
)


def plan_partitions(
    instance: dg.DagsterInstance, run: dg.DagsterRun, keys: Iterable[dg.AssetKey], codes: Iterable[str], *, step: str
) -> None:
    """Record for each of the assets that the run's *step* intends to materialize *codes*."""
    intents = [(key, code) for key in sorted(keys) for code in codes]
    batch_id = generate_event_batch_id()  # type: ignore[no-untyped-call]
    for number, (key, code) in enumerate(intents, start=1):
        instance.report_dagster_event(
            DagsterEvent.build_asset_materialization_planned_event(
                run.job_name,
                step,
                AssetMaterializationPlannedData(key, partition=code),
            ),
            run.run_id,
            batch_metadata=DagsterEventBatchMetadata(batch_id, is_end=number == len(intents)),
        )


def has_plan(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run's partitions were recorded as planned when it was launched."""
    of_type = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    entries = instance.all_logs(run.run_id, of_type=of_type)
    return any(entry.dagster_event is not None and entry.dagster_event.partition is not None for entry in entries)
