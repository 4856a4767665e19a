"""Which runs of the command line are alive: a process keeps a file locked for its run, and takes it away at the end.

The lock of a process that is killed is free, and its file remains: that is how the next command knows.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance
from filelock import FileLock, Timeout

# A re-execution inherits it from the run that it repeats, whoever executes it: only a lock file makes a run ours.
LAUNCHED_BY_TAG, COMMAND_LINE = "flag_pipeline/launched_by", "command line"
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@contextmanager
def run_lock(instance: DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold the lock of the run, which is stored inside the block; the file stays if it has not ended there."""
    path = _path(instance, run_id)
    path.parent.mkdir(exist_ok=True)
    with FileLock(path):
        try:
            yield
        finally:
            if unfinished_run(instance, run_id) is None:
                path.unlink()


def fail_orphaned_runs(instance: DagsterInstance) -> None:
    """Mark runs whose process was killed as ended, and free what they held: nobody else can know that they ended."""
    ours = dg.RunsFilter(tags={LAUNCHED_BY_TAG: COMMAND_LINE}, statuses=UNFINISHED)
    for listed in instance.get_runs(ours):
        path = _path(instance, listed.run_id)
        # Without a file it is another machine's, or a re-execution, which looks after itself.
        if path.exists():
            with suppress(Timeout), FileLock(path, timeout=0):
                # It may have ended since it was listed.
                run = unfinished_run(instance, listed.run_id)
                if run is not None:
                    _fail(instance, run)
                path.unlink(missing_ok=True)


def _path(instance: DagsterInstance, run_id: str) -> Path:
    return Path(instance.root_directory) / "command_line_runs" / f"{run_id}.lock"


def unfinished_run(instance: DagsterInstance, run_id: str) -> dg.DagsterRun | None:
    """Return the run as it is stored now, unless it has ended or was not even stored."""
    run = instance.get_run_by_id(run_id)
    return None if run is None or run.is_finished else run


def _fail(instance: DagsterInstance, run: dg.DagsterRun) -> None:
    message = "Its process was killed. What it had recorded stands."
    # Somebody wanted the one to end, and got it; the daemon tries the other once more.
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
    else:
        instance.report_run_failed(run, message)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
