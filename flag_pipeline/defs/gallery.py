"""The gallery asset: the catalog as a web page and a contact sheet."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePosixPath

import dagster as dg

from flag_pipeline.catalog.contact_sheet import is_drawn_from, render_pictures
from flag_pipeline.catalog.gallery import render_page
from flag_pipeline.catalog.gallery_content import (
    Gallery,
    credits_of,
    pictured_files,
    rendition_downloads,
    sheet_of,
    vector_files,
)
from flag_pipeline.catalog.history import load_changes
from flag_pipeline.catalog.rows import CatalogRow, load_rows
from flag_pipeline.core.layout import (
    CATALOG_PATH,
    CHANGES_PATH,
    CONTACT_SHEET_PATH,
    GALLERY_PATH,
    MOSAIC_PATH,
    OLD_PICTURES,
    PAGE_DETAILS,
    PICTURES,
    THUMBNAILS,
    thumbnail_path,
    webp_path,
)
from flag_pipeline.core.models import FlagChange
from flag_pipeline.core.renditions import rendition_records
from flag_pipeline.core.sink import FileSink
from flag_pipeline.defs.keys import CODE_VERSION, FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY, OWNERS, RENDITION_CATALOG
from flag_pipeline.defs.publishing import publish
from flag_pipeline.defs.resources import FileSinkResource, image_limits
from flag_pipeline.errors import LocalError
from flag_pipeline.images.decoder import Decoder
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.thumbnails import PICTURE_BOX, THUMBNAIL_BOX, Size, data_uri, draw_thumbnail

logger = logging.getLogger(__name__)

# Built in the tables' run, if both are requested.
TABLES_CHANGED = (
    dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.data_version_changed() | dg.AutomationCondition.will_be_requested()
    ).since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)


def gallery_asset(*, with_renditions: bool) -> dg.AssetsDefinition:
    """Return the asset `flag_gallery`, whose page offers the renditions if there are any."""

    @dg.asset(
        key=FLAG_GALLERY,
        deps=[FLAG_CATALOG, FLAG_CHANGES, *([RENDITION_CATALOG] if with_renditions else [])],
        automation_condition=TABLES_CHANGED,
        code_version=CODE_VERSION,
        group_name="flags",
        owners=OWNERS,
        kinds={"html", "png"},
        description="The catalog to look at: `catalog/index.html` and `catalog/contact_sheet.png`.",
    )
    async def flag_gallery(file_sink: FileSinkResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster 1.13 does not recognise it with an argument
        started_at = time.monotonic()
        sink = file_sink.sink
        with Decoder(processes=1) as decoder:
            # It starts while the tables are read.
            decoder.prepare()
            rows, changes = await read_tables(sink)
            shown, vectors = pictured_files(rows, changes), vector_files(rows)
            pictured = await draw_missing(sink, THUMBNAILS, shown, THUMBNAIL_BOX)
            await draw_missing(sink, PICTURES, vectors, PICTURE_BOX)
            downloads = rendition_downloads(await rendition_records(sink)) if with_renditions else {}
            gallery = Gallery(rows, changes, pictured, downloads, credits_of(rows))
            pictures, page = await render(sink, gallery, decoder)
        version = await publish(sink, sorted({**page, **pictures}.items()))
        await sink.keep_only(PAGE_DETAILS, page.keys())
        await sink.keep_only(THUMBNAILS, {webp_path(THUMBNAILS, sha256) for sha256 in shown})
        await sink.keep_only(PICTURES, {webp_path(PICTURES, sha256) for sha256 in vectors})
        for folder in OLD_PICTURES:
            await sink.keep_only(folder, ())
        return dg.MaterializeResult(
            data_version=version,
            metadata={
                "page": dg.MetadataValue.path(f"{file_sink.store}/{GALLERY_PATH}"),
                "contact_sheet": dg.MetadataValue.path(f"{file_sink.store}/{CONTACT_SHEET_PATH}"),
                "preview": dg.MetadataValue.md(f"![all flags]({data_uri(pictures[MOSAIC_PATH], 'webp')})"),
                "n_flags": sum(row.sha256 in pictured for row in rows),
                "page_bytes": len(page[GALLERY_PATH]),
                "contact_sheet_bytes": len(pictures[CONTACT_SHEET_PATH]),
                "seconds": round(time.monotonic() - started_at, 3),
            },
        )

    return flag_gallery


async def read_tables(sink: FileSink) -> tuple[list[CatalogRow], list[FlagChange]]:
    """Return the rows of the catalog and of the history.

    Raises dg.Failure without a catalog of this version.
    """
    try:
        rows = load_rows(await sink.read(CATALOG_PATH) or b"")
        return rows, load_changes(await sink.read(CHANGES_PATH) or b"[]")
    except ValueError:
        raise dg.Failure("there is no catalog to draw: materialize flag_catalog first", allow_retries=False) from None


async def draw_missing(sink: FileSink, folder: str, files: Mapping[str, str], box: Size) -> set[str]:
    """Draw what is missing in *folder*; return the SHA-256 of its flags. *files* are paths by SHA-256."""
    stored = set(await sink.names(folder)) if files else set()
    found = {sha256 for sha256 in files if PurePosixPath(webp_path(folder, sha256)).name in stored}
    limits = await image_limits()

    def draw(_sha256: str, content: bytes) -> bytes:
        read_structure(content).check(limits)
        return draw_thumbnail(content, box)

    drawn = await sink.examine({sha256: (files[sha256], sha256) for sha256 in files.keys() - found}, draw)
    await sink.write_files({webp_path(folder, sha256): picture for sha256, picture in drawn.items()})
    return found | drawn.keys()


async def render(sink: FileSink, gallery: Gallery, decoder: Decoder) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return contact sheet and mosaic, and the page's files, by path; stored pictures if they show the same."""
    sheet = sheet_of(gallery.rows, gallery.pictured)
    stored = await sink.read_files([CONTACT_SHEET_PATH, MOSAIC_PATH])
    if len(stored) > 1 and is_drawn_from(stored[CONTACT_SHEET_PATH], sheet):
        return stored, await asyncio.to_thread(render_page, gallery)
    # Read before the page is rendered, whose thread would delay it.
    found = await sink.read_files({thumbnail_path(cell.sha256) for cell in sheet.cells if cell.sha256})
    thumbnails = {cell.code: found.get(thumbnail_path(cell.sha256), b"") for cell in sheet.cells}
    draw = partial(render_pictures, sheet, thumbnails)
    return await asyncio.gather(draw_pictures(decoder, draw), asyncio.to_thread(render_page, gallery))


async def draw_pictures(decoder: Decoder, draw: Callable[[], tuple[bytes, bytes]]) -> dict[str, bytes]:
    """Return contact sheet and mosaic by path."""
    try:
        sheet, mosaic = await decoder.run(draw)
    except LocalError as exc:
        logger.warning("the pictures are drawn once more: %s", exc)
        sheet, mosaic = await decoder.run(draw)
    return {CONTACT_SHEET_PATH: sheet, MOSAIC_PATH: mosaic}
