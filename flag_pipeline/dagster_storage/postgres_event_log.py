"""Dagster's Postgres event log with a connection pool and one transaction per batch.

Dagster's class opens a connection per statement, three per event of an asset.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.schema import AssetKeyTable, ConcurrencyLimitsTable, SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config
from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert

__all__ = ["PooledPostgresEventLogStorage"]

# Partition events.
BATCHED = frozenset(
    {
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ASSET_OBSERVATION,
    }
)
_INSERT = SqlEventLogStorageTable.insert().returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)

# Idle connections per process.
POOL_SIZE = 2
# Firewalls drop idle connections.
RECYCLE_S = 300


class PooledPostgresEventLogStorage(PostgresEventLogStorage):
    """Dagster's Postgres event log, in the same tables.

    Chosen in `dagster.yaml`:

        event_log_storage:
          module: flag_pipeline.dagster_storage.postgres_event_log
          class: PooledPostgresEventLogStorage
          config:
            postgres_url:
              env: DAGSTER_PG_URL
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tables: set[str] = set()
        self._engine = create_pg_engine(
            self.postgres_url,
            self._token_provider,
            isolation_level="AUTOCOMMIT",
            pool_size=POOL_SIZE,
            max_overflow=-1,
            pool_recycle=RECYCLE_S,
            pool_pre_ping=True,
            pool_use_lifo=True,
        )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledPostgresEventLogStorage":
        """Make the storage of `dagster.yaml`."""
        return cls(
            inst_data=inst_data,
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            token_provider=get_token_provider_from_config(config_value),
        )

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store one event; a partition's event is a batch, because batches are ordered."""
        if event.dagster_event_type in BATCHED:
            self.store_event_batch([event])
        else:
            super().store_event(event)

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store all or none, in one transaction of few statements.

        Dagster's class commits events before their assets.
        """
        if not events or any(event.dagster_event_type not in BATCHED for event in events):
            super().store_event_batch(events)
            return
        with self.index_transaction() as connection:
            # An asset's batches take turns, because readers would miss an id committed after a higher one.
            connection.execute(_turn_of(events))
            event_ids = connection.scalars(_INSERT, [self._event_to_row(event) for event in events]).all()
            self._store_asset_event_tags(connection, events, event_ids)
            for event, event_id in _latest_of_each_asset(events, event_ids):
                self._store_asset_event(connection, event, event_id)

    def initialize_concurrency_limit_to_default(self, concurrency_key: str) -> bool:
        """Give a pool the default limit of `dagster.yaml`.

        Dagster's class fails on a changed default; the queue then lets every run pass (dagster-io/dagster #33552).
        """
        limit = self._instance.global_op_concurrency_default_limit
        if limit is None:
            return bool(super().initialize_concurrency_limit_to_default(concurrency_key))
        row = insert(ConcurrencyLimitsTable).values(
            concurrency_key=concurrency_key, limit=limit, using_default_limit=True
        )
        with self.index_transaction() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=["concurrency_key"], set_={"limit": limit}))
            self._allocate_concurrency_slots(connection, concurrency_key, limit)
        return True

    def has_table(self, table_name: str) -> bool:
        """Whether the table exists. Only yes is kept, because migrations add tables."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        """Close all connections."""
        super().dispose()
        self._engine.dispose()


def _asset_key(event: dg.EventLogEntry) -> str:
    key = event.get_dagster_event().asset_key
    return key.to_string() if key else ""


def _turn_of(events: Sequence[dg.EventLogEntry]) -> Select[tuple[int]]:
    # A fixed lock order prevents deadlocks.
    mine = AssetKeyTable.c.asset_key.in_(sorted(set(map(_asset_key, events))))
    return select(AssetKeyTable.c.id).where(mine).order_by(AssetKeyTable.c.asset_key).with_for_update()


def _latest_of_each_asset(
    events: Sequence[dg.EventLogEntry], event_ids: Sequence[int]
) -> list[tuple[dg.EventLogEntry, int]]:
    # Per type, because each type sets its own columns.
    latest = {
        (_asset_key(event), event.dagster_event_type): (event, event_id)
        for event, event_id in zip(events, event_ids, strict=True)
    }
    return sorted(latest.values(), key=lambda pair: (_asset_key(pair[0]), pair[1]))
