"""Runs of the past in a real instance, written event by event: a test chooses what each recorded, and when it ended."""

import base64
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    StepMaterializationData,
)
from dagster._core.storage.runs.schema import RunsTable
from sqlalchemy import update

LETTERS = dg.StaticPartitionsDefinition(list("abcdef"))
FLAG, NAME = dg.AssetKey("flag"), dg.AssetKey("name")
CHECK = "is_whole"
JOB = "sweep"
Status = dg.DagsterRunStatus


def run_id(number: int) -> str:
    """The id of the run with that number, in the form of Dagster's."""
    return str(UUID(int=number, version=4))


def planned(letter: str | None, asset: dg.AssetKey = FLAG) -> DagsterEvent:
    """The event of a partition that a run is going to materialize."""
    data = AssetMaterializationPlannedData(asset, partition=letter)
    return DagsterEvent.build_asset_materialization_planned_event(JOB, "step", data)


def materialized(
    letter: str | None, asset: dg.AssetKey = FLAG, *, padding: int = 0, tags: dict[str, str] | None = None
) -> DagsterEvent:
    """The event of a partition that was materialized."""
    value = dg.AssetMaterialization(asset, partition=letter, metadata={"text": _noise(padding)}, tags=tags)
    return _event(dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(value))


def observed(letter: str | None, asset: dg.AssetKey = FLAG) -> DagsterEvent:
    """The event of a partition that was observed."""
    value = dg.AssetObservation(asset, partition=letter)
    return _event(dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(value))


def check_planned(asset: dg.AssetKey = FLAG) -> DagsterEvent:
    """The event of a check that a run is going to evaluate."""
    data = AssetCheckEvaluationPlanned(asset_key=asset, check_name=CHECK)
    return _event(dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, data)


def checked(asset: dg.AssetKey = FLAG) -> DagsterEvent:
    """The event of a check that passed."""
    data = dg.AssetCheckEvaluation(asset_key=asset, check_name=CHECK, passed=True, metadata={})
    return _event(dg.DagsterEventType.ASSET_CHECK_EVALUATION, data)


def _event(event_type: dg.DagsterEventType, data: Any) -> DagsterEvent:
    return DagsterEvent(event_type.value, JOB, step_key="step", event_specific_data=data)


def _noise(n_characters: int) -> str:
    """Return text that cannot be compressed much."""
    return base64.b85encode(random.Random(0).randbytes(n_characters)).decode()[:n_characters]  # noqa: S311


def record_run(
    instance: dg.DagsterInstance,
    number: int,
    events: Iterable[DagsterEvent],
    *,
    days: float = 0,
    status: dg.DagsterRunStatus = Status.SUCCESS,
    **run: Any,
) -> str:
    """Record a run that ended so many days ago, and return its id."""
    run = {"root_run_id": run.get("parent_run_id"), **run}
    instance.run_storage.add_run(dg.DagsterRun(JOB, run_id(number), **run))
    for event in events:
        instance.report_dagster_event(event, run_id(number))
    instance.report_engine_event("ended", job_name=JOB, run_id=run_id(number))
    ended_at = (datetime.now(UTC) - timedelta(days=days)).replace(tzinfo=None)
    ended = {"status": status.value, "create_timestamp": ended_at, "update_timestamp": ended_at}
    storage: Any = instance.run_storage
    with storage.connect() as connection:
        connection.execute(update(RunsTable).where(RunsTable.c.run_id == run_id(number)).values(**ended))
    return run_id(number)


def days_ago(days: float) -> datetime:
    """The time that many days ago."""
    return datetime.now(UTC) - timedelta(days=days)


def run_ids(instance: dg.DagsterInstance) -> Sequence[str]:
    """The ids of all runs, oldest first."""
    return [record.dagster_run.run_id for record in instance.get_run_records(ascending=True)]


def event_files(home: Path) -> set[str]:
    """The runs that have their own database of events."""
    return {path.stem for path in (home / "history/runs").glob("*-*.db")}
