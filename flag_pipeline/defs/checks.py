"""Asset checks of the catalog, evaluated with each build."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from flag_pipeline.catalog.audit import unaccounted, unexpected_duplicates
from flag_pipeline.catalog.rows import CatalogRow
from flag_pipeline.core.presets import source_of
from flag_pipeline.core.provenance import describe_sources
from flag_pipeline.defs.freshness import fetched_before
from flag_pipeline.defs.keys import FLAG_CATALOG, FLAG_IMAGE
from flag_pipeline.settings import Settings

COMPLETE = "complete"
FILES_MATCH = "files_match_their_hashes"
NO_DUPLICATES = "no_unexpected_duplicates"
FEW_CHANGED = "few_changed_at_once"
FRESH = "fresh"
ONE_SOURCE = "one_source"


@dataclass(frozen=True, slots=True)
class CheckLimits:
    """What the checks tolerate.

    Attributes:
        fresh: maximum age of a fetch.
        max_changed_share: share of flags that may change at once.
    """

    fresh: timedelta
    max_changed_share: float

    @classmethod
    def from_settings(cls, settings: Settings) -> "CheckLimits":
        """The limits of *settings*."""
        return cls(fresh=timedelta(days=settings.fresh_days), max_changed_share=settings.max_changed_share)


def catalog_check_specs() -> list[dg.AssetCheckSpec]:
    """The checks that `check_catalog` evaluates."""
    descriptions = {
        COMPLETE: "Every country has a flag, unless the source does not have it.",
        FILES_MATCH: "Every stored flag is there, and its bytes have the recorded hash.",
        NO_DUPLICATES: "No two countries share a flag, but for territories that are known to.",
        FEW_CHANGED: "Not many flags changed at once; else the source may have gone wrong.",
        ONE_SOURCE: "All flags came from one source.",
        FRESH: "No country's latest successful fetch is older than the limit.",
    }
    return [dg.AssetCheckSpec(name, asset=FLAG_CATALOG, description=text) for name, text in descriptions.items()]


def check_catalog(
    rows: list[CatalogRow],
    codes: list[str],
    *,
    changed: list[str],
    intact: Collection[str],
    instance: dg.DagsterInstance,
    limits: CheckLimits,
) -> list[dg.AssetCheckResult]:
    """Evaluate every check of the catalog *rows*.

    *changed* countries' flags differ from the previous catalog; *intact* ones have undamaged files.
    """
    n_allowed = max(1, int(len(rows) * limits.max_changed_share))
    duplicates = unexpected_duplicates(rows)
    return [
        _result(COMPLETE, unaccounted(rows, codes)),
        _result(FILES_MATCH, [row.code for row in rows if row.file and row.code not in intact]),
        _result(NO_DUPLICATES, [" = ".join(group) for group in duplicates], severity=dg.AssetCheckSeverity.WARN),
        _result(FEW_CHANGED, changed, passed=len(changed) <= n_allowed),
        check_age(codes, instance=instance, limits=limits),
        _check_sources(rows),
    ]


def check_age(codes: list[str], *, instance: dg.DagsterInstance, limits: CheckLimits) -> dg.AssetCheckResult:
    """Evaluate the check that can change while the store stays the same."""
    old = fetched_before(instance, FLAG_IMAGE, codes, datetime.now(UTC) - limits.fresh)
    return _result(FRESH, old, severity=dg.AssetCheckSeverity.WARN)


def _check_sources(rows: list[CatalogRow]) -> dg.AssetCheckResult:
    counts = Counter(source_of(row.source_url, row.code) or row.source_url for row in rows if row.source_url)
    return dg.AssetCheckResult(
        check_name=ONE_SOURCE,
        passed=len(counts) <= 1,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"n_sources": len(counts), "sources": describe_sources(counts) or "none"},
    )


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
