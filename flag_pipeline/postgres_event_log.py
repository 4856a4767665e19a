"""Dagster's Postgres event log with its connections kept open.

Dagster's class opens a connection for each statement: three to record one country of one asset, and a look into the
schema each time. `PooledPostgresEventLogStorage` keeps up to two open a process, and remembers which tables there are.
Tables, SQL and transactions are Dagster's own: either class opens what the other wrote.
"""

from collections.abc import Mapping
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config

__all__ = ["PooledPostgresEventLogStorage"]

# Idle connections a process; what is needed beyond them is opened, and closed after use.
POOL_SIZE = 2
# Firewalls forget silent connections; an older one is opened anew, and each is tried before it is used.
RECYCLE_S = 300


class PooledPostgresEventLogStorage(PostgresEventLogStorage):
    """Dagster's Postgres event log, fast enough to record each country as it comes.

    Chosen in `dagster.yaml`, with the configuration of Dagster's own class; that one goes on with the same tables:

        event_log_storage:
          module: flag_pipeline.postgres_event_log
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
        """Make the storage that `dagster.yaml` describes."""
        return cls(
            inst_data=inst_data,
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            token_provider=get_token_provider_from_config(config_value),
        )

    def has_table(self, table_name: str) -> bool:
        """Say whether there is such a table. Only a yes is remembered: a migration may make what is missing."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def dispose(self) -> None:
        """Close everything; what is used again is opened again."""
        super().dispose()
        self._engine.dispose()
