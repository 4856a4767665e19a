"""What the command line prints for programs: objects, without loading what draws tables."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flag_pipeline.cli.reports import CatalogReport, RunReport
    from flag_pipeline.defs.statuses import CountryStatuses
    from flag_pipeline.settings import Settings


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


def errors_of(report: "RunReport", catalog: "CatalogReport") -> list[str]:
    """Return what went wrong beyond the countries, a line each."""
    said = [("The run failed", report.error), ("The catalog was not rebuilt", catalog.error)]
    return [f"{what}: {error}" for what, error in said if error]


def warnings_of(report: "RunReport") -> list[str]:
    """Return what the run warned of, a line each."""
    return [f"Warning: {warning}" for warning in report.warnings]


def statuses_json(statuses: "CountryStatuses") -> dict[str, object]:
    """Return what `status --json` prints for one asset; the last two only if there are any."""
    unusual = {"lacking": statuses.lacking, "not_asked": statuses.not_asked}
    return {
        "materialized": len(statuses.materialized),
        "failed": sorted(statuses.failed),
        "not_found": sorted(statuses.absent),
        "missing": sorted(statuses.missing),
        **{name: sorted(codes) for name, codes in unusual.items() if codes},
    }
