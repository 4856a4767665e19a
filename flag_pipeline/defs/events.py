"""Tags and metadata of a country in Dagster's event log."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from flag_pipeline.core.countries import iso_country
from flag_pipeline.core.models import Fetched, FlagNotFound, FlagUnchanged, Missed, Outcome, StoredImage
from flag_pipeline.defs.keys import FLAG_IMAGE
from flag_pipeline.fetching.models import FetchStatistics
from flag_pipeline.isolation import Absent, EventTags, Failed, RecordedOutcome, Unchanged, read_outcome
from flag_pipeline.isolation import Outcome as PartitionOutcome

# Set if the catalog row changes, but no data version.
ONLY_ROW_CHANGED_TAG = "flag_pipeline/only_row_changed"
EVENT_TAGS = EventTags(
    namespace="flag_pipeline",
    words={PartitionOutcome.SUCCEEDED: "saved", PartitionOutcome.ABSENT: "not_found"},
    recorded_at_name="fetched_at",
    # The first run already triggered the catalog.
    not_copied=frozenset({ONLY_ROW_CHANGED_TAG}),
)

Delivered = list[dg.MaterializeResult[Any]] | Unchanged


def delivered(outcome: Fetched, asset_keys: Iterable[dg.AssetKey]) -> Delivered:
    """Return the materializations of a fetched country."""
    results = [_result(key, outcome) for key in asset_keys]
    return Unchanged(results) if isinstance(outcome, FlagUnchanged) else results


def missed(miss: Missed, *, source: str, store: str) -> Absent | Failed:
    """Return the record of a country not fetched from *source* into *store*."""
    metadata = {
        "name": iso_country(miss.code).name,
        "reason": miss.reason,
        "kind": miss.kind.value,
        "url": _link(miss.url),
        "source": source,
        "store": store,
        **_costs(miss.statistics),
        "attempts": miss.attempts,
    }
    if isinstance(miss, FlagNotFound):
        return Absent(miss.reason, miss.kind.value, metadata, _tags(miss))
    return Failed(miss.reason, miss.kind.value, miss.kind.is_transient, metadata, _tags(miss))


def _result(asset_key: dg.AssetKey, outcome: Fetched) -> dg.MaterializeResult[Any]:
    describe = _describe_image if asset_key == FLAG_IMAGE else _describe_metadata
    version, metadata = describe(outcome)
    return dg.MaterializeResult(
        asset_key=asset_key,
        metadata={**metadata, **_costs(outcome.statistics)},
        data_version=dg.DataVersion(version),
        tags=_tags(outcome),
    )


def _describe_image(outcome: Fetched) -> tuple[str, Mapping[str, dg.MetadataValue | str | int]]:
    image = _required_image(outcome)
    country = outcome.record.country or iso_country(outcome.code)
    return image.sha256, {
        "name": country.name,
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


def _costs(statistics: FetchStatistics) -> dict[str, Any]:
    return {
        "requests": statistics.requests,
        "attempts": statistics.attempts,
        "body_bytes": statistics.body_bytes,
        "duration_s": round(statistics.duration_s, 3),
    }


def _tags(outcome: Outcome) -> dict[str, str]:
    return {ONLY_ROW_CHANGED_TAG: "true"} if outcome.only_row_changed else {}


def _link(url: str) -> dg.MetadataValue:
    # The embedded source's addresses are invalid after its run.
    return dg.MetadataValue.url(url) if url.startswith("http") else dg.MetadataValue.text(url)


def read_event(event: dg.DagsterEvent) -> RecordedOutcome | None:
    """Return the country's outcome in *event*, if any."""
    return read_outcome(event, EVENT_TAGS)
