"""Dagster's SQLite storages of runs and of schedules, opened and queried at less cost, in the same files.

Dagster's classes read nearly a hundred migration scripts each time they are opened, and compile the
SQL of each query again. Each class opens what the other wrote.
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
    """How the file is opened; the same for both storages.

    Attributes:
        FOLDER: the folder below `DAGSTER_HOME` that Dagster uses for its own class.
        FILE: the database's name.
        NEWEST_TABLE: the table that Dagster added last; Dagster's class migrates files without it.
    """

    FOLDER: ClassVar[str]
    FILE: ClassVar[str]
    NEWEST_TABLE: ClassVar[str]

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        # The engine keeps compiled SQL and no connection, so threads and forked children can share it. It connects once
        # here, because the first connect holds a lock that a child could inherit.
        self._engine = create_engine(conn_string, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_S})
        with self._engine.connect():
            pass
        super().__init__(conn_string, inst_data)  # type: ignore[call-arg]  # those of the class beside it

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Accept what Dagster's class accepts, with a default for the folder."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make the storage that `dagster.yaml` describes."""
        return cls.from_local(instance_folder(config_value, cls.FOLDER), inst_data)

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """Open the file in *base_dir*. Dagster's class makes it first if it is new or incomplete."""
        path = Path(base_dir) / f"{cls.FILE}.db"
        if not _has_tables(path, cls.NEWEST_TABLE):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two processes that made one file at once would find each other's half-made tables.
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
    """Dagster's SQLite storage of runs; without this block in `dagster.yaml`, Dagster's own class uses the file.

    Example:
        run_storage:
          module: flag_pipeline.dagster_storage.sqlite_runs
          class: EmbeddedRunStorage
          config:
            base_dir: /path/to/dir  # the default is Dagster's: $DAGSTER_HOME/history
    """

    FOLDER, FILE, NEWEST_TABLE = "history", "runs", "instance_info"


class EmbeddedScheduleStorage(_Embedded, SqliteScheduleStorage):
    """Dagster's SQLite storage of schedules and sensors; without this block, Dagster's own class uses the file.

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
