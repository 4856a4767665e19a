"""Returns free pages of SQLite files to the file system while other processes use them."""

import shutil
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from flag_pipeline.dagster_storage.sqlite_files import BUSY_TIMEOUT_S

__all__ = ["disk_bytes", "reclaim"]

# Fewer free pages are used again soon.
_MIN_FREE_SHARE = 0.1
# About 10 s at the measured 40 MB/s. Dagster's storages wait 30 s for a lock.
_MAX_BYTES_WHILE_BUSY = 400_000_000
_RETRY_S = 0.1


def disk_bytes(databases: Iterable[Path]) -> int:
    """Return the bytes of the existing files and their write-ahead logs."""
    files = [Path(f"{path}{suffix}") for path in databases for suffix in ("", "-wal")]
    return sum(file.stat().st_size for file in files if file.exists())


def reclaim(path: Path, *, is_busy: bool) -> str:
    """Shrink the file to its content if it is worth it; return why not, else nothing.

    Other processes can read throughout, and write once the copy is made. A kill leaves the file as it was. *is_busy*
    means that runs are writing, which must not wait too long. SQLite needs space for two copies.
    Source: https://www.sqlite.org/lang_vacuum.html, read 2026-11-26.
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            return _vacuum(connection, path, is_busy=is_busy)
    except sqlite3.Error as exc:
        return str(exc)


def _vacuum(connection: sqlite3.Connection, path: Path, *, is_busy: bool) -> str:
    pages, free_pages, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    if free_pages < pages * _MIN_FREE_SHARE:
        return ""
    kept_bytes = (pages - free_pages) * page_bytes
    if is_busy and kept_bytes > _MAX_BYTES_WHILE_BUSY:
        return f"copying {kept_bytes / 1e6:.0f} MB would stop the runs that are under way"
    if shutil.disk_usage(path.parent).free < 2 * kept_bytes:
        return f"it needs {2 * kept_bytes / 1e6:.0f} MB of free disk space"
    connection.execute("VACUUM")
    # The file shrinks when the log is written back. SQLite waits for readers, but not for another checkpoint.
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] and time.monotonic() < give_up_at:
        time.sleep(_RETRY_S)
    return ""
