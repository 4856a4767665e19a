"""What is recorded in Dagster's event log for a country, and how it is read back.

A fetched country is an AssetMaterialization for its partition, a missed one an AssetObservation. Colours in the UI
say less than these: Dagster paints every planned and unrecorded partition of a failed run red, whatever the reason.
So all who need to know how a country stands ask here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import dagster as dg
from dagster import DagsterEventType, DagsterInstance

from flag_pipeline.core.listing import StoreListing
from flag_pipeline.core.models import Fetched, FlagNotFound, FlagSaved, Missed, Outcome, StoredImage
from flag_pipeline.core.presets import source_of
from flag_pipeline.defs.interrupted import not_asked
from flag_pipeline.defs.keys import COUNTRY_METADATA, FLAG_IMAGE
from flag_pipeline.errors import ErrorKind

CODE_VERSION = "1"
OWNERS = ["team:data"]

OUTCOME_TAG = "flag_pipeline/outcome"
KIND_TAG = "flag_pipeline/kind"
ONLY_ROW_CHANGED_TAG = "flag_pipeline/only_row_changed"


class RecordedOutcome(StrEnum):
    """The word that an event carries in its outcome tag."""

    SAVED = "saved"
    UNCHANGED = "unchanged"
    NOT_FOUND = "not_found"
    FAILED = "failed"
    CARRIED_OVER = "carried_over"


def materialization(asset_key: dg.AssetKey, outcome: Fetched) -> dg.AssetMaterialization:
    """Return the event that records a fetched country for one of the two fetching assets."""
    word = RecordedOutcome.SAVED if isinstance(outcome, FlagSaved) else RecordedOutcome.UNCHANGED
    describe = _describe_image if asset_key == FLAG_IMAGE else _describe_metadata
    version, metadata = describe(outcome)
    return dg.AssetMaterialization(
        asset_key,
        partition=outcome.code,
        metadata={
            **metadata,
            "requests": outcome.statistics.requests,
            "attempts": outcome.statistics.attempts,
            "body_bytes": outcome.statistics.body_bytes,
            "duration_s": round(outcome.statistics.duration_s, 3),
        },
        tags={**_outcome_tags(word, outcome), **_version_tags(asset_key, version, outcome)},
    )


def _describe_image(outcome: Fetched) -> tuple[str, Mapping[str, dg.MetadataValue | str | int]]:
    image = _required_image(outcome)
    return image.sha256, {
        "flag": dg.MetadataValue.md(f"![{outcome.code}]({outcome.thumbnail})"),
        "width_px": image.width_px,
        "height_px": image.height_px,
        "size_bytes": image.size_bytes,
        "sha256": image.sha256,
        "file": image.file,
        "url": _link(image.source_url),
    }


def _required_image(outcome: Fetched) -> StoredImage:
    if outcome.record.image is None:
        raise ValueError(f"{outcome.code} has no stored flag to record")
    return outcome.record.image


def _describe_metadata(outcome: Fetched) -> tuple[str, Mapping[str, dg.MetadataValue | str | int]]:
    country, stored = outcome.record.country, outcome.record.metadata
    if country is None or stored is None:
        raise ValueError(f"{outcome.code} has no stored metadata to record")
    return stored.sha256, {
        "name": country.name,
        "official_name": country.official_name,
        "sha256": stored.sha256,
        "url": _link(stored.source_url),
    }


def _outcome_tags(word: RecordedOutcome, outcome: Outcome) -> dict[str, str]:
    tags = {OUTCOME_TAG: word.value}
    return {**tags, ONLY_ROW_CHANGED_TAG: "true"} if outcome.only_row_changed else tags


def _link(url: str) -> dg.MetadataValue:
    # The embedded source's addresses lead nowhere once its run is over.
    return dg.MetadataValue.url(url) if url.startswith("http") else dg.MetadataValue.text(url)


def _version_tags(asset_key: dg.AssetKey, version: str, outcome: Fetched) -> dict[str, str]:
    """What Dagster writes for an Output of its own: without all of these the UI calls a fresh partition unsynced."""
    tags = {
        "dagster/data_version": version,
        "dagster/data_version_is_user_provided": "true",
        "dagster/code_version": CODE_VERSION,
    }
    if asset_key == FLAG_IMAGE and outcome.record.metadata is not None:
        upstream = COUNTRY_METADATA.to_user_string()
        tags[f"dagster/input_data_version/{upstream}"] = outcome.record.metadata.sha256
        tags[f"dagster/input_event_pointer/{upstream}"] = "NULL"
    return tags


def observation(asset_key: dg.AssetKey, miss: Missed, origin: Mapping[str, str] | None = None) -> dg.AssetObservation:
    """Return the event that records why a country brought nothing; *origin* has the source and the store."""
    word = RecordedOutcome.NOT_FOUND if isinstance(miss, FlagNotFound) else RecordedOutcome.FAILED
    return dg.AssetObservation(
        asset_key,
        partition=miss.code,
        metadata={
            "reason": miss.reason,
            "kind": miss.kind.value,
            "url": _link(miss.url),
            **(origin or {}),
            "requests": miss.statistics.requests,
            "attempts": miss.attempts,
            "body_bytes": miss.statistics.body_bytes,
            "duration_s": round(miss.statistics.duration_s, 3),
        },
        tags={**_outcome_tags(word, miss), KIND_TAG: miss.kind.value},
    )


@dataclass(frozen=True, slots=True)
class RecordedCountry:
    """What one event says about one country.

    Attributes:
        only_row_changed: its catalog row changes although its data versions do not.
        kind, reason: why it brought nothing; empty when it was fetched.
        requests, attempts, body_bytes: what it cost, see `FetchStatistics`.
    """

    code: str
    outcome: RecordedOutcome
    only_row_changed: bool
    kind: str
    reason: str
    requests: int
    attempts: int
    body_bytes: int


def read_event(event: dg.DagsterEvent) -> RecordedCountry | None:
    """Return what *event* says about a country, None if it is no event of this ledger."""
    if event.is_step_materialization:
        said: dg.AssetMaterialization | dg.AssetObservation = event.step_materialization_data.materialization
    elif event.is_asset_observation:
        said = event.asset_observation_data.asset_observation
    else:
        return None
    tags = said.tags or {}
    if said.partition is None or OUTCOME_TAG not in tags:
        return None
    cell: dict[str, Any] = {name: value.value for name, value in said.metadata.items()}
    return RecordedCountry(
        code=said.partition,
        outcome=RecordedOutcome(tags[OUTCOME_TAG]),
        only_row_changed=ONLY_ROW_CHANGED_TAG in tags,
        kind=tags.get(KIND_TAG, ""),
        reason=cell.get("reason", ""),
        requests=cell["requests"],
        attempts=cell["attempts"],
        body_bytes=cell["body_bytes"],
    )


@dataclass(frozen=True, slots=True)
class RecordedMiss:
    """The latest recorded outcome of a country that brought nothing.

    Attributes:
        at: when it was recorded, seconds since the epoch.
        source, store: from where and for which store it was asked for; empty in events that predate them.
    """

    kind: ErrorKind
    reason: str
    storage_id: int
    at: float
    source: str = ""
    store: str = ""


@dataclass(frozen=True, slots=True)
class AssetLedger:
    """How each partition of one asset stands, by its latest recorded outcome.

    Attributes:
        materialized: codes whose latest outcome is a materialization.
        failed: what the latest attempt failed with, by code.
        not_found: likewise for what the source does not have.
        missing: codes for which nothing was ever recorded, or whose files the store does not have.
        lacking: those of `missing` that are materialized in Dagster.
        not_asked: codes of the other groups that a later run intended to fetch and did not come to, with its id.
    """

    materialized: list[str] = field(default_factory=list)
    failed: dict[str, RecordedMiss] = field(default_factory=dict)
    not_found: dict[str, RecordedMiss] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    not_asked: dict[str, str] = field(default_factory=dict)

    @property
    def open_codes(self) -> set[str]:
        """Every code that is not materialized, or that the latest run did not come to."""
        return {*self.failed, *self.not_found, *self.missing, *self.not_asked}


def read_ledger(
    instance: DagsterInstance, asset_key: dg.AssetKey, codes: Iterable[str], stored: StoreListing | None = None
) -> AssetLedger:
    """Return how each of *codes* stands for the asset; four to eight queries, however many codes.

    What the store of *stored* does not have is missing, whatever Dagster says.
    """
    storage = instance.event_log_storage
    fetched = storage.get_latest_storage_id_by_partition(asset_key, DagsterEventType.ASSET_MATERIALIZATION)
    observed = storage.get_latest_storage_id_by_partition(asset_key, DagsterEventType.ASSET_OBSERVATION)
    misses = _read_misses(instance, asset_key, [at for code, at in observed.items() if at > fetched.get(code, -1)])
    present = _present(asset_key, stored)
    wanted = list(codes)
    ledger = AssetLedger()
    for code in wanted:
        if miss := misses.get(code):
            (ledger.not_found if miss.kind is ErrorKind.NOT_FOUND else ledger.failed)[code] = miss
        elif code in fetched and (present is None or code in present):
            ledger.materialized.append(code)
        else:
            ledger.missing.append(code)
    ledger.lacking.extend(code for code in ledger.missing if code in fetched)
    recorded = {code: max(fetched.get(code, -1), observed.get(code, -1)) for code in wanted}
    ledger.not_asked.update(not_asked(instance, asset_key, recorded))
    return ledger


def _present(asset_key: dg.AssetKey, stored: StoreListing | None) -> frozenset[str] | None:
    if stored is None:
        return None
    return stored.flags if asset_key == FLAG_IMAGE else stored.metadata


def _read_misses(instance: DagsterInstance, asset_key: dg.AssetKey, storage_ids: list[int]) -> dict[str, RecordedMiss]:
    if not storage_ids:
        return {}
    wanted = dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=storage_ids)
    misses = {}
    for record in instance.fetch_observations(wanted, limit=len(storage_ids)).records:
        seen = record.asset_observation
        if seen is not None and seen.partition is not None and KIND_TAG in seen.tags:
            cell = {name: str(value.value) for name, value in seen.metadata.items()}
            misses[seen.partition] = RecordedMiss(
                ErrorKind(seen.tags[KIND_TAG]),
                cell["reason"],
                record.storage_id,
                record.timestamp,
                source=cell.get("source") or source_of(cell.get("url", ""), seen.partition),
                store=cell.get("store", ""),
            )
    return misses


def latest_materializations(
    instance: DagsterInstance, asset_key: dg.AssetKey, codes: Iterable[str]
) -> dict[str, dg.EventLogRecord]:
    """Return the latest materialization of each of *codes* that has one; two queries, however many codes."""
    latest = instance.event_log_storage.get_latest_storage_id_by_partition(
        asset_key, DagsterEventType.ASSET_MATERIALIZATION
    )
    return materializations_at(instance, asset_key, [latest[code] for code in codes if code in latest])


def materializations_at(
    instance: DagsterInstance, asset_key: dg.AssetKey, storage_ids: Sequence[int]
) -> dict[str, dg.EventLogRecord]:
    """Return by partition the materializations that are stored under these ids; one query, and none for none."""
    if not storage_ids:
        return {}
    wanted = dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=storage_ids)
    records = instance.fetch_materializations(wanted, limit=len(storage_ids)).records
    return {record.partition_key: record for record in records if record.partition_key is not None}
