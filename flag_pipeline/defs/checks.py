"""The asset checks on the catalog: evaluated with every build of it, each naming the countries it is about."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from flag_pipeline.core.audit import changed_codes, unaccounted, unexpected_duplicates
from flag_pipeline.core.catalog import JSON_PATH, CatalogRow
from flag_pipeline.core.pictures import read_intact
from flag_pipeline.core.sink import FileSink
from flag_pipeline.defs.ledger import FLAG_CATALOG, FLAG_IMAGE, fetched_before
from flag_pipeline.settings import Settings

COMPLETE = "complete"
FILES_MATCH = "files_match_their_hashes"
NO_DUPLICATES = "no_unexpected_duplicates"
FEW_CHANGED = "few_changed_at_once"
FRESH = "fresh"


@dataclass(frozen=True, slots=True)
class CheckLimits:
    """What the checks tolerate.

    Attributes:
        fresh: the age up to which a country counts as fresh.
        max_changed_share: share of flags that may change from one catalog to the next.
    """

    fresh: timedelta
    max_changed_share: float

    @classmethod
    def from_settings(cls, settings: Settings) -> "CheckLimits":
        """The limits that *settings* describe."""
        return cls(fresh=timedelta(days=settings.fresh_days), max_changed_share=settings.max_changed_share)


def catalog_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks that `check_catalog` evaluates."""
    descriptions = {
        COMPLETE: "Every country has a flag, unless the source does not have it.",
        FILES_MATCH: "Every stored flag is there, and its bytes have the recorded hash.",
        NO_DUPLICATES: "No two countries share a flag, but for territories that are known to.",
        FEW_CHANGED: "Not many flags changed at once; else the source may have gone wrong.",
        FRESH: "No country's latest successful fetch is older than the limit.",
    }
    return [dg.AssetCheckSpec(name, asset=FLAG_CATALOG, description=text) for name, text in descriptions.items()]


async def flag_hashes_of(sink: FileSink) -> dict[str, str]:
    """Return the hash of each flag by code, as the catalog that is stored now has it; empty before the first."""
    content = await sink.read(JSON_PATH)
    return {row["code"]: row["sha256"] for row in json.loads(content) if row["sha256"]} if content else {}


async def check_catalog(
    rows: list[CatalogRow],
    codes: list[str],
    *,
    before: Mapping[str, str],
    sink: FileSink,
    instance: dg.DagsterInstance,
    limits: CheckLimits,
) -> list[dg.AssetCheckResult]:
    """Evaluate every check of the catalog that *rows* are; *before* are the flags' hashes in the previous one."""
    n_allowed = max(1, int(len(rows) * limits.max_changed_share))
    changed = changed_codes(rows, before)
    duplicates = unexpected_duplicates(rows)
    old = fetched_before(instance, FLAG_IMAGE, codes, datetime.now(UTC) - limits.fresh)
    return [
        _result(COMPLETE, unaccounted(rows, codes)),
        _result(FILES_MATCH, await _damaged(rows, sink)),
        _result(NO_DUPLICATES, [" = ".join(group) for group in duplicates], severity=dg.AssetCheckSeverity.WARN),
        _result(FEW_CHANGED, changed, passed=len(changed) <= n_allowed),
        _result(FRESH, old, severity=dg.AssetCheckSeverity.WARN),
    ]


def _result(
    name: str,
    countries: list[str],
    *,
    passed: bool | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=not countries if passed is None else passed,
        severity=severity,
        metadata={"n_countries": len(countries), "countries": ", ".join(countries) or "none"},
    )


async def _damaged(rows: Iterable[CatalogRow], sink: FileSink) -> list[str]:
    wanted = {row.code: (row.file, row.sha256) for row in rows if row.file}
    return sorted(wanted.keys() - await read_intact(sink, wanted))
