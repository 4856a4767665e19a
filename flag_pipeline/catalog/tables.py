"""Writes a table as JSON, CSV and Parquet, and describes its columns.

Unknown numbers and moments are null, in CSV empty; unknown text is empty. Equal rows give equal bytes.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from flag_pipeline.core.layout import schema_path, table_path
from flag_pipeline.core.records import dump_json, dump_json_array
from flag_pipeline.images.models import ColourShare

if TYPE_CHECKING:
    import pyarrow as pa

# Spreadsheets evaluate text that starts with one of these characters, also full-width or small, as a formula (OWASP,
# CSV injection). Some split lines at semicolons, or ignore quotes and start a cell after any separator and line end.
_SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
_FORMULA = re.compile(
    r"(^|\r\n|[,;\t\n\r\v\f\x1c-\x1e\x85\u2028\u2029])"
    rf"""(?=[\s"\u200b-\u200f\u2060\ufeff]*[{_SIGNS}]|"*[\t\r])"""
)
# Most cells have none.
_MAY_BE_FORMULA = re.compile(rf"[{_SIGNS}\t\r]")
VERSION_KEY = "flag_pipeline.schema_version"
# Rows of a Parquet file that are in memory at a time.
_ROW_GROUP = 1_000


class ColumnType(StrEnum):
    """The type of a column's values."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    MOMENT = "moment"
    COLOURS = "colours"


@dataclass(frozen=True, slots=True)
class Column:
    """The name, type and meaning of a column."""

    name: str
    type: ColumnType
    description: str


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The name and columns of a table.

    Attributes:
        version: raised when a column is added, removed or changed.
    """

    name: str
    version: int
    columns: tuple[Column, ...]


def render_table(schema: TableSchema, folder: str, rows: Sequence[object]) -> Iterator[tuple[str, bytes]]:
    """Yield paths and contents of the table's files: CSV, JSON, Parquet and `schema.json`."""
    yield table_path(folder, schema.name, "csv"), render_csv(schema, rows)
    yield table_path(folder, schema.name, "json"), render_json(schema, rows)
    yield table_path(folder, schema.name, "parquet"), render_parquet(schema, rows)
    yield schema_path(folder), render_schema(schema)


def render_json(schema: TableSchema, rows: Iterable[object]) -> bytes:
    """Return the rows as a JSON array of objects."""
    names = [column.name for column in schema.columns]
    return dump_json_array({name: _json_cell(getattr(row, name)) for name in names} for row in rows)


def render_csv(schema: TableSchema, rows: Iterable[object]) -> bytes:
    """Return the rows as RFC 4180 CSV in UTF-8, with a header.

    An apostrophe precedes text that spreadsheets evaluate. Colours are `#rrggbb:share`, separated by spaces.
    """
    content = io.BytesIO()
    text = io.TextIOWrapper(content, "utf-8", newline="")
    writer = csv.writer(text)
    names = [column.name for column in schema.columns]
    writer.writerow(names)
    writer.writerows([_csv_cell(getattr(row, name)) for name in names] for row in rows)
    text.flush()
    return content.getvalue()


def render_parquet(schema: TableSchema, rows: Sequence[object]) -> bytes:
    """Return Parquet with the schema's version and column descriptions as metadata."""
    # It takes a tenth of a second, and only catalog builds need it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = _arrow_schema(schema)
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, fields, compression="zstd") as writer:
        for start in range(0, max(1, len(rows)), _ROW_GROUP):
            group = rows[start : start + _ROW_GROUP]
            columns = [[_parquet_cell(getattr(row, field.name)) for row in group] for field in fields]
            writer.write_table(pa.Table.from_arrays(list(map(pa.array, columns, fields.types)), schema=fields))
    # Arrow keeps freed memory by default.
    pa.default_memory_pool().release_unused()
    return buffer.getvalue()


def render_schema(schema: TableSchema) -> bytes:
    """Return the description of table and columns as JSON."""
    columns = [
        {"name": column.name, "type": column.type, "description": column.description} for column in schema.columns
    ]
    return dump_json({"table": schema.name, "schema_version": schema.version, "columns": columns})


def render_dictionary(schema: TableSchema) -> str:
    """Return the table's data dictionary in Markdown."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{column.name}` | {column.type} | {column.description} |" for column in schema.columns]
    return "\n".join(lines) + "\n"


def write_moment(moment: datetime) -> str:
    """Return an aware UTC moment in ISO 8601 with milliseconds and a Z."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _arrow_schema(schema: TableSchema) -> "pa.Schema":
    import pyarrow as pa

    types = {
        ColumnType.TEXT: pa.string(),
        ColumnType.INTEGER: pa.int64(),
        ColumnType.DECIMAL: pa.float64(),
        ColumnType.MOMENT: pa.timestamp("ms", tz="UTC"),
        ColumnType.COLOURS: pa.list_(pa.struct([("hex", pa.string()), ("share", pa.float64())])),
    }
    return pa.schema(
        [
            pa.field(column.name, types[column.type], metadata={"description": column.description})
            for column in schema.columns
        ],
        metadata={VERSION_KEY: str(schema.version)},
    )


def _parquet_cell(cell: object) -> object:
    if isinstance(cell, tuple):
        return [_colour_cell(colour) for colour in cell]
    return str(cell) if isinstance(cell, StrEnum) else cell


def _json_cell(cell: object) -> object:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, datetime):
        return write_moment(cell)
    return [_colour_cell(colour) for colour in cell] if isinstance(cell, tuple) else cell


def _colour_cell(colour: ColourShare) -> dict[str, Any]:
    return {"hex": colour.hex, "share": colour.share}


def _csv_cell(cell: object) -> object:
    if isinstance(cell, str):
        return _FORMULA.sub(r"\1'", cell) if _MAY_BE_FORMULA.search(cell) else cell
    if isinstance(cell, datetime):
        return write_moment(cell)
    if isinstance(cell, tuple):
        return " ".join(f"{colour.hex}:{colour.share}" for colour in cell)
    return cell
