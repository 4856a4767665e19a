"""The catalog asset: one row per country, derived from the store."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import dagster as dg
from PIL import Image

from flag_pipeline.catalog.audit import changed_codes
from flag_pipeline.catalog.contact_sheet import MAX_FLAGS, mosaic_tile, render_mosaic
from flag_pipeline.catalog.rows import (
    CATALOG_SCHEMA,
    CatalogRow,
    catalog_rows,
    features_of,
    load_rows,
)
from flag_pipeline.catalog.tables import render_schema, render_table
from flag_pipeline.core.layout import CATALOG, CATALOG_PATH, schema_path
from flag_pipeline.core.models import FlagRecord, LastFailure, RowStatus
from flag_pipeline.core.sink import FileSink
from flag_pipeline.defs.checks import CheckLimits, catalog_check_specs, check_catalog
from flag_pipeline.defs.keys import CODE_VERSION, COUNTRY_METADATA, FLAG_CATALOG, FLAG_IMAGE, OWNERS
from flag_pipeline.defs.publishing import column_schema, publish, table_preview
from flag_pipeline.defs.resources import FileSinkResource, image_limits
from flag_pipeline.errors import ErrorKind, ImageError
from flag_pipeline.images.features import describe_features
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.inspection import is_described
from flag_pipeline.images.models import ImageFeatures
from flag_pipeline.images.structure import Limits
from flag_pipeline.images.thumbnails import data_uri, read_data_uri

PREVIEW_ROWS = 10
PREVIEW_COLUMNS = ("code", "name", "status", "width_px", "height_px", "aspect_ratio", "size_bytes", "changed_at")
NOT_OK_COLUMNS = ("code", "name", "status", "reason")

# Without `since`, a change that is recorded while a run is in progress is lost.
ANY_COUNTRY_CHANGED = (
    dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed()).since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)


def catalog_asset(codes: list[str], limits: CheckLimits) -> dg.AssetsDefinition:
    """The asset `flag_catalog`, with a row for each of *codes*, and its checks."""

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
        rows, seen, changed = await read_rows(sink, codes)
        version = await publish(sink, render_table(CATALOG_SCHEMA, CATALOG, rows))
        return dg.MaterializeResult(
            data_version=version,
            metadata={
                "dagster/column_schema": column_schema(CATALOG_SCHEMA),
                "dagster/row_count": len(rows),
                **describe_numbers(rows),
                "n_changed": len(changed),
                "seconds": round(time.monotonic() - started_at, 3),
                "preview": table_preview(rows[:PREVIEW_ROWS], PREVIEW_COLUMNS),
                "not_ok": table_preview([row for row in rows if row.status is not RowStatus.OK], NOT_OK_COLUMNS),
                "contact_sheet": await show_mosaic(rows, {code: one.tile for code, one in seen.items() if one.tile}),
                "files": dg.MetadataValue.path(f"{file_sink.store}/{CATALOG}"),
            },
            check_results=check_catalog(
                rows, codes, changed=changed, intact=seen, instance=context.instance, limits=limits
            ),
        )

    return flag_catalog


async def read_rows(sink: FileSink, codes: list[str]) -> tuple[list[CatalogRow], dict[str, "SeenFlag"], list[str]]:
    """Return the new rows, the intact flags by code, and the codes whose flag has changed.

    The records' memory is free then.
    """
    before = await previous_rows(sink)
    records = await sink.records()
    known = features_of(before) if await is_of_this_version(sink) else {}
    seen = await describe_flags(sink, records, known=known)
    records |= await unusable_flags(sink, {code: records[code] for code in records.keys() - seen.keys()})
    rows = catalog_rows(codes, records, {**known, **{one.sha256: one.features for one in seen.values()}})
    return rows, seen, changed_codes(rows, {row.code: row.sha256 for row in before if row.sha256})


async def previous_rows(sink: FileSink) -> list[CatalogRow]:
    """Return the stored catalog's rows; none if it is missing or unreadable."""
    try:
        return load_rows(await sink.read_hint(CATALOG_PATH) or b"[]")
    except ValueError:
        return []


async def is_of_this_version(sink: FileSink) -> bool:
    """Whether the stored catalog has this version's schema."""
    return await sink.read(schema_path(CATALOG)) == render_schema(CATALOG_SCHEMA)


@dataclass(frozen=True, slots=True)
class SeenFlag:
    """An intact stored flag, with a tile if it is on the mosaic."""

    sha256: str
    features: ImageFeatures
    tile: Image.Image | None


async def describe_flags(
    sink: FileSink, records: Mapping[str, FlagRecord], *, known: Mapping[str, ImageFeatures]
) -> dict[str, SeenFlag]:
    """Return the intact flags by code; the *known* features are by SHA-256.

    Decodes only flags without features in the record and in *known*. Those beyond the image limits are left out,
    because they take minutes.
    """
    images = {code: record.image for code, record in records.items() if record.image}
    on_mosaic = set(sorted(records)[:MAX_FLAGS])
    limits = await image_limits()

    def see(code: str, content: bytes) -> SeenFlag:
        image = images[code]
        derived = image.derived if is_described(image) else None
        features = derived.features if derived else known.get(image.sha256)
        if features is None:
            read_structure(content).check(limits)
            features = describe_features(content)
        tile = _tile_of((derived.thumbnail if derived else "", content), limits) if code in on_mosaic else None
        return SeenFlag(image.sha256, features, tile)

    return await sink.examine({code: (image.file, image.sha256) for code, image in images.items()}, see)


def _tile_of(pictures: Sequence[str | bytes], limits: Limits) -> Image.Image | None:
    """Return the tile of the thumbnail, else of the flag."""
    for picture in pictures:
        with suppress(ImageError):
            content = read_data_uri(picture) if isinstance(picture, str) else picture
            read_structure(content).check(limits)
            return mosaic_tile(content)
    return None


async def unusable_flags(sink: FileSink, records: Mapping[str, FlagRecord]) -> dict[str, FlagRecord]:
    """Return the records whose flag cannot be read, with the reason as last failure."""
    files = {code: record.image.file for code, record in records.items() if record.image}
    reasons = {code: await sink.why_unusable(file) for code, file in files.items()}
    return {
        code: replace(records[code], last_failure=LastFailure(ErrorKind.SINK, reason))
        for code, reason in reasons.items()
        if reason
    }


async def show_mosaic(rows: Sequence[CatalogRow], tiles: Mapping[str, Image.Image]) -> dg.MarkdownMetadataValue:
    """Return all flags as one picture for the UI."""
    mosaic = await asyncio.to_thread(render_mosaic, [row.code for row in rows], tiles)
    return dg.MetadataValue.md(f"![all flags]({data_uri(mosaic, 'webp')})")


def describe_numbers(rows: list[CatalogRow]) -> dict[str, int]:
    """Return numbers for the UI's plots: rows by status, and bytes."""
    n_by_status = Counter(row.status for row in rows)
    return {
        **{f"n_{status}": n_by_status[status] for status in RowStatus},
        "n_failed": sum(row.has_failed for row in rows),
        "bytes": sum(row.size_bytes or 0 for row in rows),
    }
