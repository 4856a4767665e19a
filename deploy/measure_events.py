"""What an event costs on Postgres: Dagster's class and ours, one at a time and in batches. The table of SIZING.md.

    uv run --all-groups --extra fleet python deploy/measure_events.py

It starts Postgres on loopback, with fsync, and gives each class its database. The classes take turns; the result is the
median of five rounds, after one that does not count. An event is a materialization of 3.5 kB with six tags, as the
pipeline writes it.
"""

import statistics
import time
from collections.abc import Iterator, Sequence

import dagster as dg
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster_postgres.event_log import PostgresEventLogStorage
from sqlalchemy import create_engine, text

from flag_pipeline.dagster_storage.postgres_event_log import PooledPostgresEventLogStorage
from flag_pipeline_tests.databases import running_postgres

ROUNDS = 5
N_EVENTS = 400
SIZES = (1, 16, 200)
THUMBNAIL = "![CN](data:image/gif;base64," + "R0lGODlhEAALAPIAAN4pEA==" * 100 + ")"


def make_events(n_events: int) -> list[dg.EventLogEntry]:
    """Return events of one asset, as the pipeline records them."""
    events = []
    for number in range(n_events):
        said = dg.AssetMaterialization(
            "flag_image",
            partition=f"P{number:03}",
            metadata={"flag": dg.MetadataValue.md(THUMBNAIL), "size_bytes": 366, "sha256": "0" * 64, "requests": 2},
            tags={
                "dagster/data_version": f"{number:064}",
                "dagster/data_version_is_user_provided": "true",
                "dagster/code_version": "1",
                "dagster/input_data_version/country_metadata": "0" * 64,
                "dagster/input_event_pointer/country_metadata": "NULL",
                "flag_pipeline/outcome": "saved",
            },
        )
        what = DagsterEvent("ASSET_MATERIALIZATION", "flags", event_specific_data=StepMaterializationData(said))
        events.append(dg.EventLogEntry(None, 20, "", "run-1", time.time(), "flags", "fetch_flags", what))
    return events


def batches(events: Sequence[dg.EventLogEntry], size: int) -> Iterator[Sequence[dg.EventLogEntry]]:
    """Cut *events* into batches of *size*."""
    for start in range(0, len(events), size):
        yield events[start : start + size]


def milliseconds_an_event(storage: PostgresEventLogStorage, events: Sequence[dg.EventLogEntry], size: int) -> float:
    """Store all of them as DagsterInstance does: one alone, or a batch."""
    started = time.perf_counter()
    for batch in batches(events, size):
        if size == 1:
            storage.store_event(batch[0])
        else:
            storage.store_event_batch(batch)
    return (time.perf_counter() - started) * 1000 / len(events)


def main() -> None:
    """Print the table."""
    with running_postgres(fsync=True) as url:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE stock"))
        engine.dispose()
        storages = {
            "Dagster's class": PostgresEventLogStorage(url.rpartition("/")[0] + "/stock"),
            "ours": PooledPostgresEventLogStorage(url),
        }
        events = make_events(N_EVENTS)
        for size in SIZES:
            measured: dict[str, list[float]] = {name: [] for name in storages}
            for _ in range(ROUNDS + 1):
                for name, storage in storages.items():
                    some = events[: max(size, N_EVENTS // 4)] if size == 1 else events
                    measured[name].append(milliseconds_an_event(storage, some, size))
            for name, found in measured.items():
                counted = found[1:]
                spread = f"{min(counted):.2f} to {max(counted):.2f}"
                print(f"batches of {size:>3}  {name:<16} {statistics.median(counted):7.2f} ms an event ({spread})")  # noqa: T201
        for storage in storages.values():
            storage.dispose()


if __name__ == "__main__":
    main()
