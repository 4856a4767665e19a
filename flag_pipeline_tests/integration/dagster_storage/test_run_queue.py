"""The pool of the fleet's instance on a real Postgres: its limit is the one in dagster.yaml, also after a change."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
from dagster_shared.yaml_utils import load_yaml_from_path

from flag_pipeline.defs.flags import POOL
from flag_pipeline.settings import project_root
from flag_pipeline_tests.databases import running_postgres

pytestmark = [pytest.mark.distributed, pytest.mark.e2e]
pytest.importorskip("dagster_postgres", reason="not installed: uv run --group distributed pytest -m distributed")


@pytest.fixture
def open_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], dg.DagsterInstance]]:
    """Opens the instance of deploy/distributed/ with a limit, as a process that starts after a change would."""
    with running_postgres() as database, ExitStack() as opened:
        monkeypatch.setenv("DAGSTER_PG_URL", database)
        monkeypatch.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:9")
        config = load_yaml_from_path(str(project_root() / "deploy/distributed/dagster.yaml"))
        assert isinstance(config, dict)

        def open_(limit: int) -> dg.DagsterInstance:
            config["concurrency"]["pools"]["default_limit"] = limit
            (tmp_path / "dagster.yaml").write_text(json.dumps(config))  # which is YAML too
            return opened.enter_context(dg.DagsterInstance.from_config(str(tmp_path)))

        yield open_


@pytest.mark.parametrize("changed", [1, 3])
def test_changed_limit_takes_effect(open_instance: Callable[[int], dg.DagsterInstance], changed: int) -> None:
    """Dagster's own class fails with it on Postgres, and the queue then lets every run pass."""
    open_instance(2).event_log_storage.initialize_concurrency_limit_to_default(POOL)

    storage = open_instance(changed).event_log_storage
    storage.initialize_concurrency_limit_to_default(POOL)

    (limit,) = storage.get_pool_limits()
    assert (limit.name, limit.limit, limit.from_default) == (POOL, changed, True)
    assert storage.get_concurrency_info(POOL).slot_count == changed


def test_processes_may_set_the_limit_at_once(open_instance: Callable[[int], dg.DagsterInstance]) -> None:
    """The webserver and the daemon both queue a fleet's first runs."""
    storages = [open_instance(2).event_log_storage for _ in range(8)]

    with ThreadPoolExecutor(len(storages)) as threads:
        given = list(threads.map(lambda storage: storage.initialize_concurrency_limit_to_default(POOL), storages))

    assert given == [True] * len(storages)
    assert storages[0].get_concurrency_info(POOL).slot_count == 2
