"""Countries' statuses, from event log and store."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import dagster as dg

from flag_pipeline.core.listing import StoreListing
from flag_pipeline.core.presets import source_of
from flag_pipeline.defs.events import EVENT_TAGS
from flag_pipeline.defs.keys import FLAG_IMAGE
from flag_pipeline.defs.source_guard import is_refused
from flag_pipeline.isolation import LastMiss, PartitionStatuses, interrupted_partitions, read_statuses


@dataclass(frozen=True, slots=True)
class CountryStatuses(PartitionStatuses):
    """Statuses of the countries for one asset.

    Attributes:
        lacking: `missing` codes that Dagster has as materialized.
        not_asked: other codes that a later run planned but did not fetch, with its id.
    """

    lacking: list[str] = field(default_factory=list)
    not_asked: dict[str, str] = field(default_factory=dict)

    @property
    def to_fetch(self) -> set[str]:
        """Codes to fetch again."""
        return {*self.failed, *self.absent, *self.missing, *self.not_asked}


def read_country_statuses(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, codes: Iterable[str], stored: StoreListing | None = None
) -> CountryStatuses:
    """Return the status of each code, with at most nine queries.

    Countries without files in *stored* are missing, even if Dagster has them as materialized.
    """
    wanted = list(codes)
    statuses = read_statuses(instance, asset_key, wanted, EVENT_TAGS)
    present = {*wanted} if stored is None else stored.flags if asset_key == FLAG_IMAGE else stored.metadata
    lacking = [code for code in statuses.materialized if code not in present]
    missing = {*statuses.missing, *lacking}
    return CountryStatuses(
        materialized=[code for code in statuses.materialized if code in present],
        failed=statuses.failed,
        absent=statuses.absent,
        missing=[code for code in wanted if code in missing],
        lacking=lacking,
        not_asked=interrupted_partitions(instance, asset_key, wanted, is_refused),
    )


def source_of_miss(code: str, miss: LastMiss) -> str:
    """Return the requested source, empty if unknown."""
    return str(miss.metadata.get("source") or source_of(str(miss.metadata.get("url", "")), code))


def store_of_miss(miss: LastMiss) -> str:
    """Return the intended store, empty if unknown."""
    return str(miss.metadata.get("store", ""))
