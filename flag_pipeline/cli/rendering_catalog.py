"""The output of `catalog`, `changes` and `coverage`: tables for terminals, JSON and CSV for programs."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flag_pipeline.catalog.rows import CatalogRow, status_label
from flag_pipeline.catalog.tables import TableSchema, render_csv, render_json
from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.coverage import Coverage
from flag_pipeline.core.models import FlagChange

_STYLES = {"ok": "green", "failed": "red", "not found": "dim", "missing": "red"}
SHOWN_UNKNOWN = 10


def print_table(schema: TableSchema, rows: Sequence[object], kind: str) -> None:
    """Print the rows as in the file of that kind, `json` or `csv`."""
    render = render_json if kind == "json" else render_csv
    # Bytes, because text mode would translate CSV's line ends.
    sys.stdout.buffer.write(render(schema, rows))


def print_catalog(rows: Sequence[CatalogRow]) -> None:
    """Print one line per country, with its main colours as blocks."""
    table = Table("code", "name", "status", "pixels", "ratio", "bytes", "colours", "changed", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            row.code,
            Text(row.name),
            Text(status_label(row), _STYLES[status_label(row)]),
            f"{row.width_px}x{row.height_px}" if row.width_px else "",
            row.aspect_ratio,
            str(row.size_bytes or ""),
            Text.assemble(*(("██", colour.hex) for colour in row.colours)),
            f"{row.changed_at:%Y-%m-%d}" if row.changed_at else "",
        )
    console = Console(highlight=False)
    console.print(table)
    for row in rows:
        if row.reason:
            console.print(f"[red]{row.code}[/red] {escape(row.reason)}", soft_wrap=True)


def print_changes(changes: Sequence[FlagChange]) -> None:
    """Print one line per change."""
    console = Console(highlight=False)
    if not changes:
        console.print("No flag has changed.")
        return
    table = Table("changed", "code", "distance", "bytes", "source", box=None, pad_edge=False)
    for change in changes:
        table.add_row(
            f"{change.changed_at:%Y-%m-%d %H:%M}",
            change.code,
            "" if change.distance_bits is None else f"{change.distance_bits}/64",
            f"{change.old_size_bytes} -> {change.new_size_bytes}",
            Text(change.source_url, overflow="fold"),
        )
    console.print(table)


def print_coverage(coverage: Coverage, source: str, *, every: bool) -> None:
    """Print how many countries the source has, lacks, and has besides."""
    console = Console(highlight=False)
    n_iso = len(iso_codes())
    console.print(
        f"{escape(source)} has {len(coverage.has) - len(coverage.beyond)} of {n_iso} countries.", soft_wrap=True
    )
    if coverage.lacks:
        console.print(f"It lacks {' '.join(coverage.lacks)}.", soft_wrap=True)
    if every:
        console.print(f"Beyond ISO 3166-1 it has {' '.join(coverage.beyond) or 'none'}.", soft_wrap=True)
    for code, reason in list(coverage.unknown.items())[:SHOWN_UNKNOWN]:
        console.print(f"[red]{code}[/red] {escape(reason)}", soft_wrap=True)
    if len(coverage.unknown) > SHOWN_UNKNOWN:
        console.print(f"and {len(coverage.unknown) - SHOWN_UNKNOWN} more without an answer")


def coverage_json(coverage: Coverage) -> dict[str, object]:
    """Return the object that `coverage --json` prints."""
    return {
        "has": coverage.has,
        "lacks": coverage.lacks,
        "beyond_iso_3166_1": coverage.beyond,
        "unknown": coverage.unknown,
    }
