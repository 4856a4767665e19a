"""Faster SQLite storages of runs and schedules, in Dagster's files.

Dagster's classes read nearly a hundred migration scripts per opening, and recompile each query.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._serdes import ConfigurableClassData
from filelock import FileLock
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from flag_pipeline.dagster_storage.sqlite_files import BUSY_TIMEOUT_S, instance_folder, is_stamped

__all__ = ["EmbeddedRunStorage", "EmbeddedScheduleStorage"]


class _Embedded:
    """Opens the file.

    Attributes:
        FOLDER: below `DAGSTER_HOME`.
        NEWEST_TABLE: Dagster's class migrates files without it.
    """

    FOLDER: ClassVar[str]
    FILE: ClassVar[str]
    NEWEST_TABLE: ClassVar[str]

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        # It keeps no connection, so threads and forked children can share it. It connects here, because a child could
        # inherit the first connect's lock.
        self._engine = create_engine(conn_string, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_S})
        with self._engine.connect():
            pass
        super().__init__(conn_string, inst_data)  # type: ignore[call-arg]  # those of the class beside it

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Add a default folder to Dagster's configuration."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make the storage of `dagster.yaml`."""
        return cls.from_local(instance_folder(config_value, cls.FOLDER), inst_data)

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """Open the file; Dagster's class completes it first."""
        path = Path(base_dir) / f"{cls.FILE}.db"
        if not _has_tables(path, cls.NEWEST_TABLE):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Another process would find half-made tables.
            with FileLock(path.with_suffix(".lock")):
                if not _has_tables(path, cls.NEWEST_TABLE):
                    super().from_local(base_dir)  # type: ignore[misc]  # that of the class beside it
        return cls(create_db_conn_string(base_dir, cls.FILE), inst_data)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Give a connection in a transaction."""
        with self._engine.connect() as connection, connection.begin():
            yield connection


class EmbeddedRunStorage(_Embedded, SqliteRunStorage):
    """Dagster's SQLite storage of runs.

    Example:
        run_storage:
          module: flag_pipeline.dagster_storage.sqlite_runs
          class: EmbeddedRunStorage
          config:
            base_dir: /path/to/dir  # the default is Dagster's: $DAGSTER_HOME/history
    """

    FOLDER, FILE, NEWEST_TABLE = "history", "runs", "instance_info"


class EmbeddedScheduleStorage(_Embedded, SqliteScheduleStorage):
    """Dagster's SQLite storage of schedules and sensors.

    Example:
        schedule_storage:
          module: flag_pipeline.dagster_storage.sqlite_runs
          class: EmbeddedScheduleStorage
          config:
            base_dir: /path/to/dir  # the default is Dagster's: $DAGSTER_HOME/schedules
    """

    FOLDER, FILE, NEWEST_TABLE = "schedules", "schedules", "job_ticks"


def _has_tables(path: Path, table: str) -> bool:
    if not path.is_file():
        return False
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        named = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        return named is not None and is_stamped(connection)
