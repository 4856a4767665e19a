"""The status of every partition by its latest recorded outcome.

In Dagster's UI, failed runs paint red what they planned and did not record, even absent partitions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from flag_pipeline.isolation.dagster_private import latest_storage_ids
from flag_pipeline.isolation.event_tags import DEFAULT_TAGS, EventTags
from flag_pipeline.isolation.outcomes import Outcome

RECORDED_TYPES = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)
# Runs that may have skipped partitions.
UNSUCCESSFUL = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
MAX_IDS_PER_QUERY = 10_000  # SQLite takes 32,766 values per statement


@dataclass(frozen=True, slots=True)
class LastMiss:
    """The latest outcome of an absent or failed partition.

    Attributes:
        at: seconds since the epoch.
        metadata: as plain values.
    """

    outcome: Outcome
    kind: str
    reason: str
    is_transient: bool
    storage_id: int
    at: float
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartitionStatuses:
    """The status of one asset's partitions.

    Attributes:
        materialized: keys whose latest outcome is a materialization.
        failed, absent: latest outcomes by key.
        missing: keys without an outcome.
    """

    materialized: list[str] = field(default_factory=list)
    failed: dict[str, LastMiss] = field(default_factory=dict)
    absent: dict[str, LastMiss] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def unmaterialized(self) -> set[str]:
        """Every key that is not materialized."""
        return {*self.failed, *self.absent, *self.missing}


def read_statuses(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    partition_keys: Iterable[str],
    tags: EventTags = DEFAULT_TAGS,
) -> PartitionStatuses:
    """Return the status of each of *partition_keys*, in three or four queries."""
    materialized = latest_storage_ids(instance, asset_key)
    observed = latest_storage_ids(instance, asset_key, dg.DagsterEventType.ASSET_OBSERVATION)
    later = [storage_id for key, storage_id in observed.items() if storage_id > materialized.get(key, -1)]
    misses = _read_misses(instance, asset_key, later, tags)
    statuses = PartitionStatuses()
    for key in partition_keys:
        if miss := misses.get(key):
            (statuses.absent if miss.outcome is Outcome.ABSENT else statuses.failed)[key] = miss
        elif key in materialized:
            statuses.materialized.append(key)
        else:
            statuses.missing.append(key)
    return statuses


def _read_misses(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, storage_ids: Sequence[int], tags: EventTags
) -> Mapping[str, LastMiss]:
    misses = {}
    for start in range(0, len(storage_ids), MAX_IDS_PER_QUERY):
        some = storage_ids[start : start + MAX_IDS_PER_QUERY]
        wanted = dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=some)
        for record in instance.fetch_observations(wanted, limit=len(some)).records:
            event = record.asset_observation
            outcome = tags.outcome_of(event.tags) if event else None
            if event is None or event.partition is None or outcome not in {Outcome.ABSENT, Outcome.FAILED}:
                continue
            metadata = {name: value.value for name, value in event.metadata.items()}
            misses[event.partition] = LastMiss(
                outcome,
                event.tags.get(tags.kind, ""),
                str(metadata.get("reason", "")),
                tags.is_transient(event.tags),
                record.storage_id,
                record.timestamp,
                metadata,
            )
    return misses


def interrupted_partitions(
    instance: dg.DagsterInstance,
    asset_key: dg.AssetKey,
    partition_keys: Iterable[str],
    is_ignored: Callable[[dg.DagsterRun], bool] = lambda run: False,  # noqa: ARG005
) -> dict[str, str]:
    """Return recorded partitions that a later run planned but did not run, with its id.

    Unfinished and *is_ignored* runs do not count. It makes three to five queries.
    """
    planned = latest_storage_ids(instance, asset_key, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    by_type = [latest_storage_ids(instance, asset_key, of_type) for of_type in RECORDED_TYPES]
    recorded = {key: max(latest.get(key, -1) for latest in by_type) for key in partition_keys}
    # Unrecorded keys are missing anyway.
    since = {key: at for key, at in recorded.items() if 0 <= at < planned.get(key, -1)}
    if not since:
        return {}
    events = instance.event_log_storage.get_asset_event_summary_records(
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset_key, after_storage_id=min(since.values())
    )
    run_ids = sorted({event.run_id for event in events if event.run_id})
    ended = instance.get_runs(dg.RunsFilter(run_ids=run_ids, statuses=list(UNSUCCESSFUL)))
    interrupted = {run.run_id for run in ended if not is_ignored(run)}
    return {
        event.partition: event.run_id
        for event in sorted(events, key=lambda event: event.storage_id)
        if event.partition in since and event.storage_id > since[event.partition] and event.run_id in interrupted
    }


def latest_materializations(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, partition_keys: Iterable[str]
) -> dict[str, dg.EventLogRecord]:
    """Return the latest materialization of each of *partition_keys* that has one."""
    latest = latest_storage_ids(instance, asset_key)
    return materializations_at(instance, asset_key, [latest[key] for key in partition_keys if key in latest])


def materializations_at(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, storage_ids: Sequence[int]
) -> dict[str, dg.EventLogRecord]:
    """Return the materializations with these storage ids by partition key."""
    found = {}
    for start in range(0, len(storage_ids), MAX_IDS_PER_QUERY):
        some = storage_ids[start : start + MAX_IDS_PER_QUERY]
        wanted = dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=some)
        for record in instance.fetch_materializations(wanted, limit=len(some)).records:
            if record.partition_key is not None:
                found[record.partition_key] = record
    return found
