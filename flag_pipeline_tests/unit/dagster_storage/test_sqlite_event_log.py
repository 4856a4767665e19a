"""The embedded event log gives the answers that Dagster's own SQLite event log gives, from the same files."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.event_api import EventLogCursor, PartitionKeyFilter
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    AssetWipedData,
    StepMaterializationData,
)
from dagster._core.execution.plan.objects import StepSuccessData
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._serdes import deserialize_value
from dagster._utils.concurrency import ConcurrencyKeyInfo

from flag_pipeline.dagster_storage.sqlite_event_log import LOCK_FREE_READS, EmbeddedEventLogStorage
from flag_pipeline_tests.event_entries import FLAG, START, entry, materialization

Kind = dg.DagsterEventType
Log = SqliteEventLogStorage

GALLERY = dg.AssetKey(["gallery", "page"])
CHECK = dg.AssetCheckKey(FLAG, "is_whole")
GALLERY_CHECK = dg.AssetCheckKey(GALLERY, "has_all")
PARTITIONS = dg.StaticPartitionsDefinition(["BR", "CN", "IN", "US"])
# Columns that hold the time of day at which a test ran.
CLOCK_COLUMNS = {
    "asset_details",
    "assigned_timestamp",
    "create_timestamp",
    "migration_completed",
    "update_timestamp",
    "wipe_timestamp",
}


def materialized(code: str | None, version: str, asset: dg.AssetKey = FLAG) -> StepMaterializationData:
    """Make a materialization with metadata of many types, and tags of which Dagster indexes some."""
    metadata: dict[str, Any] = {
        "url": dg.MetadataValue.url(f"http://127.0.0.1/{code}.gif"),
        "size_bytes": 4_096,
        "seconds": 0.125,
        "note": 'quoted "é" \\ 旗',
        "picture": dg.MetadataValue.md("![](data:image/gif;base64,AAAA)"),
        "rows": dg.MetadataValue.json({"a": [1, None]}),
    }
    tags = {
        "dagster/code_version": "1",
        "dagster/partition/country": str(code),
    }
    return materialization(code, asset, version=version, metadata=metadata, tags=tags)


def observed(code: str | None, version: str) -> AssetObservationData:
    """Make an observation of the flag asset."""
    tags = {"dagster/data_version": version}
    return AssetObservationData(dg.AssetObservation(FLAG, partition=code, tags=tags))


def planned(asset: dg.AssetKey, code: str | None = None) -> AssetMaterializationPlannedData:
    """Make the plan to materialize an asset or one partition of it."""
    return AssetMaterializationPlannedData(asset, code)


def evaluated(check: dg.AssetCheckKey, code: str | None = None, *, passed: bool) -> AssetCheckEvaluation:
    """Make the outcome of an asset check."""
    target = AssetCheckEvaluationTargetMaterializationData(storage_id=1, run_id="run-1", timestamp=START)
    return AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=passed,
        metadata={"n_flags": dg.MetadataValue.int(2)},
        target_materialization_data=target,
        severity=dg.AssetCheckSeverity.WARN,
        partition=code,
    )


def script() -> list[dg.EventLogEntry]:
    """Write the events of a good run, of a failed one, and of no run, one second apart."""
    subset = PARTITIONS.subset_with_partition_keys(["CN", "IN"])
    plan_check: dict[str, Any] = {"asset_key": FLAG, "check_name": CHECK.name}
    change = FreshnessStateChange(
        key=GALLERY,
        new_state=FreshnessState.WARN,
        previous_state=FreshnessState.PASS,
        state_change_timestamp=START,
    )
    lines: list[tuple[str, Kind | str, Any]] = [
        ("run-1", Kind.RUN_ENQUEUED, None),
        ("run-1", Kind.RUN_STARTING, None),
        ("run-1", Kind.ASSET_MATERIALIZATION_PLANNED, planned(FLAG, "BR")),
        ("run-1", Kind.ASSET_MATERIALIZATION_PLANNED, planned(FLAG, "US")),
        ("run-1", Kind.ASSET_MATERIALIZATION_PLANNED, AssetMaterializationPlannedData(FLAG, None, subset)),
        ("run-1", Kind.ASSET_CHECK_EVALUATION_PLANNED, AssetCheckEvaluationPlanned(**plan_check)),
        ("run-1", Kind.RUN_START, None),
        ("run-1", Kind.STEP_START, None),
        ("run-1", "a message that a user logged", None),
        ("run-1", Kind.ASSET_MATERIALIZATION, materialized("CN", "aa")),
        ("run-1", Kind.ASSET_MATERIALIZATION, materialized("BR", "bb")),
        ("run-1", Kind.ASSET_OBSERVATION, observed("US", "none")),
        ("run-1", Kind.ASSET_CHECK_EVALUATION, evaluated(CHECK, passed=True)),
        ("run-1", Kind.STEP_SUCCESS, StepSuccessData(125.0)),  # type: ignore[no-untyped-call]
        ("run-1", Kind.RUN_SUCCESS, None),
        ("", Kind.ASSET_MATERIALIZATION, materialized("IN", "cc")),
        ("", Kind.ASSET_OBSERVATION, observed(None, "dd")),
        ("", Kind.ASSET_CHECK_EVALUATION, evaluated(GALLERY_CHECK, passed=False)),
        ("", Kind.FRESHNESS_STATE_CHANGE, change),
        ("", Kind.ASSET_WIPED, AssetWipedData(asset_key=GALLERY, partition_keys=None)),
        ("run-2", Kind.RUN_START, None),
        ("run-2", Kind.ASSET_MATERIALIZATION_PLANNED, planned(GALLERY)),
        ("run-2", Kind.ASSET_MATERIALIZATION_PLANNED, planned(FLAG, "US")),
        (
            "run-2",
            Kind.ASSET_CHECK_EVALUATION_PLANNED,
            AssetCheckEvaluationPlanned(**plan_check, partitions_subset=subset),
        ),
        ("run-2", Kind.STEP_START, None),
        ("run-2", Kind.ASSET_MATERIALIZATION, materialized("CN", "ee")),
        ("run-2", Kind.ASSET_MATERIALIZATION, materialized(None, "ff", GALLERY)),
        ("run-2", Kind.ASSET_CHECK_EVALUATION, evaluated(CHECK, "CN", passed=False)),
        ("run-2", Kind.RUN_FAILURE, None),
    ]
    return [line_of(START + i, *line) for i, line in enumerate(lines)]


def line_of(timestamp: float, run_id: str, what: Kind | str, data: Any) -> dg.EventLogEntry:
    """Make an event of Dagster's, or, given text, what a user logged."""
    if not isinstance(what, Kind):
        return dg.EventLogEntry(None, 20, what, run_id, timestamp, None, "sweep", None)  # type: ignore[no-untyped-call]
    step = "flags" if "STEP" in what or isinstance(data, StepMaterializationData) else None
    return entry(what, data, run_id=run_id, timestamp=timestamp, step_key=step)


def events_of(run_id: str) -> list[dg.EventLogEntry]:
    """Give the script's events of one run."""
    return [event for event in script() if event.run_id == run_id]


def after(storage_id: int) -> str:
    """Make a cursor."""
    return EventLogCursor.from_storage_id(storage_id).to_string()


def checks(records: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Give what matters of check records; when a row was made is the clock's."""
    return [(r.id, r.key, r.run_id, r.status, r.event, r.partition) for r in records]


def slots(info: ConcurrencyKeyInfo) -> tuple[Any, ...]:
    """Give what matters of a pool, but for the clock's times."""
    return info.slot_count, info.claimed_slots, info.assigned_step_count, info.pending_step_count, info.limit


MADE: Final = Kind.ASSET_MATERIALIZATION
SEEN: Final = Kind.ASSET_OBSERVATION
PLANNED: Final = Kind.ASSET_MATERIALIZATION_PLANNED

# What to ask of a log, by method, with `:` before what tells two questions to one method apart.
# Of `get_event_log_table_data`.
EVENT_COLUMN = 2

QUESTIONS: dict[str, Callable[[Log], Any]] = {
    "all_asset_keys": lambda log: sorted(log.all_asset_keys()),  # type: ignore[no-untyped-call]
    "alembic_version": lambda log: log.alembic_version(),
    "can_read_asset_status_cache": lambda log: log.can_read_asset_status_cache(),
    "fetch_materializations": lambda log: log.fetch_materializations(FLAG, 10),
    "fetch_materializations:first page": lambda log: log.fetch_materializations(FLAG, 2, None, ascending=True),
    "fetch_materializations:next page": lambda log: log.fetch_materializations(FLAG, 2, after(7), ascending=True),
    "fetch_materializations:partition": lambda log: log.fetch_materializations(
        dg.AssetRecordsFilter(FLAG, asset_partitions=["CN"], before_timestamp=START + 20), 10
    ),
    "fetch_observations": lambda log: log.fetch_observations(FLAG, 10),
    "fetch_run_status_changes": lambda log: log.fetch_run_status_changes(Kind.RUN_START, 10),
    "fetch_run_status_changes:page": lambda log: log.fetch_run_status_changes(Kind.RUN_START, 1, ascending=True),
    "get_all_run_ids": lambda log: sorted(log.get_all_run_ids()),
    "get_asset_check_execution_history": lambda log: checks(log.get_asset_check_execution_history(CHECK, 10)),
    "get_asset_check_execution_history:partition": lambda log: checks(
        log.get_asset_check_execution_history(CHECK, 10, partition_filter=PartitionKeyFilter(key="CN"))
    ),
    "get_asset_check_partition_info": lambda log: log.get_asset_check_partition_info([CHECK, GALLERY_CHECK]),
    "get_asset_check_state": lambda log: log.get_asset_check_state([(CHECK, PARTITIONS), (GALLERY_CHECK, None)]),
    "get_asset_check_summary_records": lambda log: [
        (r.last_run_id, r.last_completed_run_id)
        for r in log.get_asset_check_summary_records([CHECK, GALLERY_CHECK]).values()
    ],
    "get_asset_event_summary_records": lambda log: log.get_asset_event_summary_records(MADE, FLAG, limit=3),
    "get_asset_keys": lambda log: log.get_asset_keys(),
    "get_asset_keys:prefix": lambda log: log.get_asset_keys(prefix=["gallery"], limit=1),
    "get_asset_keys_for_run": lambda log: set(log.get_asset_keys_for_run("run-2")),
    "get_asset_partitions_for_run": lambda log: log.get_asset_partitions_for_run("run-1", MADE),
    "get_asset_records": lambda log: log.get_asset_records(),
    "get_asset_records:some": lambda log: log.get_asset_records([GALLERY]),
    "get_asset_tags_to_index": lambda log: log.get_asset_tags_to_index({"dagster/data_version", "color"}),
    "get_checkpointed_asset_check_state": lambda log: log.get_checkpointed_asset_check_state([CHECK]),
    "get_concurrency_info": lambda log: slots(log.get_concurrency_info("sources")),
    "get_concurrency_infos": lambda log: [slots(i) for i in log.get_concurrency_infos(["sources"]).values()],
    "get_concurrency_keys": lambda log: log.get_concurrency_keys(),
    "get_concurrency_run_ids": lambda log: log.get_concurrency_run_ids(),
    "get_dynamic_partitions": lambda log: log.get_dynamic_partitions("extra"),
    "get_event_log_table_data": lambda log: [
        deserialize_value(each) if number == EVENT_COLUMN else each
        for number, each in enumerate(log.get_event_log_table_data("run-1", 10) or ())
    ],
    "get_event_records": lambda log: log.get_event_records(dg.EventRecordsFilter(MADE, FLAG)),
    # Sorted, because Dagster orders by the runs' latest change, in whole seconds.
    "get_event_records:by run": lambda log: sorted(
        log.get_event_records(dg.EventRecordsFilter(Kind.STEP_START)), key=lambda record: record.run_id
    ),
    "get_event_tags_for_asset": lambda log: log.get_event_tags_for_asset(FLAG),
    "get_event_tags_for_asset:filter": lambda log: log.get_event_tags_for_asset(
        FLAG, filter_tags={"dagster/data_version": "aa"}
    ),
    "get_existing_dynamic_partitions": lambda log: log.get_existing_dynamic_partitions("extra", ["XK", "ZZ"]),
    "get_freshness_state_records": lambda log: log.get_freshness_state_records([GALLERY]),
    "get_latest_asset_check_execution_by_key": lambda log: checks(
        log.get_latest_asset_check_execution_by_key([CHECK, GALLERY_CHECK]).values()
    ),
    "get_latest_asset_partition_materialization_attempts_without_materializations": lambda log: (
        log.get_latest_asset_partition_materialization_attempts_without_materializations(FLAG)
    ),
    "get_latest_materialization_events": lambda log: log.get_latest_materialization_events([FLAG, GALLERY]),
    "get_latest_materialization_storage_ids": lambda log: log.get_latest_materialization_storage_ids([FLAG]),
    "get_latest_planned_materialization_info": lambda log: log.get_latest_planned_materialization_info(FLAG, "US"),
    "get_latest_storage_id_by_partition": lambda log: log.get_latest_storage_id_by_partition(FLAG, MADE),
    "get_latest_storage_id_by_partition:planned": lambda log: log.get_latest_storage_id_by_partition(
        FLAG, PLANNED, {"BR", "US"}
    ),
    "get_latest_tags_by_partition": lambda log: log.get_latest_tags_by_partition(
        FLAG, MADE, ["dagster/data_version", "dagster/partition/country"]
    ),
    "get_latest_tags_by_partition:observed": lambda log: log.get_latest_tags_by_partition(
        FLAG, SEEN, ["dagster/data_version"], ["US", "CN"]
    ),
    "get_logs_for_all_runs_by_log_id": lambda log: log.get_logs_for_all_runs_by_log_id(),
    "get_logs_for_run": lambda log: log.get_logs_for_run("run-1"),
    "get_logs_for_run:runless": lambda log: log.get_logs_for_run(""),
    "get_logs_for_run:descending": lambda log: log.get_logs_for_run("run-2", None, MADE, 1, ascending=False),
    "get_materialized_partitions": lambda log: log.get_materialized_partitions(FLAG),
    "get_materialized_partitions:since": lambda log: log.get_materialized_partitions(FLAG, after_cursor=9),
    "get_maximum_record_id": lambda log: log.get_maximum_record_id(),
    "get_paginated_dynamic_partitions": lambda log: log.get_paginated_dynamic_partitions("extra", 1, ascending=True),
    "get_pool_config": lambda log: log.get_pool_config(),
    "get_pool_limits": lambda log: log.get_pool_limits(),
    "get_records_for_run": lambda log: log.get_records_for_run("run-1", after(3), limit=4),
    "get_records_for_run:types": lambda log: log.get_records_for_run("run-2", None, {MADE, PLANNED}),
    "get_stats_for_run": lambda log: log.get_stats_for_run("run-1"),
    "get_step_stats_for_run": lambda log: log.get_step_stats_for_run("run-2"),
    "get_updated_data_version_partitions": lambda log: log.get_updated_data_version_partitions(FLAG, ["CN"], 10),
    "has_asset_key": lambda log: log.has_asset_key(GALLERY),
    "has_asset_key_col": lambda log: log.has_asset_key_col("cached_status_data"),
    "has_asset_key_index_cols": lambda log: log.has_asset_key_index_cols(),
    "has_dynamic_partition": lambda log: log.has_dynamic_partition("extra", "XK"),
    "has_pending_step": lambda log: log.has_pending_step("sources", "run-2", "flags"),
    "has_secondary_index": lambda log: log.has_secondary_index("asset_key_table"),
    "has_table": lambda log: log.has_table("asset_event_tags"),
    "has_unassigned_slots": lambda log: log.has_unassigned_slots("sources"),
}
# Not asked: what this log never has, and what needs the webserver's context.
UNASKED = {"fetch_failed_materializations", "get_asset_status_cache_values"}


@contextmanager
def opened(home: Path, log_class: type[Log], **settings: object) -> Iterator[dg.DagsterInstance]:
    """Open the instance at *home* with that class of event log, chosen as `dagster.yaml` chooses it."""
    config = {"base_dir": str(home / "events"), **settings}
    block = {"module": log_class.__module__, "class": log_class.__name__, "config": config}
    overrides = {"event_log_storage": block}
    with dg.instance_for_test(overrides, set_dagster_home=False, temp_dir=str(home)) as instance:
        yield instance


def log_of(instance: dg.DagsterInstance) -> Log:
    """Give the event log of an instance."""
    log = instance.event_log_storage
    assert isinstance(log, Log)
    return log


def fill(instance: dg.DagsterInstance) -> None:
    """Play the script, define dynamic partitions, and hold a slot of a pool."""
    log = log_of(instance)
    for run_id in ("run-1", "run-2"):
        instance.add_run(DagsterRun("sweep", run_id))
    for event in script():
        log.store_event(event)
    log.add_dynamic_partitions("extra", ["XK", "EU"])
    log.set_concurrency_slots("sources", 2)
    log.claim_concurrency_slot("sources", "run-2", "flags")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Log]]:
    """Fill a folder with each class, then open each folder with the other class too."""
    homes = {cls: tmp_path_factory.mktemp(cls.__name__) for cls in (Log, EmbeddedEventLogStorage)}
    with ExitStack() as instances:
        by_name = {}
        for writer, home in homes.items():
            for reader in (writer, *(cls for cls in homes if cls is not writer)):
                instance = instances.enter_context(opened(home, reader))
                if reader is writer:
                    fill(instance)
                by_name[f"{reader.__name__} on what {writer.__name__} wrote"] = log_of(instance)
        yield by_name


STOCK = f"{Log.__name__} on what {Log.__name__} wrote"
OTHERS = [
    f"{reader} on what {writer} wrote"
    for reader, writer in [
        ("EmbeddedEventLogStorage", "EmbeddedEventLogStorage"),
        ("EmbeddedEventLogStorage", "SqliteEventLogStorage"),
        ("SqliteEventLogStorage", "EmbeddedEventLogStorage"),
    ]
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_gets_the_stock_answer(logs: dict[str, Log], question: str) -> None:
    """Whichever class wrote and whichever reads, the answer is stock's, and not an empty one."""
    expected = QUESTIONS[question](logs[STOCK])

    answers = {name: QUESTIONS[question](logs[name]) for name in OTHERS}

    assert expected
    assert answers == dict.fromkeys(OTHERS, expected)


def test_every_read_method_is_asked() -> None:
    """A read method that a new Dagster brings is noticed, because it has no question here."""
    methods = {name for name in dir(Log) if re.match("(all|fetch|get|has)_", name) and callable(getattr(Log, name))}

    assert methods - {question.partition(":")[0] for question in QUESTIONS} == UNASKED


EVENT_COLUMNS = {"event", "last_materialization"}
# Runs' files of ours lack them, because only the index is searched by asset.
ASSET_INDEXES = {"idx_events_by_asset", "idx_events_by_asset_partition"}


def cell(column: str, value: Any) -> Any:
    """Return a value as stored, an event as Dagster reads it."""
    return deserialize_value(value) if column in EVENT_COLUMNS and value else value


def tables(home: Path) -> dict[str, Any]:
    """Read each file's schema and rows with SQLite alone."""
    contents: dict[str, Any] = {}
    for file in sorted(home.glob("*.db")) + sorted(home.glob(".db")):
        with closing(sqlite3.connect(file)) as db:
            db.row_factory = sqlite3.Row
            schema = {row["name"]: row["sql"] for row in db.execute("SELECT name, sql FROM sqlite_master")}
            ours = ASSET_INDEXES if file.name != "index.db" else set()
            contents[file.name] = {name: sql for name, sql in schema.items() if name not in ours}
            for table in [name for name, sql in schema.items() if str(sql).startswith("CREATE TABLE")]:
                rows = [dict(row) for row in db.execute(f"SELECT * FROM {table}")]  # noqa: S608
                kept = [{k: cell(k, v) for k, v in row.items() if k not in CLOCK_COLUMNS} for row in rows]
                contents[f"{file.name} {table}"] = kept
    return contents


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a folder with the stock class, and leave it closed."""
    home = tmp_path_factory.mktemp("filled")
    with opened(home, Log) as instance:
        fill(instance)
    return home / "events"


@pytest.fixture
def twins(filled: Path, tmp_path: Path) -> Iterator[tuple[Log, Log]]:
    """Copy the filled folder twice, and open one copy with each class."""
    pair = []
    for cls in (Log, EmbeddedEventLogStorage):
        home = tmp_path / cls.__name__
        shutil.copytree(filled, home)
        pair.append(cls(str(home)))
    yield pair[0], pair[1]
    for log in pair:
        log.dispose()


def test_what_is_stored_is_what_stock_stores(filled: Path, tmp_path: Path) -> None:
    """Files, schemas, stamps and rows are the same, but for the time of day and the layout of the events' JSON."""
    with opened(tmp_path, EmbeddedEventLogStorage) as instance:
        fill(instance)

    assert tables(tmp_path / "events") == tables(filled)


def wait_for_a_slot(log: Log) -> list[Any]:
    """Claim more slots than there are, free one, and see who is next."""
    log.set_concurrency_slots("sources", 1)
    claims = [log.claim_concurrency_slot("sources", run_id, "flags") for run_id in ("run-2", "run-3", "run-4")]
    log.free_concurrency_slot_for_step("run-2", "flags")
    log.free_concurrency_slots_for_run("run-4")
    claims += [log.claim_concurrency_slot("sources", run_id, "flags") for run_id in ("run-3", "run-5")]
    return [claim.slot_status for claim in claims]


def store_a_batch(log: Log) -> None:
    """Store events of two runs, in turn."""
    runs = [[event._replace(run_id=f"again-{run_id}") for event in events_of(run_id)] for run_id in ("run-1", "run-2")]
    log.store_event_batch([event for pair in zip_longest(*runs) for event in pair if event])


def wipe_and_go_on(log: Log) -> list[Any]:
    """Wipe everything and store again."""
    log.wipe()
    log.store_event(script()[9])
    return [log.get_all_run_ids(), log.get_logs_for_run("run-1")]


def wipe_and_materialize(log: Log) -> list[Any]:
    """Wipe an asset, see it gone, and materialize it again, later than now."""
    log.wipe_asset(FLAG)
    keys = [log.has_asset_key(FLAG)]
    log.store_event(line_of(4_000_000_000.0, "run-3", MADE, materialized("CN", "gg")))
    return [*keys, log.has_asset_key(FLAG), log.get_materialized_partitions(FLAG)]


CHANGES: dict[str, Callable[[Log], Any]] = {
    "delete events of a run": lambda log: log.delete_events("run-1"),
    "delete events of no run": lambda log: log.delete_events(""),
    "wipe": wipe_and_go_on,
    "wipe an asset": wipe_and_materialize,
    "wipe a partition": lambda log: log.wipe_asset_partitions(FLAG, ["CN"]),
    "forget an asset's cached status": lambda log: log.wipe_asset_cached_status(FLAG),
    "reindex events": lambda log: log.reindex_events(force=True),
    "reindex assets": lambda log: log.reindex_assets(force=True),
    "upgrade": lambda log: log.upgrade(),
    "define partitions": lambda log: log.add_dynamic_partitions("extra", ["EU", "AN"]),
    "delete a partition": lambda log: log.delete_dynamic_partition("extra", "EU"),
    "wait for a slot": wait_for_a_slot,
    "delete a pool": lambda log: log.delete_concurrency_limit("sources"),
    "set too many slots": lambda log: log.set_concurrency_slots("sources", 10**6),
    "rewrite an event": lambda log: log.update_event_log_record(1, script()[9]),
    "store a batch": store_a_batch,
    "store no batch": lambda log: log.store_event_batch([]),
    "read an unknown run": lambda log: log.get_logs_for_run("run-9"),
}


def outcome(change: Callable[[Log], Any], log: Log) -> Any:
    """Give what a change returns, or the kind of error it raises."""
    try:
        return change(log)
    except (NotImplementedError, dg.DagsterInvalidInvocationError) as exc:
        return type(exc)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_comes_to_the_same(twins: tuple[Log, Log], change: str) -> None:
    """A change returns or raises what it does in stock, and leaves the same rows."""
    stock, ours = twins

    expected, got = (outcome(CHANGES[change], log) for log in twins)

    assert got == expected
    homes = [Path(log.path_for_shard("index")).parent for log in (stock, ours)]
    assert tables(homes[1]) == tables(homes[0])


def test_every_read_of_dagsters_class_was_judged() -> None:
    """A method that a new Dagster adds holds the lock until someone has read it and listed it here or there."""
    may_write = {
        "get_concurrency_info",
        "get_concurrency_infos",
        "get_concurrency_keys",
        "get_concurrency_run_ids",
        "get_pool_config",
        "get_pool_limits",
    }

    reads = {name for name in dir(SqliteEventLogStorage) if re.match("(all|fetch|get)_", name)}

    assert reads == {*LOCK_FREE_READS, *may_write}
    assert list(LOCK_FREE_READS) == sorted(set(LOCK_FREE_READS))
