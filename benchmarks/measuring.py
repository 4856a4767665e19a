"""Processes, measured one at a time from outside: seconds, processor time and peak memory."""

import atexit
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dagster import DagsterEventType

from flag_pipeline.dagster_storage.sqlite_event_log import EmbeddedEventLogStorage
from flag_pipeline.settings import project_root

COMMITTED_HOME = project_root() / "dagster_home"
_ENDS = (DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE)
_TELLING = {DagsterEventType.STEP_START, *_ENDS, DagsterEventType.ASSET_MATERIALIZATION}
FLAG_PIPELINE = [sys.executable, "-m", "flag_pipeline"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The values of a repeated measurement."""

    median: float
    least: float
    most: float
    repeats: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of *values*."""
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True, slots=True)
class Measured:
    """One process, from its start to its end.

    Attributes:
        cpu_s: processor time of the process and those that it waited for.
        peak_mb: peak resident memory, in millions of bytes, of the largest of them.
        output: what it printed.
    """

    seconds: float
    cpu_s: float
    peak_mb: float
    output: str

    def json(self) -> Any:
        """The one JSON object that it printed."""
        return json.loads(self.output)


def measure(command: Sequence[str], environment: dict[str, str], *, exit_code: int = 0) -> Measured:
    """Run *command* and measure it. Raises if it ends with another exit code.

    This process must stay small, because Linux counts the memory of the forking process as the child's peak too.
    """
    with tempfile.TemporaryFile("w+") as output:
        started_at = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started_at
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != exit_code:
            raise subprocess.CalledProcessError(process.returncode, command)
        output.seek(0)
        cpu_s = usage.ru_utime + usage.ru_stime
        return Measured(seconds, cpu_s, usage.ru_maxrss * 1024 / 1e6, output.read())


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one measurement: a Dagster home and a store."""

    root: Path

    @property
    def home(self) -> Path:
        """The Dagster home."""
        return self.root / "home"

    def environment(self, **settings: object) -> dict[str, str]:
        """The environment of the measured process, without what the caller's own settings would change in it."""
        # Bytecode is kept between processes, as it is for a user.
        foreign = ("FLAG_", "DAGSTER_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        given = {f"FLAG_{name.upper()}": str(value) for name, value in settings.items()}
        here = {"DAGSTER_HOME": str(self.home), "FLAG_STORE": str(self.root / "store")}
        return {**kept, **here, **given, "PYTHONPATH": str(project_root())}


@contextmanager
def new_place(*, stock: bool = False) -> Iterator[Place]:
    """Give a place without runs and files, with the committed instance settings, or with *stock* Dagster's."""
    place = Place(Path(tempfile.mkdtemp(dir=_all_places())))
    shutil.copytree(_template(stock=stock) / "home", place.home)
    yield place


@cache
def _all_places() -> Path:
    # Deleted only at the end: some file systems (ext4 without a journal) take ten times as long to make a file where
    # files were deleted minutes ago, so a measurement would slow down the next one.
    folder = Path(tempfile.mkdtemp(prefix="flag-benchmark-"))
    atexit.register(shutil.rmtree, folder)
    return folder


@cache
def _template(*, stock: bool) -> Path:
    # Making the databases takes longer than a run, and happens once in the life of an instance.
    place = Place(Path(tempfile.mkdtemp(dir=_all_places())))
    place.home.mkdir()
    settings = "telemetry: {enabled: false}\n" if stock else (COMMITTED_HOME / "dagster.yaml").read_text("utf-8")
    (place.home / "dagster.yaml").write_text(settings, "utf-8")
    measure([*FLAG_PIPELINE, "status"], place.environment())
    return place.root


@contextmanager
def server(command: Sequence[str], place: Place) -> Iterator[str]:
    """Run a server inside the block and give what it prints first: its URL, or a line that has its port."""
    environment = {**place.environment(), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.terminate()


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the event log says about a run of ours.

    Attributes:
        fetching_s: from the start of the fetching step to its end, recording included.
        longest_country_s: what the slowest country took; a connection that stalls costs one or more seconds.
    """

    fetching_s: float
    longest_country_s: float


def facts_of(place: Place, run_id: str) -> RunFacts:
    """Read a run's events."""
    storage = EmbeddedEventLogStorage(str(place.home / "history" / "runs"))
    at: dict[DagsterEventType, float] = {}
    longest_s, cursor, has_more = 0.0, None, True
    # In batches, because this process must stay small.
    while has_more:
        page = storage.get_records_for_run(run_id, cursor, of_type=_TELLING, limit=500)
        cursor, has_more = page.cursor, page.has_more
        for entry in (record.event_log_entry for record in page.records):
            event = entry.get_dagster_event()
            at[event.event_type] = entry.timestamp
            if event.is_step_materialization:
                metadata: Any = event.step_materialization_data.materialization.metadata
                longest_s = max(longest_s, metadata["duration_s"].value)
    storage.dispose()
    ended_at = next(at[end] for end in _ENDS if end in at)
    return RunFacts(ended_at - at[DagsterEventType.STEP_START], longest_s)
