"""What a store and an instance say, read through their public doors: files, the event log, `status`."""

import csv
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance import InstanceRef

from flag_pipeline_tests.matrix.environment import environment

FLAG_IMAGE = dg.AssetKey("flag_image")
OUTCOME_TAG = "flag_pipeline/outcome"
MANY = 10_000


@dataclass(frozen=True, slots=True)
class StoredFlag:
    """What the store has of one country.

    Attributes:
        content: the bytes of the flag that the record names, None without.
        sha256, source_url: what the record says of it.
        miss: kind of the latest failure that the record notes, empty without.
        metadata_name: the country's name in its metadata file, empty without.
        is_readable: whether the record is JSON.
    """

    content: bytes | None = None
    sha256: str = ""
    source_url: str = ""
    miss: str = ""
    metadata_name: str = ""
    is_readable: bool = True


def read_store(root: Path) -> dict[str, StoredFlag]:
    """Return what the store has, by code, of the countries that have a record."""
    return {path.stem: _read_country(root, path) for path in sorted((root / "records").glob("[A-Z]*.json"))}


def _read_country(root: Path, path: Path) -> StoredFlag:
    try:
        record = json.loads(path.read_bytes())
    except ValueError:
        return StoredFlag(is_readable=False)
    image, miss = record.get("image") or {}, record.get("miss") or {}
    file = root / image["file"] if image else None
    document = root / "metadata" / path.name
    return StoredFlag(
        content=file.read_bytes() if file is not None and file.is_file() else None,
        sha256=image.get("sha256", ""),
        source_url=image.get("source_url", ""),
        miss=miss.get("kind", ""),
        metadata_name=json.loads(document.read_bytes()).get("name", "") if document.is_file() else "",
    )


def read_catalog(root: Path) -> dict[str, dict[str, str]]:
    """Return the catalog's rows by code, none if there is no catalog."""
    path = root / "catalog" / "catalog.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["code"]: row for row in csv.DictReader(file)}


def names_below(root: Path) -> dict[str, int]:
    """Return every file below a folder with its time, to see whether anything was touched."""
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


@dataclass(frozen=True, slots=True)
class Event:
    """The latest event of a country's flag in the event log."""

    storage_id: int
    is_materialization: bool
    outcome: str
    version: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run that fetches.

    Attributes:
        requested_line: the numbers that the step logs at its end, if it got there.
        failures: everything that the run's log says about why it failed.
    """

    run_id: str
    status: str
    counts: Mapping[str, int]
    failures: str


@dataclass(frozen=True, slots=True)
class History:
    """What an instance knows.

    Attributes:
        latest: the latest event of each country's flag.
        outcomes: all outcomes of each country's flag by run.
        runs: the runs that fetch, by id.
    """

    latest: dict[str, Event] = field(default_factory=dict)
    outcomes: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)


@contextmanager
def open_home(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance of a home."""
    with (
        environment({"DAGSTER_HOME": str(home)}),
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home))) as instance,
    ):
        yield instance


def end_dead_runs(home: Path) -> None:
    """End the runs whose process was killed, as "Force termination" in the UI does; they hold the pool until then."""
    with open_home(home) as instance:
        for run in instance.get_runs():
            if not run.is_finished:
                instance.report_run_canceled(run)
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def read_history(home: Path) -> History:
    """Return what the instance of *home* knows."""
    with open_home(home) as instance:
        runs = [run for run in instance.get_runs() if _fetches(run)]
        history = History(runs={run.run_id: _read_run(instance, run) for run in runs})
        for event in sorted(_read_events(instance), key=lambda pair: pair[1].storage_id):
            code, found = event
            history.latest[code] = found
            history.outcomes.setdefault(found.run_id, {})[code] = found.outcome
    return history


def _fetches(run: dg.DagsterRun) -> bool:
    return run.job_name == "refresh_flags" or FLAG_IMAGE in (run.asset_selection or ())


def _read_events(instance: dg.DagsterInstance) -> list[tuple[str, Event]]:
    found = []
    for record in instance.fetch_materializations(FLAG_IMAGE, limit=MANY).records:
        if (made := record.asset_materialization) is not None and made.partition is not None:
            tags = made.tags or {}
            version = tags.get("dagster/data_version", "")
            event = Event(record.storage_id, True, tags.get(OUTCOME_TAG, ""), version, record.run_id)
            found.append((made.partition, event))
    for record in instance.fetch_observations(FLAG_IMAGE, limit=MANY).records:
        if (seen := record.asset_observation) is not None and seen.partition is not None and OUTCOME_TAG in seen.tags:
            event = Event(record.storage_id, False, seen.tags[OUTCOME_TAG], "", record.run_id)
            found.append((seen.partition, event))
    return found


def _read_run(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Run:
    counts: dict[str, int] = {}
    failures: list[str] = []
    for entry in instance.all_logs(run.run_id):
        event: Any = entry.dagster_event
        if event is None and entry.level == logging.INFO and entry.user_message.startswith("requested="):
            pairs = (part.split("=") for part in entry.user_message.split())
            counts = {name: int(number) for name, number in pairs}
        if event is not None and event.event_type_value in {"STEP_FAILURE", "PIPELINE_FAILURE", "ENGINE_EVENT"}:
            failures.append(str(event.event_specific_data) + str(event.message))
    return Run(run.run_id, run.status.value, counts, "\n".join(failures))
