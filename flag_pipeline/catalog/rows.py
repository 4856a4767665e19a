"""The catalog's columns, and its rows, made from the stored records.

To add a column, add it to `CATALOG_SCHEMA`, raise its version, and extend `CatalogRow` and `_row`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from flag_pipeline import bounds
from flag_pipeline.catalog.tables import Column, ColumnType, TableSchema
from flag_pipeline.core.bounds import FlagFileOrEmpty, ImageFormatOrEmpty
from flag_pipeline.core.countries import iso_country
from flag_pipeline.core.models import FlagRecord, LastFailure, RowStatus, StoredImage
from flag_pipeline.core.presets import SourcePreset, find_preset, source_of
from flag_pipeline.errors import ErrorKind
from flag_pipeline.images.aspect import decimal_ratio, name_ratio
from flag_pipeline.images.models import ColourShare, ImageFeatures

TEXT, INTEGER, DECIMAL = ColumnType.TEXT, ColumnType.INTEGER, ColumnType.DECIMAL
MOMENT, COLOURS = ColumnType.MOMENT, ColumnType.COLOURS

CATALOG_SCHEMA = TableSchema(
    "catalog",
    version=4,
    columns=(
        Column("code", TEXT, "ISO 3166-1 alpha-2 code, or one of `FLAG_EXTRA_CODES`; unique, rows are sorted by it"),
        Column("alpha_3", TEXT, "ISO 3166-1 alpha-3 code; empty outside the standard"),
        Column("numeric", TEXT, "ISO 3166-1 numeric code, three digits, `004`; empty outside the standard"),
        Column("name", TEXT, "the source's name for the country; the name in ISO 3166-1 until it is fetched"),
        Column("official_name", TEXT, "the state's official name; empty where ISO 3166-1 gives none"),
        Column("tld", TEXT, "country-code top-level domain with its dot"),
        Column("file", TEXT, "path of the flag below the store's root; empty without a flag"),
        Column("format", TEXT, "`gif`, `png`, `jpeg`, `webp` or `svg`, by the file's bytes"),
        Column("width_px", INTEGER, "width in pixels, as shown: EXIF orientation is applied"),
        Column("height_px", INTEGER, "height in pixels, as shown"),
        Column(
            "aspect_ratio",
            TEXT,
            "width to height of the flag without a transparent margin, `3:2`, or a near ratio, `about 3:2`; empty for "
            "simplified drawings",
        ),
        Column(
            "aspect_decimal",
            DECIMAL,
            "the same as a number: width divided by height, four decimals; null where `aspect_ratio` is empty",
        ),
        Column("mode", TEXT, "how a pixel is stored, in Pillow's words: `P`, `RGB`, `RGBA` ..."),
        Column("n_frames", INTEGER, "frames; more than 1 is an animation"),
        Column("colours", COLOURS, "up to six main colours, `hex` (`#rrggbb`) and `share` (0 to 1), largest first"),
        Column("phash", TEXT, "64-bit perceptual hash, 16 hex digits: pictures that look alike differ in few bits"),
        Column("size_bytes", INTEGER, "size of the file in bytes"),
        Column("sha256", TEXT, "SHA-256 of the file, lower-case hex"),
        Column("source_url", TEXT, "where the flag came from"),
        Column("licence", TEXT, "licence of the flag, as its source gives it; empty for a source that is no preset"),
        Column("attribution", TEXT, "whom the licence wants named, and what was changed; empty with `licence`"),
        Column("fetched_at", MOMENT, "when the stored bytes came, UTC; an unchanged answer leaves it as it was"),
        Column("first_seen_at", MOMENT, "when the country's first flag came, UTC"),
        Column("changed_at", MOMENT, "when the bytes last differed from those before, UTC; at first `first_seen_at`"),
        Column("n_changes", INTEGER, "how often the bytes have changed since `first_seen_at`"),
        Column(
            "status",
            TEXT,
            "`ok`; `stale`: the latest attempt failed, the last good flag is kept; `not_found`: the source has none; "
            "`missing`: there never was one",
        ),
        Column("reason", TEXT, "why the status is not `ok`: the error's kind, a colon, what happened"),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One country's row; `CATALOG_SCHEMA` describes the fields. Unknown values are None or empty."""

    code: bounds.Code
    alpha_3: bounds.Alpha3
    numeric: bounds.Numeric
    name: bounds.Line
    official_name: bounds.Line
    tld: bounds.Tld
    status: RowStatus
    reason: bounds.Line
    file: FlagFileOrEmpty = ""
    format: ImageFormatOrEmpty = ""
    width_px: bounds.Pixels | None = None
    height_px: bounds.Pixels | None = None
    aspect_ratio: bounds.AspectRatio = ""
    aspect_decimal: bounds.Decimal | None = None
    mode: bounds.PixelMode = ""
    n_frames: bounds.Count | None = None
    colours: tuple[ColourShare, ...] = ()
    phash: bounds.Phash = ""
    size_bytes: bounds.SizeBytes | None = None
    sha256: bounds.Sha256OrEmpty = ""
    source_url: bounds.Line = ""
    licence: bounds.Line = ""
    attribution: bounds.Line = ""
    fetched_at: bounds.Moment | None = None
    first_seen_at: bounds.Moment | None = None
    changed_at: bounds.Moment | None = None
    n_changes: bounds.Count | None = None

    @property
    def has_failed(self) -> bool:
        """Whether the latest attempt failed; an absent country is no failure."""
        return self.status in {RowStatus.STALE, RowStatus.MISSING} and bool(self.reason)


_NO_PRESET = SourcePreset(name="", base_url="")

# For users. The word in the catalog's files also says that an earlier flag is kept.
STATUS_LABELS = {
    RowStatus.OK: "ok",
    RowStatus.STALE: "failed",
    RowStatus.NOT_FOUND: "not found",
    RowStatus.MISSING: "missing",
}


def status_label(row: CatalogRow) -> str:
    """Return the status that pages, pictures and terminals show."""
    return "failed" if row.has_failed else STATUS_LABELS[row.status]


_COLOUR, _ROW = TypeAdapter(ColourShare), TypeAdapter(CatalogRow)


def catalog_rows(
    codes: Iterable[str], records: Mapping[str, FlagRecord], features: Mapping[str, ImageFeatures]
) -> list[CatalogRow]:
    """Return one row per code and per record, sorted; *features* are by SHA-256."""
    return [_row(code, records.get(code), features) for code in sorted({*codes, *records})]


def features_of(rows: Iterable[CatalogRow]) -> dict[str, ImageFeatures]:
    """Return the features of a catalog's flags by SHA-256."""
    return {
        row.sha256: ImageFeatures(
            row.mode, row.n_frames, row.colours, row.phash, row.aspect_ratio, row.aspect_decimal or 0.0
        )
        for row in rows
        if row.n_frames is not None
    }


def load_rows(content: bytes) -> list[CatalogRow]:
    """Return the rows in the catalog's JSON file.

    Raises ValueError if *content* is not a catalog of this schema.
    """
    try:
        rows = json.loads(content, object_hook=_load_object)
    except RecursionError as exc:
        raise ValueError(f"not a catalog of schema {CATALOG_SCHEMA.version}: it is nested too deeply") from exc
    if not isinstance(rows, list) or not all(isinstance(row, CatalogRow) for row in rows):
        raise ValueError(f"not a catalog of schema {CATALOG_SCHEMA.version}")
    return rows


def _load_object(cells: dict[str, Any]) -> CatalogRow | ColourShare:
    # One at a time, so that thousands of rows are not in memory twice.
    return _COLOUR.validate_python(cells) if "hex" in cells else _ROW.validate_python(cells)


def _row(code: str, record: FlagRecord | None, features: Mapping[str, ImageFeatures]) -> CatalogRow:
    record = record or FlagRecord(code)
    country = record.country or iso_country(code)
    return CatalogRow(
        code=code,
        alpha_3=country.alpha_3,
        numeric=country.numeric,
        name=country.name,
        official_name=country.official_name,
        tld=country.tld,
        status=_status(record.image, record.last_failure),
        reason=f"{record.last_failure.kind}: {record.last_failure.reason}" if record.last_failure else "",
        **(_image_cells(code, record.image, features.get(record.image.sha256)) if record.image else {}),
    )


def _image_cells(code: str, image: StoredImage, features: ImageFeatures | None) -> dict[str, Any]:
    cells = {
        "file": image.file,
        "format": image.format,
        "width_px": image.width_px,
        "height_px": image.height_px,
        "size_bytes": image.size_bytes,
        "sha256": image.sha256,
        "source_url": image.source_url,
        "fetched_at": image.fetched_at,
        "first_seen_at": image.first_seen_at or image.changed_at,
        "changed_at": image.changed_at,
        "n_changes": image.n_changes,
        **_source_cells(code, image, features),
    }
    if features is None:
        return cells
    return {
        **cells,
        "mode": features.mode,
        "n_frames": features.n_frames,
        "colours": features.colours,
        "phash": features.phash,
    }


def _source_cells(code: str, image: StoredImage, features: ImageFeatures | None) -> dict[str, Any]:
    source = source_of(image.source_url, code)
    preset = find_preset(source) if source else _NO_PRESET
    cells: dict[str, Any] = {"licence": preset.licence, "attribution": preset.attribution}
    if not preset.has_ratios:
        return cells
    size = image.width_px, image.height_px
    return {
        **cells,
        "aspect_ratio": features.aspect_ratio if features else name_ratio(*size),
        "aspect_decimal": features.aspect_decimal if features else decimal_ratio(*size),
    }


def _status(image: StoredImage | None, failure: LastFailure | None) -> RowStatus:
    if failure is not None and failure.kind is ErrorKind.NOT_FOUND:
        return RowStatus.NOT_FOUND
    if image is None:
        return RowStatus.MISSING
    return RowStatus.STALE if failure else RowStatus.OK
