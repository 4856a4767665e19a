"""When and where countries were fetched, maybe before their latest materialization."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from flag_pipeline.defs.events import EVENT_TAGS
from flag_pipeline.defs.source_guard import SOURCE_TAG
from flag_pipeline.isolation.status import materializations_at


@dataclass(frozen=True, slots=True)
class Fetch:
    """A country's latest successful fetch.

    Attributes:
        at: seconds since the epoch.
    """

    at: float
    run_id: str


def fetched_at(record: dg.EventLogRecord) -> float:
    """Return the fetch time in seconds since the epoch.

    Materializations copied from a retried run have it in a tag.
    """
    materialization = record.asset_materialization
    tags = materialization.tags if materialization else None
    return float((tags or {}).get(EVENT_TAGS.recorded_at, record.timestamp))


def fetched_before(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, codes: Iterable[str], moment: datetime
) -> list[str]:
    """Return those of *codes* whose latest successful fetch was before *moment* (aware), sorted."""
    fetches = latest_fetches(instance, asset_key, codes)
    return sorted(code for code, fetch in fetches.items() if fetch.at < moment.timestamp())


def latest_fetches(instance: dg.DagsterInstance, asset_key: dg.AssetKey, codes: Iterable[str]) -> dict[str, Fetch]:
    """Return the latest successful fetch of those of *codes* that have one.

    Only re-executed runs' events are read, because those may be copies, and reading all takes six times as long.
    """
    storage = instance.event_log_storage
    latest = storage.get_latest_storage_id_by_partition(asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION)
    storage_ids = [latest[code] for code in codes if code in latest]
    recorded = storage.get_asset_event_summary_records(
        dg.DagsterEventType.ASSET_MATERIALIZATION, asset_key, storage_ids=storage_ids
    )
    reexecuted = _reexecuted(instance, {event.run_id for event in recorded if event.run_id})
    suspects = [event.storage_id for event in recorded if event.run_id in reexecuted]
    fetches = {event.partition: Fetch(event.timestamp, event.run_id or "") for event in recorded if event.partition}
    for code, record in materializations_at(instance, asset_key, suspects).items():
        fetches[code] = Fetch(fetched_at(record), record.run_id)
    return fetches


def count_by_source(instance: dg.DagsterInstance, fetches: Mapping[str, Fetch]) -> Counter[str]:
    """Return how many of *fetches* each source answered; old versions' runs do not name theirs."""
    n_by_run = Counter(fetch.run_id for fetch in fetches.values())
    runs = instance.get_runs(dg.RunsFilter(run_ids=sorted(n_by_run))) if n_by_run else []
    counts = Counter[str]()
    for run in runs:
        if source := run.tags.get(SOURCE_TAG):
            counts[source] += n_by_run[run.run_id]
    return counts


def _reexecuted(instance: dg.DagsterInstance, run_ids: Collection[str]) -> set[str]:
    if not run_ids:
        return set()
    runs = instance.get_runs(dg.RunsFilter(run_ids=sorted(run_ids)))
    return {run.run_id for run in runs if run.get_parent_run_id()}
