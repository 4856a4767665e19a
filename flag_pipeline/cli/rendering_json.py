"""The output of `--json`, built without importing Rich."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flag_pipeline.errors import printable

if TYPE_CHECKING:
    from flag_pipeline.cli.reports import CatalogReport, RunReport, StoredFlags
    from flag_pipeline.defs.statuses import CountryStatuses
    from flag_pipeline.settings import Settings

SHOWN_WARNINGS = 10


def report_json(report: "RunReport", catalog: "CatalogReport", settings: "Settings") -> dict[str, object]:
    """Return the object that `run --json` and `retry --json` print."""
    return {
        "run_id": report.run_id,
        "source": settings.source,
        "store": settings.store,
        "requested": report.requested,
        "saved": report.saved,
        "unchanged": report.unchanged,
        "not_found": sorted(report.not_found),
        "failed": dict(sorted(report.failed.items())),
        "not_asked": report.n_not_asked,
        "bytes": report.body_bytes,
        "requests": report.requests,
        "retries": report.retries,
        "elapsed_s": round(report.elapsed_s, 3),
        "catalog_rows": catalog.n_rows,
    }


def renditions_json(report: "RunReport", settings: "Settings") -> dict[str, object]:
    """Return the object that `render --json` prints."""
    return {
        "run_id": report.run_id,
        "store": settings.store,
        "renditions": sorted(settings.renditions),
        "requested": report.requested,
        "made": report.saved,
        "unchanged": report.unchanged,
        "without_flag": sorted(report.not_found),
        "failed": dict(sorted(report.failed.items())),
        "not_made": report.n_not_asked,
        "elapsed_s": round(report.elapsed_s, 3),
    }


def errors_of(report: "RunReport", catalog: "CatalogReport") -> list[str]:
    """Return the errors of the run and the catalog, one line each."""
    said = [("The run failed", report.error), ("The catalog was not rebuilt", catalog.error)]
    return [f"{what}: {error}" for what, error in said if error]


def warnings_of(report: "RunReport") -> list[str]:
    """Return the run's first warnings, one line each; many have one cause."""
    warnings = list(dict.fromkeys(report.warnings))
    more = len(warnings) - SHOWN_WARNINGS
    lines = [f"Warning: {printable(warning)}" for warning in warnings[:SHOWN_WARNINGS]]
    return [*lines, f"Warning: and {more} more"] if more > 0 else lines


def stored_flags_json(flags: "StoredFlags") -> dict[str, object]:
    """Return what `status --json` prints of stored flags; nothing without any."""
    if not flags.fetched_at:
        return {}
    moments = {
        name: datetime.fromtimestamp(flags.fetched_at[code], UTC).isoformat(timespec="seconds")
        for name, code in (("oldest_fetch", flags.oldest), ("newest_fetch", flags.newest))
    }
    return {"stored": {"n_flags": len(flags.fetched_at), "sources": dict(flags.sources), **moments}}


def statuses_json(statuses: "CountryStatuses") -> dict[str, object]:
    """Return what `status --json` prints for one asset; the last two only if any."""
    unusual = {"lacking": statuses.lacking, "not_asked": statuses.not_asked}
    return {
        "materialized": len(statuses.materialized),
        "failed": sorted(statuses.failed),
        "not_found": sorted(statuses.absent),
        "missing": sorted(statuses.missing),
        **{name: sorted(codes) for name, codes in unusual.items() if codes},
    }
