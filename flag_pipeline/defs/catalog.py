"""The catalog asset: one row a country, from what is stored."""

from collections import Counter

import dagster as dg

from flag_pipeline.core.catalog import CSV_PATH, JSON_PATH, catalog_rows, render_csv, render_json
from flag_pipeline.defs.ledger import CODE_VERSION, COUNTRY_METADATA, FLAG_CATALOG, FLAG_IMAGE
from flag_pipeline.defs.resources import FileSinkResource
from flag_pipeline.models import RowStatus

# Once for a changed flag or name, not for an unchanged one; and never while a sweep is still under way. Without
# `since`, a change that lands while a run is in progress is lost.
ANY_COUNTRY_CHANGED = (
    dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed()).since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)


def catalog_asset(codes: list[str]) -> dg.AssetsDefinition:
    """The asset `flag_catalog`, with a row for every one of *codes*."""

    @dg.asset(
        key=FLAG_CATALOG,
        deps=[COUNTRY_METADATA, FLAG_IMAGE],
        automation_condition=ANY_COUNTRY_CHANGED,
        code_version=CODE_VERSION,
        group_name="flags",
        kinds={"csv", "json"},
        description="One row a country, sorted by code: `catalog/catalog.json` and `catalog/catalog.csv`.",
    )
    async def flag_catalog(file_sink: FileSinkResource) -> dg.MaterializeResult[None]:
        rows = catalog_rows(codes, await file_sink.sink.records())
        await file_sink.sink.write(JSON_PATH, render_json(rows))
        await file_sink.sink.write(CSV_PATH, render_csv(rows))
        n_by_status = Counter(row.status for row in rows)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(rows),
                **{f"n_{status}": n_by_status[status] for status in RowStatus},
                "json": JSON_PATH,
                "csv": CSV_PATH,
            }
        )

    return flag_catalog
