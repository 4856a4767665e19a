"""Re-execution of a run in which some countries failed: only those are fetched again.

Dagster plans the whole range again, and paints what a failed run planned and did not record red. So what the retried
run had recorded, and still stands, is recorded once more, without asking the source.
"""

import dagster as dg

from flag_pipeline.core.listing import list_store
from flag_pipeline.defs.freshness import FETCHED_AT_TAG, fetched_at
from flag_pipeline.defs.interrupted import RETRIED
from flag_pipeline.defs.ledger import (
    ONLY_ROW_CHANGED_TAG,
    OUTCOME_TAG,
    RecordedOutcome,
    latest_materializations,
    read_ledger,
)
from flag_pipeline.defs.recording import record_events


def carry_over(context: dg.AssetExecutionContext, codes: list[str], *, store: str) -> list[str]:
    """Record again what the run that this one retries had fetched, and return the codes that are still to fetch.

    What the *store* has lost since is fetched again.
    What has failed or was wiped since then is fetched: recorded again, it would count as fetched by all who ask the
    ledger. Re-executing a run that succeeded fetches everything: nothing had failed, so that must be what is wanted.
    """
    settled = set(codes) & _fetched_by_parent(context)
    stored = list_store(store) if settled else None
    for key in context.selected_asset_keys:
        settled &= set(read_ledger(context.instance, key, settled, stored).materialized)
    records = [
        record
        for key in sorted(context.selected_asset_keys)
        for record in latest_materializations(context.instance, key, sorted(settled)).values()
    ]
    record_events(
        context, [_again(said, fetched_at(record)) for record in records if (said := record.asset_materialization)]
    )
    return [code for code in codes if code not in settled]


def _again(said: dg.AssetMaterialization, at: float) -> dg.AssetMaterialization:
    """Return the event that says what was *said* once more, of a country that was fetched *at* that time."""
    # A row that changed alone did so in the run that recorded it first, which the catalog follows.
    tags = {tag: value for tag, value in (said.tags or {}).items() if tag != ONLY_ROW_CHANGED_TAG}
    tags |= {OUTCOME_TAG: RecordedOutcome.CARRIED_OVER.value, FETCHED_AT_TAG: repr(at)}
    return dg.AssetMaterialization(said.asset_key, partition=said.partition, metadata=said.metadata, tags=tags)


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
