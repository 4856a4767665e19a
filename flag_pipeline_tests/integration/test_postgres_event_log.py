"""The pooled event log on a real Postgres: what Dagster's own class says and does, on fewer connections."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, StepMaterializationData

pytestmark = [pytest.mark.distributed, pytest.mark.e2e]
pytest.importorskip("dagster_postgres", reason="not installed: uv run --group distributed pytest -m distributed")

from dagster_postgres.event_log import PostgresEventLogStorage  # noqa: E402 - only where it is installed
from sqlalchemy import event as on  # noqa: E402
from sqlalchemy import text  # noqa: E402

from flag_pipeline.postgres_event_log import POOL_SIZE, PooledPostgresEventLogStorage  # noqa: E402
from flag_pipeline_tests.databases import running_postgres  # noqa: E402

FLAG = dg.AssetKey("flag_image")


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


def materialized(code: str) -> dg.EventLogEntry:
    """The event of one country's flag."""
    flag = dg.AssetMaterialization(FLAG, partition=code, tags={"dagster/data_version": code})
    what = DagsterEvent("ASSET_MATERIALIZATION", "sweep", event_specific_data=StepMaterializationData(flag))
    return dg.EventLogEntry(None, 20, "", "run-1", 1_790_000_000.0, "flags", "sweep", what)  # type: ignore[no-untyped-call]


def test_either_class_reads_what_the_other_wrote(database: str, storage: PooledPostgresEventLogStorage) -> None:
    """The event, its partition and its tags."""
    stock = PostgresEventLogStorage(database)

    storage.store_event(materialized("CN"))
    stock.store_event(materialized("FR"))

    for reader in (storage, stock):
        assert reader.get_materialized_partitions(FLAG) == {"CN", "FR"}
        assert [entry.timestamp for entry in reader.get_logs_for_run("run-1")] == [1_790_000_000.0] * 2
        tags = reader.get_latest_tags_by_partition(
            FLAG, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
        )
        assert tags["FR"] == {"dagster/data_version": "FR"}


def test_many_events_share_few_connections(storage: PooledPostgresEventLogStorage) -> None:
    """Dagster's class opens three an event."""
    opened: list[object] = []
    on.listen(storage._engine, "connect", lambda connection, _: opened.append(connection))  # noqa: SLF001

    for code in ("CN", "FR", "IN", "US"):
        storage.store_event(materialized(code))

    assert len(opened) <= POOL_SIZE + 1


def test_event_is_stored_although_the_server_dropped_the_connections(storage: PooledPostgresEventLogStorage) -> None:
    """As a restart of the database or a firewall would."""
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
