"""Executes Dagster runs in this process, on the persistent instance, so that the UI can re-execute them."""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster import DagsterInstance
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.api import execute_run
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
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

from flag_pipeline.catalog.built import note_build
from flag_pipeline.cli.current_catalog import catalog_inputs, find_current_catalog
from flag_pipeline.cli.reports import CatalogReport, RunReport
from flag_pipeline.cli.run_locks import COMMAND_LINE, LAUNCHED_BY_TAG, fail_orphaned_runs, run_lock, unfinished_run
from flag_pipeline.cli.run_warnings import collecting_warnings
from flag_pipeline.core.config import SourceSettings
from flag_pipeline.definitions import build_definitions
from flag_pipeline.defs.events import EVENT_TAGS
from flag_pipeline.defs.flags import POOL, STEP
from flag_pipeline.defs.jobs import list_renditions, make_release, rebuild_catalog, refresh_flags, render_flags
from flag_pipeline.defs.keys import FETCHED_ASSETS, FLAG_CATALOG, FLAG_RELEASE, FLAG_RENDITION
from flag_pipeline.defs.resources import SINK_KEY, SOURCE_KEY
from flag_pipeline.defs.source_guard import SOURCE_GIVEN_TAG
from flag_pipeline.errors import ReleaseError
from flag_pipeline.isolation import EventTags, RecordedOutcome, plan_partitions, read_outcome
from flag_pipeline.settings import Settings, StoreSettings, partition_codes, use_dagster_home

LOCATION = "flag_pipeline"
# Dagster would start four more processes per run to capture its output for the UI.
OVERRIDES: Any = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}
# Log levels of a run; QUIET keeps the progress bar intact.
QUIET, VERBOSE = "CRITICAL", "INFO"
# Between checks of the pool.
WAIT_S = 0.2


@contextmanager
def open_instance() -> Iterator[DagsterInstance]:
    """Open the persistent instance: `DAGSTER_HOME`, else `dagster_home/`."""
    with DagsterInstance.from_ref(InstanceRef.from_dir(str(use_dagster_home()), overrides=OVERRIDES)) as instance:
        yield instance


@contextmanager
def open_no_instance() -> Iterator[DagsterInstance]:
    """Open an empty instance that is not stored."""
    with DagsterInstance.ephemeral() as instance:
        yield instance


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What one run fetches.

    Attributes:
        refetch: whether to fetch files in full that the source calls unchanged.
    """

    settings: Settings
    codes: list[str]
    refetch: bool = False


def fetch(
    instance: DagsterInstance,
    request: FetchRequest,
    on_country: Callable[[RecordedOutcome], None],
    *,
    on_wait: Callable[[Collection[str]], None],
    log_level: str = QUIET,
) -> RunReport:
    """Fetch the request in one run, and call *on_country* as soon as a country is recorded.

    If other runs are fetching, *on_wait* is called once with their IDs. Raises KeyboardInterrupt while the run waits;
    later, the report says that it was canceled.
    """
    started_at = time.monotonic()
    settings, codes = request.settings, request.codes
    tags, listed = _partition_request(codes, partition_codes(settings))
    # An option or a variable of this command chooses a source, the default does not.
    tags[SOURCE_GIVEN_TAG] = str("source" in settings.model_fields_set).lower()
    config = _run_config(settings, log_level) | _op_config(listed, refetch=request.refetch)
    with _launched(instance, settings, refresh_flags.name, tags=tags, run_config=config) as (job, run):
        if listed:
            plan_partitions(instance, run, STEP, FETCHED_ASSETS, listed)
        report = RunReport(run_id=run.run_id, requested=len(codes))
        _listen(instance, report, on_country, EVENT_TAGS)
        with _turn_of(instance, run, on_wait), collecting_warnings(report.warnings):
            result = execute_run(InMemoryJob(job), run, instance)
    return _finished(instance, run, result, report, started_at)


def render(
    instance: DagsterInstance,
    settings: Settings,
    codes: list[str],
    on_country: Callable[[RecordedOutcome], None],
    *,
    log_level: str = QUIET,
) -> RunReport:
    """Make the renditions of *codes* in one run, and call *on_country* as soon as a country is recorded."""
    started_at = time.monotonic()
    tags, listed = _partition_request(codes, partition_codes(settings))
    config = _run_config(settings, log_level, SINK_KEY)
    if listed:
        config["ops"] = {FLAG_RENDITION.to_python_identifier(): {"config": {"partition_keys": listed}}}
    with _launched(instance, settings, render_flags.name, tags=tags, run_config=config) as (job, run):
        report = RunReport(run_id=run.run_id, requested=len(codes))
        _listen(instance, report, on_country, EventTags())
        with collecting_warnings(report.warnings):
            result = execute_run(InMemoryJob(job), run, instance)
    return _finished(instance, run, result, report, started_at)


def release(instance: DagsterInstance, settings: Settings) -> dict[str, Any]:
    """Make a release, and return its metadata. Raises ReleaseError if its run fails, KeyboardInterrupt at Ctrl-C."""
    return _metadata_of(_derive(instance, settings, make_release.name), FLAG_RELEASE)


def write_rendition_table(instance: DagsterInstance, settings: Settings) -> None:
    """Write the table of renditions. Raises as `release` does."""
    _derive(instance, settings, list_renditions.name)


def _derive(instance: DagsterInstance, settings: Settings, job_name: str) -> Sequence[dg.DagsterEvent]:
    config = _run_config(settings, QUIET, SINK_KEY)
    with _launched(instance, settings, job_name, tags={}, run_config=config) as (job, run):
        result = execute_run(InMemoryJob(job), run, instance)
    if _is_canceled(instance, run):
        raise KeyboardInterrupt
    if not result.success:
        raise ReleaseError(_error_of(result.all_events))
    return result.all_events


def _listen(
    instance: DagsterInstance, report: RunReport, on_country: Callable[[RecordedOutcome], None], tags: EventTags
) -> None:
    """Add the run's outcomes and warnings to the report while it runs."""

    def listen(entry: EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            if entry.level == logging.WARNING:
                report.warnings.append(entry.user_message)
        elif (country := read_outcome(event, tags)) is not None and report.add(country):
            on_country(country)

    instance.add_event_listener(report.run_id, listen)


def _finished(
    instance: DagsterInstance, run: dg.DagsterRun, result: Any, report: RunReport, started_at: float
) -> RunReport:
    report.is_canceled = _is_canceled(instance, run)
    if not (result.success or report.is_canceled or _is_of_countries(result.all_events, report)):
        report.error = _error_of(result.all_events)
    report.elapsed_s = time.monotonic() - started_at
    return report


def rebuild(instance: DagsterInstance, settings: Settings) -> CatalogReport:
    """Rebuild the catalog in a second run, unless it is current."""
    inputs = catalog_inputs(settings)
    current = find_current_catalog(instance, settings, inputs)
    if current is not None:
        current.report_age(instance, settings)
        return CatalogReport(n_rows=current.n_rows, is_current=True)
    config = _run_config(settings, QUIET)
    with _launched(instance, settings, rebuild_catalog.name, tags={}, run_config=config) as (job, run):
        result = execute_run(InMemoryJob(job), run, instance)
    if _is_canceled(instance, run):
        return CatalogReport(is_canceled=True, error="it was interrupted")
    if not result.success:
        return CatalogReport(error=_error_of(result.all_events))
    note_build(settings.store, inputs)
    return CatalogReport(n_rows=int(_metadata_of(result.all_events, FLAG_CATALOG)["dagster/row_count"]))


def _metadata_of(events: Sequence[dg.DagsterEvent], key: dg.AssetKey) -> dict[str, Any]:
    materialized = next(event for event in events if event.is_step_materialization and event.asset_key == key)
    metadata = materialized.step_materialization_data.materialization.metadata
    return {name: value.value for name, value in metadata.items()}


@contextmanager
def _launched(
    instance: DagsterInstance,
    settings: Settings,
    job_name: str,
    *,
    tags: Mapping[str, str],
    run_config: Mapping[str, Any],
) -> Iterator[tuple[dg.JobDefinition, dg.DagsterRun]]:
    """Create a run of the job, and hold its lock while it is executed."""
    fail_orphaned_runs(instance)
    job = build_definitions(settings).resolve_job_def(job_name)
    run_id = make_new_run_id()
    with run_lock(instance, run_id):
        run = instance.create_run_for_job(
            job,
            run_id=run_id,
            run_config=run_config,
            tags={**tags, LAUNCHED_BY_TAG: COMMAND_LINE},
            remote_job_origin=_origin(job_name),
        )
        try:
            yield job, run
        except KeyboardInterrupt:
            # Dagster had not started it, or has finished it.
            if (unfinished := unfinished_run(instance, run_id)) is not None:
                instance.report_run_canceled(unfinished, "Interrupted before it was executed.")
            raise


@contextmanager
def _turn_of(
    instance: DagsterInstance, run: dg.DagsterRun, on_wait: Callable[[Collection[str]], None]
) -> Iterator[None]:
    """Claim a slot of the pool; call *on_wait* with the runs that hold it, and wait.

    Dagster's executor then finds the slot claimed. Its own wait ignores Ctrl-C and uses a core.
    """
    try:
        with InstanceConcurrencyContext(instance, run) as pools:
            if not pools.claim(POOL, STEP):
                on_wait(instance.event_log_storage.get_concurrency_info(POOL).active_run_ids)
                while not pools.claim(POOL, STEP):
                    # The process that holds it can be killed during the wait.
                    fail_orphaned_runs(instance)
                    time.sleep(WAIT_S)
        yield
    finally:
        # Dagster frees it after the step, but the run can end earlier.
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _partition_request(codes: list[str], partitions: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the tags for one partition or a range, else the codes for the configuration."""
    if len(codes) == 1:
        return {PARTITION_NAME_TAG: codes[0]}, []
    first = partitions.index(codes[0])
    if partitions[first : first + len(codes)] == codes:
        return {ASSET_PARTITION_RANGE_START_TAG: codes[0], ASSET_PARTITION_RANGE_END_TAG: codes[-1]}, []
    return {}, codes


def _op_config(listed: list[str], *, refetch: bool) -> dict[str, Any]:
    config: dict[str, Any] = {"countries": listed} if listed else {}
    if refetch:
        config["refetch"] = True
    return {"ops": {STEP: {"config": config}}} if config else {}


def _run_config(settings: Settings, log_level: str, *resources: str) -> dict[str, Any]:
    """Return the configuration that a re-execution from the UI must share with this run.

    The environment of the re-execution decides the rest. *resources* are those of the job; none means both.
    """
    repeated = settings.model_dump(include={"source", "store", *settings.given})
    groups = {SOURCE_KEY: SourceSettings.model_fields, SINK_KEY: StoreSettings.model_fields}
    return {
        "resources": {
            key: {"config": {name: value for name, value in repeated.items() if name in fields}}
            for key, fields in groups.items()
            if key in (resources or groups)
        },
        "loggers": {"console": {"config": {"log_level": log_level}}},
    }


def _origin(job_name: str) -> RemoteJobOrigin:
    """Return the job's origin in `workspace.yaml`, with which the UI re-executes the run."""
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name="flag_pipeline.definitions"), location_name=LOCATION
    )
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job_name)


def _is_canceled(instance: DagsterInstance, run: dg.DagsterRun) -> bool:
    stored = instance.get_run_by_id(run.run_id)
    return stored is not None and stored.status == dg.DagsterRunStatus.CANCELED


def _is_of_countries(events: Sequence[dg.DagsterEvent], report: RunReport) -> bool:
    """Whether only countries failed the run: its step then raises `dg.Failure`."""
    steps = [event.step_failure_data for event in events if event.is_step_failure]
    return bool(report.failed and steps) and all(step.user_failure_data is not None for step in steps)


def _error_of(events: Sequence[dg.DagsterEvent]) -> str:
    """Return the step's description, else our own error, else the innermost cause."""
    ours = {"ConfigurationError", "SinkError", "SourceError"}
    for event in events:
        if event.is_step_failure and (said := event.step_failure_data.user_failure_data) and said.description:
            return said.description
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None and error.cls_name not in ours:
            error = error.cause
        if error is not None:
            return " ".join(error.message.split(": ", 1)[-1].split())
    return "see the run in the UI"
