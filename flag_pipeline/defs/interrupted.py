"""Runs that ended before they had asked for every country that they intended to fetch."""

from collections.abc import Collection, Mapping

import dagster as dg
from dagster import DagsterEventType, DagsterInstance

# How a run ends that did not do all it was asked to.
RETRIED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
# On a run that asked the source for nothing: what it had planned stands as it was.
REFUSED_TAG = "flag_pipeline/refused"


def is_refused(run: dg.DagsterRun) -> bool:
    """Whether the run was stopped before it asked the source for anything."""
    return run.tags.get(REFUSED_TAG) == "true"


def not_asked(instance: DagsterInstance, asset_key: dg.AssetKey, recorded: Mapping[str, int]) -> dict[str, str]:
    """Return the codes that an ended run intended to fetch after what was *recorded* of them last, with its id."""
    storage = instance.event_log_storage
    planned = storage.get_latest_storage_id_by_partition(asset_key, DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    # What was never recorded is missing anyway.
    since = {code: at for code, at in recorded.items() if 0 <= at < planned.get(code, -1)}
    if not since:
        return {}
    events = storage.get_asset_event_summary_records(
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset_key, after_storage_id=min(since.values())
    )
    interrupted = _interrupted_runs(instance, {event.run_id for event in events if event.run_id})
    return {
        event.partition: event.run_id
        for event in sorted(events, key=lambda event: event.storage_id)
        if event.partition in since and event.storage_id > since[event.partition] and event.run_id in interrupted
    }


def _interrupted_runs(instance: DagsterInstance, run_ids: Collection[str]) -> set[str]:
    """Return those of the runs that ended before they were done; one that was refused had nothing to do."""
    ended = instance.get_runs(dg.RunsFilter(run_ids=sorted(run_ids), statuses=list(RETRIED)))
    return {run.run_id for run in ended if not is_refused(run)}
