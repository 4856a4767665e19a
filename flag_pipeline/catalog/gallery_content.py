"""What the gallery's page and pictures show."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from flag_pipeline.catalog.contact_sheet import MAX_FLAGS, Cell, Sheet
from flag_pipeline.catalog.rows import CatalogRow, status_label
from flag_pipeline.core.countries import iso_country
from flag_pipeline.core.layout import CATALOG, thumbnail_path
from flag_pipeline.core.models import FlagChange, RowStatus
from flag_pipeline.core.renditions import RenditionRecord

MAX_HISTORY_PICTURES = 100
# Narrower images are enlarged without smoothing.
TINY_PX = 64
# Files of this format are never shown themselves.
VECTOR = "svg"


@dataclass(frozen=True, slots=True)
class Gallery:
    """The content of the page.

    Attributes:
        pictured: SHA-256 of current and replaced flags with a thumbnail.
        downloads: paths of further files below the store's root, by code and label.
        credits: the footer's sentences about licences and origins.
    """

    rows: Sequence[CatalogRow]
    changes: Sequence[FlagChange] = ()
    pictured: Collection[str] = ()
    downloads: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    credits: Sequence[str] = ()


def sheet_of(rows: Sequence[CatalogRow], pictured: Collection[str]) -> Sheet:
    """Return what the contact sheet shows; *pictured* are SHA-256 of flags with a thumbnail."""
    shown = rows[:MAX_FLAGS]
    return Sheet([_cell_of(row, is_pictured=row.sha256 in pictured) for row in shown], len(rows) - len(shown))


def _cell_of(row: CatalogRow, *, is_pictured: bool) -> Cell:
    problem = "" if row.status is RowStatus.OK else status_label(row)
    return Cell(row.code, row.name, iso_country(row.code).name, problem, row.sha256 if is_pictured else "")


def credits_of(rows: Sequence[CatalogRow]) -> list[str]:
    """Return sentences about the flags' owners and licences, and whether they are simplified."""
    sources = sorted({f"{row.attribution}: {row.licence}" for row in rows if row.licence})
    are_drawings = any(row.file and not row.aspect_ratio for row in rows)
    notes = ["The drawings are simplified, and nearly all in one ratio, which is not that of most flags."]
    return [*(f"Flags: {source}." for source in sources), *(notes if are_drawings else ())]


def pictured_files(rows: Sequence[CatalogRow], changes: Sequence[FlagChange]) -> dict[str, str]:
    """Return the paths of the shown flags by SHA-256: current ones, and the latest replaced ones."""
    replaced = {change.old_sha256: change.old_file for change in changes[:MAX_HISTORY_PICTURES] if change.old_file}
    return {**replaced, **{row.sha256: row.file for row in rows if row.file}}


def vector_files(rows: Sequence[CatalogRow]) -> dict[str, str]:
    """Return the paths of flags shown as pictures drawn from them, by SHA-256."""
    return {row.sha256: row.file for row in rows if row.format == VECTOR}


def rendition_downloads(records: Mapping[str, RenditionRecord]) -> dict[str, dict[str, str]]:
    """Return the countries' renditions as `Gallery.downloads`."""
    return {
        code: {f"{each.rendition}, {each.width_px} x {each.height_px} px": each.file for each in record.files}
        for code, record in records.items()
    }


def address_of(path: str) -> str:
    """Return the address of a stored file, relative to the page."""
    return f"../{quote(path)}"


def thumbnail_address(sha256: str) -> str:
    """Return the address of a thumbnail, relative to the page."""
    return thumbnail_path(sha256).removeprefix(f"{CATALOG}/")
