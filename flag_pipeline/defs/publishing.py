"""Publishing of derived assets: files, data version, tables in the UI."""

import hashlib
import html
from collections.abc import Iterable, Sequence
from datetime import datetime

import dagster as dg

from flag_pipeline.catalog.tables import ColumnType, TableSchema, write_moment
from flag_pipeline.core.sink import FileSink

_TYPE_NAMES = {
    ColumnType.TEXT: "string",
    ColumnType.INTEGER: "int",
    ColumnType.DECIMAL: "float",
    ColumnType.MOMENT: "timestamp[ms, UTC]",
    ColumnType.COLOURS: "list<struct<hex: string, share: float>>",
}


async def publish(sink: FileSink, files: Iterable[tuple[str, bytes]]) -> dg.DataVersion:
    """Store files of paths and contents; return the contents' data version, which depends on their order."""
    digest = hashlib.sha256()
    for path, content in files:
        await sink.write(path, content)
        digest.update(hashlib.sha256(content).digest())
    return dg.DataVersion(digest.hexdigest())


def column_schema(schema: TableSchema) -> dg.TableSchema:
    """Return Dagster's schema of an asset's columns."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column.name, _TYPE_NAMES[column.type], description=column.description)
            for column in schema.columns
        ]
    )


def table_preview(rows: Iterable[object], names: Sequence[str]) -> dg.TableMetadataValue:
    """Return the columns *names* as a table for the UI."""
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _cell(getattr(row, name)) for name in names}) for row in rows],
        schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in names]),
    )


def _cell(value: object) -> str | int | float | None:
    if isinstance(value, datetime):
        return write_moment(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value or "")


def escape_markdown(text: str) -> str:
    """Escape *text* for Markdown: no link, image, HTML or table cell."""
    # Not quotes, because the escape of "#" would break theirs.
    shown = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{character}" if character in r"\`*_{}[]()#+-.!|~" else character for character in shown)
