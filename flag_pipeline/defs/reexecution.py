"""Re-execution of a run in which some countries failed: only those are fetched again.

Dagster plans the whole range again, and paints what a failed run planned and did not record red. So what the retried
run had recorded is recorded once more, without asking the source.
"""

import dagster as dg

from flag_pipeline.defs.ledger import OUTCOME_TAG, RecordedOutcome, latest_materializations
from flag_pipeline.defs.recording import record_events

RETRIED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def carry_over(context: dg.AssetExecutionContext, codes: list[str]) -> list[str]:
    """Record again what the run that this one retries had fetched, and return the codes that are still to fetch.

    Re-executing a run that succeeded fetches everything: nothing had failed, so that must be what is wanted.
    """
    settled = set(codes) & _fetched_by_parent(context)
    events = []
    for key in sorted(context.selected_asset_keys):
        for code, record in latest_materializations(context.instance, key, sorted(settled)).items():
            recorded = record.asset_materialization
            if recorded is not None:
                tags = {**(recorded.tags or {}), OUTCOME_TAG: RecordedOutcome.CARRIED_OVER.value}
                events.append(dg.AssetMaterialization(key, partition=code, metadata=recorded.metadata, tags=tags))
    record_events(context, events)
    return [code for code in codes if code not in settled]


def _fetched_by_parent(context: dg.AssetExecutionContext) -> set[str]:
    """The countries that the retried run recorded for every asset of this run."""
    parent_id = context.run.get_parent_run_id()
    parent = context.instance.get_run_by_id(parent_id) if parent_id else None
    if parent is None or parent.status not in RETRIED:
        return set()
    by_asset: dict[dg.AssetKey, set[str]] = {key: set() for key in context.selected_asset_keys}
    for entry in context.instance.all_logs(parent.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        event = entry.dagster_event
        if event is not None and event.asset_key in by_asset and event.partition is not None:
            by_asset[event.asset_key].add(event.partition)
    return set.intersection(*by_asset.values()) if by_asset else set()
