"""What can be wrong with a catalog as a whole: each finding names its countries. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from flag_pipeline.catalog.rows import CatalogRow
from flag_pipeline.core.models import RowStatus

# Territories whose official flag is that of their state, so that sources may deliver the same image for them; some
# have a local flag besides, and sources differ. Source: the territories' entries in the CIA World Factbook.
SHARED_FLAGS = (
    frozenset("AU HM".split()),
    frozenset("FR BL GF GP MF MQ NC PM RE TF WF YT".split()),
    frozenset("NL BQ".split()),
    frozenset("NO BV SJ".split()),
    frozenset("GB SH".split()),
    frozenset("US UM".split()),
)


def unaccounted(rows: Iterable[CatalogRow], codes: Iterable[str]) -> list[str]:
    """Return the codes without a flag, unless the source is known not to have it."""
    accounted = {row.code for row in rows if row.status is not RowStatus.MISSING}
    return sorted({*codes} - accounted)


def unexpected_duplicates(rows: Iterable[CatalogRow]) -> list[list[str]]:
    """Return the groups of codes that share a flag without being known to."""
    by_hash: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.sha256:
            by_hash[row.sha256].append(row.code)
    groups = [sorted(codes) for codes in by_hash.values() if len(codes) > 1]
    return sorted(codes for codes in groups if not any(known.issuperset(codes) for known in SHARED_FLAGS))


def changed_codes(rows: Iterable[CatalogRow], before: Mapping[str, str]) -> list[str]:
    """Return the codes whose flag is another than *before*, a map of code to hash; new countries do not count."""
    return sorted(row.code for row in rows if row.sha256 and before.get(row.code, row.sha256) != row.sha256)
