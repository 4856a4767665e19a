"""The pooled event log on a real Postgres: what Dagster's own class says and does, in fewer round trips."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import AssetMaterializationPlannedData, AssetObservationData
from dagster._core.storage.event_log.schema import AssetEventTagsTable, AssetKeyTable, SqlEventLogStorageTable
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

pytestmark = [pytest.mark.distributed, pytest.mark.e2e]
pytest.importorskip("dagster_postgres", reason="not installed: uv run --group distributed pytest -m distributed")

from dagster_postgres.event_log import PostgresEventLogStorage  # noqa: E402 - only where it is installed
from sqlalchemy import Table, create_engine, select, text  # noqa: E402
from sqlalchemy import event as on  # noqa: E402

from flag_pipeline.dagster_storage.postgres_event_log import POOL_SIZE, PooledPostgresEventLogStorage  # noqa: E402
from flag_pipeline_tests.databases import running_postgres  # noqa: E402
from flag_pipeline_tests.e2e.deployment import wait_for  # noqa: E402
from flag_pipeline_tests.event_entries import FLAG, START, entry, materialization  # noqa: E402

METADATA = dg.AssetKey("country_metadata")
ASSETS = (METADATA, FLAG)
Type = dg.DagsterEventType


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """An empty Postgres."""
    with running_postgres() as url:
        yield url


@pytest.fixture
def storage(database: str) -> Iterator[PooledPostgresEventLogStorage]:
    """A storage made as dagster.yaml has it made, without events."""
    storage = PooledPostgresEventLogStorage.from_config_value(None, {"postgres_url": database})
    storage.wipe()
    yield storage
    storage.dispose()


@pytest.fixture(scope="module")
def pair(database: str) -> Iterator[tuple[PooledPostgresEventLogStorage, PostgresEventLogStorage]]:
    """Ours and Dagster's class, each on its own database."""
    engine = create_engine(database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in ("ours", "stock"):
            connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    server = database.rpartition("/")[0]
    ours, stock = PooledPostgresEventLogStorage(f"{server}/ours"), PostgresEventLogStorage(f"{server}/stock")
    yield ours, stock
    ours.dispose()


@pytest.fixture
def both(
    pair: tuple[PooledPostgresEventLogStorage, PostgresEventLogStorage],
) -> tuple[PooledPostgresEventLogStorage, PostgresEventLogStorage]:
    """The two, without events; their ids begin at 1 again."""
    for storage in pair:
        storage.wipe()
        with storage.index_connection() as connection:
            connection.execute(text("TRUNCATE event_logs, asset_keys, asset_event_tags RESTART IDENTITY"))
    return pair


def _entry(kind: Type, data: Any, run: str, minute: int) -> dg.EventLogEntry:
    return entry(kind, data, run_id=run, timestamp=START + 60 * minute)


def materialized(code: str, asset: dg.AssetKey = FLAG, *, run: str = "run-1", minute: int = 0) -> dg.EventLogEntry:
    """The event of one country's flag."""
    return _entry(Type.ASSET_MATERIALIZATION, materialization(code, asset, version=f"{code}{minute}"), run, minute)


def observed(code: str, asset: dg.AssetKey = FLAG, *, run: str = "run-1", minute: int = 0) -> dg.EventLogEntry:
    """The event of one country that failed."""
    observation = dg.AssetObservation(asset, partition=code, tags={"dagster/data_version": "none", "kind": "timeout"})
    return _entry(Type.ASSET_OBSERVATION, AssetObservationData(observation), run, minute)


def planned(code: str, asset: dg.AssetKey = FLAG, *, run: str = "run-1", minute: int = 0) -> dg.EventLogEntry:
    """The event by which a run announces a country."""
    return _entry(Type.ASSET_MATERIALIZATION_PLANNED, AssetMaterializationPlannedData(asset, code), run, minute)


def check_planned() -> dg.EventLogEntry:
    """An event that may be in a batch, and does not come in numbers."""
    data = AssetCheckEvaluationPlanned(asset_key=FLAG, check_name="fresh")
    return _entry(Type.ASSET_CHECK_EVALUATION_PLANNED, data, "run-1", 0)


CODES = ("CN", "FR", "IN", "US")
HISTORIES: dict[str, list[list[dg.EventLogEntry]]] = {
    "one": [[materialized("CN")]],
    "one asset": [[materialized(code) for code in CODES]],
    "both assets, country by country": [[materialized(code, asset) for code in CODES for asset in ASSETS]],
    "the later asset first": [[materialized(code, asset) for asset in (FLAG, METADATA) for code in CODES]],
    "planned": [[planned(code, asset) for asset in ASSETS for code in CODES]],
    "planned, come and failed": [
        [planned(code, asset) for asset in ASSETS for code in CODES],
        [materialized("CN", METADATA, minute=1), observed("FR", METADATA, minute=2), observed("FR", minute=2)],
        [materialized("CN", minute=3), materialized("US", minute=4), observed("IN", minute=5)],
    ],
    "all types in one": [
        [
            observed("CN"),
            materialized("FR", minute=1),
            planned("IN", METADATA, run="run-2", minute=2),
            materialized("FR", METADATA, minute=3),
            planned("FR", run="run-2", minute=4),
            observed("US", METADATA, minute=5),
        ]
    ],
    "twice the same": [[materialized("CN"), materialized("CN", minute=1)], [materialized("CN", minute=2)]],
    "with what is stored one by one": [[planned("CN"), check_planned(), planned("FR")]],
    "none": [[]],
}
PARTITIONS = dg.StaticPartitionsDefinition(list(CODES))


def rows(storage: PostgresEventLogStorage, table: Table) -> list[dict[str, Any]]:
    """All rows of a table, without what depends on when it was asked, or on how often."""
    passing = {"create_timestamp", "id"} if table is AssetKeyTable else set()
    with storage.index_connection() as connection:
        found = connection.execute(select(table)).mappings().all()
    said = [{column: value for column, value in row.items() if column not in passing} for row in found]
    return sorted(said, key=str)


def counted(storage: PostgresEventLogStorage, asset: dg.AssetKey) -> set[str]:
    """The asset's partitions that the UI counts as materialized: it goes on from where it counted last."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance._event_storage = storage  # noqa: SLF001 - an instance around the storage
        known = get_and_update_asset_status_cache_value(instance, asset, PARTITIONS)
    return set(known.deserialize_materialized_partition_subsets(PARTITIONS).get_partition_keys()) if known else set()


def n_waiting(database: str) -> int:
    """How many sessions wait for a lock of another one."""
    engine = create_engine(database)
    with engine.connect() as connection:
        waiting = connection.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
    engine.dispose()
    return int(waiting or 0)


ASKED: dict[str, Callable[[PostgresEventLogStorage, dg.AssetKey], object]] = {
    "get_asset_keys": lambda log, _: sorted(log.get_asset_keys()),
    "fetch_materializations": lambda log, asset: log.fetch_materializations(asset, limit=99),
    "fetch_observations": lambda log, asset: log.fetch_observations(asset, limit=99),
    "get_asset_event_summary_records": lambda log, asset: log.get_asset_event_summary_records(
        Type.ASSET_MATERIALIZATION, asset
    ),
    "get_asset_partitions_for_run": lambda log, _: log.get_asset_partitions_for_run("run-1"),
    "get_asset_records": lambda log, asset: [record.asset_entry for record in log.get_asset_records([asset])],
    "get_event_records": lambda log, asset: log.get_event_records(
        dg.EventRecordsFilter(Type.ASSET_MATERIALIZATION_PLANNED, asset_key=asset)
    ),
    "get_event_tags_for_asset": lambda log, asset: log.get_event_tags_for_asset(asset),
    "get_latest_asset_partition_materialization_attempts_without_materializations": lambda log, asset: (
        log.get_latest_asset_partition_materialization_attempts_without_materializations(asset)
    ),
    "get_latest_materialization_events": lambda log, asset: log.get_latest_materialization_events([asset]),
    "get_latest_materialization_storage_ids": lambda log, asset: log.get_latest_materialization_storage_ids([asset]),
    "get_latest_planned_materialization_info": lambda log, asset: log.get_latest_planned_materialization_info(asset),
    "get_latest_storage_id_by_partition": lambda log, asset: log.get_latest_storage_id_by_partition(
        asset, Type.ASSET_OBSERVATION
    ),
    "get_latest_tags_by_partition": lambda log, asset: log.get_latest_tags_by_partition(
        asset, Type.ASSET_MATERIALIZATION, ["dagster/data_version"]
    ),
    "get_logs_for_all_runs_by_log_id": lambda log, _: log.get_logs_for_all_runs_by_log_id(),
    "get_logs_for_run": lambda log, _: log.get_logs_for_run("run-1"),
    "get_materialized_partitions": lambda log, asset: log.get_materialized_partitions(asset),
    "get_maximum_record_id": lambda log, _: log.get_maximum_record_id(),
    "get_records_for_run": lambda log, _: log.get_records_for_run("run-1"),
    "get_stats_for_run": lambda log, _: log.get_stats_for_run("run-1"),
    "get_updated_data_version_partitions": lambda log, asset: log.get_updated_data_version_partitions(
        asset, CODES, since_storage_id=0
    ),
    "has_asset_key": lambda log, asset: log.has_asset_key(asset),
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_batches_leave_what_dagster_stores_one_by_one(
    both: tuple[PooledPostgresEventLogStorage, PostgresEventLogStorage], history: list[list[dg.EventLogEntry]]
) -> None:
    """The same rows in every table, and so the same answer to whatever is asked."""
    ours, stock = both

    for batch in history:
        ours.store_event_batch(batch)
        for event in batch:
            stock.store_event(event)

    for table in (SqlEventLogStorageTable, AssetEventTagsTable, AssetKeyTable):
        assert rows(ours, table) == rows(stock, table)
    for name, ask in ASKED.items():
        assert [ask(ours, asset) for asset in ASSETS] == [ask(stock, asset) for asset in ASSETS], name


def test_count_of_each_asset_goes_on_after_a_batch_of_both(
    storage: PooledPostgresEventLogStorage,
) -> None:
    """The UI and the automation ask each asset's row whether anything came; Dagster's batch writes one of them."""
    storage.store_event_batch([materialized("CN", asset) for asset in ASSETS])
    before = [counted(storage, asset) for asset in ASSETS]

    storage.store_event_batch([materialized(code, asset) for code in ("FR", "IN") for asset in ASSETS])

    assert before == [{"CN"}, {"CN"}]
    assert [counted(storage, asset) for asset in ASSETS] == [{"CN", "FR", "IN"}] * 2


def test_statements_do_not_grow_with_the_batch(storage: PooledPostgresEventLogStorage) -> None:
    """There is one statement for the queue, one for the events, one for their tags, and one for each asset."""
    storage.store_event_batch([materialized("CN", asset) for asset in ASSETS])
    statements: list[str] = []
    on.listen(storage._engine, "before_cursor_execute", lambda _, __, sql, *___: statements.append(sql))  # noqa: SLF001

    storage.store_event_batch([materialized(code, asset) for code in CODES * 40 for asset in ASSETS])

    assert len(statements) == 3 + len(ASSETS)


def test_batch_that_cannot_be_stored_leaves_nothing(storage: PooledPostgresEventLogStorage) -> None:
    """Its events are not stored either, because Dagster stores them again one by one and would have them twice."""
    unstorable = entry(Type.ASSET_MATERIALIZATION, materialization("FR", version="no\0text"))

    with pytest.raises(ValueError, match="NUL"):
        storage.store_event_batch([materialized("CN"), unstorable])

    assert storage.get_logs_for_run("run-1") == []
    assert storage.get_materialized_partitions(FLAG) == set()
    assert not storage.has_asset_key(FLAG)


@pytest.mark.parametrize("late", [materialized("US"), planned("US")], ids=["materialized", "planned"])
def test_no_reader_gets_ahead_of_a_batch_on_its_way(
    database: str, storage: PooledPostgresEventLogStorage, late: dg.EventLogEntry
) -> None:
    """A reader never sees an id before a lower one of another worker, because it would skip the lower one."""
    storage.store_event_batch([planned(code, asset) for code in CODES for asset in ASSETS])
    latest = storage.get_maximum_record_id()
    other = PooledPostgresEventLogStorage(database)
    stored: list[Future[None]] = []
    seen_meanwhile: list[int | None] = []

    def hold_back(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        """Let the other worker write when this batch's events have ids and are not committed yet."""
        if statement.startswith("INSERT INTO asset_event_tags") and not stored:
            stored.append(worker.submit(other.store_event, late))
            wait_for("the other worker to queue", lambda: n_waiting(database) == 1, timeout_s=10)
            seen_meanwhile.append(other.get_maximum_record_id())

    on.listen(storage._engine, "before_cursor_execute", hold_back)  # noqa: SLF001
    with ThreadPoolExecutor(1) as worker:
        storage.store_event_batch([materialized(code, asset) for code in ("CN", "FR") for asset in ASSETS])
        stored[0].result(timeout=10)

    assert seen_meanwhile == [latest]
    assert counted(other, FLAG) >= {"CN", "FR"}
    other.dispose()


def test_either_class_reads_what_the_other_wrote(database: str, storage: PooledPostgresEventLogStorage) -> None:
    """Both read the event, its partition and its tags."""
    stock = PostgresEventLogStorage(database)

    storage.store_event(materialized("CN"))
    stock.store_event(materialized("FR"))

    for reader in (storage, stock):
        assert reader.get_materialized_partitions(FLAG) == {"CN", "FR"}
        assert [each.timestamp for each in reader.get_logs_for_run("run-1")] == [START] * 2
        tags = reader.get_latest_tags_by_partition(
            FLAG, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
        )
        assert tags["FR"] == {"dagster/data_version": "FR0"}


def test_many_events_share_few_connections(storage: PooledPostgresEventLogStorage) -> None:
    """Dagster's class opens three connections for each event."""
    opened: list[object] = []
    on.listen(storage._engine, "connect", lambda connection, _: opened.append(connection))  # noqa: SLF001

    for code in ("CN", "FR", "IN", "US"):
        storage.store_event(materialized(code))

    assert len(opened) <= POOL_SIZE + 1


def test_event_is_stored_although_the_server_dropped_the_connections(storage: PooledPostgresEventLogStorage) -> None:
    """A restart of the database or a firewall drops connections."""
    storage.store_event(materialized("CN"))
    with storage.index_connection() as connection:
        others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = USER"
        )
        connection.execute(text(others))

    storage.store_event(materialized("FR"))

    assert storage.get_materialized_partitions(FLAG) == {"CN", "FR"}


def test_nothing_stays_open_after_disposal(database: str, storage: PooledPostgresEventLogStorage) -> None:
    """An instance that is closed gives its connections back; used again, it opens them again."""
    storage.store_event(materialized("CN"))

    storage.dispose()

    looking = PooledPostgresEventLogStorage(database)
    with looking.index_connection() as connection:
        mine = "SELECT count(*) FROM pg_stat_activity WHERE usename = USER AND backend_type = 'client backend'"
        assert connection.execute(text(mine)).scalar() == 1
    looking.dispose()
    assert storage.get_materialized_partitions(FLAG) == {"CN"}
