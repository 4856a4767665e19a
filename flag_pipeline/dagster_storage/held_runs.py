"""Runs that an instance cannot lose, because a partition's status or another run depends on them."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import BulkActionsTable, RunsTable, RunTagsTable
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARENT_RUN_ID_TAG, ROOT_RUN_ID_TAG
from sqlalchemy import Select, func, inspect, select
from sqlalchemy.engine import Connection

__all__ = ["held_by_events", "held_by_runs"]

_EVENTS = SqlEventLogStorageTable.c
_CHECKS = AssetCheckExecutionsTable.c
_MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION.value
_WITH_DATA_VERSION = [_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION.value]
# A materialization's tag: the event of an upstream asset that it was made from.
_POINTER = re.compile(r'"dagster/input_event_pointer/((?:[^"\\]|\\.)*)": ?"(\d+)"')
_IDS_A_QUERY = 500  # old versions of SQLite take 999 values per statement


def held_by_events(log: SqlEventLogStorage) -> set[str]:
    """Return the runs with a partition's latest event of any type, or an upstream event that one was made from.

    Materializations, observations, failures, plans and check evaluations decide statuses and colours. An upstream
    event's data version decides whether a partition is stale.
    """
    # The order of an index; with a condition on the type, SQLite would take another one.
    latest = (
        select(func.max(_EVENTS.id))
        .where(_EVENTS.asset_key.is_not(None))
        .group_by(_EVENTS.asset_key, _EVENTS.dagster_event_type, _EVENTS.partition)
    )
    # SQLite would give a deleted last event's id to the next one, which sensors' cursors would then miss.
    newest = select(func.max(_EVENTS.id))
    with log.index_connection() as connection:
        held = set(connection.scalars(_runs_of(latest)))
        held.update(connection.scalars(_runs_of(newest)))
        held.update(_made_from(connection, latest))
    if log.supports_asset_checks:
        with log.index_connection() as connection:
            held.update(connection.scalars(_latest_checks()))
    return held


def _runs_of(event_ids: Select[int]) -> Select[str]:
    return select(_EVENTS.run_id).where(_EVENTS.id.in_(event_ids)).distinct()


def _latest_checks() -> Select[str]:
    # A planned evaluation that was not made hides no earlier one.
    is_planned = _CHECKS.execution_status == AssetCheckExecutionRecordStatus.PLANNED.value
    latest = select(func.max(_CHECKS.id)).group_by(_CHECKS.asset_key, _CHECKS.check_name, _CHECKS.partition, is_planned)
    return select(_CHECKS.run_id).where(_CHECKS.id.in_(latest)).distinct()


def _made_from(connection: Connection, latest: Select[int]) -> Iterator[str]:
    materializations = select(_EVENTS.partition, _EVENTS.event).where(
        _EVENTS.id.in_(latest), _EVENTS.dagster_event_type == _MATERIALIZATION
    )
    event_ids = set[int]()
    cursors = set[tuple[str, int]]()
    for partition, event in connection.execute(materializations):
        pointers = [(asset, int(event_id)) for asset, event_id in _POINTER.findall(event)]
        event_ids.update(event_id for _, event_id in pointers)
        if partition is None:
            cursors.update(pointers)
    for some in _portions(event_ids):
        yield from connection.scalars(select(_EVENTS.run_id).where(_EVENTS.id.in_(some)).distinct())
    # An asset without partitions is made from each partition's latest event at that time.
    for asset, event_id in cursors:
        earlier = (
            select(func.max(_EVENTS.id))
            .where(
                _EVENTS.asset_key == dg.AssetKey.from_user_string(json.loads(f'"{asset}"')).to_string(),
                _EVENTS.dagster_event_type.in_(_WITH_DATA_VERSION),
                _EVENTS.id <= event_id,
            )
            .group_by(_EVENTS.partition)
        )
        yield from connection.scalars(_runs_of(earlier))


def _portions(event_ids: Iterable[int]) -> Iterator[list[int]]:
    ordered = sorted(event_ids)
    for start in range(0, len(ordered), _IDS_A_QUERY):
        yield ordered[start : start + _IDS_A_QUERY]


def held_by_runs(runs: SqlRunStorage, old: Collection[str], held: Collection[str]) -> set[str]:
    """Return *held*, with the *old* runs that kept runs re-execute.

    A backfill's runs are kept until it has ended, and the newest run always.
    """
    with runs.connect() as connection:
        kept = {*held, *connection.scalars(select(RunsTable.c.run_id).order_by(RunsTable.c.id.desc()).limit(1))}
        backfills = _unfinished_backfills(connection)
        tagged = select(RunTagsTable.c.run_id, RunTagsTable.c.key, RunTagsTable.c.value).where(
            RunTagsTable.c.key.in_([BACKFILL_ID_TAG, PARENT_RUN_ID_TAG, ROOT_RUN_ID_TAG])
        )
        ancestors = defaultdict[str, set[str]](set)
        for run_id, key, value in connection.execute(tagged):
            if key != BACKFILL_ID_TAG:
                ancestors[run_id].add(value)
            elif value in backfills:
                kept.add(run_id)
    deletable = set(old) - kept
    needed = [run_id for run_id in ancestors if run_id not in deletable]
    while needed:
        more = ancestors[needed.pop()] & deletable
        deletable -= more
        needed += more
    return set(old) - deletable


def _unfinished_backfills(connection: Connection) -> set[str]:
    if not inspect(connection).has_table(BulkActionsTable.name):
        return set()
    ended = [status.value for status in BULK_ACTION_TERMINAL_STATUSES]
    return set(connection.scalars(select(BulkActionsTable.c.key).where(BulkActionsTable.c.status.not_in(ended))))
