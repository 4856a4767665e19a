"""Dagster's SQLite event log at a tenth of its cost, in the same files.

Dagster's class opens several engines per event, recompiles its SQL, reads the schema again and serialises the event
twice.
"""

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, _GeneratorContextManager, closing, suppress
from datetime import UTC, datetime
from functools import cache, lru_cache, wraps
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._config.config_schema import UserConfigSchema
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetEventTagsTable, AssetKeyTable, SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Table, create_engine
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from flag_pipeline.dagster_storage.connection_pool import INDEX, ConnectionPool
from flag_pipeline.dagster_storage.event_json import event_json, record_json
from flag_pipeline.dagster_storage.packed_events import pack
from flag_pipeline.dagster_storage.sqlite_files import driver_of, instance_folder, is_stamped

__all__ = ["EmbeddedEventLogStorage"]

_DIALECT = sqlite.dialect(paramstyle="named")
# Text, because Dagster's properties make an enum member at each call.
_MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION.value
_TAGGED_EVENTS = {_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION.value}
_ASSET_EVENTS = {kind.value for kind in ASSET_EVENTS}
_CHECK_EVENTS = {kind.value for kind in ASSET_CHECK_EVENTS}
_RUN_EVENTS = {kind.value: status for kind, status in EVENT_TYPE_TO_PIPELINE_RUN_STATUS.items()}
_MIRRORED_EVENTS = {*_ASSET_EVENTS, *_CHECK_EVENTS, *_RUN_EVENTS}
_ANSWERS = "flag_pipeline.answers"
_Row = dict[str, Any]
# Many, because each statement releases the GIL. SQLite 3.32 and later accept 32,766 values.
_ROWS_A_STATEMENT = 500


class EmbeddedEventLogStorage(SqliteEventLogStorage):
    """Dagster's run-sharded SQLite event log.

    Chosen in `dagster.yaml`:

        event_log_storage:
          module: flag_pipeline.dagster_storage.sqlite_event_log
          class: EmbeddedEventLogStorage
          config:
            base_dir: /path/to/dir  # the default is Dagster's: $DAGSTER_HOME/history/runs
            synchronous: NORMAL  # the default
            compress: false  # the default

    With `synchronous: NORMAL`, a killed process loses no stored event. A power cut may lose the last events, but
    damages no file. `FULL` waits for the disk at each event.
    Source: https://www.sqlite.org/pragma.html#pragma_synchronous, read 2026-11-23.

    With `compress: true`, events take a quarter of the space, and only this class can read them: before you return to
    Dagster's, run `python -m flag_pipeline.dagster_storage.decompress`. Either setting reads what the other wrote.

    A kill between the two commits leaves an event in its run's file, but not in the index.

    Do not write with Dagster's class at the same time, because watchers of the file's modification time would miss some
    events.
    """

    def __init__(
        self,
        base_dir: str,
        inst_data: ConfigurableClassData | None = None,
        *,
        synchronous: str = "NORMAL",
        compress: bool = False,
    ) -> None:
        self._stored_form: Callable[[str], str | bytes] = pack if compress else str
        self._pool = ConnectionPool(Path(base_dir).absolute(), synchronous=synchronous)
        weakref.finalize(self, self._pool.close)
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Add `synchronous`, `compress` and a default folder to Dagster's configuration."""
        levels = dg.Enum("Synchronous", [dg.EnumValue("NORMAL"), dg.EnumValue("FULL")])
        base_dir = dg.Field(dg.StringSource, is_required=False)
        return {
            "base_dir": base_dir,
            "synchronous": dg.Field(levels, default_value="NORMAL"),
            "compress": dg.Field(bool, default_value=False),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make the storage of `dagster.yaml`."""
        folder = instance_folder(config_value, "history/runs")
        return cls(
            folder, inst_data, synchronous=config_value["synchronous"], compress=config_value.get("compress", False)
        )

    def _connect(self, shard: str) -> _GeneratorContextManager[Connection]:
        return self._pool.connect(shard, self._create)

    def _create(self, path: Path) -> None:
        # Copying the index's tables takes a few ms, Alembic takes 150.
        with (
            closing(self._pool.open_file(Path(self.path_for_shard(INDEX)))) as index,
            closing(self._pool.open_file(path)) as new,
        ):
            # A run's events are not searched by asset.
            schema = index.execute(
                "SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE 'idx_events_by_asset%'"
            ).fetchall()
            new.execute("BEGIN IMMEDIATE")  # another process may be making this file
            if is_stamped(index) and new.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
                for (sql,) in schema:
                    new.execute(sql)
                stamp = index.execute("SELECT version_num FROM alembic_version").fetchone()
                new.execute("INSERT INTO alembic_version VALUES (?)", stamp)
            new.commit()
            is_made = is_stamped(new)
        if not is_made:  # the index itself, or an unfinished file
            self._initdb(create_engine("sqlite://", creator=lambda: self._pool.open_file(path), poolclass=NullPool))

    def has_table(self, table_name: str) -> bool:
        """Whether the index has the table."""
        ask = super().has_table
        with self.index_connection() as index:
            return _remembered(index, f"table {table_name}", lambda: ask(table_name))

    def has_secondary_index(self, name: str) -> bool:
        """Whether the data migration is done."""
        ask = super().has_secondary_index
        with self.index_connection() as index:
            return _remembered(index, f"migration {name}", lambda: ask(name))

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        ask = super()._has_asset_key_col_on_connection
        return _remembered(conn, f"asset key column {column_name}", lambda: ask(conn, column_name))

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store one event."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store all or none, in one transaction per file."""
        rows = [_row_of(event) for event in events]
        # Once for both files, because packing releases the GIL.
        stored = [{**row, "event": self._stored_form(row["event"])} for row in rows]
        mirrored = [number for number, row in enumerate(rows) if row["dagster_event_type"] in _MIRRORED_EVENTS]
        run_ids = sorted({event.run_id for event in events})
        with ExitStack() as transactions:
            # The last one entered commits first.
            index = transactions.enter_context(self.index_connection()) if mirrored else None
            for run_id in run_ids:
                run = transactions.enter_context(self.run_connection(run_id))
                _insert(run, SqlEventLogStorageTable, [row for row in stored if row["run_id"] == run_id])
            if index is not None:
                event_ids = _insert(index, SqlEventLogStorageTable, [stored[number] for number in mirrored])
                self._mirror(index, [(events[number], rows[number]) for number in mirrored], event_ids)
        for run_id in run_ids:
            # Watchers wait for the file; commits change its write-ahead log.
            with suppress(OSError):
                os.utime(self.path_for_shard(run_id))
        ended = {row["run_id"] for row in rows if _RUN_EVENTS.get(row["dagster_event_type"]) in FINISHED_STATUSES}
        if ended:
            self._pool.checkpoint(*ended, INDEX)

    def _mirror(
        self, index: Connection, mirrored: Sequence[tuple[dg.EventLogEntry, _Row]], event_ids: Sequence[int]
    ) -> None:
        has_time = self._has_asset_key_index_cols_on_connection(index)
        # The last of each asset and kind.
        last: dict[tuple[str, str], tuple[dg.EventLogEntry, _Row, int]] = {}
        tags: list[_Row] = []
        for (event, row), event_id in zip(mirrored, event_ids, strict=True):
            kind = row["dagster_event_type"]
            if kind in _CHECK_EVENTS:
                self.store_asset_check_event(event, event_id)
            elif kind in _ASSET_EVENTS and row["asset_key"] is not None:
                if kind in _TAGGED_EVENTS:
                    tags += self._tag_rows(event, row, event_id)
                last[row["asset_key"], kind] = event, row, event_id
        assets: dict[str, _Row] = {}
        for event, row, event_id in sorted(last.values(), key=itemgetter(2)):
            values = self._asset_values(event, row, event_id, has_time=has_time)
            assets.setdefault(row["asset_key"], {}).update(values)
        if tags and self.has_table(AssetEventTagsTable.name):
            _insert(index, AssetEventTagsTable, tags)
        for asset_key, values in assets.items():
            if values:
                driver_of(index).execute(_upsert_asset(*values), {"asset_key": asset_key, **values})

    def _tag_rows(self, event: dg.EventLogEntry, row: _Row, event_id: int) -> list[_Row]:
        shared = {"event_id": event_id, "asset_key": row["asset_key"], "event_timestamp": row["timestamp"]}
        return [{**shared, "key": key, "value": value} for key, value in self._tags_for_asset_event(event).items()]

    def _asset_values(self, event: dg.EventLogEntry, row: _Row, event_id: int, *, has_time: bool) -> _Row:
        time = {"last_materialization_timestamp": row["timestamp"]} if has_time else {}
        if row["dagster_event_type"] == _MATERIALIZATION:
            # As in Dagster, without a second serialisation.
            return {
                "last_materialization": record_json(row["event"], event_id),
                "last_run_id": event.run_id,
                **time,
            }
        values = self._get_asset_entry_values(event, event_id, has_time)
        return {**values, **time} if values else {}

    def wipe(self) -> None:
        """Delete all events."""
        self._pool.close()
        super().wipe()

    def dispose(self) -> None:
        """Close all connections."""
        super().dispose()
        self._pool.close()


def _remembered(index: Connection, question: str, ask: Callable[[], bool]) -> bool:
    # Only yes is kept, because migrations add tables and wiping drops none. The connection does not outlive its file.
    answers: set[str] = index.info.setdefault(_ANSWERS, set())
    if question not in answers and ask():
        answers.add(question)
    return question in answers


def _row_of(event: dg.EventLogEntry) -> _Row:
    """Return the row of Dagster's `_event_to_row`, with SQLAlchemy's time format."""
    told = event.dagster_event
    asset_key = told.asset_key if told else None
    return {
        "run_id": event.run_id,
        "event": event_json(event),
        "dagster_event_type": told.event_type_value if told else None,
        "timestamp": datetime.fromtimestamp(event.timestamp, UTC).replace(tzinfo=None).isoformat(" ", "microseconds"),
        "step_key": told.step_key if told else event.step_key,
        "asset_key": _text_of(asset_key) if asset_key else None,
        "partition": (told.partition or None) if told else None,
    }


_text_of = lru_cache(maxsize=128)(dg.AssetKey.to_string)


def _insert(connection: Connection, table: Table, rows: Sequence[_Row]) -> list[int]:
    ids: list[int] = []
    # SQLAlchemy's `exec_driver_sql` is a tenth of an event's cost.
    driver = driver_of(connection)
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        some = rows[start : start + _ROWS_A_STATEMENT]
        cells = tuple(cell for row in some for cell in row.values())
        last = driver.execute(_insert_statement(table, len(some), *some[0]), cells).lastrowid
        # Consecutive, because this transaction holds SQLite's write lock.
        ids += range(last - len(some) + 1, last + 1)
    return ids


@cache
def _insert_statement(table: Table, n_rows: int, *columns: str) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    # Bytes would be stored as a BLOB, which a connection's text factory does not see.
    row = f"({', '.join('CAST(? AS TEXT)' if column == 'event' else '?' for column in columns)})"
    return f"INSERT INTO {table.name} ({names}) VALUES {', '.join([row] * n_rows)}"  # noqa: S608 - all of it is ours


@cache
def _upsert_asset(*columns: str) -> str:
    insert = sqlite.insert(AssetKeyTable)
    changes = {column: insert.excluded[column] for column in columns}
    upsert = insert.on_conflict_do_update(index_elements=["asset_key"], set_=changes)
    return str(upsert.compile(dialect=_DIALECT, column_keys=["asset_key", *columns]))


# Read-only methods. Other methods hold the shard's lock, because they may write.
LOCK_FREE_READS = (
    "all_asset_keys",
    "fetch_failed_materializations",
    "fetch_materializations",
    "fetch_observations",
    "fetch_run_status_changes",
    "get_all_run_ids",
    "get_asset_check_execution_history",
    "get_asset_check_partition_info",
    "get_asset_check_state",
    "get_asset_check_summary_records",
    "get_asset_event_summary_records",
    "get_asset_keys",
    "get_asset_keys_for_run",
    "get_asset_partitions_for_run",
    "get_asset_records",
    "get_asset_status_cache_values",
    "get_asset_tags_to_index",
    "get_checkpointed_asset_check_state",
    "get_dynamic_partitions",
    "get_event_log_table_data",
    "get_event_records",
    "get_event_tags_for_asset",
    "get_existing_dynamic_partitions",
    "get_freshness_state_records",
    "get_latest_asset_check_execution_by_key",
    "get_latest_asset_partition_materialization_attempts_without_materializations",
    "get_latest_materialization_events",
    "get_latest_materialization_storage_ids",
    "get_latest_planned_materialization_info",
    "get_latest_storage_id_by_partition",
    "get_latest_tags_by_partition",
    "get_logs_for_all_runs_by_log_id",
    "get_logs_for_run",
    "get_materialized_partitions",
    "get_maximum_record_id",
    "get_paginated_dynamic_partitions",
    "get_records_for_run",
    "get_stats_for_run",
    "get_step_stats_for_run",
    "get_updated_data_version_partitions",
)


def _without_lock(name: str) -> Callable[..., Any]:
    stock = getattr(SqliteEventLogStorage, name)

    @wraps(stock)
    def read(self: EmbeddedEventLogStorage, *args: Any, **kwargs: Any) -> Any:
        with self._pool.reading():
            return stock(self, *args, **kwargs)

    return read


for _name in LOCK_FREE_READS:
    # Dagster's versions differ.
    if hasattr(SqliteEventLogStorage, _name):
        setattr(EmbeddedEventLogStorage, _name, _without_lock(_name))
