"""The catalog asset: one row a country, from what is stored."""

from collections import Counter

import dagster as dg

from flag_pipeline.core.catalog import CSV_PATH, JSON_PATH, catalog_rows, render_csv, render_json
from flag_pipeline.defs.checks import CheckLimits, catalog_check_specs, check_catalog, flag_hashes_of
from flag_pipeline.defs.ledger import CODE_VERSION, COUNTRY_METADATA, FLAG_CATALOG, FLAG_IMAGE, OWNERS
from flag_pipeline.defs.resources import FileSinkResource
from flag_pipeline.models import RowStatus

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
        kinds={"csv", "json"},
        owners=OWNERS,
        description="One row a country, sorted by code: `catalog/catalog.json` and `catalog/catalog.csv`.",
        check_specs=catalog_check_specs(),
    )
    async def flag_catalog(context: dg.AssetExecutionContext, file_sink: FileSinkResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster 1.13 does not recognise it with an argument
        sink = file_sink.sink
        before = await flag_hashes_of(sink)
        rows = catalog_rows(codes, await sink.records())
        await sink.write(JSON_PATH, render_json(rows))
        await sink.write(CSV_PATH, render_csv(rows))
        n_by_status = Counter(row.status for row in rows)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(rows),
                **{f"n_{status}": n_by_status[status] for status in RowStatus},
                "json": JSON_PATH,
                "csv": CSV_PATH,
            },
            check_results=await check_catalog(
                rows, codes, before=before, sink=sink, instance=context.instance, limits=limits
            ),
        )

    return flag_catalog
