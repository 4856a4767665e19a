"""Writes compressed events as Dagster's own class reads them: `python -m flag_pipeline.dagster_storage.decompress`.

Stop the web server, the daemon and all runs before. A command that was killed can be run again.
"""

import argparse
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from flag_pipeline.dagster_storage.packed_events import unpack
from flag_pipeline.dagster_storage.sqlite_files import BUSY_TIMEOUT_S, is_stamped


def decompress(file: Path) -> int:
    """Write compressed events as JSON in one transaction; return their number."""
    with closing(sqlite3.connect(file, timeout=BUSY_TIMEOUT_S)) as connection:
        if not is_stamped(connection):
            # A kill left it without tables, or another program put it there.
            return 0
        connection.create_function("unpack", 1, unpack, deterministic=True)
        with connection:
            # SQLite gives functions the bytes of a BLOB; a packed event is no valid text.
            packed = "hex(substr(CAST(event AS BLOB), 1, 1)) = 'FF'"
            changed = connection.execute(
                f"UPDATE event_logs SET event = unpack(CAST(event AS BLOB)) WHERE {packed}"  # noqa: S608 - ours
            )
            return changed.rowcount


def main() -> None:
    """Decompress all files of an instance."""
    home = os.environ.get("DAGSTER_HOME")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?" if home else None,
        default=Path(home or "").expanduser() / "history" / "runs",
        help="The folder with index.db; by default that of DAGSTER_HOME.",
    )
    folder = parser.parse_args().folder
    if not (folder / "index.db").exists():
        parser.error(f"{folder} has no index.db")
    # The index comes last: as long as it is compressed, Dagster's class fails at once instead of in a run's page.
    for file in sorted(folder.glob("*.db"), key=lambda path: (path.stem == "index", path.name)):
        print(f"{file.name}: {decompress(file)} events")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
