"""How every partition stands, by its latest recorded outcome.

The colours of Dagster's UI say less: a failed run paints every partition red that it planned and did not record, also
one that is absent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from flag_pipeline.isolation.dagster_private import latest_storage_ids
from flag_pipeline.isolation.event_tags import DEFAULT_TAGS, EventTags
from flag_pipeline.isolation.outcomes import Outcome

MAX_IDS_PER_QUERY = 10_000  # SQLite takes 32,766 values a statement


@dataclass(frozen=True, slots=True)
class LastMiss:
    """The latest recorded outcome of a partition that is absent or failed.

    Attributes:
        is_transient: whether it may pass by itself.
        at: when it was recorded, seconds since the epoch.
    """

    outcome: Outcome
    kind: str
    reason: str
    is_transient: bool
    storage_id: int
    at: float


@dataclass(frozen=True, slots=True)
class PartitionStatuses:
    """How the partitions of one asset stand.

    Attributes:
        materialized: keys whose latest outcome is a materialization.
        failed: what the latest attempt failed with, by key.
        absent: why there is nothing, by key.
        missing: keys for which nothing was ever recorded.
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
    """Return how each of *partition_keys* stands for the asset; three or four queries, however many keys."""
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
            misses[event.partition] = LastMiss(
                outcome,
                event.tags.get(tags.kind, ""),
                str(event.metadata["reason"].value) if "reason" in event.metadata else "",
                tags.is_transient(event.tags),
                record.storage_id,
                record.timestamp,
            )
    return misses


def latest_materializations(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, partition_keys: Iterable[str]
) -> dict[str, dg.EventLogRecord]:
    """Return the latest materialization of each of *partition_keys* that has one."""
    latest = latest_storage_ids(instance, asset_key)
    storage_ids = [latest[key] for key in partition_keys if key in latest]
    found = {}
    for start in range(0, len(storage_ids), MAX_IDS_PER_QUERY):
        some = storage_ids[start : start + MAX_IDS_PER_QUERY]
        wanted = dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=some)
        for record in instance.fetch_materializations(wanted, limit=len(some)).records:
            if record.partition_key is not None:
                found[record.partition_key] = record
    return found
