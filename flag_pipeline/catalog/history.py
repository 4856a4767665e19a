"""The table of changes, one row per replaced flag."""

from collections.abc import Mapping

from pydantic import TypeAdapter

from flag_pipeline.catalog.tables import Column, ColumnType, TableSchema
from flag_pipeline.core.models import FlagChange, FlagRecord

CHANGES_SCHEMA = TableSchema(
    "changes",
    version=1,
    columns=(
        Column("code", ColumnType.TEXT, "the country whose flag was replaced"),
        Column("changed_at", ColumnType.MOMENT, "when the new flag came, UTC; rows are sorted by it, newest first"),
        Column("old_sha256", ColumnType.TEXT, "SHA-256 of the replaced file, lower-case hex"),
        Column("new_sha256", ColumnType.TEXT, "SHA-256 of its successor"),
        Column("old_size_bytes", ColumnType.INTEGER, "size of the replaced file in bytes"),
        Column("new_size_bytes", ColumnType.INTEGER, "size of its successor in bytes"),
        Column(
            "distance_bits",
            ColumnType.INTEGER,
            "in how many of 64 bits the perceptual hashes differ: 0 for alike, about 32 for unrelated pictures; "
            "null where one is unknown",
        ),
        Column("old_source_url", ColumnType.TEXT, "where the replaced flag had come from"),
        Column("source_url", ColumnType.TEXT, "where its successor came from"),
        Column("old_file", ColumnType.TEXT, "where the replaced flag is kept below the store's root; empty if lost"),
    ),
)  # fmt: skip


_CHANGES = TypeAdapter(list[FlagChange])


def change_rows(records: Mapping[str, FlagRecord]) -> list[FlagChange]:
    """Return all records' changes, newest first, then by code."""
    changes = [change for record in records.values() for change in record.changes]
    return sorted(sorted(changes, key=lambda change: change.code), key=lambda change: change.changed_at, reverse=True)


def load_changes(content: bytes) -> list[FlagChange]:
    """Return the rows in the table's JSON file.

    Raises ValueError if *content* is not such a file.
    """
    return _CHANGES.validate_json(content)


def changes_since(changes: list[FlagChange], stored: bytes | None) -> list[FlagChange]:
    """Return the *changes* that the JSON file *stored* lacks."""
    try:
        before = set(load_changes(stored)) if stored else set()
    except ValueError:
        before = set()
    return [change for change in changes if change not in before]


def picture_paths(records: Mapping[str, FlagRecord]) -> dict[tuple[str, str], str]:
    """Return current and replaced flags' paths by code and SHA-256."""
    replaced = {
        (change.code, change.old_sha256): change.old_file
        for record in records.values()
        for change in record.changes
        if change.old_file
    }
    current = {(code, record.image.sha256): record.image.file for code, record in records.items() if record.image}
    return {**replaced, **current}
