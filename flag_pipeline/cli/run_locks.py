"""Detects orphaned runs of the command line by file locks.

A process holds the lock of its run, and deletes the file at the end. A killed process leaves an unlocked file, and the
next command fails its run.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance
from filelock import FileLock, Timeout

# Re-executions inherit this tag, so the command line's runs have a lock file too.
LAUNCHED_BY_TAG, COMMAND_LINE = "flag_pipeline/launched_by", "command line"
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@contextmanager
def run_lock(instance: DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold the run's lock inside the block; delete its file if the run has ended."""
    path = _path(instance, run_id)
    path.parent.mkdir(exist_ok=True)
    with FileLock(path):
        try:
            yield
        finally:
            if unfinished_run(instance, run_id) is None:
                path.unlink()


def fail_orphaned_runs(instance: DagsterInstance) -> None:
    """Fail runs whose process was killed, and free their pool slots."""
    ours = dg.RunsFilter(tags={LAUNCHED_BY_TAG: COMMAND_LINE}, statuses=UNFINISHED)
    for listed in instance.get_runs(ours):
        path = _path(instance, listed.run_id)
        # Other machines and the daemon run without a file.
        if path.exists():
            with suppress(Timeout), FileLock(path, timeout=0):
                run = unfinished_run(instance, listed.run_id)
                if run is not None:
                    _fail(instance, run)
                path.unlink(missing_ok=True)


def _path(instance: DagsterInstance, run_id: str) -> Path:
    return Path(instance.root_directory) / "command_line_runs" / f"{run_id}.lock"


def unfinished_run(instance: DagsterInstance, run_id: str) -> dg.DagsterRun | None:
    """Return the run, None if it has ended or was never stored."""
    run = instance.get_run_by_id(run_id)
    return None if run is None or run.is_finished else run


def _fail(instance: DagsterInstance, run: dg.DagsterRun) -> None:
    message = "Its process was killed. What it had recorded stays."
    # A run that was being terminated is canceled; the daemon retries a failed one once.
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
    else:
        instance.report_run_failed(run, message)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
