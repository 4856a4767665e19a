"""Old runs are deleted from an instance on a real Postgres: rows only, and no status changes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

pytestmark = [pytest.mark.distributed, pytest.mark.e2e, pytest.mark.timeout(120)]
pytest.importorskip("dagster_postgres", reason="not installed: uv run --group distributed pytest -m distributed")

from flag_pipeline.dagster_storage.pruning import plan_pruning, prune  # noqa: E402 - only where it is installed
from flag_pipeline_tests.databases import running_postgres  # noqa: E402
from flag_pipeline_tests.past_runs import (  # noqa: E402
    FLAG,
    LETTERS,
    Status,
    check_planned,
    checked,
    materialized,
    observed,
    planned,
    record_run,
    run_id,
    run_ids,
)
from flag_pipeline_tests.pruned import partition_statuses  # noqa: E402

SETTINGS = """
run_storage:
  module: dagster_postgres.run_storage
  class: PostgresRunStorage
  config: {{postgres_url: "{url}"}}
schedule_storage:
  module: dagster_postgres.schedule_storage
  class: PostgresScheduleStorage
  config: {{postgres_url: "{url}"}}
event_log_storage:
  module: {module}
  class: {name}
  config: {{postgres_url: "{url}"}}
"""
LOGS = {
    "flag_pipeline.dagster_storage.postgres_event_log": "PooledPostgresEventLogStorage",
    "dagster_postgres.event_log": "PostgresEventLogStorage",
}


@pytest.fixture(params=LOGS)
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with either event log, on its own server."""
    with running_postgres() as url:
        settings = SETTINGS.format(url=url, module=request.param, name=LOGS[request.param])
        (tmp_path / "dagster.yaml").write_text(settings)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            yield instance


def test_rows_of_old_runs_are_deleted(instance: dg.DagsterInstance) -> None:
    """The runs that decide a status are left, with all their rows."""
    for number in (1, 2, 3):
        events = [planned("a"), check_planned(), materialized("a", tags={"dagster/data_version": "1"}), checked()]
        record_run(instance, number, events, days=9)
    record_run(instance, 4, [planned("a"), planned("b"), observed("b")], days=8, status=Status.FAILURE)
    before = partition_statuses(instance, {FLAG: LETTERS})

    report = prune(instance, plan_pruning(instance, datetime.now(UTC)))

    assert partition_statuses(instance, {FLAG: LETTERS}) == before == {"flag": [["a"], ["a", "b"], []]}
    assert run_ids(instance) == [run_id(3), run_id(4)]
    assert (report.n_runs, report.n_events, report.freed_bytes, report.not_freed) == (2, 10, 0, {})
    log: Any = instance.event_log_storage
    with log.index_connection() as connection:
        counts = {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()  # noqa: S608 - ours
            for name in ("event_logs", "asset_event_tags", "asset_check_executions")
        }
    assert counts == {"event_logs": 9, "asset_event_tags": 1, "asset_check_executions": 1}
