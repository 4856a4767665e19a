"""From stored records to the catalog's rows and files. Pure: the same records give the same bytes."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flag_pipeline.core.countries import iso_country
from flag_pipeline.core.records import dump_json
from flag_pipeline.errors import ErrorKind
from flag_pipeline.models import FlagRecord, Miss, RowStatus, StoredImage

JSON_PATH, CSV_PATH = "catalog/catalog.json", "catalog/catalog.csv"

# A spreadsheet takes a cell that starts with one of these for a formula (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One country's row, with empty cells where nothing is known.

    Attributes:
        file: path of the flag below the store's root.
        sha256: of the flag's bytes.
        fetched_at: when the stored bytes came, ISO 8601 in UTC.
        changed_at: when the bytes last differed from those before, ISO 8601 in UTC.
        reason: why the row is not `ok`, starting with the error's kind.
    """

    code: str
    alpha_3: str
    numeric: str
    name: str
    official_name: str
    tld: str
    file: str
    format: str
    width_px: int | None
    height_px: int | None
    size_bytes: int | None
    sha256: str
    source_url: str
    fetched_at: str
    changed_at: str
    status: RowStatus
    reason: str


COLUMNS = tuple(field.name for field in dataclasses.fields(CatalogRow))


def catalog_rows(codes: Iterable[str], records: Mapping[str, FlagRecord]) -> list[CatalogRow]:
    """Return one row for every code and every stored record, sorted by code."""
    return [_row(code, records.get(code)) for code in sorted({*codes, *records})]


def _row(code: str, record: FlagRecord | None) -> CatalogRow:
    record = record or FlagRecord(code)
    country = record.country or iso_country(code)
    return CatalogRow(
        code=code,
        alpha_3=country.alpha_3,
        numeric=country.numeric,
        name=country.name,
        official_name=country.official_name,
        tld=country.tld,
        **_image_cells(record.image),
        status=_status(record.image, record.miss),
        reason=f"{record.miss.kind}: {record.miss.reason}" if record.miss else "",
    )


def _image_cells(image: StoredImage | None) -> dict[str, Any]:
    names = (
        "file",
        "format",
        "width_px",
        "height_px",
        "size_bytes",
        "sha256",
        "source_url",
        "fetched_at",
        "changed_at",
    )
    if image is None:
        return {name: None if name.endswith(("_px", "_bytes")) else "" for name in names}
    cells = {name: getattr(image, name) for name in names}
    return {name: _iso(cell) if isinstance(cell, datetime) else cell for name, cell in cells.items()}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _status(image: StoredImage | None, miss: Miss | None) -> RowStatus:
    if miss is not None and miss.kind is ErrorKind.NOT_FOUND:
        return RowStatus.NOT_FOUND
    if image is None:
        return RowStatus.MISSING
    return RowStatus.STALE if miss else RowStatus.OK


def render_json(rows: Iterable[CatalogRow]) -> bytes:
    """Return the rows as a JSON array of objects, in UTF-8."""
    return dump_json([dataclasses.asdict(row) for row in rows])


def render_csv(rows: Iterable[CatalogRow]) -> bytes:
    """Return the rows as RFC 4180 CSV in UTF-8, with a header.

    A cell that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _csv_cell(cell) for name, cell in dataclasses.asdict(row).items()})
    return text.getvalue().encode()


def _csv_cell(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell
