"""Isolation in other processes: a step's, a backfill's by the daemon, and one that is killed."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration

from flag_pipeline.isolation import read_statuses
from flag_pipeline_tests.integration.isolation import pipeline
from flag_pipeline_tests.integration.isolation.runs import colours, events, green, ranged

ALL = [f"k{number:02}" for number in range(pipeline.N_KEYS)]
PRESENT = [key for key in ALL if key != pipeline.ABSENT_KEY]
WHOLE_RANGE = ranged(ALL[0], ALL[-1])
MODULE = "flag_pipeline_tests.integration.isolation.pipeline"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder by which the test and the asset talk."""
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setenv("STATE", str(folder))
    return folder


def asked(state: Path) -> list[str]:
    """What was asked for since the last look."""
    keys = sorted(pipeline.words("asked"))
    (state / "asked").unlink(missing_ok=True)
    return keys


def without(*keys: str) -> list[str]:
    """All present partitions but these."""
    return [key for key in PRESENT if key not in keys]


def test_a_step_in_a_process_of_its_own(stored_instance: dg.DagsterInstance, state: Path) -> None:
    """With the multiprocess executor a step fails, is re-executed, and its downstream step runs once all succeeded."""
    job = dg.reconstructable(pipeline.processes_job)
    (state / "broken").write_text("k03")
    first = dg.execute_job(job, stored_instance, tags=WHOLE_RANGE, raise_on_error=False)
    assert asked(state) == ALL
    assert colours(stored_instance, pipeline.photo)["photo"] == (without("k03"), ["k03", "k11"])
    assert green(stored_instance, "thumbnail") == []

    (state / "broken").write_text("")
    options = dg.ReexecutionOptions.from_failure(first.run_id, stored_instance)
    second = dg.execute_job(job, stored_instance, tags=WHOLE_RANGE, reexecution_options=options)

    assert second.success
    assert asked(state) == ["k03", "k11"]
    assert colours(stored_instance, pipeline.photo)["photo"] == (PRESENT, [])
    assert green(stored_instance, "thumbnail") == ALL


def interrupted(instance: dg.DagsterInstance, state: Path, number: signal.Signals) -> dg.DagsterRun:
    """Run the job in a process that gets the signal once all but the hanging partitions are recorded."""
    program = f"""
import dagster as dg
from {MODULE} import refresh_job
with dg.DagsterInstance.get() as instance:
    job = dg.reconstructable(refresh_job)
    dg.execute_job(job, instance, tags={WHOLE_RANGE!r}, raise_on_error=False)
"""
    environment = {**os.environ, "DAGSTER_HOME": instance.root_directory, "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL)
    while not (state / "recorded").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    process.wait(timeout=120)
    return instance.get_runs(limit=1)[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_was_recorded_survives_a_signal(
    stored_instance: dg.DagsterInstance, state: Path, number: signal.Signals
) -> None:
    """All that was done is green, and a re-execution asks for the rest alone."""
    (state / "hanging").write_text("k04 k05")

    run = interrupted(stored_instance, state, number)

    assert asked(state) == ALL
    assert green(stored_instance, "photo") == without("k04", "k05")
    if number is signal.SIGKILL:  # as Dagster's run monitoring does it
        assert run.status is dg.DagsterRunStatus.STARTED
        stored_instance.report_run_failed(run)
    else:
        assert run.status is dg.DagsterRunStatus.FAILURE
    (state / "hanging").write_text("")
    options = dg.ReexecutionOptions(parent_run_id=run.run_id)
    job = dg.reconstructable(pipeline.refresh_job)
    again = dg.execute_job(job, stored_instance, tags=WHOLE_RANGE, reexecution_options=options)
    assert again.success
    assert asked(state) == ["k04", "k05", "k11"]
    assert colours(stored_instance, pipeline.photo)["photo"] == (PRESENT, [])


@pytest.fixture
def daemon_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    """An instance that launches runs at once, as processes."""
    overrides = {
        "run_launcher": {"module": "dagster", "class": "DefaultRunLauncher"},
        "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    }
    with dg.instance_for_test(temp_dir=str(tmp_path_factory.mktemp("daemon_home")), overrides=overrides) as instance:
        yield instance


def wait_for_runs(instance: dg.DagsterInstance) -> None:
    """Return once no run is unfinished."""
    while any(not run.is_finished for run in instance.get_runs()):
        time.sleep(0.05)


@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources`:DeprecationWarning")  # Dagster's own
def test_a_backfill_by_the_daemon(daemon_instance: dg.DagsterInstance, state: Path) -> None:
    """One run of all partitions; the failed one and the absent one count as failed, and downstream runs nothing."""
    (state / "broken").write_text("k03")
    graph = pipeline.defs.get_repository_def().asset_graph
    target = ModuleTarget(MODULE, None, None, "isolation")
    with (
        create_test_daemon_workspace_context(target, daemon_instance) as workspace,
        dg.partition_loading_context(dynamic_partitions_store=daemon_instance),
    ):
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id="backfill",
            asset_graph=graph,
            partition_names=ALL,
            asset_selection=[pipeline.photo.key, pipeline.thumbnail.key],
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=daemon_instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        daemon_instance.add_backfill(backfill)
        ended = backfill
        while ended.status is BulkActionStatus.REQUESTED:
            list(execute_backfill_iteration(workspace, logging.getLogger("backfill")))
            wait_for_runs(daemon_instance)
            ended = daemon_instance.get_backfill("backfill") or backfill

    assert ended.status is BulkActionStatus.COMPLETED_FAILED
    assert asked(state) == ALL
    assert colours(daemon_instance, pipeline.photo)["photo"] == (without("k03"), ["k03", "k11"])
    assert green(daemon_instance, "thumbnail") == []
    assert ended.asset_backfill_data is not None
    failed = ended.asset_backfill_data.failed_and_downstream_subset
    assert sorted({each.partition_key or "" for each in failed.iterate_asset_partitions()}) == ALL
    assert len(events(daemon_instance, "photo")) == len(PRESENT) - 1
    statuses = read_statuses(daemon_instance, pipeline.photo.key, ALL)
    assert (list(statuses.failed), list(statuses.absent)) == (["k03"], ["k11"])
