"""The assets of renditions: each country's, isolated, and their table. They exist if `FLAG_RENDITIONS` names any."""

import os

import dagster as dg

from flag_pipeline.catalog.renditions import RENDITIONS_SCHEMA, rendition_rows
from flag_pipeline.catalog.tables import render_table
from flag_pipeline.core.layout import RENDITIONS
from flag_pipeline.core.renditions import Made, RenditionMaker, rendition_records
from flag_pipeline.defs.catalog import ANY_COUNTRY_CHANGED
from flag_pipeline.defs.keys import CODE_VERSION, FLAG_IMAGE, FLAG_RENDITION, OWNERS, RENDITION_CATALOG
from flag_pipeline.defs.publishing import column_schema, publish, table_preview
from flag_pipeline.defs.resources import FileSinkResource, image_limits
from flag_pipeline.errors import FlagPipelineError
from flag_pipeline.images.rendition_names import Rendition, RenditionFormat
from flag_pipeline.isolation import Absent, Failed, PartitionsConfig, Unchanged, per_partition

# Pillow releases the GIL, so each processor draws one country while another is read or written.
CONCURRENT = 2 * (os.cpu_count() or 1)

FILE_COLUMNS = ("rendition", "file", "width_px", "height_px", "size_bytes")


def rendition_assets(
    partitions: dg.StaticPartitionsDefinition, wanted: tuple[Rendition, ...], image_format: RenditionFormat
) -> list[dg.AssetsDefinition]:
    """Return the assets that make the *wanted* renditions; none if nothing is wanted."""
    if not wanted:
        return []

    # `dg.asset` would warn that its backfill policy is in beta.
    @dg.multi_asset(
        specs=[
            dg.AssetSpec(
                FLAG_RENDITION,
                deps=[FLAG_IMAGE],
                automation_condition=ANY_COUNTRY_CHANGED,
                code_version=CODE_VERSION,
                owners=OWNERS,
                kinds={image_format.value},
                description="Each flag in the sizes and shapes of `FLAG_RENDITIONS`: `renditions/w160/CN.png`.",
                skippable=True,
            )
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="flags",
    )
    @per_partition(max_concurrent=CONCURRENT)
    async def flag_rendition(  # type: ignore[no-untyped-def] # noqa: ANN202 - Dagster would take it for the output's type
        partition_key: str,
        config: PartitionsConfig,  # noqa: ARG001 - the decorator reads it
        file_sink: FileSinkResource,
    ):
        maker = RenditionMaker(file_sink.sink, wanted, image_format, await image_limits())
        try:
            made = await maker.make(partition_key)
        except FlagPipelineError as exc:
            return Failed(str(exc), exc.kind.value, exc.kind.is_transient)
        return Absent("there is no flag to draw") if made is None else _result(made)

    return [flag_rendition, rendition_catalog]


def _result(made: Made) -> dg.MaterializeResult[None] | Unchanged:
    result: dg.MaterializeResult[None] = dg.MaterializeResult(
        data_version=dg.DataVersion(made.record.data_version),
        metadata={
            "files": table_preview(made.record.files, FILE_COLUMNS),
            "bytes": sum(file.size_bytes for file in made.record.files),
        },
    )
    return Unchanged(result) if made.is_unchanged else result


@dg.asset(
    key=RENDITION_CATALOG,
    deps=[FLAG_RENDITION],
    automation_condition=ANY_COUNTRY_CHANGED,
    code_version=CODE_VERSION,
    group_name="flags",
    owners=OWNERS,
    kinds={"csv", "json", "parquet"},
    description="One row a rendition: `renditions/renditions.parquet`, `.csv` and `.json`.",
)
async def rendition_catalog(file_sink: FileSinkResource) -> dg.MaterializeResult[None]:
    """List the renditions of all countries."""
    rows = rendition_rows(await rendition_records(file_sink.sink))
    version = await publish(file_sink.sink, render_table(RENDITIONS_SCHEMA, RENDITIONS, rows))
    return dg.MaterializeResult(
        data_version=version,
        metadata={
            "dagster/column_schema": column_schema(RENDITIONS_SCHEMA),
            "dagster/row_count": len(rows),
            "bytes": sum(row.size_bytes for row in rows),
            "files": dg.MetadataValue.path(f"{file_sink.store}/{RENDITIONS}"),
        },
    )
