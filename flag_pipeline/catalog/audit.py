"""Findings about a whole catalog: missing countries, duplicate flags, changed flags."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from flag_pipeline.catalog.rows import CatalogRow
from flag_pipeline.core.models import RowStatus

# Territories with their state's official flag, so a source may have one image for both.
# Source: CIA World Factbook.
SHARED_FLAGS = (
    frozenset("AU HM".split()),
    frozenset("FR BL GF GP MF MQ NC PM RE TF WF YT".split()),
    frozenset("NL BQ".split()),
    frozenset("NO BV SJ".split()),
    frozenset("GB SH".split()),
    frozenset("US UM".split()),
)
# Flags that differ in a shade or in the ratio, which drawings without true ratios do not show.
ALIKE_AS_DRAWINGS = (frozenset("ID MC".split()), frozenset("RO TD".split()))


def unaccounted(rows: Iterable[CatalogRow], codes: Iterable[str]) -> list[str]:
    """Return codes without a flag, except those the source lacks."""
    accounted = {row.code for row in rows if row.status is not RowStatus.MISSING}
    return sorted({*codes} - accounted)


def unexpected_duplicates(rows: Iterable[CatalogRow]) -> list[list[str]]:
    """Return groups of codes that share an image although their official flags differ."""
    by_hash: dict[str, list[CatalogRow]] = defaultdict(list)
    for row in rows:
        if row.sha256:
            by_hash[row.sha256].append(row)
    return sorted(sorted(row.code for row in group) for group in by_hash.values() if not _may_share(group))


def _may_share(group: Sequence[CatalogRow]) -> bool:
    codes = {row.code for row in group}
    are_drawings = not any(row.aspect_ratio for row in group)
    shared = (*SHARED_FLAGS, *ALIKE_AS_DRAWINGS) if are_drawings else SHARED_FLAGS
    return len(codes) == 1 or any(flags >= codes for flags in shared)


def changed_codes(rows: Iterable[CatalogRow], before: Mapping[str, str]) -> list[str]:
    """Return codes whose hash differs from *before*, without new countries."""
    return sorted(row.code for row in rows if row.sha256 and before.get(row.code, row.sha256) != row.sha256)
