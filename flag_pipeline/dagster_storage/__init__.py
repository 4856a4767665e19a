"""Faster storages for a Dagster instance, and a run queue: for any Dagster project.

They store what Dagster's own classes store, in the same files and tables, so that an instance can switch between the
two at any time. `dagster.yaml` chooses them; each class shows its block.

- `sqlite_event_log.EmbeddedEventLogStorage`, `sqlite_runs.EmbeddedRunStorage` and `.EmbeddedScheduleStorage`: SQLite.
- `postgres_event_log.PooledPostgresEventLogStorage`: Postgres, with the package `dagster-postgres`.
- `run_queue.PoolLimitingRunCoordinator`: the queue, with the limits of its pools in force from the first run on.
"""
