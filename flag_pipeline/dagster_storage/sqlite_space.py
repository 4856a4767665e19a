"""Gives the free pages of SQLite files back to the file system, while other processes use the files."""

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from flag_pipeline.dagster_storage.sqlite_files import BUSY_TIMEOUT_S

__all__ = ["disk_bytes", "reclaim"]

# Fewer free pages are used again soon.
_MIN_FREE_SHARE = 0.1


def disk_bytes(databases: Iterable[Path]) -> int:
    """Return the bytes of the files and their write-ahead logs; a missing one has none."""
    files = [Path(f"{path}{suffix}") for path in databases for suffix in ("", "-wal")]
    return sum(file.stat().st_size for file in files if file.exists())


def reclaim(path: Path) -> str:
    """Shrink the file to its content, if it is worth it; return why it could not be done, else nothing.

    Others can read all the time, and write again when the copy is made. A kill leaves the file as it was. SQLite needs
    space for two copies: one in its folder for temporary files, one in the write-ahead log.
    Source: https://www.sqlite.org/lang_vacuum.html, read 2026-11-26.
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            return _vacuum(connection, path)
    except sqlite3.Error as exc:
        return str(exc)


def _vacuum(connection: sqlite3.Connection, path: Path) -> str:
    pages, free_pages, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    if free_pages < pages * _MIN_FREE_SHARE:
        return ""
    needed = 2 * (pages - free_pages) * page_bytes
    if shutil.disk_usage(path.parent).free < needed:
        return f"it needs {needed / 1e6:.0f} MB of free disk space"
    connection.execute("VACUUM")
    # Readers of an older state are waited for: the file shrinks when its log is written back.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return ""
