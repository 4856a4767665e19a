"""The catalog asset: one row a country, from what is stored."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping

import dagster as dg

from flag_pipeline.core.audit import changed_codes
from flag_pipeline.core.catalog import CATALOG_FOLDER, CATALOG_SCHEMA, CatalogRow, catalog_rows
from flag_pipeline.core.contact_sheet import render_mosaic
from flag_pipeline.core.pictures import data_uri, read_intact
from flag_pipeline.core.table import render_table
from flag_pipeline.defs.checks import CheckLimits, catalog_check_specs, check_catalog, flag_hashes_of
from flag_pipeline.defs.ledger import CODE_VERSION, COUNTRY_METADATA, FLAG_CATALOG, FLAG_IMAGE, OWNERS
from flag_pipeline.defs.publishing import column_schema, publish, table_preview
from flag_pipeline.defs.resources import FileSinkResource
from flag_pipeline.models import RowStatus

PREVIEW_ROWS = 10
PREVIEW_COLUMNS = ("code", "name", "status", "width_px", "height_px", "aspect_ratio", "size_bytes", "changed_at")
NOT_OK_COLUMNS = ("code", "name", "status", "reason")

# Once for a changed flag or name, not for an unchanged one; and never while a sweep is still under way. Without
# `since`, a change that lands while a run is in progress is lost.
ANY_COUNTRY_CHANGED = (
    dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed()).since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)


def catalog_asset(codes: list[str], limits: CheckLimits) -> dg.AssetsDefinition:
    """The asset `flag_catalog`, with a row for every one of *codes*, and its checks."""

    @dg.asset(
        key=FLAG_CATALOG,
        deps=[COUNTRY_METADATA, FLAG_IMAGE],
        automation_condition=ANY_COUNTRY_CHANGED,
        code_version=CODE_VERSION,
        group_name="flags",
        kinds={"csv", "json", "parquet"},
        owners=OWNERS,
        description="One row a country, sorted by code: `catalog/catalog.parquet`, `.csv` and `.json`.",
        check_specs=catalog_check_specs(),
    )
    async def flag_catalog(context: dg.AssetExecutionContext, file_sink: FileSinkResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster 1.13 does not recognise it with an argument
        started_at = time.monotonic()
        sink = file_sink.sink
        before = await flag_hashes_of(sink)
        rows = catalog_rows(codes, await sink.records())
        version = await publish(sink, render_table(CATALOG_SCHEMA, CATALOG_FOLDER, rows))
        flags = await read_intact(sink, {row.code: (row.file, row.sha256) for row in rows if row.file})
        return dg.MaterializeResult(
            data_version=version,
            metadata={
                "dagster/column_schema": column_schema(CATALOG_SCHEMA),
                "dagster/row_count": len(rows),
                **describe_numbers(rows),
                "n_changed": len(changed_codes(rows, before)),
                "seconds": round(time.monotonic() - started_at, 3),
                "preview": table_preview(rows[:PREVIEW_ROWS], PREVIEW_COLUMNS),
                "not_ok": table_preview([row for row in rows if row.status is not RowStatus.OK], NOT_OK_COLUMNS),
                "contact_sheet": await show_mosaic(rows, flags),
                "files": dg.MetadataValue.path(f"{file_sink.store}/{CATALOG_FOLDER}"),
            },
            check_results=await check_catalog(
                rows, codes, before=before, sink=sink, instance=context.instance, limits=limits
            ),
        )

    return flag_catalog


async def show_mosaic(rows: list[CatalogRow], flags: Mapping[str, bytes]) -> dg.MarkdownMetadataValue:
    """Return all flags as one small picture for the UI."""
    mosaic = await asyncio.to_thread(render_mosaic, rows, flags)
    return dg.MetadataValue.md(f"![all flags]({data_uri(mosaic, 'webp')})")


def describe_numbers(rows: list[CatalogRow]) -> dict[str, int]:
    """Return what the UI plots over time: how many rows have which status, and the flags' size in bytes."""
    n_by_status = Counter(row.status for row in rows)
    return {
        **{f"n_{status}": n_by_status[status] for status in RowStatus},
        "n_failed": sum(row.has_failed for row in rows),
        "bytes": sum(row.size_bytes or 0 for row in rows),
    }
