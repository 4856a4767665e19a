"""Dagster runs in this process, on the persistent instance: what the command line is made of.

Such a run is like one that the daemon launches: it is stored, it shows in the UI, and it can be re-executed there.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterInstance
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.api import execute_run
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_run_id
from filelock import FileLock, Timeout

from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.flags import STEP
from flag_pipeline.defs.jobs import rebuild_catalog, refresh_flags
from flag_pipeline.defs.ledger import FLAG_CATALOG, RecordedCountry, RecordedOutcome, read_event
from flag_pipeline.settings import Settings, SourceSettings, StoreSettings, dagster_home, partition_codes

LOCATION = "flag_pipeline"
# What is printed belongs on this terminal. To catch it for the UI, Dagster would start four more processes a run.
OVERRIDES: Any = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}
# A re-execution inherits it from the run that it repeats, whoever executes it: only a lock file makes a run ours.
LAUNCHED_BY_TAG, COMMAND_LINE = "flag_pipeline/launched_by", "command line"
# What a run's own log prints while a progress bar is shown: nothing, for the report says it better.
QUIET, VERBOSE = "CRITICAL", "INFO"
UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


@contextmanager
def open_instance() -> Iterator[DagsterInstance]:
    """Open the persistent instance: `DAGSTER_HOME` where it is set, else `dagster_home/`."""
    with DagsterInstance.from_ref(InstanceRef.from_dir(str(dagster_home()), overrides=OVERRIDES)) as instance:
        yield instance


@dataclass(slots=True)
class RunReport:
    """What one fetching run did, gathered from its events as they were stored.

    Attributes:
        failed: kind and reason by code.
        body_bytes: decoded body bytes received.
        error: why the run failed where no country is to blame, else empty.
    """

    run_id: str = ""
    requested: int = 0
    saved: int = 0
    unchanged: int = 0
    not_found: list[str] = field(default_factory=list)
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    body_bytes: int = 0
    requests: int = 0
    retries: int = 0
    elapsed_s: float = 0.0
    is_canceled: bool = False
    error: str = ""
    seen: set[str] = field(default_factory=set)

    @property
    def all_fetched(self) -> bool:
        """Whether the run did what it was asked to; a country that the source does not have counts as done."""
        return not (self.failed or self.error or self.is_canceled)

    def add(self, country: RecordedCountry) -> None:
        """Count one country, which must not be among those `seen`: it has an event for each of the run's assets."""
        self.seen.add(country.code)
        self.requests += country.requests
        self.retries += max(0, country.attempts - 1)
        self.body_bytes += country.body_bytes
        match country.outcome:
            case RecordedOutcome.SAVED:
                self.saved += 1
            case RecordedOutcome.UNCHANGED:
                self.unchanged += 1
            case RecordedOutcome.NOT_FOUND:
                self.not_found.append(country.code)
            case RecordedOutcome.FAILED:
                self.failed[country.code] = {"kind": country.kind, "reason": country.reason}


def fetch(
    instance: DagsterInstance,
    settings: Settings,
    codes: list[str],
    on_country: Callable[[RecordedCountry], None],
    *,
    log_level: str = QUIET,
) -> RunReport:
    """Fetch *codes* in one run; *on_country* hears of each country as soon as it is recorded."""
    started_at = time.monotonic()
    tags, config = _partition_request(codes, partition_codes(settings))
    config = {**_run_config(settings, log_level), **config}
    with _launched(instance, settings, refresh_flags.name, tags=tags, run_config=config) as (job, run):
        report = RunReport(run_id=run.run_id, requested=len(codes))

        def listen(entry: EventLogEntry) -> None:
            event = entry.dagster_event
            if event is None or event.partition in report.seen:
                return
            country = read_event(event)
            if country is not None:
                report.add(country)
                on_country(country)

        instance.add_event_listener(run.run_id, listen)
        result = execute_run(InMemoryJob(job), run, instance)
    report.is_canceled = _is_canceled(instance, run)
    if not (result.success or report.is_canceled or _is_of_countries(result.all_events, report)):
        report.error = _error_of(result.all_events)
    report.elapsed_s = time.monotonic() - started_at
    return report


@dataclass(frozen=True, slots=True)
class CatalogReport:
    """What came of rebuilding the catalog.

    Attributes:
        n_rows: of the new catalog; 0 when it was not rebuilt.
        error: why it was not rebuilt, else empty.
    """

    n_rows: int = 0
    is_canceled: bool = False
    error: str = ""


def rebuild(instance: DagsterInstance, settings: Settings) -> CatalogReport:
    """Rebuild the catalog in a run of its own."""
    config = _run_config(settings, QUIET)
    with _launched(instance, settings, rebuild_catalog.name, tags={}, run_config=config) as (job, run):
        result = execute_run(InMemoryJob(job), run, instance)
    if _is_canceled(instance, run):
        return CatalogReport(is_canceled=True, error="it was interrupted")
    if not result.success:
        return CatalogReport(error=_error_of(result.all_events))
    materialized = next(
        event for event in result.all_events if event.is_step_materialization and event.asset_key == FLAG_CATALOG
    )
    row_count: Any = materialized.step_materialization_data.materialization.metadata["dagster/row_count"].value
    return CatalogReport(n_rows=int(row_count))


@contextmanager
def _launched(
    instance: DagsterInstance,
    settings: Settings,
    job_name: str,
    *,
    tags: Mapping[str, str],
    run_config: Mapping[str, Any],
) -> Iterator[tuple[dg.JobDefinition, dg.DagsterRun]]:
    """Create a run of the job and hold its lock, by which others see that it is alive, while it is executed."""
    _bury_dead_runs(instance)
    job = build_definitions(settings).resolve_job_def(job_name)
    run_id = make_new_run_id()
    path = _lock_path(instance, run_id)
    path.parent.mkdir(exist_ok=True)
    with FileLock(path):
        run = instance.create_run_for_job(
            job,
            run_id=run_id,
            run_config=run_config,
            tags={**tags, LAUNCHED_BY_TAG: COMMAND_LINE},
            remote_job_origin=_origin(job_name),
        )
        yield job, run
        # Not after an error: the run may not have got as far as to be stored as finished, and is buried then.
        path.unlink()


def _partition_request(codes: list[str], partitions: list[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the run tags or the run configuration that ask for *codes*: by partition where Dagster can say it."""
    if len(codes) == 1:
        return {PARTITION_NAME_TAG: codes[0]}, {}
    first = partitions.index(codes[0])
    if partitions[first : first + len(codes)] == codes:
        return {ASSET_PARTITION_RANGE_START_TAG: codes[0], ASSET_PARTITION_RANGE_END_TAG: codes[-1]}, {}
    return {}, {"ops": {STEP: {"config": {"countries": codes}}}}


def _run_config(settings: Settings, log_level: str) -> dict[str, Any]:
    """Write down every setting that was given, so that a re-execution from the UI does what this run did."""
    given = settings.model_dump(include=settings.model_fields_set)
    fields = {"flag_source": SourceSettings.model_fields, "file_sink": StoreSettings.model_fields}
    configs = {
        name: {"config": {key: value for key, value in given.items() if key in group}} for name, group in fields.items()
    }
    return {
        "resources": {name: config for name, config in configs.items() if config["config"]},
        "loggers": {"console": {"config": {"log_level": log_level}}},
    }


def _origin(job_name: str) -> RemoteJobOrigin:
    """Name the code location of `workspace.yaml` as the run's, so that the UI can re-execute it."""
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name="flag_pipeline.definitions"), location_name=LOCATION
    )
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job_name)


def _lock_path(instance: DagsterInstance, run_id: str) -> Path:
    """Where the file is that the run's process keeps locked as long as it lives."""
    return Path(instance.root_directory) / "command_line_runs" / f"{run_id}.lock"


def _bury_dead_runs(instance: DagsterInstance) -> None:
    """Mark runs whose process was killed as failed, and free what they held: nobody else can know that they ended."""
    ours = dg.RunsFilter(tags={LAUNCHED_BY_TAG: COMMAND_LINE}, statuses=UNFINISHED)
    for listed in instance.get_runs(ours):
        path = _lock_path(instance, listed.run_id)
        # Without a file it is another machine's, or a re-execution, which looks after itself.
        if path.exists():
            with suppress(Timeout), FileLock(path, timeout=0):
                # It may have ended since it was listed.
                run = instance.get_run_by_id(listed.run_id)
                if run is not None and not run.is_finished:
                    _bury(instance, run)
                path.unlink(missing_ok=True)


def _bury(instance: DagsterInstance, run: dg.DagsterRun) -> None:
    instance.report_run_failed(run, "Its process was killed. What it had recorded stands.")
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_canceled(instance: DagsterInstance, run: dg.DagsterRun) -> bool:
    stored = instance.get_run_by_id(run.run_id)
    return stored is not None and stored.status == dg.DagsterRunStatus.CANCELED


def _is_of_countries(events: Sequence[dg.DagsterEvent], report: RunReport) -> bool:
    """Whether the run failed for nothing but its countries, which the step says with a `dg.Failure` after the last."""
    steps = [event.step_failure_data for event in events if event.is_step_failure]
    return bool(report.failed and steps) and all(step.user_failure_data is not None for step in steps)


def _error_of(events: Sequence[dg.DagsterEvent]) -> str:
    """Return the reason of a run's failure in one line: our own error if there is one, else the innermost cause."""
    ours = {"ConfigurationError", "SinkError", "SourceError"}
    for event in events:
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None and error.cls_name not in ours:
            error = error.cause
        if error is not None:
            return " ".join(error.message.split(": ", 1)[-1].split())
    return "see the run in the UI"
