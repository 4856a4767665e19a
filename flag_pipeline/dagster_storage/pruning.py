"""Deletes old runs from instances with SQL storages, and frees their disk space.

`DagsterInstance.delete_run` drops the latest events of asset partitions, which Dagster's status cache does not notice,
and leaves files, check evaluations and free pages. Here, runs with such events are kept whole.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.storage.dagster_run import FINISHED_STATUSES, NOT_FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import BackfillTagsTable, BulkActionsTable, RunsTable, RunTagsTable
from dagster._core.storage.schedules import SqlScheduleStorage
from dagster._core.storage.tags import BACKFILL_ID_TAG
from sqlalchemy import Select, delete, inspect, select

from flag_pipeline.dagster_storage.held_runs import held_by_events, held_by_runs
from flag_pipeline.dagster_storage.sqlite_files import sqlite_file
from flag_pipeline.dagster_storage.sqlite_space import disk_bytes, reclaim

__all__ = ["PrunePlan", "PruneReport", "UnsupportedStorageError", "plan_pruning", "prune"]

# Per transaction, so that writers wait for milliseconds. Old versions of SQLite take 999 values per statement.
_EVENTS_A_TRANSACTION = 500
# SQLite deletes a write-ahead log that is older than its database.
_SUFFIXES = ("", "-wal", "-shm")


class UnsupportedStorageError(Exception):
    """The instance keeps runs or events outside SQL tables."""


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What `prune` deletes.

    Attributes:
        before: runs that ended earlier are old.
        run_ids: oldest first.
        kept: old runs with a partition's latest state, or of a kept run or an unfinished backfill.
        orphaned: event files of deleted runs.
    """

    before: datetime
    run_ids: list[str]
    kept: list[str]
    orphaned: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What `prune` did.

    Attributes:
        freed_bytes: of the SQLite files.
        not_freed: why databases still have free pages; SQLite uses such pages again.
    """

    n_runs: int
    n_events: int
    n_backfills: int
    freed_bytes: int
    not_freed: dict[Path, str]


def plan_pruning(instance: dg.DagsterInstance, before: datetime) -> PrunePlan:
    """Return which runs that ended before *before*, an aware time, can be deleted.

    The number of queries does not depend on the partitions. Raises UnsupportedStorageError.
    """
    runs, log = _storages(instance)
    old = _finished_runs(runs, before)
    held = held_by_runs(runs, old, held_by_events(log))
    return PrunePlan(
        before,
        [run_id for run_id in old if run_id not in held],
        [run_id for run_id in old if run_id in held],
        sorted(_orphaned_files(runs, log, before)),
    )


def prune(instance: dg.DagsterInstance, plan: PrunePlan, *, own_run_id: str = "") -> PruneReport:
    """Delete what is planned, each run's row last: after a kill, another plan has the rest.

    *own_run_id* is the run that does it, if any. Raises UnsupportedStorageError.
    """
    runs, log = _storages(instance)
    databases = _databases(instance, log, runs)
    bytes_before = disk_bytes(databases)
    freed_bytes = n_events = 0
    for run_id in plan.run_ids:
        n_events += _delete_events(log, run_id)
        freed_bytes += _delete_files(log, run_id)
        _delete_compute_logs(instance, run_id)
        if log.supports_global_concurrency_limits:
            log.free_concurrency_slots_for_run(run_id)
        runs.delete_run(run_id)
    for run_id in plan.orphaned:
        freed_bytes += _delete_files(log, run_id)
    n_backfills = _delete_backfills(runs, plan.before)
    under_way = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES), limit=2)
    is_busy = any(run.run_id != own_run_id for run in under_way)
    not_freed = {path: reason for path in databases if (reason := reclaim(path, is_busy=is_busy))}
    return PruneReport(
        n_runs=len(plan.run_ids),
        n_events=n_events,
        n_backfills=n_backfills,
        freed_bytes=freed_bytes + max(0, bytes_before - disk_bytes(databases)),
        not_freed=not_freed,
    )


def _storages(instance: dg.DagsterInstance) -> tuple[SqlRunStorage, SqlEventLogStorage]:
    runs, log = instance.run_storage, instance.event_log_storage
    if isinstance(runs, SqlRunStorage) and isinstance(log, SqlEventLogStorage):
        return runs, log
    raise UnsupportedStorageError(
        f"runs in {type(runs).__name__} and events in {type(log).__name__} cannot be pruned: only SQL storages can"
    )


def _finished_runs(runs: SqlRunStorage, before: datetime) -> list[str]:
    query = (
        select(RunsTable.c.run_id)
        .where(
            RunsTable.c.status.in_([status.value for status in FINISHED_STATUSES]),
            RunsTable.c.update_timestamp < _stored(before),
        )
        .order_by(RunsTable.c.id)
    )
    with runs.connect() as connection:
        return list(connection.scalars(query))


def _stored(time: datetime) -> datetime:
    # Dagster stores UTC without a zone.
    return time.astimezone(UTC).replace(tzinfo=None)


def _delete_events(log: SqlEventLogStorage, run_id: str) -> int:
    """Delete the run's events from shared tables; return their number."""
    events, n_events = SqlEventLogStorageTable, 0
    some = select(events.c.id).where(events.c.run_id == run_id).limit(_EVENTS_A_TRANSACTION)
    while ids := _delete_some(log, some):
        n_events += len(ids)
    if log.has_table(AssetCheckExecutionsTable.name):
        with log.index_transaction() as connection:
            connection.execute(delete(AssetCheckExecutionsTable).where(AssetCheckExecutionsTable.c.run_id == run_id))
    return n_events


def _delete_some(log: SqlEventLogStorage, some: Select[int]) -> list[int]:
    with log.index_transaction() as connection:
        if ids := list(connection.scalars(some)):
            connection.execute(delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(ids)))
            connection.execute(delete(SqlEventLogStorageTable).where(SqlEventLogStorageTable.c.id.in_(ids)))
    return ids


def _delete_files(log: SqlEventLogStorage, run_id: str) -> int:
    """Delete the run's database, if it has one; return its size in bytes."""
    if not isinstance(log, SqliteEventLogStorage):
        return 0
    path = log.path_for_shard(run_id)
    n_bytes = disk_bytes([Path(path)])
    for suffix in _SUFFIXES:
        Path(path + suffix).unlink(missing_ok=True)
    return n_bytes


def _delete_compute_logs(instance: dg.DagsterInstance, run_id: str) -> None:
    logs = instance.compute_log_manager
    folder = [run_id, "compute_logs"]
    logs.delete_logs(prefix=folder)
    if isinstance(logs, LocalComputeLogManager):
        with suppress(OSError):  # values of ops are in the same folder
            Path(logs.get_captured_local_path([*folder, "any"], "out")).parents[1].rmdir()


def _orphaned_files(runs: SqlRunStorage, log: SqlEventLogStorage, before: datetime) -> Iterator[str]:
    if not isinstance(log, SqliteEventLogStorage):
        return
    with runs.connect() as connection:
        known = set(connection.scalars(select(RunsTable.c.run_id)))
    for run_id in log.get_all_run_ids():
        # Other databases may be there.
        with suppress(ValueError, FileNotFoundError):
            modified_at = Path(log.path_for_shard(str(UUID(run_id)))).stat().st_mtime
            if run_id not in known and modified_at < before.timestamp():
                yield run_id


def _delete_backfills(runs: SqlRunStorage, before: datetime) -> int:
    """Delete old, ended backfills without runs; return their number."""
    ended = [status.value for status in BULK_ACTION_TERMINAL_STATUSES]
    in_use = select(RunTagsTable.c.value).where(RunTagsTable.c.key == BACKFILL_ID_TAG)
    with runs.connect() as connection:
        tables = inspect(connection).get_table_names()
        if BulkActionsTable.name not in tables:
            return 0
        n_deleted = connection.execute(
            delete(BulkActionsTable).where(
                BulkActionsTable.c.status.in_(ended),
                BulkActionsTable.c.timestamp < _stored(before),
                BulkActionsTable.c.key.not_in(in_use),
            )
        ).rowcount
        if BackfillTagsTable.name in tables:
            known = select(BulkActionsTable.c.key)
            connection.execute(delete(BackfillTagsTable).where(BackfillTagsTable.c.backfill_id.not_in(known)))
    return n_deleted


def _databases(instance: dg.DagsterInstance, log: SqlEventLogStorage, runs: SqlRunStorage) -> list[Path]:
    """Return the shared SQLite files."""
    with log.index_connection() as index, runs.connect() as of_runs:
        found = [sqlite_file(index), sqlite_file(of_runs)]
    if isinstance(instance.schedule_storage, SqlScheduleStorage):
        with instance.schedule_storage.connect() as of_schedules:
            found.append(sqlite_file(of_schedules))
    # A storage may keep all in one file.
    return sorted({path for path in found if path is not None})
