"""The table of renditions, one row per file."""

from collections.abc import Mapping
from dataclasses import dataclass

from flag_pipeline.catalog.tables import Column, ColumnType, TableSchema
from flag_pipeline.core.renditions import RenditionFile, RenditionRecord

RENDITIONS_SCHEMA = TableSchema(
    "renditions",
    version=1,
    columns=(
        Column("code", ColumnType.TEXT, "the country; rows are sorted by it, then by rendition"),
        Column("rendition", ColumnType.TEXT, "a name of `FLAG_RENDITIONS`, such as `w160` or `circle64`"),
        Column("file", ColumnType.TEXT, "path below the store's root"),
        Column("width_px", ColumnType.INTEGER, "width in pixels; less than the name says if the flag is smaller"),
        Column("height_px", ColumnType.INTEGER, "height in pixels"),
        Column("size_bytes", ColumnType.INTEGER, "size of the file in bytes"),
        Column("sha256", ColumnType.TEXT, "SHA-256 of the file, lower-case hex"),
        Column("flag_sha256", ColumnType.TEXT, "SHA-256 of the flag that it was made from"),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RenditionRow:
    """One file; `RENDITIONS_SCHEMA` describes the fields."""

    code: str
    rendition: str
    file: str
    width_px: int
    height_px: int
    size_bytes: int
    sha256: str
    flag_sha256: str


def rendition_rows(records: Mapping[str, RenditionRecord]) -> list[RenditionRow]:
    """Return one row per rendition, sorted by code and rendition."""
    return [_row(records[code], file) for code in sorted(records) for file in _sorted_files(records[code])]


def _sorted_files(record: RenditionRecord) -> list[RenditionFile]:
    return sorted(record.files, key=lambda file: file.rendition)


def _row(record: RenditionRecord, file: RenditionFile) -> RenditionRow:
    return RenditionRow(
        record.code,
        file.rendition,
        file.file,
        file.width_px,
        file.height_px,
        file.size_bytes,
        file.sha256,
        record.flag_sha256,
    )
