"""The gallery asset: the catalog as a web page and a contact sheet."""

import asyncio
import time

import dagster as dg
from PIL import Image

from flag_pipeline.catalog import contact_sheet, gallery
from flag_pipeline.catalog.gallery import Gallery, render_page
from flag_pipeline.catalog.history import load_changes
from flag_pipeline.catalog.rows import load_rows
from flag_pipeline.core.layout import CATALOG_PATH, CHANGES_PATH, CONTACT_SHEET_PATH, GALLERY_PATH
from flag_pipeline.core.sink import FileSink
from flag_pipeline.defs.catalog import show_mosaic
from flag_pipeline.defs.keys import CODE_VERSION, FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY, OWNERS
from flag_pipeline.defs.publishing import publish
from flag_pipeline.defs.resources import FileSinkResource, image_limits
from flag_pipeline.images.formats import read_structure

# Built in the tables' run, if both are requested.
TABLES_CHANGED = (
    dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.data_version_changed() | dg.AutomationCondition.will_be_requested()
    ).since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)


@dg.asset(
    key=FLAG_GALLERY,
    deps=[FLAG_CATALOG, FLAG_CHANGES],
    automation_condition=TABLES_CHANGED,
    code_version=CODE_VERSION,
    group_name="flags",
    owners=OWNERS,
    kinds={"html", "png"},
    description="The catalog to look at: `catalog/index.html` and `catalog/contact_sheet.png`.",
)
async def flag_gallery(file_sink: FileSinkResource) -> dg.MaterializeResult[None]:
    """Draw the catalog from its tables and the flags that they name."""
    started_at = time.monotonic()
    sink = file_sink.sink
    shown, tiles = await read_gallery(sink)
    # In sequence, because concurrent threads do not share freed memory.
    sheet = await asyncio.to_thread(contact_sheet.render_contact_sheet, shown.rows, tiles)
    preview = await show_mosaic(shown.rows, tiles)
    tiles.clear()  # With thousands of countries, the page needs this memory.
    page = await asyncio.to_thread(render_page, shown)
    version = await publish(sink, {GALLERY_PATH: page, CONTACT_SHEET_PATH: sheet})
    return dg.MaterializeResult(
        data_version=version,
        metadata={
            "page": dg.MetadataValue.path(f"{file_sink.store}/{GALLERY_PATH}"),
            "contact_sheet": dg.MetadataValue.path(f"{file_sink.store}/{CONTACT_SHEET_PATH}"),
            "preview": preview,
            "n_flags": len(shown.flags),
            "page_bytes": len(page),
            "contact_sheet_bytes": len(sheet),
            "seconds": round(time.monotonic() - started_at, 3),
        },
    )


async def read_gallery(sink: FileSink) -> tuple[Gallery, dict[str, Image.Image]]:
    """Return the page's content and the contact sheet's tiles by code.

    Raises dg.Failure without a catalog of this version.
    """
    try:
        rows = load_rows(await sink.read(CATALOG_PATH) or b"")
        changes = load_changes(await sink.read(CHANGES_PATH) or b"[]")
    except ValueError as exc:
        raise dg.Failure("there is no catalog to draw: materialize flag_catalog first", allow_retries=False) from exc
    by_code = {row.code: row for row in rows if row.file}
    on_sheet = {row.code for row in rows[: contact_sheet.MAX_FLAGS]}

    limits = await image_limits()

    def draw(code: str, content: bytes) -> tuple[str, Image.Image | None]:
        read_structure(content).check(limits)
        tile = contact_sheet.sheet_tile(content) if code in on_sheet else None
        return gallery.card_thumbnail(by_code[code], content, n_flags=len(by_code)), tile

    def draw_replaced(file: str, content: bytes) -> str:
        read_structure(content).check(limits)
        return gallery.history_thumbnail(file, content)

    drawn = await sink.examine({code: (row.file, row.sha256) for code, row in by_code.items()}, draw)
    replaced = await sink.examine(gallery.pictured_changes(changes), draw_replaced)
    return (
        Gallery(rows, changes, {code: uri for code, (uri, _) in drawn.items()}, replaced),
        {code: tile for code, (_, tile) in drawn.items() if tile is not None},
    )
