"""Folders, table checks and errors of the SQLite storages."""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

__all__ = ["BUSY_TIMEOUT_S", "driver_of", "instance_folder", "is_stamped", "raising_as_sqlalchemy", "sqlite_file"]

# Waits for locks of other processes.
BUSY_TIMEOUT_S = 120.0


def instance_folder(config_value: Mapping[str, Any], below: str) -> str:
    """Return the `base_dir` of `dagster.yaml`, or the folder *below* `DAGSTER_HOME`.

    Dagster tells only its own classes this folder. Raises DagsterInvariantViolationError if neither is set.
    """
    base_dir, home = config_value.get("base_dir"), os.environ.get("DAGSTER_HOME")
    if not (base_dir or home):
        raise dg.DagsterInvariantViolationError(
            "a storage needs base_dir in dagster.yaml, or DAGSTER_HOME in the environment"
        )
    return str(base_dir or Path(home or "").expanduser() / below)


def is_stamped(connection: sqlite3.Connection) -> bool:
    """Whether the file has all its tables: Dagster writes Alembic's stamp last."""
    table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    return table is not None and connection.execute("SELECT 1 FROM alembic_version").fetchone() is not None


def driver_of(connection: Connection) -> Any:
    """Return the `sqlite3.Connection` below SQLAlchemy's."""
    return connection.connection.driver_connection


def sqlite_file(connection: Connection) -> Path | None:
    """Return the database's file, None if it is in memory or not SQLite's."""
    if connection.dialect.name != "sqlite":
        return None
    _, _, name = connection.exec_driver_sql("PRAGMA database_list").one()
    return Path(name) if name else None


@contextmanager
def raising_as_sqlalchemy() -> Iterator[None]:
    """Raise the driver's errors as SQLAlchemy errors, because Dagster expects those."""
    try:
        yield
    except sqlite3.Error as exc:
        raise DBAPIError.instance(None, None, exc, sqlite3.Error) from exc
