"""Recording in Dagster's event log while the fetching goes on, whatever has come meanwhile in one transaction."""

import asyncio
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from types import TracebackType
from typing import Self

import dagster as dg
from dagster._core.events import (
    AssetObservationData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    StepMaterializationData,
    generate_event_batch_id,
)
from dagster._core.execution.context.system import IStepContext

from flag_pipeline.core.models import FlagFailed, FlagNotFound, FlagSaved, FlagUnchanged, Outcome
from flag_pipeline.defs.ledger import materialization, observation
from flag_pipeline.stores.batch_executor import BatchExecutor

Recordable = dg.AssetMaterialization | dg.AssetObservation


def record_events(context: dg.AssetExecutionContext, events: Sequence[Recordable]) -> None:
    """Store *events* as the run's, in one transaction an asset where `DAGSTER_EVENT_BATCH_SIZE` allows it.

    `context.log_event` stores them one at a time, keeps them all in memory until the step ends, and takes each through
    the run's loggers, which costs as much again; these are in the event log alone.
    """
    step = context.get_step_execution_context()
    # Dagster's own batches are of one asset, and its Postgres log goes by that: of two it would update one.
    for _, of_asset in groupby(sorted(events, key=_asset_key), key=_asset_key):
        batch_id = generate_event_batch_id()  # type: ignore[no-untyped-call]
        batch = list(of_asset)
        for number, event in enumerate(batch, start=1):
            place = DagsterEventBatchMetadata(batch_id, is_end=number == len(batch))
            context.instance.report_dagster_event(
                _dagster_event(step, event), context.run.run_id, logging.DEBUG, batch_metadata=place
            )


def _dagster_event(step: IStepContext, event: Recordable) -> DagsterEvent:
    """Return what Dagster makes of an *event* of the step."""
    data: StepMaterializationData | AssetObservationData
    match event:
        case dg.AssetMaterialization():
            kind, data = dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event)
            message = "Materialized value."
        case dg.AssetObservation():
            kind, data = dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(event)
            message = f"{kind.value} for step {step.step.key}"
    return DagsterEvent(
        event_type_value=kind.value,
        job_name=step.job_name,
        step_handle=step.step.handle,
        node_handle=step.step.node_handle,
        step_kind_value=step.step.kind.value,
        logging_tags=step.event_tags,
        event_specific_data=data,
        message=event.description or message,
        pid=os.getpid(),
    )


def _asset_key(event: Recordable) -> dg.AssetKey:
    return event.asset_key


class Recorder:
    """Records outcomes on a thread of its own: all that came while it was busy go together.

    Of a country that brought nothing the events say from which *source* it was asked for, and for which *store*.
    """

    def __init__(self, context: dg.AssetExecutionContext, *, source: str = "", store: str = "") -> None:
        self._context = context
        self._origin = {"source": source, "store": store}
        self._asset_keys = sorted(context.selected_asset_keys)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-log")
        self._outcomes = BatchExecutor(self._record_all, self._thread)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Events that wait are of countries whose files are in place: they are worth the short wait.
        await asyncio.to_thread(self._thread.shutdown, wait=True)

    async def record(self, outcome: Outcome) -> None:
        """Store the country's events, one for each asset of the run; returns when they are stored."""
        await self._outcomes.do(outcome)

    def _record_all(self, outcomes: Sequence[Outcome]) -> list[None]:
        record_events(self._context, [self._event(key, outcome) for outcome in outcomes for key in self._asset_keys])
        return [None] * len(outcomes)

    def _event(self, asset_key: dg.AssetKey, outcome: Outcome) -> Recordable:
        match outcome:
            case FlagSaved() | FlagUnchanged():
                return materialization(asset_key, outcome)
            case FlagNotFound() | FlagFailed():
                return observation(asset_key, outcome, self._origin)
