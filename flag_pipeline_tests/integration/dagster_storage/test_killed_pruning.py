"""kill -9 at each step of deleting old runs: no status is lost, and the next command deletes the rest."""

import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from flag_pipeline.settings import project_root
from flag_pipeline_tests.crashing import shared_counter, start_prune
from flag_pipeline_tests.past_runs import (
    FLAG,
    LETTERS,
    Status,
    check_planned,
    checked,
    event_files,
    materialized,
    observed,
    planned,
    record_run,
    run_id,
    run_ids,
)
from flag_pipeline_tests.pruned import partition_statuses

STORAGES = {"ours": (project_root() / "dagster_home/dagster.yaml").read_text(), "dagster's": ""}
KEPT = [run_id(3), run_id(4)]
SOME = 5


@pytest.fixture(params=STORAGES)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A home with two runs that can be deleted, and two that cannot."""
    home = tmp_path / "before"
    home.mkdir()
    (home / "dagster.yaml").write_text(STORAGES[request.param])
    with pytest.MonkeyPatch.context() as environment, opened(home, environment) as instance:
        for number in (1, 2, 3):
            events = [planned("a"), check_planned(), materialized("a", padding=300_000), checked(), observed("a")]
            record_run(instance, number, events, days=9)
            logs = home / "storage" / run_id(number) / "compute_logs"
            logs.mkdir(parents=True)
            (logs / "step.out").write_text("text")
        record_run(instance, 4, [planned("a"), planned("b")], days=8, status=Status.FAILURE)
    return home


def opened(home: Path, environment: pytest.MonkeyPatch) -> dg.DagsterInstance:
    """Open the instance in a folder."""
    environment.setenv("DAGSTER_HOME", str(home))
    return dg.DagsterInstance.from_config(str(home))


def check_statuses(home: Path, where: str) -> None:
    """What must hold at any time: the partitions' statuses, and whole kept runs."""
    with pytest.MonkeyPatch.context() as environment, opened(home, environment) as instance:
        assert partition_statuses(instance, {FLAG: LETTERS}) == {"flag": [["a"], ["a", "b"], []]}, where
        assert len(instance.all_logs(KEPT[0])) == 6, where
        assert set(KEPT) <= set(run_ids(instance)), where


def check_done(home: Path, where: str) -> None:
    """What must hold at the end: nothing of the deleted runs is left."""
    with pytest.MonkeyPatch.context() as environment, opened(home, environment) as instance:
        assert run_ids(instance) == KEPT, where
    assert event_files(home) == set(KEPT), where
    assert {path.name for path in (home / "history/runs").iterdir() if path.name.startswith(run_id(1))} == set(), where
    assert {path.name for path in (home / "storage").iterdir()} == {run_id(3)}, where
    with closing(sqlite3.connect(home / "history/runs/index.db")) as connection:
        for table in ("event_logs", "asset_check_executions"):
            left = {run for (run,) in connection.execute(f"SELECT run_id FROM {table}")}  # noqa: S608 - ours
            assert left <= set(KEPT), (where, table)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), where
        free, pages = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
        assert free < pages * 0.2, where


@pytest.mark.parametrize(
    "is_every",
    [
        pytest.param(False, marks=pytest.mark.timeout(180)),
        pytest.param(True, marks=[pytest.mark.crash, pytest.mark.timeout(1800)]),
    ],
)
def test_a_killed_command_is_completed_by_the_next(home: Path, tmp_path: Path, *, is_every: bool) -> None:
    """Each step is a statement, a commit, or a file that is deleted."""
    seen = shared_counter()
    whole = shutil.copytree(home, tmp_path / "whole")
    process = start_prune(str(whole), seen=seen)
    process.join()
    assert process.exitcode == 0
    check_done(whole, "not killed")
    n_steps = int(seen.value)
    assert n_steps > 30

    for step in range(1, n_steps + 1, 1 if is_every else n_steps // SOME):
        where, root = f"killed before step {step}", shutil.copytree(home, tmp_path / str(step))
        killed = start_prune(str(root), die_at=step)
        killed.join()
        assert killed.exitcode == -signal.SIGKILL, where
        check_statuses(root, where)
        again = start_prune(str(root))
        again.join()
        assert again.exitcode == 0, where
        check_done(root, where)
        check_statuses(root, where)
        shutil.rmtree(root)
