"""A fleet on one machine: webserver, daemon and Celery workers as in deploy/distributed/, with real servers behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flag_pipeline.settings import project_root
from flag_pipeline_tests.databases import running_postgres, running_redis
from flag_pipeline_tests.e2e.deployment import Deployment, wait_for
from flag_pipeline_tests.seaweed import SeaweedFS

FOLDER = project_root() / "deploy" / "distributed"


@dataclass
class Fleet(Deployment):
    """A deployment whose runs are carried out by Celery workers, up to two at a time each.

    Attributes:
        workers: their processes by name, each the head of a process group of its own.
    """

    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start_worker(self, name: str) -> None:
        """Start it, and wait until it takes runs."""
        command = [sys.executable, "-m", "celery", "--app", "dagster_celery.app", "worker"]
        command += ["--queues", "dagster", "--concurrency", "2", "--hostname", f"{name}@%h", "--loglevel", "INFO"]
        environment = {**os.environ, **self.environment, "DAGSTER_HOME": str(self.home), "PYTHONPATH": str(FOLDER)}
        with self._log_of(name).open("wb") as log:
            self.workers[name] = subprocess.Popen(
                command,
                cwd=project_root(),
                env={**environment, "DAGSTER_EVENT_BATCH_SIZE": "1000"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for(f"the start of worker {name}", lambda: " ready." in self._log_of(name).read_text())

    def kill_worker(self, name: str) -> None:
        """End it with its children as a power cut would."""
        process = self.workers.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def tasks_of(self, name: str) -> list[str]:
        """The Celery tasks that the worker has taken."""
        lines = self._log_of(name).read_text().splitlines()
        return [line.partition("Task execute_job[")[2].partition("]")[0] for line in lines if "received" in line]

    def worker_of(self, run_id: str) -> str:
        """The worker that carries out a run."""
        (run,) = [run for run in self.runs_of("country_metadata") if run["runId"] == run_id]
        task = {tag["key"]: tag["value"] for tag in run["tags"]}["dagster-celery/task_id"]
        (name,) = [name for name in self.workers if task in self.tasks_of(name)]
        return name

    def terminate_run(self, run_id: str) -> None:
        """Do what "Terminate" in the UI does with its box "Force termination immediately" ticked."""
        self.ask(
            """mutation ($id: String!) { terminateRun(
                runId: $id, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename } }""",
            id=run_id,
        )

    def stop(self) -> None:
        """End what was started."""
        super().stop()
        for name in list(self.workers):
            self.kill_worker(name)

    def _log_of(self, name: str) -> Path:
        return self.home / f"{name}.log"


@contextmanager
def running_fleet(
    home: Path, seaweed: SeaweedFS, settings: Mapping[str, str], *, workers: Sequence[str], fsync: bool = False
) -> Iterator[Fleet]:
    """Run database, broker, webserver and *workers* inside the block; the daemon waits for the test to start it."""
    with ExitStack() as stack:
        database = stack.enter_context(running_postgres(fsync=fsync))
        broker = stack.enter_context(running_redis(home))
        instance = {"DAGSTER_PG_URL": database, "CELERY_BROKER_URL": broker}
        fleet = Fleet(home, {**seaweed.environment(), **instance, **settings}, config=FOLDER / "dagster.yaml")
        stack.callback(fleet.stop)
        fleet.start_webserver()
        for name in workers:
            fleet.start_worker(name)
        yield fleet
