"""A code location with an isolated asset, which the tests have Dagster load in other processes.

`STATE` names a folder: `broken` there lists the partitions that fail, `hanging` those that never end, and `asked` gets
one line for each that is asked for.
"""

import asyncio
import os
from pathlib import Path

import dagster as dg

from flag_pipeline.isolation import Absent, PartitionsConfig, healing_sensor, per_partition

N_KEYS = 12
SINGLE_RUN = dg.BackfillPolicy.single_run()
KEYS = dg.StaticPartitionsDefinition([f"k{number:02}" for number in range(N_KEYS)])
ABSENT_KEY = "k11"


def words(name: str) -> list[str]:
    """The words in a file of the test's folder."""
    path = Path(os.environ["STATE"], name)
    return path.read_text().split() if path.exists() else []


def ask(key: str) -> None:
    """Add a line to the list of what was asked for."""
    with Path(os.environ["STATE"], "asked").open("a") as asked:
        asked.write(f"{key}\n")


def say(name: str) -> None:
    """Make a file that the test waits for."""
    Path(os.environ["STATE"], name).touch()


# A multi_asset, because Dagster warns that the backfill policy of `@dg.asset` is in beta.
@dg.multi_asset(specs=[dg.AssetSpec("photo", code_version="1")], partitions_def=KEYS, backfill_policy=SINGLE_RUN)
@per_partition(max_concurrent=N_KEYS)
async def photo(context: dg.AssetExecutionContext, partition_key: str, config: PartitionsConfig) -> Absent | None:
    """Succeeds, fails, hangs or is absent, as the test says."""
    ask(partition_key)
    if partition_key in words("broken"):
        raise ConnectionError(f"{partition_key} is down")
    if partition_key in words("hanging"):
        await _say_when_the_others_are_recorded(context)
        await asyncio.Event().wait()
    return Absent("no such photo") if partition_key == ABSENT_KEY else None


async def _say_when_the_others_are_recorded(context: dg.AssetExecutionContext) -> None:
    n_others = N_KEYS - len(words("hanging")) - len(words("broken")) - 1
    while len(context.instance.get_materialized_partitions(dg.AssetKey("photo"))) < n_others:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    say("recorded")


@dg.multi_asset(specs=[dg.AssetSpec("thumbnail", deps=["photo"])], partitions_def=KEYS, backfill_policy=SINGLE_RUN)
def thumbnail() -> None:
    """A plain asset downstream."""


refresh = dg.define_asset_job("refresh", [photo], executor_def=dg.in_process_executor)
refresh_in_processes = dg.define_asset_job("refresh_in_processes", [photo, thumbnail])
defs = dg.Definitions(
    [photo, thumbnail], jobs=[refresh, refresh_in_processes], sensors=[healing_sensor(photo, refresh)]
)


def refresh_job() -> dg.JobDefinition:
    """The job that runs in one process."""
    return defs.resolve_job_def("refresh")


def processes_job() -> dg.JobDefinition:
    """The job whose steps are processes."""
    return defs.resolve_job_def("refresh_in_processes")
