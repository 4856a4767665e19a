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


def plan_partitions(context: dg.AssetExecutionContext, codes: Iterable[str], *, step: str) -> None:
    """Record for each asset of the run that its *step* intends to materialize *codes*."""
    intents = [(key, code) for key in sorted(context.selected_asset_keys) for code in codes]
    batch_id = generate_event_batch_id()  # type: ignore[no-untyped-call]
    for number, (key, code) in enumerate(intents, start=1):
        context.instance.report_dagster_event(
            DagsterEvent.build_asset_materialization_planned_event(
                context.run.job_name,
                step,
                AssetMaterializationPlannedData(key, partition=code),
            ),
            context.run.run_id,
            batch_metadata=DagsterEventBatchMetadata(batch_id, is_end=number == len(intents)),
        )
