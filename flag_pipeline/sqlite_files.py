"""What the embedded storages have in common: where their SQLite files are, and whether Dagster has made them."""

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from flag_pipeline.errors import ConfigurationError

__all__ = ["BUSY_TIMEOUT_S", "driver_of", "instance_folder", "is_stamped"]

# How long to wait for another process that has locked a file, such as a backup: two minutes.
BUSY_TIMEOUT_S = 120.0


def instance_folder(config_value: Mapping[str, Any], below: str) -> str:
    """Return the `base_dir` of dagster.yaml, or where Dagster's own class is put, *below* `DAGSTER_HOME`.

    Dagster tells only its own classes which folder the instance was opened from, so it is the environment that counts.
    Raises ConfigurationError where neither says where that is.
    """
    base_dir, home = config_value.get("base_dir"), os.environ.get("DAGSTER_HOME")
    if not (base_dir or home):
        raise ConfigurationError("a storage needs base_dir in dagster.yaml, or DAGSTER_HOME in the environment")
    return str(base_dir or Path(home or "").expanduser() / below)


def is_stamped(connection: sqlite3.Connection) -> bool:
    """Say whether the file has its tables: the last thing Dagster writes to a new one is Alembic's stamp."""
    table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    return table is not None and connection.execute("SELECT 1 FROM alembic_version").fetchone() is not None


def driver_of(connection: Connection) -> Any:
    """Return the `sqlite3.Connection` below SQLAlchemy's."""
    return connection.connection.driver_connection
