"""Milliseconds per event with one of the event logs: `python -m benchmarks.events ours|stock FOLDER N`."""

import json
import sys
import time

import dagster as dg
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.storage.event_log import SqliteEventLogStorage

from flag_pipeline.dagster_storage.sqlite_event_log import EmbeddedEventLogStorage

CLASSES = {"ours": EmbeddedEventLogStorage, "stock": SqliteEventLogStorage}
WARM_UP = 20


def country_event(number: int, run_id: str) -> dg.EventLogEntry:
    """An event of the size of those that a run records for a country."""
    materialization = dg.AssetMaterialization(
        dg.AssetKey("flag_image"),
        partition=f"X{number:04d}",
        metadata={
            "flag": dg.MetadataValue.md(f"![X](data:image/gif;base64,{'A' * 400})"),
            "sha256": f"{number:064d}",
            "file": f"flags/X{number:04d}-Country.gif",
            "url": dg.MetadataValue.url("https://example.org/flag.gif"),
            **dict.fromkeys(("width_px", "height_px", "size_bytes", "requests", "attempts", "body_bytes"), number),
            "duration_s": 0.123,
        },
        tags={"dagster/data_version": f"{number:064d}", "flag_pipeline/outcome": "saved", "dagster/code_version": "1"},
    )
    event = DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name="refresh_flags",
        event_specific_data=StepMaterializationData(materialization),
    )
    return dg.EventLogEntry(None, "debug", "", run_id, time.time(), dagster_event=event)  # type: ignore[no-untyped-call]


def main() -> None:
    """Store events one at a time and print the time of one, without start-up."""
    name, folder, n_events = sys.argv[1:]
    storage = CLASSES[name](folder)
    run_id = "00000000-0000-4000-8000-000000000000"
    events = [country_event(number, run_id) for number in range(WARM_UP + int(n_events))]
    for event in events[:WARM_UP]:
        storage.store_event(event)
    started_at = time.perf_counter()
    for event in events[WARM_UP:]:
        storage.store_event(event)
    print(json.dumps({"event_ms": (time.perf_counter() - started_at) / int(n_events) * 1000}))


if __name__ == "__main__":
    main()
