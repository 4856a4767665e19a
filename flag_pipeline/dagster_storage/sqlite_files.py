"""What the SQLite storages share: where their files are, and whether Dagster's tables are complete."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

__all__ = ["BUSY_TIMEOUT_S", "driver_of", "instance_folder", "is_stamped", "raising_as_sqlalchemy"]

# How long to wait for another process that has locked a file, such as a backup.
BUSY_TIMEOUT_S = 120.0


def instance_folder(config_value: Mapping[str, Any], below: str) -> str:
    """Return the `base_dir` of `dagster.yaml`, or the folder *below* `DAGSTER_HOME` that Dagster's class would use.

    Dagster tells only its own classes which folder the instance was opened from, so the environment decides.
    Raises DagsterInvariantViolationError where neither is set.
    """
    base_dir, home = config_value.get("base_dir"), os.environ.get("DAGSTER_HOME")
    if not (base_dir or home):
        raise dg.DagsterInvariantViolationError(
            "a storage needs base_dir in dagster.yaml, or DAGSTER_HOME in the environment"
        )
    return str(base_dir or Path(home or "").expanduser() / below)


def is_stamped(connection: sqlite3.Connection) -> bool:
    """Whether the file has all its tables. Alembic's stamp is the last thing that Dagster writes to a new file."""
    table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    return table is not None and connection.execute("SELECT 1 FROM alembic_version").fetchone() is not None


def driver_of(connection: Connection) -> Any:
    """Return the `sqlite3.Connection` below SQLAlchemy's."""
    return connection.connection.driver_connection


@contextmanager
def raising_as_sqlalchemy() -> Iterator[None]:
    """Raise the driver's errors as SQLAlchemy does, because callers of Dagster's storages expect those classes."""
    try:
        yield
    except sqlite3.Error as exc:
        raise DBAPIError.instance(None, None, exc, sqlite3.Error) from exc
