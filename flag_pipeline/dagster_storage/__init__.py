"""Faster storages for any Dagster instance, and a run queue.

They use Dagster's files and tables, so an instance can switch at any time. `dagster.yaml` chooses them; each class
shows its block.

- `sqlite_event_log.EmbeddedEventLogStorage`, `sqlite_runs.EmbeddedRunStorage` and `.EmbeddedScheduleStorage`: SQLite.
- `postgres_event_log.PooledPostgresEventLogStorage`: Postgres.
- `run_queue.PoolLimitingRunCoordinator`: the queue.
"""
