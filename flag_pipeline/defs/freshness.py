"""Fetch times of countries, which may be earlier than their latest materialization."""

from collections.abc import Collection, Iterable
from datetime import datetime

import dagster as dg

from flag_pipeline.defs.events import EVENT_TAGS
from flag_pipeline.isolation.status import materializations_at


def fetched_at(record: dg.EventLogRecord) -> float:
    """Return the fetch time in seconds since the epoch.

    A materialization copied from a retried run has the original time in a tag.
    """
    materialization = record.asset_materialization
    tags = materialization.tags if materialization else None
    return float((tags or {}).get(EVENT_TAGS.recorded_at, record.timestamp))


def fetched_before(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, codes: Iterable[str], moment: datetime
) -> list[str]:
    """Return those of *codes* whose latest successful fetch was before *moment* (aware), sorted.

    Only events of re-executed runs are read, because those may be copies, and reading every event takes six times as
    long.
    """
    storage = instance.event_log_storage
    latest = storage.get_latest_storage_id_by_partition(asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION)
    storage_ids = [latest[code] for code in codes if code in latest]
    recorded = storage.get_asset_event_summary_records(
        dg.DagsterEventType.ASSET_MATERIALIZATION, asset_key, storage_ids=storage_ids
    )
    reexecuted = _reexecuted(instance, {event.run_id for event in recorded if event.run_id})
    suspects = [event.storage_id for event in recorded if event.run_id in reexecuted]
    times = {event.partition: event.timestamp for event in recorded if event.partition}
    for code, record in materializations_at(instance, asset_key, suspects).items():
        times[code] = fetched_at(record)
    return sorted(code for code, at in times.items() if at < moment.timestamp())


def _reexecuted(instance: dg.DagsterInstance, run_ids: Collection[str]) -> set[str]:
    if not run_ids:
        return set()
    runs = instance.get_runs(dg.RunsFilter(run_ids=sorted(run_ids)))
    return {run.run_id for run in runs if run.get_parent_run_id()}
