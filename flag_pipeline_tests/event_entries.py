"""Entries of an event log, for tests of the storages."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, StepMaterializationData

FLAG = dg.AssetKey("flag_image")
START = 1_790_000_000.25


def materialization(
    code: str | None,
    asset: dg.AssetKey = FLAG,
    *,
    version: str,
    metadata: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> StepMaterializationData:
    """Return the data of a materialization of one partition, with its data version."""
    tags = {"dagster/data_version": version, **(tags or {})}
    return StepMaterializationData(dg.AssetMaterialization(asset, None, metadata, code, tags))


def entry(
    kind: dg.DagsterEventType,
    data: Any = None,
    *,
    run_id: str = "run-1",
    timestamp: float = START,
    step_key: str | None = "flags",
) -> dg.EventLogEntry:
    """Return the entry of one of Dagster's events."""
    event = DagsterEvent(kind.value, "sweep", step_key=step_key, event_specific_data=data)
    return dg.EventLogEntry(None, 20, str(kind), run_id, timestamp, step_key, "sweep", event)  # type: ignore[no-untyped-call]
